"""Configuration of the U-Net and the Residual U-Net."""

from huggingface_hub.dataclasses import strict

from .configuration_segmenter import SegmenterConfig, check_choice, check_dropout

ENCODER_BLOCKS = ("residual", "residual-full-resolution", "plain")


@strict
class ResUNetConfig(SegmenterConfig):
    r"""Configuration of :class:`~hf_lesionseg.models.modeling_res_unet.ResUNetForSemanticSegmentation`.

    The defaults are the Residual U-Net for chronic stroke on ATLAS R2.0, its description read literally: 7,412,929
    trainable parameters. Beside the fields below: those of
    :class:`~hf_lesionseg.models.configuration_segmenter.SegmenterConfig`.

    Parameters
    ----------
    base_width : int
        Feature maps of the first level, doubled from level to level; 32 in the paper.
    encoder_block : {"residual", "residual-full-resolution", "plain"}
        "residual": every block halves the resolution, and each skip is a block's input, so that the finest one is the
        image itself. "residual-full-resolution" [assumed]: the first block keeps the resolution, as in the Deep
        Residual U-Net (Zhang et al., 2018) that the paper cites, and each skip is a block's output (7,940,513
        parameters). "plain": the U-Net that it is compared with, of double convolutions and max pooling (7,765,409).
    dropout : float
        After each residual block; 0.5 in the paper.
    up_kernel_size : {2, 3, 4}
        Kernel size of the transposed convolutions of stride 2; 2 [assumed].
    batch_norm_eps, batch_norm_momentum : float
        Keras' defaults in torch's convention [assumed]: eps 1e-3, momentum 0.01.
    """

    model_type = "res-unet"

    base_width: int = 32
    encoder_block: str = "residual"
    dropout: float | int = 0.5
    up_kernel_size: int = 2
    batch_norm_eps: float = 1e-3
    batch_norm_momentum: float = 0.01

    #: Height and width are padded to this multiple inside the network.
    stride = 16

    def validate_encoder_block(self):
        check_choice("encoder_block", self.encoder_block, ENCODER_BLOCKS)

    def validate_up_kernel_size(self):
        check_choice("up_kernel_size", self.up_kernel_size, (2, 3, 4))

    def validate_dropout(self):
        check_dropout(self.dropout)
