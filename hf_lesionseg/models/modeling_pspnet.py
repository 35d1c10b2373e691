"""PSPNet: a network that CLCI-Net is compared with."""

from torch import nn
from torch.nn import functional as F

from .configuration_pspnet import PSPNetConfig
from .context_pooling import PyramidPooling, conv_norm_relu
from .losses import segmentation_loss
from .one_stage import OneStageSegmenter
from .resnet_decoder import ScoreConv2d
from .resnet_encoder import ResNetEncoder


class PSPNet(nn.Module):
    """Pyramid pooling on a ResNet whose last two stages are dilated; logits at stride 8, upsampled bilinearly.

    Parameters
    ----------
    config : PSPNetConfig
    """

    def __init__(self, config):
        super().__init__()
        self.encoder = ResNetEncoder(config.depth, config.num_channels, config.base_width, output_stride=8)
        *_, third, last = self.encoder.widths
        self.pyramid = PyramidPooling(last, last // 4, config.bins, config.dropout)
        self.head = ScoreConv2d(last // 4, config.num_logits, 1)
        self.auxiliary = None
        if config.auxiliary_weight:
            self.auxiliary = nn.Sequential(
                conv_norm_relu(third, third // 4, 3),
                nn.Dropout(config.dropout),
                ScoreConv2d(third // 4, config.num_logits, 1),
            )

    def forward(self, images):
        """Segment images whose height and width are multiples of 8.

        Returns
        -------
        logits : torch.Tensor of shape (batch, num_logits, height, width)
        hidden_states : tuple of torch.Tensor
            The encoder's maps, finest first, and the pyramid's.
        """
        features = self.encoder(images)
        pooled = self.pyramid(features[-1])
        return _upsampled(self.head(pooled)), (*features, pooled)


def _upsampled(logits):
    return F.interpolate(logits, scale_factor=8, mode="bilinear", align_corners=False)


class PSPNetForSemanticSegmentation(OneStageSegmenter):
    """PSPNet (Zhao et al., CVPR 2017) on a dilated ResNet.

    Examples
    --------
    >>> import torch
    >>> model = PSPNetForSemanticSegmentation(PSPNetConfig(depth=10, base_width=4)).eval()
    >>> model(torch.rand(1, 1, 50, 40)).logits.shape
    torch.Size([1, 1, 50, 40])
    """

    config: PSPNetConfig
    config_class = PSPNetConfig
    base_model_prefix = "pspnet"
    _no_split_modules = ["ResNetBasicLayer", "ResNetBottleNeckLayer", "PyramidPooling"]

    @staticmethod
    def build_network(config):
        return PSPNet(config)

    def auxiliary_loss(self, hidden_states, targets):
        """The same loss of the head on the encoder's third stage, times ``config.auxiliary_weight``."""
        if self.network.auxiliary is None:
            return 0
        height, width = targets.shape[1:]
        logits = _upsampled(self.network.auxiliary(hidden_states[3]))[..., :height, :width]
        return self.config.auxiliary_weight * segmentation_loss(logits, targets, self.config)


__all__ = ["PSPNetForSemanticSegmentation"]
