"""The ablation of EGS-Net (Song and Huang, BrainLes 2018)."""

from ...models.configuration_egs_net import ablation_rows
from .table import Row, Table

#: Dice of the paper's cross-validation, in percent.
_REPORTED = {
    "U-Net + CE": 53.0,
    "+ GD": 55.0,
    "AU-Net": 56.0,
    "+ G": 58.0,
    "+ SDF": 59.0,
    "+ SN": 60.0,
    "+ E": 61.0,
    "+ BN": 62.0,
    "true DWI": 83.0,
}


def _row(name, model):
    channels = tuple(model.get("channel_names", ()))  # of the true DWI alone: the others take the recipe's
    plain = {setting: list(value) if isinstance(value, tuple) else value for setting, value in model.items()}
    return Row(name, "egs-net", plain, {"case_dsc": _REPORTED[name]}, channels=channels)


TABLES = (
    Table(
        id="egs-net-1",
        title="What each part of EGS-Net adds",
        source="Song and Huang, EGS-Net, BrainLes 2018, doi:10.1007/978-3-030-11723-8_31, ablation",
        data="ISLES 2018, cross-validation",
        recipe="egs-net-isles2018",
        columns=("case_dsc", "challenge_precision", "challenge_recall", "challenge_avd"),
        rows=tuple(_row(name, model) for name, model in ablation_rows().items()),
        generator="perfusion",
        note="Each row keeps what those above it added; the last one is the segmentor on the true DWI, an upper bound "
        "that nobody has where the network is used. One split here, four folds in the paper.",
        narrow_rate=1e-3,  # RMSprop
    ),
)
