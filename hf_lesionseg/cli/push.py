"""``lesionseg push``: a trained network to the Hub."""

from pathlib import Path
from typing import Annotated

import typer

from .app import app
from .paths import complete_models, network_folder


@app.command()
def push(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="NETWORK",
            help="Network to publish: an output folder of `lesionseg train`, or the name of a packaged one "
            "(`lesionseg models`).",
            show_default=False,
            callback=network_folder,
            autocompletion=complete_models,
        ),
    ],
    repo_id: Annotated[
        str, typer.Argument(metavar="ORG/NAME", help="Hub repository to publish to.", show_default=False)
    ],
    private: Annotated[bool, typer.Option("--private", help="Make a new Hub repository private.")] = False,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            help="Hub token with write access. Default: the one of `hf auth login`.",
            show_default=False,
        ),
    ] = None,
    remote_code: Annotated[
        bool,
        typer.Option(
            " /--no-remote-code",
            help="Leave out the network's source, with which it loads without this package (trust_remote_code=True).",
            show_default=False,
        ),
    ] = True,
    splits: Annotated[
        bool,
        typer.Option(
            " /--no-splits",
            help="Leave out which case was in which split, and the figures of each case.",
            show_default=False,
        ),
    ] = True,
    license: Annotated[
        str, typer.Option(metavar="ID", help="Licence of the weights, as the Hub spells it.")
    ] = "apache-2.0",
    check: Annotated[
        bool,
        typer.Option("--check", help="Load the network as remote code in a separate process before the upload."),
    ] = False,
    message: Annotated[str | None, typer.Option(metavar="TEXT", help="Commit message.", show_default=False)] = None,
    dry_run: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="New folder for the files that would be sent; the command then sends nothing.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Publish a trained network on the Hub.

    The command sends weights, configuration, image processor, and a model card with metrics and figures.

    `lesionseg push runs/clci-net org/clci-net --private`

    `lesionseg push runs/clci-net org/clci-net --dry-run staged`
    """
    from ..hub.publish import publish, write_dry_run

    sent = {"remote_code": remote_code, "splits": splits, "license": license, "check": check}
    if dry_run is not None:
        print(*write_dry_run(folder, dry_run, repo_id, **sent), sep="\n")
    else:
        print(publish(folder, repo_id, private=private, token=token, commit_message=message, **sent))
