"""``lesionseg submit``: masks under the names that a challenge asks for."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from .app import app


@app.command()
def submit(
    masks: Annotated[Path, typer.Argument(help="Folder that `lesionseg segment` wrote.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder for the files to submit.", show_default=False),
    ],
    name: Annotated[str, typer.Option(help="Name of the submission: letters, digits, _ and -.")] = "lesionseg",
) -> None:
    """Rename masks of ISLES 2018 for submission to SMIR.

    Each mask becomes SMIR.NAME.ID.nii by the id of its case's MTT volume. A case without one is named with the reason
    and makes the exit status 1; the others are written.

    `lesionseg submit masks -o submission --name my-network`
    """
    from ..inference.submission import export_smir

    done = export_smir(masks, output, name=name)
    for case, path in done.written.items():
        print(f"{case}: {path}")
    for reason in done.failed.values():
        print("error:", reason.replace("\n", " "), file=sys.stderr)
    raise typer.Exit(1 if done.failed else 0)
