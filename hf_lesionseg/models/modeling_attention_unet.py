"""Attention U-Net on a ResNet encoder: a one-stage network that L-SNet is compared with."""

from .configuration_attention_unet import AttentionUNetConfig
from .one_stage import OneStageSegmenter
from .resnet_segmenters import AttentionUNetDecoder, ResNetUNet


class AttentionUNetForSemanticSegmentation(OneStageSegmenter):
    """Attention U-Net (Oktay et al., MIDL 2018, arXiv:1804.03999) on the ResNet encoder of the U-Net it is compared to.

    What is assumed: L-SNet's paper does not say which encoder its Attention U-Net has; the same ResNet-34 as its other
    one-stage networks is taken, with the gates of Oktay et al. on the skips at 1/16, 1/8 and 1/4, the finest skip
    ungated as there, and without their deep supervision. How a gate is built, and what is assumed of it, is told by
    :class:`~hf_lesionseg.models.resnet_segmenters.AttentionGate`.

    Examples
    --------
    >>> import torch
    >>> model = AttentionUNetForSemanticSegmentation(AttentionUNetConfig(depth=18, base_width=4)).eval()
    >>> model(torch.rand(1, 3, 50, 40)).logits.shape
    torch.Size([1, 1, 50, 40])
    """

    config: AttentionUNetConfig
    config_class = AttentionUNetConfig
    base_model_prefix = "attention_unet"
    _no_split_modules = [*OneStageSegmenter._no_split_modules, "AttentionGate"]

    @staticmethod
    def build_network(config):
        return ResNetUNet(
            config.depth,
            config.num_channels,
            config.num_logits,
            config.base_width,
            config.decoder_widths,
            decoder=AttentionUNetDecoder,
        )


__all__ = ["AttentionUNetForSemanticSegmentation"]
