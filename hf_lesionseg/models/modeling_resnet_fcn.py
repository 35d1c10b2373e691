"""FCN on a ResNet encoder: a one-stage network that L-SNet is compared with."""

from .configuration_resnet_fcn import ResNetFCNConfig
from .one_stage import OneStageSegmenter
from .resnet_segmenters import ResNetFCN


class ResNetFCNForSemanticSegmentation(OneStageSegmenter):
    """FCN-8s (Long et al., CVPR 2015) on a ResNet encoder (He et al., CVPR 2016).

    Examples
    --------
    >>> import torch
    >>> model = ResNetFCNForSemanticSegmentation(ResNetFCNConfig(depth=18, base_width=4)).eval()
    >>> model(torch.rand(1, 3, 50, 40)).logits.shape
    torch.Size([1, 1, 50, 40])
    """

    config: ResNetFCNConfig
    config_class = ResNetFCNConfig
    base_model_prefix = "resnet_fcn"

    @staticmethod
    def build_network(config):
        return ResNetFCN(config.depth, config.num_channels, config.num_logits, config.base_width)


__all__ = ["ResNetFCNForSemanticSegmentation"]
