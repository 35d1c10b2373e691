"""MS-DCNN: two densely connected paths for ischemic stroke on CT perfusion maps.

Liu et al., BrainLes 2018, doi:10.1007/978-3-030-11723-8_28. Sizes below are those of the paper's 160x160 slices.
"""

import torch
from torch import nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from .configuration_ms_dcnn import MSDCNNConfig
from .dense_blocks import DenseBlock, norm_relu_conv
from .layers import BatchNorm2d
from .one_stage import OneStageSegmenter


def _conv(in_channels, out_channels, kernel_size, bias=False):
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)


class MSDCNNStem(GradientCheckpointingLayer):
    """First convolution of a path, at full resolution (stride 1: four up-blocks lead back), batch norm, ReLU.

    Parameters
    ----------
    in_channels, width : int
    kernel_sizes : tuple of int
        One kernel, or several side by side which share out ``width``.
    """

    def __init__(self, in_channels, width, kernel_sizes):
        super().__init__()
        shares = [width // len(kernel_sizes)] * len(kernel_sizes)
        shares[0] += width - sum(shares)
        self.convs = nn.ModuleList(
            _conv(in_channels, share, size) for share, size in zip(shares, kernel_sizes, strict=True)
        )
        self.norm_relu = nn.Sequential(BatchNorm2d(width), nn.ReLU(inplace=True))

    def forward(self, images):
        return self.norm_relu(torch.cat([conv(images) for conv in self.convs], dim=1))


class MSDCNNTransition(GradientCheckpointingLayer):
    """Batch norm, ReLU, with ``compression`` a 1x1 convolution, 2x2 average pooling, dropout."""

    def __init__(self, in_channels, compression, dropout):
        super().__init__()
        self.out_channels = in_channels if compression is None else max(int(in_channels * compression), 1)
        self.norm_relu = nn.Sequential(BatchNorm2d(in_channels), nn.ReLU(inplace=True))
        self.conv = None if compression is None else _conv(in_channels, self.out_channels, 1)
        self.pool = nn.Sequential(nn.AvgPool2d(2), nn.Dropout(dropout))

    def forward(self, features):
        features = self.norm_relu(features)
        if self.conv is not None:
            features = self.conv(features)
        return self.pool(features)


class MSDCNNUpBlock(GradientCheckpointingLayer):
    """Bilinear upsampling by 2, concatenation of the skip, batch norm, ReLU, 3x3 convolution."""

    def __init__(self, in_channels, skip_channels, width):
        super().__init__()
        self.conv = nn.Sequential(*norm_relu_conv(in_channels + skip_channels, width, 3))

    def forward(self, features, skip):
        upsampled = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
        return self.conv(torch.cat([upsampled, skip], dim=1))


class MSDCNNPath(nn.Module):
    """One of the two U-shaped paths: stem, dense blocks with transitions between them, up-blocks.

    With the paper's settings: 160 (64 maps) -> 80 (256) -> 40 (640) -> 20 (1408) -> 10 (1920) and back to 160 (64).

    Parameters
    ----------
    config : MSDCNNConfig
    in_channels : int
    kernel_sizes : tuple of int
    dropout : float
    """

    def __init__(self, config, in_channels, kernel_sizes, dropout):
        super().__init__()
        self.stem = MSDCNNStem(in_channels, config.base_width, kernel_sizes)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        width, skips = config.base_width, [config.base_width]
        for level, layers in enumerate(config.block_layers):
            if level > 0:
                self.transitions.append(MSDCNNTransition(width, config.compression, dropout))
                width = self.transitions[-1].out_channels
            self.blocks.append(DenseBlock(width, layers, config.growth_rate, config.bottleneck, dropout))
            width = self.blocks[-1].out_channels
            skips.append(width)
        incoming = (skips.pop(), *config.up_widths[:-1])
        self.up_blocks = nn.ModuleList(
            MSDCNNUpBlock(*channels) for channels in zip(incoming, reversed(skips), config.up_widths, strict=True)
        )

    def forward(self, images):
        """Map (batch, in_channels, height, width) to a list of maps: stem and blocks, then up-blocks."""
        levels = [self.stem(images)]
        current = self.pool(levels[0])
        for index, block in enumerate(self.blocks):
            if index > 0:
                current = self.transitions[index - 1](current)
            current = block(current)
            levels.append(current)
        skips = levels[:-1]
        for up_block, skip in zip(self.up_blocks, reversed(skips), strict=True):
            current = up_block(current, skip)
            levels.append(current)
        return levels


class MSDCNN(nn.Module):
    """Both paths, and two convolutions on what they give together.

    Parameters
    ----------
    config : MSDCNNConfig
    """

    def __init__(self, config):
        super().__init__()
        self.first_path_channels = config.first_path_channels
        channels = (config.first_path_channels, config.num_channels - config.first_path_channels)
        kernels = [(size,) for size in config.kernel_sizes]
        if config.kernel_layout == "both-in-each-path":
            kernels = [tuple(config.kernel_sizes)] * 2
        self.paths = nn.ModuleList(
            MSDCNNPath(config, *settings) for settings in zip(channels, kernels, config.path_dropout, strict=True)
        )
        # The ReLU between the two is ours: without it they would be one linear map.
        self.merge = nn.Sequential(
            _conv(2 * config.up_widths[-1], config.base_width, 3, bias=True), nn.ReLU(inplace=True)
        )
        self.head = _conv(config.base_width, config.num_logits, 1, bias=True)

    def forward(self, images):
        """Map padded images to logits and the maps of the first, then of the second path."""
        parts = images[:, : self.first_path_channels], images[:, self.first_path_channels :]
        first, second = (path(part) for path, part in zip(self.paths, parts, strict=True))
        return self.head(self.merge(torch.cat([first[-1], second[-1]], dim=1))), (*first, *second)


class MSDCNNForSemanticSegmentation(OneStageSegmenter):
    """MS-DCNN with its segmentation head; ``pixel_values`` are Tmax, CBF, CBV and MTT, normalised.

    Heights and widths that are not a multiple of 16 are padded inside with zeros, and the logits cropped back.

    Examples
    --------
    >>> import torch
    >>> config = MSDCNNConfig(base_width=4, growth_rate=2, block_layers=(1, 1, 1, 1), up_widths=(4, 4, 4, 4))
    >>> MSDCNNForSemanticSegmentation(config).eval()(torch.rand(1, 4, 50, 40)).logits.shape
    torch.Size([1, 1, 50, 40])
    """

    config: MSDCNNConfig
    config_class = MSDCNNConfig
    base_model_prefix = "ms_dcnn"
    _no_split_modules = ["MSDCNNStem", "DenseLayer", "MSDCNNTransition", "MSDCNNUpBlock"]

    @staticmethod
    def build_network(config):
        return MSDCNN(config)


__all__ = ["MSDCNNForSemanticSegmentation"]
