"""What the configurations of networks that segment whole slices have in common."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

SEGMENTATION_LOSSES = ("focal-dice", "dice", "bce", "bce-dice")


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
    r"""Fields of the networks that share the losses of a slice; those of :class:`LesionConfig` beside them.

    Parameters
    ----------
    loss : {"dice", "focal-dice", "bce", "bce-dice"}
        "dice" is the Dice loss of the batch (CLCI-Net, Section 3), "focal-dice" the focal loss plus ``dice_weight``
        times the Dice loss (L-SNet, eq. 6), "bce" binary cross-entropy, "bce-dice" ``bce_weight`` times the latter plus
        the mean of the Dice losses of the batch and of each image.
    focal_gamma, focal_alpha
        Of the focal loss; without ``focal_alpha`` foreground and background weigh the same.
    dice_weight : float
    dice_smooth : float
        Smoothing term of the Dice losses.
    bce_weight : float
    """

    loss: str = "dice"
    focal_gamma: float | int = 2.0
    focal_alpha: float | int | None = None
    dice_weight: float | int = 0.2
    dice_smooth: float | int = 1.0
    bce_weight: float | int = 1.0

    #: Height and width are padded to this multiple inside the network.
    stride = 32

    def validate_loss(self):
        if self.loss not in SEGMENTATION_LOSSES:
            raise ValueError(f"loss is {self.loss!r}; use one of {', '.join(SEGMENTATION_LOSSES)}")
        for name in ("focal_gamma", "dice_weight", "dice_smooth", "bce_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")
        if self.focal_alpha is not None and not 0 < self.focal_alpha < 1:
            raise ValueError(f"focal_alpha is {self.focal_alpha}; it must be between 0 and 1, or null")


def check_choice(name, value, choices):
    """Raise ``ValueError`` unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; use one of {', '.join(map(repr, choices))}")


def check_dropout(value):
    """Raise ``ValueError`` unless ``value`` is a share of feature maps that can be dropped."""
    if not 0 <= value < 1:
        raise ValueError(f"dropout is {value}; it must be at least 0 and below 1")
