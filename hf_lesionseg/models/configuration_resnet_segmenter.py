"""What the configurations of the networks on ResNet encoders have in common."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

SEGMENTATION_LOSSES = ("focal-dice", "dice", "bce")
RESNET_DEPTHS = (10, 18, 34, 50)


@strict
class ResNetSegmenterConfig(PreTrainedConfig):
    r"""Fields of every network that segments on a ResNet encoder.

    Parameters
    ----------
    num_channels : int
        Channels of ``pixel_values``; a grey slice is repeated.
    num_logits : int
        1 for a sigmoid head, 2 or more for softmax. Independent of ``id2label``.
    base_width : int
        Feature maps of the encoder's stem; every other width is a multiple of it. 64 in the published ResNets, which
        alone have weights to start from.
    loss : {"focal-dice", "dice", "bce"}
        "focal-dice" is the focal loss plus ``dice_weight`` times the Dice loss of the batch (L-SNet, eq. 6).
    focal_gamma, focal_alpha
        Of the focal loss; without ``focal_alpha`` foreground and background weigh the same.
    dice_weight : float
    dice_smooth : float
        Smoothing term of the batch Dice loss.
    """

    num_channels: int = 3
    num_logits: int = 1
    base_width: int = 64
    loss: str = "focal-dice"
    focal_gamma: float | int = 2.0
    focal_alpha: float | int | None = None
    dice_weight: float | int = 0.2
    dice_smooth: float | int = 1.0

    #: Height and width are padded to this multiple inside the network.
    stride = 32

    def __post_init__(self, **kwargs):
        if self.id2label is None and "num_labels" not in kwargs:
            self.id2label = {0: "background", 1: "lesion"}
            self.label2id = {"background": 0, "lesion": 1}
        super().__post_init__(**kwargs)

    def validate_widths(self):
        for name in ("num_channels", "num_logits", "base_width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")

    def validate_loss(self):
        if self.loss not in SEGMENTATION_LOSSES:
            raise ValueError(f"loss is {self.loss!r}; use one of {', '.join(SEGMENTATION_LOSSES)}")
        for name in ("focal_gamma", "dice_weight", "dice_smooth"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")
        if self.focal_alpha is not None and not 0 < self.focal_alpha < 1:
            raise ValueError(f"focal_alpha is {self.focal_alpha}; it must be between 0 and 1, or null")


def check_choice(name, value, choices):
    """Raise ``ValueError`` unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; use one of {', '.join(map(repr, choices))}")
