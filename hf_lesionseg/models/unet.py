"""The U-Net of 2015 with padded convolutions, as EGS-Net's extractor, generator and segmentor use it."""

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from .layers import BatchNorm2d

LEVELS = 4  # poolings


class SqueezeExcitation(nn.Module):
    """Weigh each map by what all maps hold on average: mean, C/r, ReLU, C, sigmoid (Hu et al., CVPR 2018)."""

    def __init__(self, channels, reduction=16):
        super().__init__()
        squeezed = max(channels // reduction, 1)
        self.gates = nn.Sequential(
            nn.Linear(channels, squeezed), nn.ReLU(inplace=True), nn.Linear(squeezed, channels), nn.Sigmoid()
        )

    def forward(self, images):
        return images * self.gates(images.mean(dim=(2, 3)))[..., None, None]


class DoubleConv(GradientCheckpointingLayer):
    """Twice (3x3 convolution with bias, norm, ReLU), then squeeze-and-excitation.

    Parameters
    ----------
    in_channels, width : int
    norm : callable, optional
        Makes the normalisation of so many maps.
    reduction : int, optional
        Of squeeze-and-excitation; without, there is none.
    """

    def __init__(self, in_channels, width, norm=None, reduction=None):
        super().__init__()
        layers = []
        for channels in (in_channels, width):
            layers.append(nn.Conv2d(channels, width, 3, padding=1))
            layers += [norm(width)] if norm else []
            layers.append(nn.ReLU(inplace=True))
        layers += [SqueezeExcitation(width, reduction)] if reduction else []
        self.layers = nn.Sequential(*layers)

    def forward(self, images):
        return self.layers(images)


class UNet(nn.Module):
    """U-Net of Ronneberger et al. (MICCAI 2015) whose convolutions are padded, so that it keeps the size.

    Four levels of double convolution and 2x2 max pooling, five widths that double; upwards 2x2 transposed convolutions
    that halve the maps, concatenation of the skip and a double convolution; a 1x1 convolution at last.

    Parameters
    ----------
    in_channels, out_channels : int
    base_width : int
        Maps of the first level: 64 in the original.
    input_norm : bool
        Normalise the input by a batch norm without parameters.
    norm, reduction : see :class:`DoubleConv`

    Examples
    --------
    >>> scores, levels = UNet(3, 2, base_width=2)(torch.rand(1, 3, 32, 16))
    >>> scores.shape, len(levels)
    (torch.Size([1, 2, 32, 16]), 9)
    """

    def __init__(self, in_channels, out_channels, base_width=64, *, input_norm=False, norm=None, reduction=None):
        super().__init__()
        widths = [base_width * 2**level for level in range(LEVELS + 1)]
        self.input_norm = BatchNorm2d(in_channels, affine=False) if input_norm else None
        self.down = nn.ModuleList(
            DoubleConv(channels, width, norm, reduction)
            for channels, width in zip((in_channels, *widths[:-1]), widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        upwards = list(reversed(widths))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(width, width // 2, 2, stride=2) for width in upwards[:-1])
        self.up = nn.ModuleList(DoubleConv(2 * width, width, norm, reduction) for width in upwards[1:])
        self.head = nn.Conv2d(base_width, out_channels, 1)

    def forward(self, images):
        """Map (batch, in_channels, height, width), sides multiples of 16, to the scores and the maps of every level."""
        current = images if self.input_norm is None else self.input_norm(images)
        levels = []
        for level, block in enumerate(self.down):
            current = block(self.pool(current) if level else current)
            levels.append(current)
        for skip, enlarge, block in zip(reversed(levels[:LEVELS]), self.enlarge, self.up, strict=True):
            current = block(torch.cat([skip, enlarge(current)], dim=1))
            levels.append(current)
        return self.head(current), levels
