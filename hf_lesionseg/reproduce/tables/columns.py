"""What the columns of the tables hold."""

from typing import NamedTuple


class Column(NamedTuple):
    """One column.

    Attributes
    ----------
    heading : str
    unit : {"share", "percent", "mm", "mL", "count", "parameters"}
        A share is shown in percent, parameters in millions.
    meaning : str
        How it is made; all are means over the test data.
    spread : bool
        Show the standard deviation over the cases beside the mean, as the paper does.
    """

    heading: str
    unit: str
    meaning: str
    spread: bool = False


def _challenge(heading, unit, meaning):
    return Column(heading, unit, meaning, spread=True)


COLUMNS = {
    "dsc": Column("DSC", "share", "mean Dice of the test slices with foreground"),
    "precision": Column("P", "share", "mean precision of these slices, 0 where nothing was predicted"),
    "recall": Column("R", "share", "mean recall of these slices"),
    "dsc_small": Column("DSC small", "share", "mean Dice of the third of these slices with the least foreground"),
    "dsc_small_organs": Column(
        "DSC small organs", "share", "mean 3-D Dice of the third of the test organs that are smallest"
    ),
    "dsc_all_slices": Column("DSC all slices", "share", "mean Dice of all test slices, 1 where both are empty"),
    "dsc_volume": Column("DSC volumes", "share", "mean 3-D Dice of the test cases, of all their slices together"),
    "miou_single": Column("mIoU single", "share", "mIoU on the slices with one component alone"),
    "miou": Column("mIoU", "share", "mean IoU of the first stage's best box with each true component's, test"),
    "miou_train": Column(
        "mIoU train",
        "share",
        "mean IoU of the first stage's best box with each true component's, first 20 training cases",
    ),
    "miou_validation": Column("mIoU val", "share", "the same on all validation cases"),
    "first_stage_parameters": Column("params", "parameters", "parameters of the first stage at the paper's width"),
    "volume_dsc": Column("DSC", "share", "mean 3-D Dice of the test volumes with foreground"),
    "volume_precision": Column("P", "share", "mean precision of these volumes, 0 where nothing was predicted"),
    "volume_recall": Column("R", "share", "mean recall of these volumes"),
    "volume_iou": Column("IoU", "share", "mean IoU of these volumes"),
    "volume_auc": Column(
        "AUC", "share", "mean area under the ROC curve of these volumes, of the pixels that the network sees"
    ),
    "voe": Column("VOE", "percent", "mean 100 (1 - IoU) of these volumes; lower is better"),
    "rvd": Column("RVD", "percent", "mean 100 (predicted / true volume - 1), signed: 0 is best"),
    "absolute_rvd": Column("abs. RVD", "percent", "mean of its absolute values; not in the paper"),
    "case_dsc": Column(
        "DSC of scans", "share", "mean 3-D Dice of the test cases on the grid of their scans, 1 where both are empty"
    ),
    "challenge_dc": _challenge("DC", "share", "Dice of the test cases on the grid of their scans: mean (SD)"),
    "challenge_hd": _challenge(
        "HD", "mm", "Hausdorff distance: mean (SD), 1e8 where it is undefined, as the challenge counts it"
    ),
    "challenge_precision": _challenge("P", "share", "precision: mean (SD)"),
    "challenge_recall": _challenge("R", "share", "recall: mean (SD)"),
    "challenge_avd": _challenge("AVD", "mL", "absolute difference of the volumes: mean (SD)"),
    "undefined_hd": Column("HD undefined", "count", "test cases without one, since a mask is empty"),
    "defined_hd": Column("HD defined", "mm", "mean Hausdorff distance of the others; not in the paper"),
}
