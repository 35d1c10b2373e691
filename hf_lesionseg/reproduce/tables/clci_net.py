"""The tables of CLCI-Net (Yang et al., MICCAI 2019)."""

from .table import Row, Table

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


TABLES = (
    Table(
        id="clci-net-1",
        title="CLCI-Net and its rivals",
        source=f"{_CLCI_NET}, Table 1",
        data=_ATLAS,
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
            _CLCI_BASELINE,
            _CLCI_FULL,
        ),
        generator="strokes",
        narrow_rate=3e-3,
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
        narrow_rate=3e-3,
    ),
)
