"""``lesionseg evaluate``: masks against the truth."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .app import Command, app
from .mask import mask_option, mask_options
from .paths import existing_file, existing_folder

_CHOICE, _SCORING = "Cases and labels", "Scoring"


class _NamesMetrics(Command):
    """Puts the metrics of the table into the help when you ask for it: no other command loads the table."""

    def format_help(self, ctx, formatter):
        from ..evaluation.metrics import scores

        self.help = self.help.replace("{metrics}", "; ".join(metric.headed_unit for metric in scores()))
        super().format_help(ctx, formatter)


def _choice(text: str, *flags: str, **settings: Any) -> Any:
    return typer.Option(*flags, help=text, rich_help_panel=_CHOICE, **settings)


def _scoring(text: str, *flags: str, **settings: Any) -> Any:
    return typer.Option(*flags, help=text, rich_help_panel=_SCORING, **settings)


@app.command(cls=_NamesMetrics)
def evaluate(
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS", help="Folder of predicted masks.", show_default=False, callback=existing_folder
        ),
    ],
    truths: Annotated[
        Path,
        typer.Argument(
            metavar="TRUTHS",
            help="Folder of true masks, or of prepared data (`lesionseg prepare`).",
            show_default=False,
            callback=existing_folder,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder for tables and figures.", show_default=False),
    ],
    scans: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of scans to draw the overlays on.",
            show_default=False,
            callback=existing_folder,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        mask_option(
            "Probability above which a voxel is lesion, 0 to 1, if the predictions are probabilities.",
            metavar="PROBABILITY",
        ),
    ] = None,
    splits: Annotated[
        Path | None,
        _choice(
            "File splits.json, to report the means of each split.",
            metavar="FILE",
            show_default=False,
            callback=existing_file,
        ),
    ] = None,
    only_split: Annotated[
        str | None, _choice("Split whose cases to score, such as test.", metavar="NAME", show_default=False)
    ] = None,
    slice_axis: Annotated[
        str,
        _scoring("Slices for the slice-wise Dice: axial, coronal or sagittal.", metavar="AXIS"),
    ] = "axial",
    distances: Annotated[
        bool,
        _scoring(
            "Leave out surface distances and the count of single lesions.", " /--no-distances", show_default=False
        ),
    ] = True,
    minimum_lesion_ml: Annotated[
        float,
        mask_option(
            "Volume in mL below which a predicted lesion is dropped. Default: 0, which keeps all.", metavar="ML"
        ),
    ] = 0.0,
    keep_largest: Annotated[
        int,
        mask_option(
            "Number of largest predicted lesions (26-connected) to score. Default: 0, which scores all.", metavar="N"
        ),
    ] = 0,
    label: Annotated[
        str | None,
        _choice(
            "Value of the label that is lesion in truths and predictions; several with commas. Default: all above 0.",
            metavar="VALUE",
            show_default=False,
        ),
    ] = None,
    prediction_label: Annotated[
        str | None,
        _choice(
            "Value of the label that is lesion in the predictions, if it is not that of the truths.",
            metavar="VALUE",
            show_default=False,
        ),
    ] = None,
    self_check: Annotated[
        bool,
        _scoring("Accept the truths as predictions too, to check names and grids.", "--self-check"),
    ] = False,
    preset: Annotated[
        str | None,
        _scoring(
            "Challenge whose evaluator to count like: isles2018 (HD 1e8 if one mask is empty), isles2022, isles2024 "
            "(lesions matched one to one at an IoU of 0.2) or atlas-r2 (6-connected lesions, rounded masks).",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compare masks with the truth.

    For each case the command measures in 3-D: {metrics}. Lesions are 26-connected. It also gives the mean Dice of the
    slices with lesion in the truth, and of all slices, where a slice that is empty in both counts as 1. It writes
    metrics.csv, metrics.json and figures. A truth without a prediction is a failed case: the exit status is then 1.

    `lesionseg evaluate masks truths -o scores`

    `lesionseg evaluate results prepared -o scores --only-split test`
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
