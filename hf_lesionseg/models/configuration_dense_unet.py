"""Configuration of the DenseUNet."""

from huggingface_hub.dataclasses import strict

from .configuration_segmenter import SegmenterConfig, check_dropout


@strict
class DenseUNetConfig(SegmenterConfig):
    r"""Configuration of :class:`~hf_lesionseg.models.modeling_dense_unet.DenseUNetForSemanticSegmentation`.

    The defaults are the DenseUNet-167 of H-DenseUNet, [assumed] to be the DenseUnet that CLCI-Net is compared with, for
    grey slices: 49,518,305 parameters. Beside the fields below: those of
    :class:`~hf_lesionseg.models.configuration_segmenter.SegmenterConfig`.

    Parameters
    ----------
    base_width : int
        Feature maps of the stem.
    growth_rate : int
        Feature maps that each layer of a dense block adds.
    block_layers : sequence of int
        Layers of the four dense blocks: those of DenseNet-161.
    dropout : float
        After the last 3x3 convolution.
    """

    model_type = "dense-unet"

    base_width: int = 96
    growth_rate: int = 48
    block_layers: list[int] | tuple[int, ...] = (6, 12, 36, 24)
    dropout: float | int = 0.3

    def validate_growth_rate(self):
        if self.growth_rate < 1:
            raise ValueError(f"growth_rate is {self.growth_rate}; it must be 1 or more")

    def validate_block_layers(self):
        if len(self.block_layers) != 4 or min(self.block_layers) < 1:
            raise ValueError(f"block_layers is {self.block_layers}; give the layers of four blocks, 1 or more each")

    def validate_dropout(self):
        check_dropout(self.dropout)
