"""The tables of the papers: which networks stand in their rows, and what the papers report for them.

A later paper adds its tables at the end of ``TABLES``; :mod:`hf_lesionseg.training.reproduce` runs any of them.
"""

from dataclasses import dataclass, field

from ..errors import UsageError


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
        The paper's figures by column, shares in percent.
    recipe : str
        The packaged recipe that it is trained by, where that is not the table's.
    """

    name: str
    model_type: str
    model: dict = field(default_factory=dict)
    reported: dict = field(default_factory=dict)
    recipe: str = ""


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
    generator : {"organs", "strokes"}
        What stands in for the paper's data where they are synthetic.
    """

    id: str
    title: str
    source: str
    data: str
    recipe: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    generator: str = "organs"


#: What a column holds: heading; its unit, a "share" that is shown in percent, "percent" or "parameters", which are
#: shown in millions; how it is made.
COLUMNS = {
    "dsc": ("DSC", "share", "mean Dice of the test slices with foreground"),
    "precision": ("P", "share", "mean precision of these slices, 0 where nothing was predicted"),
    "recall": ("R", "share", "mean recall of these slices"),
    "dsc_small": ("DSC small", "share", "mean Dice of the third of these slices with the least foreground"),
    "dsc_small_organs": (
        "DSC small organs",
        "share",
        "mean 3-D Dice of the third of the test organs that are smallest",
    ),
    "miou_single": ("mIoU single", "share", "mIoU on the slices with one component alone"),
    "miou": ("mIoU", "share", "mean IoU of the first stage's best box with each true component's, test"),
    "miou_train": ("mIoU train", "share", "the same on training cases"),
    "miou_validation": ("mIoU val", "share", "the same on validation cases"),
    "first_stage_parameters": ("params", "parameters", "parameters of the first stage at the paper's width"),
    "volume_dsc": ("DSC", "share", "mean 3-D Dice of the test volumes with foreground"),
    "volume_precision": ("P", "share", "mean precision of these volumes, 0 where nothing was predicted"),
    "volume_recall": ("R", "share", "mean recall of these volumes"),
    "voe": ("VOE", "percent", "mean 100 (1 - IoU) of these volumes; lower is better"),
    "rvd": ("RVD", "percent", "mean 100 (predicted / true volume - 1), signed: 0 is best"),
    "absolute_rvd": ("abs. RVD", "percent", "mean of its absolute values; not in the paper"),
}

_L_SNET = "Xie et al., L-SNet, ICIP 2021, arXiv:2102.05971"
_PANCREAS = "Pancreas-CT (NIH), slices"


def _scores(dsc, precision, recall):
    return {"dsc": dsc, "precision": precision, "recall": recall}


_CLCI_NET = "Yang et al., CLCI-Net, MICCAI 2019, arXiv:1907.07008"
_ATLAS = "ATLAS R1.1, 60 people, volumes"
_VOLUME_COLUMNS = ("volume_dsc", "volume_precision", "volume_recall", "voe", "rvd")


def _volume_scores(*reported):
    return dict(zip(_VOLUME_COLUMNS, reported, strict=True))


def _ablation(name, *reported, aspp=False, clf=False, inference=False):
    return Row(
        name,
        "clci-net",
        {"aspp": aspp, "clf": clf, "context_inference": inference},
        _volume_scores(*reported),
    )


_CLCI_BASELINE = Row("Baseline", "unet-bn", {}, _volume_scores(54.0, 63.2, 54.4, 58.7, 31.7))
_CLCI_FULL = Row("CLCI-Net", "clci-net", {}, _volume_scores(58.1, 64.9, 58.1, 54.6, 25.4))


