"""Configuration of PSPNet."""

from huggingface_hub.dataclasses import strict

from .configuration_resnet_segmenter import RESNET_DEPTHS
from .configuration_segmenter import SegmenterConfig, check_choice, check_dropout


@strict
class PSPNetConfig(SegmenterConfig):
    r"""Configuration of :class:`~hf_lesionseg.models.modeling_pspnet.PSPNetForSemanticSegmentation`.

    The defaults are the PSPNet that CLCI-Net is compared with, for grey slices: 48,936,130 parameters, 2,360,065 of
    them in the auxiliary head. Beside the fields below: those of
    :class:`~hf_lesionseg.models.configuration_segmenter.SegmenterConfig`.

    Parameters
    ----------
    base_width : int
        Feature maps of the encoder's stem; 64 in the published ResNets, which alone have weights to start from.
    depth : {10, 18, 34, 50, 101}
        Layers of the ResNet, the last two stages of which are dilated: its maps end at 1/8 of the image's size.
    bins : sequence of int
        Rows and columns of each grid that the pyramid averages over.
    dropout : float
        Before the logits.
    auxiliary_weight : float
        Weight of the loss of a second head on the third stage, in training; 0 leaves the head out.
    """

    model_type = "pspnet"

    depth: int = 50
    bins: list[int] | tuple[int, ...] = (1, 2, 3, 6)
    dropout: float | int = 0.1
    auxiliary_weight: float | int = 0.4

    #: Height and width are padded to this multiple inside the network.
    stride = 8

    def validate_depth(self):
        check_choice("depth", self.depth, RESNET_DEPTHS)

    def validate_bins(self):
        if not self.bins or min(self.bins) < 1:
            raise ValueError(f"bins is {self.bins}; give one or more numbers of rows of 1 or more")

    def validate_dropout(self):
        check_dropout(self.dropout)

    def validate_auxiliary_weight(self):
        if not 0 <= self.auxiliary_weight < float("inf"):
            raise ValueError(f"auxiliary_weight is {self.auxiliary_weight}; it must be 0 or more")
