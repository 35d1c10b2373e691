"""What the configurations of networks that segment whole slices have in common."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .losses import LOSSES, check_loss, complete_settings


@strict
class LesionConfig(PreTrainedConfig):
    r"""Fields of every network that tells lesion from background.

    Parameters
    ----------
    num_channels : int
        Channels of ``pixel_values``.
    num_logits : int
        1 for a sigmoid head, 2 or more for softmax. Independent of ``id2label``.
    base_width : int
        Feature maps of the first layer.
    """

    num_channels: int = 1
    num_logits: int = 1
    base_width: int = 64

    def __post_init__(self, **kwargs):
        if self.id2label is None and "num_labels" not in kwargs:
            self.id2label = {0: "background", 1: "lesion"}
            self.label2id = {"background": 0, "lesion": 1}
        super().__post_init__(**kwargs)

    def validate_widths(self):
        for name in ("num_channels", "num_logits", "base_width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")


@strict
class SegmenterConfig(LesionConfig):
    r"""Fields of every network that is trained; those of :class:`LesionConfig` beside them.

    Parameters
    ----------
    loss : str
        A name in :data:`~hf_lesionseg.models.losses.LOSSES`, where each is explained: "dice", "linear-dice", "tversky",
        "bce", "bce-dice", "focal", "focal-dice", "generalized-dice-ce", or one that was added there.
    loss_settings : dict, optional
        Settings of that loss by name, such as ``{"alpha": 0.3, "beta": 0.7}`` of "tversky". Those that are left out
        are filled in with the loss's defaults, so that a saved configuration names them all.
    """

    loss: str = "dice"
    loss_settings: dict | None = None

    #: Height and width are padded to this multiple inside the network.
    stride = 32

    def __post_init__(self, **kwargs):
        if self.loss in LOSSES:
            self.loss_settings = complete_settings(self.loss, self.loss_settings)
        super().__post_init__(**kwargs)

    @classmethod
    def from_dict(cls, config_dict, **kwargs):
        """As transformers' own, but that another ``loss`` begins at its own defaults and is checked as at first."""
        given = {name: kwargs.pop(name) for name in ("loss", "loss_settings") if name in kwargs}
        if "loss" in given:
            given = {"loss_settings": None} | given
        return super().from_dict(config_dict | given, **kwargs)

    def validate_loss(self):
        check_loss(self.loss, self.loss_settings or {})


def check_choice(name, value, choices):
    """Raise ``ValueError`` unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; use one of {', '.join(map(repr, choices))}")


def check_dropout(value):
    """Raise ``ValueError`` unless ``value`` is a share of feature maps that can be dropped."""
    if not 0 <= value < 1:
        raise ValueError(f"dropout is {value}; it must be at least 0 and below 1")
