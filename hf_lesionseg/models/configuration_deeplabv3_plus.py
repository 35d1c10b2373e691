"""Configuration of DeepLabv3+."""

from huggingface_hub.dataclasses import strict

from .configuration_resnet_segmenter import RESNET_DEPTHS
from .configuration_segmenter import SegmenterConfig, check_choice, check_dropout


@strict
class DeepLabV3PlusConfig(SegmenterConfig):
    r"""Configuration of :class:`~hf_lesionseg.models.modeling_deeplabv3_plus.DeepLabV3PlusForSemanticSegmentation`.

    The defaults are the DeepLabv3+ that CLCI-Net is compared with, for grey slices: 59,332,897 parameters. Beside the
    fields below: those of :class:`~hf_lesionseg.models.configuration_segmenter.SegmenterConfig`.

    Parameters
    ----------
    base_width : int
        Feature maps of the encoder's stem; 64 in the published ResNets, which alone have weights to start from.
    depth : {10, 18, 34, 50, 101}
        Layers of the ResNet [assumed]: its paper has a ResNet-101 and an Xception-65.
    output_stride : {16, 8}
        The encoder's maps end at this fraction of the image's size, its last stages being dilated; 16 in the paper.
    aspp_dilations : sequence of int
        Dilations of the pyramid's 3x3 branches for an output stride of 16; twice that for 8.
    dropout : float
        After the pyramid.
    """

    model_type = "deeplabv3-plus"

    depth: int = 101
    output_stride: int = 16
    aspp_dilations: list[int] | tuple[int, ...] = (6, 12, 18)
    dropout: float | int = 0.1

    #: Height and width are padded to this multiple inside the network.
    stride = 16

    def validate_depth(self):
        check_choice("depth", self.depth, RESNET_DEPTHS)

    def validate_output_stride(self):
        check_choice("output_stride", self.output_stride, (16, 8))

    def validate_aspp_dilations(self):
        if not self.aspp_dilations or min(self.aspp_dilations) < 1:
            raise ValueError(f"aspp_dilations is {self.aspp_dilations}; give one or more dilations of 1 or more")

    def validate_dropout(self):
        check_dropout(self.dropout)
