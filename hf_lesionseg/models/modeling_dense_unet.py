"""DenseUNet-167, the two-dimensional part of H-DenseUNet: a network that CLCI-Net is compared with."""

from torch import nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from .configuration_dense_unet import DenseUNetConfig
from .dense_blocks import DenseNetEncoder
from .layers import BatchNorm2d
from .one_stage import OneStageSegmenter


class DenseUNetLevel(GradientCheckpointingLayer):
    """Nearest-neighbour upsampling by 2, sum with the skip, 3x3 convolution, dropout, batch norm, ReLU.

    Parameters
    ----------
    in_channels, width : int
    line_channels : int, optional
        Feature maps of a skip that a 1x1 convolution brings to ``in_channels`` first.
    dropout : float
    """

    def __init__(self, in_channels, width, line_channels=None, dropout=0.0):
        super().__init__()
        self.line = nn.Conv2d(line_channels, in_channels, 1) if line_channels else nn.Identity()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1), nn.Dropout(dropout), BatchNorm2d(width), nn.ReLU(inplace=True)
        )

    def forward(self, features, skip=None):
        features = F.interpolate(features, scale_factor=2, mode="nearest")
        return self.layers(features if skip is None else features + self.line(skip))


class DenseUNet(nn.Module):
    """DenseNet encoder and a decoder whose levels add the skips, so that each has the next skip's feature maps.

    Parameters
    ----------
    config : DenseUNetConfig
    """

    def __init__(self, config):
        super().__init__()
        self.encoder = DenseNetEncoder(config.num_channels, config.base_width, config.growth_rate, config.block_layers)
        stem, first, second, third, last = self.encoder.widths
        final = max(1, 2 * stem // 3)
        self.decoder = nn.ModuleList(
            [
                DenseUNetLevel(last, second, line_channels=third),
                DenseUNetLevel(second, first),
                DenseUNetLevel(first, stem),
                DenseUNetLevel(stem, stem),
                DenseUNetLevel(stem, final, dropout=config.dropout),
            ]
        )
        self.head = nn.Conv2d(final, config.num_logits, 1)

    def forward(self, images):
        """Segment images whose height and width are multiples of 32.

        Returns
        -------
        logits : torch.Tensor of shape (batch, num_logits, height, width)
        hidden_states : tuple of torch.Tensor
            The encoder's maps, finest first, and the decoder's, coarsest first.
        """
        *skips, features = maps = self.encoder(images)
        levels = []
        for level, skip in zip(self.decoder, (*reversed(skips), None), strict=True):
            features = level(features, skip)
            levels.append(features)
        return self.head(features), (*maps, *levels)


class DenseUNetForSemanticSegmentation(OneStageSegmenter):
    """DenseUNet-167 (Li et al., TMI 2018): 167 convolutions.

    Its authors follow each batch norm of the encoder by one more scale and shift, which batch norm has already.

    Examples
    --------
    >>> import torch
    >>> config = DenseUNetConfig(base_width=4, growth_rate=2, block_layers=(1, 2, 2, 1))
    >>> DenseUNetForSemanticSegmentation(config).eval()(torch.rand(1, 1, 50, 40)).logits.shape
    torch.Size([1, 1, 50, 40])
    """

    config: DenseUNetConfig
    config_class = DenseUNetConfig
    base_model_prefix = "dense_unet"
    _no_split_modules = ["DenseLayer", "DenseTransition", "DenseUNetLevel"]

    @staticmethod
    def build_network(config):
        return DenseUNet(config)


__all__ = ["DenseUNetForSemanticSegmentation"]
