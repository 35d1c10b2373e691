"""The U-Net that each stage of EGS-Net is: the one of 2015, where wanted with norms and squeeze-and-excitation."""

from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from .layers import BatchNorm2d
from .unet_levels import LEVELS, TransposedUp, UNet, UNetLevel, unet_widths


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


class StageDoubleConv(GradientCheckpointingLayer):
    """Twice (3x3 convolution with bias, norm, ReLU), then squeeze-and-excitation.

    Parameters
    ----------
    in_channels, width : int
    norm : callable, optional
        Makes the normalisation of so many maps.
    reduction : int, optional
        Reduction in squeeze-and-excitation; None leaves it out.
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


class StageUNet(UNet):
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
    norm, reduction : see :class:`StageDoubleConv`

    Examples
    --------
    >>> import torch
    >>> scores, levels = StageUNet(3, 2, base_width=2)(torch.rand(1, 3, 32, 16))
    >>> scores.shape, len(levels)
    (torch.Size([1, 2, 32, 16]), 9)
    """

    def __init__(self, in_channels, out_channels, base_width=64, *, input_norm=False, norm=None, reduction=None):
        widths = unet_widths(base_width)
        *encoder, bottleneck = (
            StageDoubleConv(channels, width, norm, reduction)
            for channels, width in zip((in_channels, *widths), widths, strict=False)
        )
        decoder = [
            UNetLevel(TransposedUp(2 * width, width), StageDoubleConv(2 * width, width, norm, reduction))
            for width in reversed(widths[:LEVELS])
        ]
        super().__init__(encoder, bottleneck, decoder, nn.Conv2d(base_width, out_channels, 1))
        self.input_norm = BatchNorm2d(in_channels, affine=False) if input_norm else nn.Identity()

    def forward(self, images):
        return super().forward(self.input_norm(images))
