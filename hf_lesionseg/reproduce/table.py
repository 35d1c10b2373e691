"""What a table of a paper is: its rows, its columns, and what stands in for its data."""

from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True)
class Row:
    """One network of a table.

    Parameters
    ----------
    name : str
        As the paper writes it.
    model_type : str
    model : dict
        Settings of its configuration that differ from the defaults.
    reported : dict
        The paper's figures by column, shares in percent; a pair is a mean and its standard deviation over cases, None
        a figure that the paper does not print.
    recipe : str
        The packaged recipe that it is trained by, where that is not the table's.
    channels : tuple of str
        What it takes in, where that is not what the recipe says: it is prepared in a folder of its own.
    narrow_rate : float, optional
        In place of the table's.
    """

    name: str
    model_type: str
    model: dict = field(default_factory=dict)
    reported: dict = field(default_factory=dict)
    recipe: str = ""
    channels: tuple[str, ...] = ()
    narrow_rate: float | None = None


@dataclass(frozen=True)
class ReportedRow:
    """A line that the paper reports and nobody can train here: a rival without a published network."""

    name: str
    reported: dict


@dataclass(frozen=True)
class Table:
    """One table of a paper.

    Parameters
    ----------
    id, title, source : str
        ``source`` is the paper.
    data : str
        What the paper measured on.
    recipe : str
        The packaged recipe that every row is trained by, but for its network.
    columns : tuple of str
        Keys of :data:`COLUMNS`.
    rows : tuple of Row
    generator : {"organs", "strokes", "perfusion"}
        What stands in for the paper's data where they are synthetic.
    reported_only : tuple of ReportedRow
    note : str
        What a reader has to know beside the columns.
    narrow_rate : float
        Learning rate of networks that are narrower than the paper's, over some hundred steps; tried at an eighth of the
        width on generated data, where the papers' rates are too low to learn anything.
    """

    id: str
    title: str
    source: str
    data: str
    recipe: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    generator: str = "organs"
    reported_only: tuple[ReportedRow, ...] = ()
    note: str = ""
    narrow_rate: float = 1e-2

    def recipe_of(self, row):
        """Name of the recipe that a row is trained by."""
        return row.recipe or self.recipe


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