TABLES = {
    table.id: table
    for table in (
        Table(
            id="l-snet-1",
            title="L-SNet and its rivals",
            source=f"{_L_SNET}, Table 1",
            data=_PANCREAS,
            recipe="l-snet-pancreas",
            columns=("dsc", "precision", "recall", "dsc_small", "dsc_small_organs"),
            rows=(
                Row("U-Net", "resnet-unet", {}, _scores(86.56, 89.60, 90.29)),
                # The paper prints U-Net's P and R once more here, almost surely a slip.
                Row("Attention U-Net", "attention-unet", {}, _scores(86.88, 89.60, 90.29)),
                Row("Coarse-to-fine U-Net", "coarse-to-fine", {}, _scores(87.41, 90.05, 91.36)),
                Row("L-SNet (U-Net)", "l-snet", {}, _scores(88.20, 92.50, 90.45)),
                Row("FCN", "resnet-fcn", {}, _scores(84.28, 88.68, 86.85)),
                Row("Coarse-to-fine FCN", "coarse-to-fine", {"architecture": "fcn"}, _scores(86.16, 91.78, 87.84)),
                Row("L-SNet (FCN)", "l-snet", {"architecture": "fcn"}, _scores(87.20, 92.60, 89.07)),
            ),
        ),
        Table(
            id="l-snet-2",
            title="What each part of L-SNet adds",
            source=f"{_L_SNET}, Table 2",
            data=_PANCREAS,
            recipe="l-snet-pancreas",
            columns=("dsc", "dsc_small"),
            rows=(
                Row("S-Net, cross-entropy", "resnet-unet", {"loss": "bce"}, {"dsc": 84.69}),
                Row("+ focal and Dice loss", "resnet-unet", {}, {"dsc": 86.51}),
                Row("+ L-Net", "l-snet", {"recalibration": "crop"}, {"dsc": 87.86}),
                Row("+ region recalibration", "l-snet", {}, {"dsc": 88.20}),
            ),
        ),
        Table(
            id="l-snet-3",
            title="First stages of a coarse-to-fine network, 15 pixel hard crop",
            source=f"{_L_SNET}, Table 3",
            data=_PANCREAS,
            recipe="l-snet-pancreas",
            columns=("miou", "miou_single", "dsc", "first_stage_parameters"),
            rows=(
                Row(
                    "U-Net",
                    "coarse-to-fine",
                    {},
                    {"miou": 83.83, "dsc": 87.41, "first_stage_parameters": 14.33e6},
                ),
                Row(
                    "L-Net",
                    "l-snet",
                    {"recalibration": "crop"},
                    {"miou": 86.58, "dsc": 87.86, "first_stage_parameters": 14.50e6},
                ),
            ),
        ),
        Table(
            id="l-snet-4",
            title="Decay of S-Net's gradient as it enters L-Net",
            source=f"{_L_SNET}, Table 4",
            data=_PANCREAS,
            recipe="l-snet-pancreas",
            columns=("miou_train", "miou_validation", "dsc"),
            rows=tuple(
                Row(
                    f"{decay:g}",
                    "l-snet",
                    {"gradient_decay": decay},
                    dict(zip(("miou_train", "miou_validation", "dsc"), reported, strict=True)),
                )
                for decay, reported in (
                    (0.0, (92.03, 86.58, 87.86)),
                    (0.01, (88.09, 84.88, 88.05)),
                    (0.1, (88.24, 84.98, 88.20)),
                    (1.0, (86.84, 84.68, 87.21)),
                )
            ),
        ),
        Table(
            id="clci-net-1",
            title="CLCI-Net and its rivals",
            source=f"{_CLCI_NET}, Table 1",
            data=_ATLAS,
            recipe="clci-net-atlas",
            columns=(*_VOLUME_COLUMNS, "absolute_rvd"),
            rows=(
                Row("FCN-8s", "fcn-8s", {}, _volume_scores(33.7, 48.5, 33.4, 76.5, 19.6)),
                Row("PSPNet", "pspnet", {}, _volume_scores(37.5, 50.2, 36.1, 73.5, 13.6), "pspnet-atlas"),
                Row(
                    "DeepLabv3+",
                    "deeplabv3-plus",
                    {},
                    _volume_scores(50.7, 58.6, 52.7, 62.1, 32.5),
                    "deeplabv3-plus-atlas",
                ),
                Row("DenseUnet", "dense-unet", {}, _volume_scores(54.3, 61.4, 55.3, 58.8, 25.6)),
                _CLCI_BASELINE,
                _CLCI_FULL,
            ),
            generator="strokes",
        ),
        Table(
            id="clci-net-2",
            title="What each part of CLCI-Net adds",
            source=f"{_CLCI_NET}, Table 2",
            data=_ATLAS,
            recipe="clci-net-atlas",
            columns=(*_VOLUME_COLUMNS, "absolute_rvd"),
            rows=(
                _CLCI_BASELINE,
                _ablation("ASPP", 54.6, 64.0, 53.7, 57.7, 31.0, aspp=True),
                _ablation("CLF", 55.1, 66.0, 53.5, 57.7, 12.8, clf=True),
                _ablation("Inference", 55.8, 60.3, 60.1, 57.0, 53.4, inference=True),
                # The tick marks of the three rows with two parts are lost; their order follows the columns'.
                _ablation("ASPP + CLF", 55.9, 65.0, 55.3, 56.5, 26.2, aspp=True, clf=True),
                _ablation("ASPP + Inference", 56.7, 62.2, 57.2, 55.8, 43.6, aspp=True, inference=True),
                _ablation("CLF + Inference", 56.8, 59.9, 59.7, 55.7, 37.9, clf=True, inference=True),
                _CLCI_FULL,
            ),
            generator="strokes",
        ),
    )
}


def find_table(table_id):
    """The table of that id.

    Raises
    ------
    UsageError
        If there is none.
    """
    if table_id not in TABLES:
        raise UsageError(f"no table is called {table_id!r}; use one of {', '.join(TABLES)}")
    return TABLES[table_id]
