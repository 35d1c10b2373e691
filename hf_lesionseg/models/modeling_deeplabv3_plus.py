"""DeepLabv3+: a network that CLCI-Net is compared with."""

import torch
from torch import nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from .configuration_deeplabv3_plus import DeepLabV3PlusConfig
from .context_pooling import AtrousPyramid, conv_norm_relu
from .one_stage import OneStageSegmenter
from .resnet_decoder import ScoreConv2d
from .resnet_encoder import ResNetEncoder


class DeepLabDecoder(GradientCheckpointingLayer):
    """The pyramid's map at the resolution of a finer one, beside few maps of that, fused by two 3x3 convolutions.

    Parameters
    ----------
    skip_channels : int
        Feature maps of the finer level.
    reduced, width : int
        To which the finer level is reduced, so that it does not outweigh the pyramid's ``width`` (48 and 256 in the
        paper, Section 3.1).
    """

    def __init__(self, skip_channels, reduced, width):
        super().__init__()
        self.reduce = conv_norm_relu(skip_channels, reduced, 1)
        self.fuse = nn.Sequential(conv_norm_relu(width + reduced, width, 3), conv_norm_relu(width, width, 3))

    def forward(self, features, skip):
        upsampled = F.interpolate(features, size=skip.shape[2:], mode="bilinear", align_corners=False)
        return self.fuse(torch.cat([upsampled, self.reduce(skip)], dim=1))


class DeepLabV3Plus(nn.Module):
    """Atrous pyramid on a dilated ResNet, a decoder at stride 4, logits upsampled bilinearly.

    Parameters
    ----------
    config : DeepLabV3PlusConfig
    """

    def __init__(self, config):
        super().__init__()
        self.encoder = ResNetEncoder(
            config.depth, config.num_channels, config.base_width, output_stride=config.output_stride
        )
        width, reduced = 4 * config.base_width, max(1, 3 * config.base_width // 4)
        dilations = [rate * 16 // config.output_stride for rate in config.aspp_dilations]
        self.pyramid = AtrousPyramid(self.encoder.widths[-1], width, dilations, config.dropout)
        self.decoder = DeepLabDecoder(self.encoder.widths[1], reduced, width)
        self.head = ScoreConv2d(width, config.num_logits, 1)

    def forward(self, images):
        """Segment images whose height and width are multiples of 16.

        Returns
        -------
        logits : torch.Tensor of shape (batch, num_logits, height, width)
        hidden_states : tuple of torch.Tensor
            The encoder's maps, finest first, the pyramid's and the decoder's.
        """
        features = self.encoder(images)
        pooled = self.pyramid(features[-1])
        decoded = self.decoder(pooled, features[1])
        logits = F.interpolate(self.head(decoded), scale_factor=4, mode="bilinear", align_corners=False)
        return logits, (*features, pooled, decoded)


class DeepLabV3PlusForSemanticSegmentation(OneStageSegmenter):
    """DeepLabv3+ (Chen et al., ECCV 2018) on a dilated ResNet, with plain instead of separable convolutions.

    Examples
    --------
    >>> import torch
    >>> model = DeepLabV3PlusForSemanticSegmentation(DeepLabV3PlusConfig(depth=10, base_width=4)).eval()
    >>> model(torch.rand(1, 1, 50, 40)).logits.shape
    torch.Size([1, 1, 50, 40])
    """

    config: DeepLabV3PlusConfig
    config_class = DeepLabV3PlusConfig
    base_model_prefix = "deeplabv3_plus"
    _no_split_modules = ["ResNetBasicLayer", "ResNetBottleNeckLayer", "AtrousPyramid", "DeepLabDecoder"]

    @staticmethod
    def build_network(config):
        return DeepLabV3Plus(config)


__all__ = ["DeepLabV3PlusForSemanticSegmentation"]
