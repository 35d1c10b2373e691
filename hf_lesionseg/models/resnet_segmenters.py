"""One-stage segmentation networks on a ResNet encoder, as plain modules: parts of several published networks."""

from torch import nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from .fully_convolutional import FCN8s
from .resnet_decoder import UNetDecoder
from .resnet_encoder import ResNetEncoder

#: Height and width of the images are multiples of this.
RESNET_STRIDE = 32


def unet_decoder_widths(base_width):
    """Feature maps of the five blocks: 256, 128, 64, 32, 16 on an encoder whose stem has 64."""
    return tuple(max(1, round(base_width * multiple)) for multiple in (4, 2, 1, 0.5, 0.25))


class ResNetUNet(nn.Module):
    """U-Net on a ResNet encoder: 14,328,209 parameters with depth 18, 24,436,369 with depth 34.

    Parameters
    ----------
    depth : {10, 18, 34, 50, 101}
    num_channels, num_logits : int
    base_width : int
        Feature maps of the encoder's stem.
    decoder_widths : sequence of int, optional
        Feature maps of the five decoder blocks, coarsest first; default :func:`unet_decoder_widths`.
    decoder : class
        A subclass of :class:`~.resnet_decoder.UNetDecoder`.

    Examples
    --------
    >>> import torch
    >>> logits, _ = ResNetUNet(18, base_width=4)(torch.rand(2, 3, 64, 32))
    >>> logits.shape
    torch.Size([2, 1, 64, 32])
    """

    def __init__(self, depth, num_channels=3, num_logits=1, base_width=64, decoder_widths=None, decoder=UNetDecoder):
        super().__init__()
        widths = tuple(decoder_widths or unet_decoder_widths(base_width))
        if len(widths) != 5:
            raise ValueError(f"decoder_widths is {widths}; give five, one for each doubling of the resolution")
        self.encoder = ResNetEncoder(depth, num_channels, base_width)
        self.decoder = decoder(self.encoder.widths, widths)
        self.head = nn.Conv2d(widths[-1], num_logits, 3, padding=1)

    def forward(self, images):
        """Segment images whose height and width are multiples of 32.

        Returns
        -------
        logits : torch.Tensor of shape (batch, num_logits, height, width)
        hidden_states : tuple of torch.Tensor
            The encoder's maps, finest first, and the decoder's, coarsest first.
        """
        features = self.encoder(images)
        levels = self.decoder(features, return_levels=True)
        return self.head(levels[-1]), (*features, *levels)


class AttentionGate(GradientCheckpointingLayer):
    """Additive attention gate: weighs a skip's pixels by what the coarser decoder level makes of them.

    ``alpha = sigmoid(psi(relu(W_x x + W_g g)) + b_psi)`` and the result ``alpha x`` (Oktay et al., MIDL 2018, eq. 1 and
    2), computed on the grid of g, which is half as fine, and alpha upsampled bilinearly. [assumed] as in the authors'
    code: W_x is a 2x2 convolution of stride 2 without bias, half as many intermediate maps as x has. Their code's batch
    norm after the gate and 1x1 convolution before it are in no equation and left out.

    Parameters
    ----------
    skip_channels, gating_channels : int
        Feature maps of x and of g.
    """

    def __init__(self, skip_channels, gating_channels):
        super().__init__()
        intermediate = max(1, skip_channels // 2)
        self.skip_conv = nn.Conv2d(skip_channels, intermediate, 2, stride=2, bias=False)
        self.gating_conv = nn.Conv2d(gating_channels, intermediate, 1)
        self.psi = nn.Conv2d(intermediate, 1, 1)

    def forward(self, skip, gating):
        return skip * self.coefficients(skip, gating)

    def coefficients(self, skip, gating):
        """alpha of shape (batch, 1, height, width) of the skip, in (0, 1)."""
        joined = F.relu(self.skip_conv(skip) + self.gating_conv(gating))
        alpha = self.psi(joined).sigmoid()
        return F.interpolate(alpha, scale_factor=2, mode="bilinear", align_corners=False)


class AttentionUNetDecoder(UNetDecoder):
    """U-Net decoder whose skips pass attention gates, but for the finest one, as in the paper.

    The gating signal of a skip is the decoder level below it, before its upsampling; of the coarsest skip it is the
    encoder's last map.
    """

    def __init__(self, encoder_widths, widths):
        super().__init__(encoder_widths, widths)
        gating = (encoder_widths[-1], *widths)
        gated = encoder_widths[-2:0:-1]  # all skips, coarsest first, without the finest
        self.gates = nn.ModuleList(AttentionGate(skip, below) for skip, below in zip(gated, gating, strict=False))

    def skip_of(self, index, skip, below):
        return self.gates[index](skip, below) if index < len(self.gates) else skip


class ResNetFCN(FCN8s):
    """FCN-8s on a ResNet encoder.

    Parameters
    ----------
    depth : {10, 18, 34, 50, 101}
    num_channels, num_logits : int
    base_width : int
        Feature maps of the encoder's stem.
    """

    def __init__(self, depth, num_channels=3, num_logits=1, base_width=64):
        super().__init__(ResNetEncoder(depth, num_channels, base_width), num_logits)
