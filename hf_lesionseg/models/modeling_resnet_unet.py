"""U-Net on a ResNet encoder: the one-stage network, and the first stage, that L-SNet is compared with."""

from .configuration_resnet_unet import ResNetUNetConfig
from .one_stage import OneStageSegmenter
from .resnet_segmenters import ResNetUNet


class ResNetUNetForSemanticSegmentation(OneStageSegmenter):
    """U-Net (Ronneberger et al., MICCAI 2015) on a ResNet encoder (He et al., CVPR 2016).

    Examples
    --------
    >>> import torch
    >>> model = ResNetUNetForSemanticSegmentation(ResNetUNetConfig(depth=18, base_width=4)).eval()
    >>> model(torch.rand(1, 3, 50, 40)).logits.shape
    torch.Size([1, 1, 50, 40])
    """

    config: ResNetUNetConfig
    config_class = ResNetUNetConfig
    base_model_prefix = "resnet_unet"

    @staticmethod
    def build_network(config):
        return ResNetUNet(
            config.depth, config.num_channels, config.num_logits, config.base_width, config.decoder_widths
        )


__all__ = ["ResNetUNetForSemanticSegmentation"]
