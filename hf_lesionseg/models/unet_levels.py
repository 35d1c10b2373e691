"""The levels of U-Nets made of double convolutions with batch norm, and the network that strings them together."""

import torch
from torch import nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from .layers import ConvNormReLU, SameConv2d

LEVELS = 4  # of encoder and decoder, beside the bottleneck


def unet_widths(base_width):
    """Feature maps of the levels and of the bottleneck: 32, 64, 128, 256, 512 for a base width of 32."""
    return [base_width * 2**level for level in range(LEVELS + 1)]


class DoubleConv(GradientCheckpointingLayer):
    """Twice (3x3 convolution with bias, batch norm, ReLU), then dropout.

    Parameters
    ----------
    in_channels, width : int
    dropout : float
    **norm
        ``eps`` and ``momentum`` of batch norm.
    """

    def __init__(self, in_channels, width, dropout=0.0, **norm):
        super().__init__()
        self.convs = nn.Sequential(
            ConvNormReLU(in_channels, width, 3, **norm),
            ConvNormReLU(width, width, 3, **norm),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, features):
        return self.dropout(self.convs(features))


class TransposedUp(nn.ConvTranspose2d):
    """Transposed convolution that doubles height and width, whatever its kernel."""

    def __init__(self, in_channels, width, kernel_size=2):
        super().__init__(
            in_channels, width, kernel_size, stride=2, padding=(kernel_size - 1) // 2, output_padding=kernel_size % 2
        )


class NearestUp(nn.Module):
    """Nearest-neighbour upsampling by 2, 2x2 convolution with "SAME" padding, ReLU; no batch norm."""

    def __init__(self, in_channels, width):
        super().__init__()
        self.conv = SameConv2d(in_channels, width, 2)

    def forward(self, features):
        return F.relu(self.conv(F.interpolate(features, scale_factor=2, mode="nearest")))


class UNetLevel(GradientCheckpointingLayer):
    """Decoder level: doubles the resolution, concatenates [skip, upsampled], double convolution.

    Parameters
    ----------
    up : torch.nn.Module
        From the level below to its own feature maps at twice the resolution.
    double_conv : torch.nn.Module
        On the skip's and these maps.
    """

    def __init__(self, up, double_conv):
        super().__init__()
        self.up = up
        self.double_conv = double_conv

    def forward(self, features, skip):
        return self.double_conv(torch.cat([skip, self.up(features)], dim=1))


class UNet(nn.Module):
    """U-Net of four levels: encoder blocks, a bottleneck, decoder levels with skips, a 1x1 convolution to logits.

    Parameters
    ----------
    encoder : sequence of torch.nn.Module
        Finest first.
    bottleneck : torch.nn.Module
    decoder : sequence of UNetLevel
        Coarsest first.
    head : torch.nn.Module
    pool : bool
        2x2 max pooling after each encoder block; without it the blocks halve the resolution themselves.
    skips : {"outputs", "inputs"}
        What the encoder blocks pass on.
    """

    def __init__(self, encoder, bottleneck, decoder, head, pool=True, skips="outputs"):
        super().__init__()
        self.encoder = nn.ModuleList(encoder)
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()
        self.bottleneck = bottleneck
        self.decoder = nn.ModuleList(decoder)
        self.head = head
        self.skips = skips

    def forward(self, images):
        """Segment images whose height and width are multiples of 16.

        Returns
        -------
        logits : torch.Tensor of shape (batch, num_logits, height, width)
        hidden_states : tuple of torch.Tensor
            The encoder's maps, finest first, the bottleneck's, and the decoder's, coarsest first.
        """
        following, inputs, outputs = images, [], []
        for block in self.encoder:
            inputs.append(following)
            outputs.append(block(following))
            following = self.pool(outputs[-1])
        features = self.bottleneck(following)
        hidden_states = [*outputs, features]
        for level, skip in zip(self.decoder, reversed(inputs if self.skips == "inputs" else outputs), strict=True):
            features = level(features, skip)
            hidden_states.append(features)
        return self.head(features), tuple(hidden_states)
