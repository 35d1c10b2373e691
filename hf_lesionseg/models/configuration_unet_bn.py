"""Configuration of the U-Net with batch norm: the baseline of CLCI-Net."""

from huggingface_hub.dataclasses import strict

from .configuration_segmenter import SegmenterConfig, check_dropout


@strict
class UNetBNConfig(SegmenterConfig):
    r"""Configuration of :class:`~hf_lesionseg.models.modeling_unet_bn.UNetBNForSemanticSegmentation`.

    The defaults are the baseline of CLCI-Net's tables: 7,765,409 trainable parameters, 7,771,297 with the statistics of
    batch norm. Beside the fields below: those of :class:`~hf_lesionseg.models.configuration_segmenter.SegmenterConfig`.

    Parameters
    ----------
    base_width : int
        Feature maps of the first level, doubled from level to level.
    dropout : float
        After the deepest encoder level and the bottleneck.
    batch_norm_eps, batch_norm_momentum : float
        Keras' defaults in torch's convention: eps 1e-3, momentum 0.01.
    """

    model_type = "unet-bn"

    base_width: int = 32
    dropout: float | int = 0.3
    batch_norm_eps: float = 1e-3
    batch_norm_momentum: float = 0.01

    #: Height and width are padded to this multiple inside the network.
    stride = 16

    def validate_dropout(self):
        check_dropout(self.dropout)
