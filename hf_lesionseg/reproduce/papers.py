"""The tables of the papers: which networks stand in their rows, and what the papers report for them.

Each paper has a section that ends in a tuple of its tables. To add a table, write it there, or add a section to
``_PAPERS`` at the end. A column that no table had so far goes into :data:`~hf_lesionseg.reproduce.table.COLUMNS`, and
its figure of a case into :mod:`~hf_lesionseg.reproduce.scores`.

Plain data, which load neither torch nor transformers: the help of ``lesionseg reproduce`` lists them.
"""

from ..errors import UsageError
from .table import ReportedRow, Row, Table

# --- L-SNet

_L_SNET_PAPER = "Xie et al., L-SNet, ICIP 2021, arXiv:2102.05971"
_PANCREAS = "Pancreas-CT (NIH), slices"


def _slice_scores(dsc, precision, recall):
    return {"dsc": dsc, "precision": precision, "recall": recall}


_L_SNET = (
    Table(
        id="l-snet-1",
        title="L-SNet and its rivals",
        source=f"{_L_SNET_PAPER}, Table 1",
        data=_PANCREAS,
        recipe="l-snet-pancreas",
        columns=("dsc", "precision", "recall", "dsc_small", "dsc_small_organs", "dsc_all_slices", "dsc_volume"),
        rows=(
            Row("U-Net", "resnet-unet", {}, _slice_scores(86.56, 89.60, 90.29)),
            # The paper prints U-Net's P and R once more here, almost surely a slip.
            Row("Attention U-Net", "attention-unet", {}, _slice_scores(86.88, 89.60, 90.29)),
            Row("Coarse-to-fine U-Net", "coarse-to-fine", {}, _slice_scores(87.41, 90.05, 91.36)),
            Row("L-SNet (U-Net)", "l-snet", {}, _slice_scores(88.20, 92.50, 90.45)),
            Row("FCN", "resnet-fcn", {}, _slice_scores(84.28, 88.68, 86.85)),
            Row("Coarse-to-fine FCN", "coarse-to-fine", {"architecture": "fcn"}, _slice_scores(86.16, 91.78, 87.84)),
            Row("L-SNet (FCN)", "l-snet", {"architecture": "fcn"}, _slice_scores(87.20, 92.60, 89.07)),
        ),
    ),
    Table(
        id="l-snet-2",
        title="What each part of L-SNet adds",
        source=f"{_L_SNET_PAPER}, Table 2",
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
        source=f"{_L_SNET_PAPER}, Table 3",
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
        source=f"{_L_SNET_PAPER}, Table 4",
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
)

# --- CLCI-Net

_CLCI_NET_PAPER = "Yang et al., CLCI-Net, MICCAI 2019, arXiv:1907.07008"
_ATLAS_R1 = "ATLAS R1.1, 60 people, volumes"
_VOLUME_COLUMNS = ("volume_dsc", "volume_precision", "volume_recall", "voe", "rvd")


def _volume_scores(*reported):
    return dict(zip(_VOLUME_COLUMNS, reported, strict=True))


def _parts(name, *reported, aspp=False, clf=False, inference=False):
    model = {"aspp": aspp, "clf": clf, "context_inference": inference}
    return Row(name, "clci-net", model, _volume_scores(*reported))


_BASELINE = Row("Baseline", "unet-bn", {}, _volume_scores(54.0, 63.2, 54.4, 58.7, 31.7))
_CLCI_FULL = Row("CLCI-Net", "clci-net", {}, _volume_scores(58.1, 64.9, 58.1, 54.6, 25.4))

_CLCI_NET = (
    Table(
        id="clci-net-1",
        title="CLCI-Net and its rivals",
        source=f"{_CLCI_NET_PAPER}, Table 1",
        data=_ATLAS_R1,
        recipe="clci-net-atlas",
        columns=(*_VOLUME_COLUMNS, "absolute_rvd"),
        rows=(
            # Without batch norm; at ten times the rate it stays empty.
            Row("FCN-8s", "fcn-8s", {}, _volume_scores(33.7, 48.5, 33.4, 76.5, 19.6), narrow_rate=3e-4),
            Row("PSPNet", "pspnet", {}, _volume_scores(37.5, 50.2, 36.1, 73.5, 13.6), "pspnet-atlas"),
            Row(
                "DeepLabv3+",
                "deeplabv3-plus",
                {},
                _volume_scores(50.7, 58.6, 52.7, 62.1, 32.5),
                "deeplabv3-plus-atlas",
            ),
            Row("DenseUnet", "dense-unet", {}, _volume_scores(54.3, 61.4, 55.3, 58.8, 25.6)),
            _BASELINE,
            _CLCI_FULL,
        ),
        generator="strokes",
        narrow_rate=3e-3,
    ),
    Table(
        id="clci-net-2",
        title="What each part of CLCI-Net adds",
        source=f"{_CLCI_NET_PAPER}, Table 2",
        data=_ATLAS_R1,
        recipe="clci-net-atlas",
        columns=(*_VOLUME_COLUMNS, "absolute_rvd"),
        rows=(
            _BASELINE,
            _parts("ASPP", 54.6, 64.0, 53.7, 57.7, 31.0, aspp=True),
            _parts("CLF", 55.1, 66.0, 53.5, 57.7, 12.8, clf=True),
            _parts("Inference", 55.8, 60.3, 60.1, 57.0, 53.4, inference=True),
            # The tick marks of the three rows with two parts are lost; their order follows the columns'.
            _parts("ASPP + CLF", 55.9, 65.0, 55.3, 56.5, 26.2, aspp=True, clf=True),
            _parts("ASPP + Inference", 56.7, 62.2, 57.2, 55.8, 43.6, aspp=True, inference=True),
            _parts("CLF + Inference", 56.8, 59.9, 59.7, 55.7, 37.9, clf=True, inference=True),
            _CLCI_FULL,
        ),
        generator="strokes",
        narrow_rate=3e-3,
    ),
)

# --- Residual U-Net: the paper shows its results in figures, and prints no number

_RES_UNET_COLUMNS = ("volume_dsc", "volume_iou", "volume_auc", "volume_precision", "volume_recall")
_UNPRINTED = dict.fromkeys(_RES_UNET_COLUMNS)

_RES_UNET = (
    Table(
        id="res-unet-1",
        title="U-Net and Residual U-Net",
        source="Residual U-Net on ATLAS R2.0, after Zhang et al., GRSL 2018, arXiv:1711.10684, figures",
        data="ATLAS R2.0, 131 people, slices 70 to 89 of 189",
        recipe="res-unet-atlas",
        columns=(*_RES_UNET_COLUMNS, "case_dsc"),
        rows=(
            Row("U-Net", "res-unet", {"encoder_block": "plain"}, _UNPRINTED),
            Row("Residual U-Net", "res-unet", {"encoder_block": "residual"}, _UNPRINTED),
            # [assumed]: the wiring of the network that the paper cites, beside its own text read literally.
            Row(
                "Residual U-Net, full resolution", "res-unet", {"encoder_block": "residual-full-resolution"}, _UNPRINTED
            ),
        ),
        generator="strokes",
        note="A volume is here the stack of the slices that are trained on, 70 to 89 of 189 or those at their height; "
        "the last column is of whole scans.",
    ),
)

# --- MS-DCNN: the leaderboard of ISLES 2018

_MS_DCNN = (
    Table(
        id="ms-dcnn-1",
        title="MS-DCNN in ISLES 2018",
        source="Liu et al., MS-DCNN, BrainLes 2018, doi:10.1007/978-3-030-11723-8_28, Table 1",
        data="ISLES 2018, 62 test cases",
        recipe="ms-dcnn-isles2018",
        columns=(
            "challenge_dc",
            "challenge_hd",
            "challenge_precision",
            "challenge_recall",
            "challenge_avd",
            "undefined_hd",
            "defined_hd",
        ),
        rows=(
            Row(
                "MS-DCNN (rank 5)",
                "ms-dcnn",
                {},
                {
                    "challenge_dc": (44.0, 30.0),
                    "challenge_hd": (19354857.71, 39507889.77),
                    "challenge_precision": (54.0, 36.0),
                    "challenge_recall": (44.0, 32.0),
                    "challenge_avd": (10.99, 12.70),
                    # Not printed, but the mean and the spread of its HD leave no other number.
                    "undefined_hd": 12,
                },
            ),
        ),
        generator="perfusion",
        reported_only=(
            ReportedRow(
                "songt1 (rank 1)",
                {
                    "challenge_dc": (51.0, 31.0),
                    "challenge_precision": 55.0,
                    "challenge_recall": 55.0,
                    "challenge_avd": (10.24, 9.94),
                },
            ),
        ),
        note="The challenge gives a Hausdorff distance of 1e8 to a case in which a mask is empty: its mean counts "
        "empty masks. The paper's 12 of 62 are derived from its mean and spread; it prints mm for AVD and means mL.",
    ),
)

# --- EGS-Net

_FRAMES = [f"ctp_{number:02d}" for number in range(11)]
_FOUR_MAPS = ["cbf", "cbv", "mtt", "tmax"]
_PLAIN = {
    "map_channels": _FOUR_MAPS,
    "extractor": False,
    "generator": False,
    "squeeze_excitation": False,
    "normalization": "batch",
    "input_norm": False,
    "perceptual": "none",
    "loss": "bce",
    "heat_map": False,
}
#: What each row adds to those above it, with the Dice of the paper's cross-validation, in percent.
_STEPS = (
    ("U-Net + CE", 53.0, _PLAIN),
    ("+ GD", 55.0, {"loss": "generalized-dice-ce"}),
    ("AU-Net", 56.0, {"squeeze_excitation": True}),
    ("+ G", 58.0, {"generator": True, "map_channels": [*_FOUR_MAPS, "pwimax_p"]}),
    ("+ SDF", 59.0, {"heat_map": True}),
    ("+ SN", 60.0, {"normalization": "switch"}),
    ("+ E", 61.0, {"extractor": True, "extractor_channels": _FRAMES[::2]}),
    (
        "+ BN",
        62.0,
        {
            "perceptual": "twin",
            "input_norm": True,
            "extractor_channels": _FRAMES,
            "map_channels": [*_FOUR_MAPS, "pwimax_o", "pwimax_p"],
        },
    ),
)


def _ablation_rows():
    """The last cumulative row is the network itself; "true DWI" is the segmentor on a true DWI, the upper bound."""
    model = {}
    for name, dice, added in _STEPS:
        model = model | added
        yield Row(name, "egs-net", model, {"case_dsc": dice})
    alone = {"num_channels": 1, "channel_names": ["dwi"], "map_channels": ["dwi"]}
    model = alone | {"extractor": False, "generator": False}
    yield Row("true DWI", "egs-net", model, {"case_dsc": 83.0}, channels=("dwi",))


_EGS_NET = (
    Table(
        id="egs-net-1",
        title="What each part of EGS-Net adds",
        source="Song and Huang, EGS-Net, BrainLes 2018, doi:10.1007/978-3-030-11723-8_31, ablation",
        data="ISLES 2018, cross-validation",
        recipe="egs-net-isles2018",
        columns=("case_dsc", "challenge_precision", "challenge_recall", "challenge_avd"),
        rows=tuple(_ablation_rows()),
        generator="perfusion",
        note="Each row keeps what those above it added; the last one is the segmentor on the true DWI, an upper bound "
        "that nobody has where the network is used. One split here, four folds in the paper.",
        narrow_rate=1e-3,  # RMSprop
    ),
)

# --- all of them

_PAPERS = (_L_SNET, _CLCI_NET, _RES_UNET, _MS_DCNN, _EGS_NET)

TABLES = {table.id: table for paper in _PAPERS for table in paper}


def find_table(table_id):
    """The table of that id.

    Raises
    ------
    UsageError
        If there is none.
    """
    if table_id not in TABLES:
        raise UsageError(f"no table is called {table_id!r}; use one of {', '.join(TABLES)}, or all")
    return TABLES[table_id]


def find_tables(ids):
    """The tables of these ids, each once; ``all`` stands for all of them.

    Raises
    ------
    UsageError
        If there is none of an id.
    """
    names = [name for table_id in ids for name in (TABLES if table_id == "all" else (table_id,))]
    return [find_table(name) for name in dict.fromkeys(names)]
