"""DenseNet (Huang et al., CVPR 2017) as an encoder: densely connected layers, transitions, maps at strides 2 to 32."""

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from .layers import BatchNorm2d


def norm_relu_conv(in_channels, out_channels, kernel_size):
    """Batch norm, ReLU, convolution without bias that keeps the resolution: a list of layers."""
    return [
        BatchNorm2d(in_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
    ]


class DenseLayer(GradientCheckpointingLayer):
    """Batch norm, ReLU, 1x1 convolution to four times the growth rate; batch norm, ReLU, 3x3 convolution; dropout.

    Takes the maps of all layers before it one by one: recomputed in the backward pass, it keeps none of their
    concatenations, whose sizes grow with the square of the block's length.

    Parameters
    ----------
    in_channels, growth_rate : int
    bottleneck : bool
        Without it there is no 1x1 convolution.
    dropout : float
    """

    def __init__(self, in_channels, growth_rate, bottleneck=True, dropout=0.0):
        super().__init__()
        width = 4 * growth_rate if bottleneck else in_channels
        self.layers = nn.Sequential(
            *(norm_relu_conv(in_channels, width, 1) if bottleneck else ()),
            *norm_relu_conv(width, growth_rate, 3),
            nn.Dropout(dropout),
        )

    def forward(self, *features):
        return self.layers(torch.cat(features, dim=1))


class DenseBlock(nn.Module):
    """Layers each of which sees the maps of all before it.

    Parameters
    ----------
    in_channels, layers, growth_rate : int
    bottleneck, dropout : see :class:`DenseLayer`

    Attributes
    ----------
    out_channels : int
        ``in_channels + layers * growth_rate``: the block's input, then each layer's maps.
    """

    def __init__(self, in_channels, layers, growth_rate, bottleneck=True, dropout=0.0):
        super().__init__()
        self.layers = nn.ModuleList(
            DenseLayer(in_channels + index * growth_rate, growth_rate, bottleneck, dropout) for index in range(layers)
        )
        self.out_channels = in_channels + layers * growth_rate

    def forward(self, images):
        features = [images]
        for layer in self.layers:
            features.append(layer(*features))
        return torch.cat(features, dim=1)


class DenseTransition(GradientCheckpointingLayer):
    """Batch norm, ReLU, 1x1 convolution to half the maps, 2x2 average pooling."""

    def __init__(self, in_channels):
        super().__init__()
        self.out_channels = max(1, in_channels // 2)
        self.layers = nn.Sequential(*norm_relu_conv(in_channels, self.out_channels, 1), nn.AvgPool2d(2))

    def forward(self, features):
        return self.layers(features)


class DenseNetEncoder(nn.Module):
    """DenseNet that returns its stem's map, each block's map before the transition, and the last one normalised.

    Parameters
    ----------
    num_channels : int
    base_width : int
        Feature maps of the stem; 96 in DenseNet-161.
    growth_rate : int
    block_layers : sequence of int
        Layers of the four blocks: 6, 12, 36, 24 in DenseNet-161, whose encoder has 26,472,000 parameters on three
        channels.

    Attributes
    ----------
    widths : tuple of int
        Feature maps of the five maps, finest first: 96, 384, 768, 2112, 2208 at strides 2 to 32.
    """

    def __init__(self, num_channels=3, base_width=96, growth_rate=48, block_layers=(6, 12, 36, 24)):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(num_channels, base_width, 7, stride=2, padding=3, bias=False),
            BatchNorm2d(base_width),
            nn.ReLU(inplace=True),
        )
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        width, widths = base_width, [base_width]
        for index, layers in enumerate(block_layers):
            if index:
                self.transitions.append(DenseTransition(width))
                width = self.transitions[-1].out_channels
            self.blocks.append(DenseBlock(width, layers, growth_rate))
            width = self.blocks[-1].out_channels
            widths.append(width)
        self.norm = nn.Sequential(BatchNorm2d(width), nn.ReLU(inplace=True))
        self.widths = tuple(widths)

    def forward(self, images):
        """Encode images of shape (batch, num_channels, height, width); a tuple of five maps, finest first."""
        maps = [self.stem(images)]
        features = self.pool(maps[0])
        for index, block in enumerate(self.blocks):
            if index:
                features = self.transitions[index - 1](features)
            features = block(features)
            maps.append(features)
        maps[-1] = self.norm(maps[-1])
        return tuple(maps)
