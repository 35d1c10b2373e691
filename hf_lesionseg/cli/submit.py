"""``lesionseg submit``: masks under the names that a challenge asks for."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .app import app
from .paths import existing_folder

LAYOUTS = ("smir", "grand-challenge")


@app.command()
def submit(
    masks: Annotated[
        Path,
        typer.Argument(
            metavar="MASKS", help="Output folder of `lesionseg segment`.", show_default=False, callback=existing_folder
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder for the files to submit.", show_default=False),
    ],
    layout: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Layout that the challenge takes: smir (ISLES 2018) or grand-challenge (ISLES 2022 and 2024, ATLAS "
            "R2.0 and others).",
        ),
    ] = "smir",
    name: Annotated[
        str,
        typer.Option(metavar="NAME", help="Name of the submission in letters, digits, _ and -; for smir."),
    ] = "lesionseg",
    slug: Annotated[
        str,
        typer.Option(metavar="SLUG", help="Output's slug on the challenge's page; for grand-challenge."),
    ] = "stroke-lesion-segmentation",
    file_format: Annotated[
        str, typer.Option("--format", metavar="ENDING", help="Format of the masks, mha or nii.gz; for grand-challenge.")
    ] = "mha",
) -> None:
    """Copy masks into the layout that a challenge takes.

    With smir each mask becomes SMIR.NAME.ID.nii, where ID is that of the case's MTT volume. With grand-challenge each
    mask becomes CASE/output/images/SLUG/CASE.mha, and predictions.json lists them for the evaluation. The command names
    a case that it cannot export, with the reason, and writes the others; the exit status is then 1.

    `lesionseg submit masks -o submission --name my-network`

    `lesionseg submit masks -o submission --layout grand-challenge`
    """
    if layout not in LAYOUTS:
        raise UsageError(f"layout {layout!r} is unknown; use {' or '.join(LAYOUTS)}")
    if layout == "smir":
        from ..inference.submission import export_smir

        done = export_smir(masks, output, name=name)
    else:
        from ..inference.grand_challenge import export_grand_challenge

        done = export_grand_challenge(masks, output, slug=slug, file_format=file_format)
    for case, path in done.written.items():
        print(f"{case}: {path}")
    for reason in done.failed.values():
        print("error:", reason.replace("\n", " "), file=sys.stderr)
    if done.notice:
        print(done.notice)
    raise typer.Exit(1 if done.failed else 0)
