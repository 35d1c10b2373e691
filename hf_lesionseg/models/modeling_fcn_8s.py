"""FCN-8s on VGG16: a network that CLCI-Net is compared with."""

from .configuration_fcn_8s import FCN8sConfig
from .fully_convolutional import FCN8s, VGG16Encoder
from .one_stage import OneStageSegmenter


class FCN8sForSemanticSegmentation(OneStageSegmenter):
    """FCN-8s (Long et al., CVPR 2015) on VGG16, whose classifier became two convolutions.

    The upsampling is bilinear and fixed, where the authors learn it from that start.

    Examples
    --------
    >>> import torch
    >>> model = FCN8sForSemanticSegmentation(FCN8sConfig(base_width=2)).eval()
    >>> model(torch.rand(1, 1, 50, 40)).logits.shape
    torch.Size([1, 1, 50, 40])
    """

    config: FCN8sConfig
    config_class = FCN8sConfig
    base_model_prefix = "fcn_8s"
    _no_split_modules = ["VGGStage", "VGGClassifier"]

    @staticmethod
    def build_network(config):
        encoder = VGG16Encoder(config.num_channels, config.base_width, config.dropout, config.batch_norm)
        return FCN8s(encoder, config.num_logits)


__all__ = ["FCN8sForSemanticSegmentation"]
