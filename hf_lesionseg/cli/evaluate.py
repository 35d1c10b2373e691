"""``lesionseg evaluate``: masks against the truth."""

from pathlib import Path
from typing import Annotated

import typer

from .app import app


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Folder of predicted masks.", show_default=False)],
    truths: Annotated[Path, typer.Argument(help="Folder of true masks.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder for tables and figures.", show_default=False),
    ],
    scans: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of scans to draw the overlays on.", show_default=False)
    ] = None,
) -> None:
    """Compare masks with the truth.

    Per person in 3-D: Dice, precision, recall, IoU, VOE (%), RVD (%), volumes (mL). Writes metrics.csv,
    metrics.json and figures. A truth without a prediction is a failed case and makes the exit status 1.

    `lesionseg evaluate results truth -o evaluation`
    """
    from ..evaluation import evaluate_folders, print_summary

    summary = evaluate_folders(predictions, truths, output, scans=scans)
    print_summary(summary)
    raise typer.Exit(1 if summary["n_failed"] else 0)
