"""U-Net and Residual U-Net on ATLAS R2.0: the paper shows its results in figures, and prints no number."""

from .table import Row, Table

_COLUMNS = ("volume_dsc", "volume_iou", "volume_auc", "volume_precision", "volume_recall")
_UNPRINTED = dict.fromkeys(_COLUMNS)

TABLES = (
    Table(
        id="res-unet-1",
        title="U-Net and Residual U-Net",
        source="Residual U-Net on ATLAS R2.0, after Zhang et al., GRSL 2018, arXiv:1711.10684, figures",
        data="ATLAS R2.0, 131 people, slices 70 to 89 of 189",
        recipe="res-unet-atlas",
        columns=(*_COLUMNS, "case_dsc"),
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
