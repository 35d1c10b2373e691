"""The tables of L-SNet (Xie et al., ICIP 2021)."""

from .table import Row, Table

_L_SNET = "Xie et al., L-SNet, ICIP 2021, arXiv:2102.05971"
_PANCREAS = "Pancreas-CT (NIH), slices"


def _scores(dsc, precision, recall):
    return {"dsc": dsc, "precision": precision, "recall": recall}


TABLES = (
    Table(
        id="l-snet-1",
        title="L-SNet and its rivals",
        source=f"{_L_SNET}, Table 1",
        data=_PANCREAS,
        recipe="l-snet-pancreas",
        columns=("dsc", "precision", "recall", "dsc_small", "dsc_small_organs", "dsc_all_slices", "dsc_volume"),
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
)
