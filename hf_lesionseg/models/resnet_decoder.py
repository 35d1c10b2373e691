"""Decoders on top of :class:`~.resnet_encoder.ResNetEncoder`: that of the U-Net and that of the FCN."""

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer

from .layers import BatchNorm2d


def _conv(in_channels, out_channels):
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class UNetDecoderBlock(GradientCheckpointingLayer):
    """Nearest-neighbour upsampling by 2, concatenation of the skip, twice (3x3 convolution, batch norm, ReLU).

    Parameters
    ----------
    in_channels, skip_channels, width : int
        Feature maps that come from below, from the encoder (0 without a skip), and that go up.
    """

    def __init__(self, in_channels, skip_channels, width):
        super().__init__()
        self.convs = nn.Sequential(_conv(in_channels + skip_channels, width), _conv(width, width))

    def forward(self, features, skip=None):
        features = F.interpolate(features, scale_factor=2, mode="nearest")
        if skip is not None:
            features = torch.cat([features, skip], dim=1)
        return self.convs(features)


class UNetDecoder(nn.Module):
    """Decoder of a U-Net: one block per doubling of the resolution, with skips from the encoder while there are any.

    Laid out as in ``segmentation_models_pytorch``, whose parameter count the L-SNet paper reports for its first stage
    (14.33 M with a ResNet-18).

    Parameters
    ----------
    encoder_widths : sequence of int
        Feature maps of the encoder, finest first.
    widths : sequence of int
        Feature maps of each block, coarsest first. Five blocks lead back to the size of the image, three to 1/4.

    Raises
    ------
    ValueError
        Without a block, or with more blocks than the encoder has maps.

    Examples
    --------
    >>> maps = [torch.rand(1, width, 32 >> level, 32 >> level) for level, width in enumerate((2, 2, 4, 8, 16))]
    >>> UNetDecoder((2, 2, 4, 8, 16), widths=(8, 4, 2))(maps).shape
    torch.Size([1, 2, 16, 16])
    """

    def __init__(self, encoder_widths, widths=(256, 128, 64, 32, 16)):
        super().__init__()
        check_decoder_widths(widths, len(encoder_widths))
        *skips, deepest = encoder_widths
        incoming = (deepest, *widths[:-1])
        skips = (*reversed(skips), 0)  # at the size of the image there is no map of the encoder
        self.blocks = nn.ModuleList(
            UNetDecoderBlock(*channels) for channels in zip(incoming, skips, widths, strict=False)
        )

    def forward(self, features, return_levels=False):
        """Decode the encoder's maps, finest first; return the last block's map, or a list of every block's."""
        *skips, current = features
        skips = (*reversed(skips), None)
        levels = []
        for index, (block, skip) in enumerate(zip(self.blocks, skips, strict=False)):
            current = block(current, self.skip_of(index, skip, current))
            levels.append(current)
        return levels if return_levels else current

    def skip_of(self, index, skip, below):
        """What block ``index`` concatenates: the encoder's map; subclasses may let the level ``below`` decide."""
        return skip


def check_decoder_widths(widths, most=5, name="decoder_widths"):
    """Raise ``ValueError`` unless there are 1 to ``most`` widths, all positive."""
    if not 1 <= len(widths) <= most or min(widths) < 1:
        raise ValueError(f"{name} is {tuple(widths)}; give 1 to {most} widths of 1 or more")


class ScoreConv2d(nn.Conv2d):
    """1x1 convolution to logits, small at first, as in RetinaNet: sums of He-normal ones would saturate.

    A class of its own so that the model's ``_init_weights`` can tell it from the convolutions to features.
    """

    def init_weights(self):
        init.normal_(self.weight, std=0.01)
        init.zeros_(self.bias)


class FCNDecoder(nn.Module):
    """Skip connections of a fully convolutional network (Long et al., CVPR 2015): scores summed from coarse to fine.

    A 1x1 convolution turns the encoder's map at each of the strides 32, 16, ... ``stride`` into ``channels`` maps; from
    the coarsest on, the sum is upsampled by 2 bilinearly and the next score added. With stride 8 this is the FCN-8s.
    The upsampling is fixed, not learned, and pixel centres are aligned as everywhere here (``align_corners=False``).

    Parameters
    ----------
    encoder_widths : sequence of int
        Feature maps of the encoder at strides 2, 4, 8, ...
    channels : int
        Maps of the result: the logits of an FCN, or the features of a localisation network.
    stride : int
        Stride of the result, 2, 4, 8, ...
    conv : class
        Class of the 1x1 convolutions: ``ScoreConv2d`` to logits.

    Raises
    ------
    ValueError
        If the encoder has no map of that stride.
    """

    def __init__(self, encoder_widths, channels, stride=8, conv=nn.Conv2d):
        super().__init__()
        strides = [2 ** (level + 1) for level in range(len(encoder_widths))]
        if stride not in strides:
            raise ValueError(f"stride is {stride}; use one of {strides}")
        self.finest = strides.index(stride)
        self.scores = nn.ModuleList(conv(width, channels, 1) for width in encoder_widths[self.finest :])

    def forward(self, features, return_levels=False):
        """Sum the scores of the encoder's maps, finest first; the map of stride ``stride``, or a list of every sum."""
        used = list(zip(self.scores, features[self.finest :], strict=True))
        levels = []
        for score, level in reversed(used):
            current = score(level)
            if levels:
                current = current + F.interpolate(levels[-1], scale_factor=2, mode="bilinear", align_corners=False)
            levels.append(current)
        return levels if return_levels else levels[-1]
