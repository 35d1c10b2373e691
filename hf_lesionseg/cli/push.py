"""``lesionseg push``: a trained network to the Hub."""

from pathlib import Path
from typing import Annotated

import typer

from .app import app


@app.command()
def push(
    folder: Annotated[
        Path, typer.Argument(help="Output folder of a training, or the name of a packaged network.", show_default=False)
    ],
    repo_id: Annotated[str, typer.Argument(help="Where to: org/name.", show_default=False)],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    token: Annotated[
        str | None,
        typer.Option(help="Token with write access; default: the one of `hf auth login`.", show_default=False),
    ] = None,
    remote_code: Annotated[
        bool,
        typer.Option(
            "--remote-code/--no-remote-code",
            help="Add the network's source, so that it also loads without this package (trust_remote_code=True).",
        ),
    ] = True,
    splits: Annotated[
        bool,
        typer.Option("--splits/--no-splits", help="Publish which case was in which split, and the cases' figures."),
    ] = True,
    license: Annotated[str, typer.Option(help="Licence of the weights, as the Hub spells it.")] = "apache-2.0",
    check: Annotated[
        bool, typer.Option("--check", help="Load the network as remote code in a process of its own before uploading.")
    ] = False,
    message: Annotated[str | None, typer.Option(help="Commit message.", show_default=False)] = None,
    dry_run: Annotated[
        Path | None,
        typer.Option(help="Write what would be sent into this new folder, and send nothing.", show_default=False),
    ] = None,
) -> None:
    """Publish a trained network on the Hub.

    Weights, configuration, image processor, and a model card with metrics and figures.

    `lesionseg push run1 org/clci-net --private`
    """
    from ..hub.publish import publish, rehearse

    if dry_run is not None:
        files = rehearse(
            folder,
            dry_run,
            repo_id,
            remote_code=remote_code,
            splits=splits,
            license=license,
            verify_remote_code=check,
        )
        print(*files, sep="\n")
        return
    url = publish(
        folder,
        repo_id,
        private=private,
        token=token,
        remote_code=remote_code,
        splits=splits,
        license=license,
        commit_message=message,
        verify_remote_code=check,
    )
    print(url)
