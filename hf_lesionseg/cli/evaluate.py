"""``lesionseg evaluate``: masks against the truth."""

from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand

from .app import app
from .mask import mask_options


class _NamesMetrics(TyperCommand):
    """Puts the metrics of the table into the help, once it is asked for: until then the table need not be loaded."""

    def format_help(self, ctx, formatter):
        from ..evaluation.metrics import scores

        self.help = self.help.replace("{metrics}", "; ".join(metric.headed_unit for metric in scores()))
        super().format_help(ctx, formatter)


@app.command(cls=_NamesMetrics)
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
    threshold: Annotated[
        float | None,
        typer.Option(help="Predictions are probabilities: lesion is above this value (0 to 1).", show_default=False),
    ] = None,
    splits: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A splits.json, for the means of each split.", show_default=False),
    ] = None,
    only_split: Annotated[
        str | None, typer.Option(help="Score the cases of this split only, such as test.", show_default=False)
    ] = None,
    slice_axis: Annotated[
        str, typer.Option(help="Slices of the slice-wise Dice: axial, coronal or sagittal.")
    ] = "axial",
    distances: Annotated[
        bool,
        typer.Option("--distances/--no-distances", help="Measure surface distances and count single lesions, too."),
    ] = True,
    minimum_lesion_ml: Annotated[
        float, typer.Option(help="Drop predicted lesions below this volume in mL before scoring; 0 drops none.")
    ] = 0.0,
    keep_largest: Annotated[
        int,
        typer.Option(metavar="N", help="Score the N largest predicted lesions (26-connected) only; 0 scores all."),
    ] = 0,
    label: Annotated[
        str | None,
        typer.Option(
            help="Value of the label that is lesion in truths and predictions, where they hold several; with commas "
            "for some. All above 0 without.",
            show_default=False,
        ),
    ] = None,
    prediction_label: Annotated[
        str | None,
        typer.Option(help="That of the predictions, where it is another than that of the truths.", show_default=False),
    ] = None,
    self_check: Annotated[
        bool,
        typer.Option("--self-check", help="Score truths given as predictions, too: a check of names and grids."),
    ] = False,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Count as a challenge's evaluator does: isles2018 (HD 1e8 where one mask is empty), isles2022, "
            "isles2024 (lesions matched one to one at an IoU of 0.2) or atlas-r2 (6-connected lesions, rounded masks).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compare masks with the truth.

    Per case in 3-D: {metrics}. Lesions are 26-connected. Apart from that the mean Dice of slices with lesion in the
    truth, and of all slices (a slice empty in both counts 1). Writes metrics.csv, metrics.json and figures. A truth
    without a prediction is a failed case and makes the exit status 1.

    TRUTHS may be a folder of `lesionseg prepare`: `lesionseg evaluate results prepared -o scores --only-split test`
    """
    from ..evaluation import ScoringOptions, evaluate_folders, print_summary

    mask = mask_options(threshold=threshold, minimum_lesion_ml=minimum_lesion_ml, keep_largest=keep_largest)
    summary = evaluate_folders(
        predictions,
        truths,
        output,
        scans=scans,
        mask=mask,
        splits=splits,
        only_split=only_split,
        scoring=ScoringOptions(
            slice_axis=slice_axis, distances=distances, preset=preset, label=label, prediction_label=prediction_label
        ),
        self_check=self_check,
    )
    print_summary(summary)
    print(f"tables and figures: {summary['output']}")
    raise typer.Exit(1 if summary["n_failed"] else 0)
