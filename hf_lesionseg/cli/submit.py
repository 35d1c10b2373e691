"""``lesionseg submit``: masks under the names that a challenge asks for."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .app import app

LAYOUTS = ("smir", "grand-challenge")


@app.command()
def submit(
    masks: Annotated[Path, typer.Argument(help="Folder that `lesionseg segment` wrote.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder for the files to submit.", show_default=False),
    ],
    layout: Annotated[
        str,
        typer.Option(help="smir (ISLES 2018) or grand-challenge (ISLES 2022 and 2024, ATLAS R2.0 and others)."),
    ] = "smir",
    name: Annotated[str, typer.Option(help="smir: name of the submission: letters, digits, _ and -.")] = "lesionseg",
    slug: Annotated[
        str, typer.Option(help="grand-challenge: slug of the output, as the challenge's page names it.")
    ] = "stroke-lesion-segmentation",
    file_format: Annotated[str, typer.Option("--format", help="grand-challenge: mha or nii.gz.")] = "mha",
) -> None:
    """Lay masks out as a challenge takes them.

    smir: each mask becomes SMIR.NAME.ID.nii by the id of its case's MTT volume. grand-challenge: each becomes
    CASE/output/images/SLUG/CASE.mha, and predictions.json tells an evaluation container where they lie. A case that
    cannot be exported is named with the reason and makes the exit status 1; the others are written.

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
