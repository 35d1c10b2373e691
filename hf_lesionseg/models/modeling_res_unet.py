"""U-Net and Residual U-Net for chronic stroke on T1-weighted MRI (ATLAS R2.0).

Widths below are those of the paper (``base_width=32``).
"""

from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from .configuration_res_unet import ResUNetConfig
from .layers import BatchNorm2d, ConvNormReLU, SameConv2d
from .one_stage import OneStageSegmenter
from .unet_levels import LEVELS, DoubleConv, TransposedUp, UNet, UNetLevel, unet_widths


class ResidualBlock(GradientCheckpointingLayer):
    """Two 3x3 convolutions beside a 1x1 convolution, added; then batch norm and dropout.

    Kept as the paper words it: no batch norm between the convolutions, no activation after the addition.

    Parameters
    ----------
    in_channels, width : int
    stride : {2, 1}
        Stride of the first convolution and of the shortcut.
    dropout : float
    **norm
        ``eps`` and ``momentum`` of batch norm.
    """

    def __init__(self, in_channels, width, stride=2, dropout=0.5, **norm):
        super().__init__()
        self.first = SameConv2d(in_channels, width, 3, stride=stride)
        self.second = ConvNormReLU(width, width, 3, **norm)
        self.shortcut = SameConv2d(in_channels, width, 1, stride=stride)
        self.norm = BatchNorm2d(width, **norm)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features):
        return self.dropout(self.norm(self.second(self.first(features)) + self.shortcut(features)))


def _plain_unet(config, norm):
    widths = unet_widths(config.base_width)
    incoming = (config.num_channels, *widths)
    blocks = [DoubleConv(*channels, **norm) for channels in zip(incoming, widths, strict=False)]
    return _unet(config, norm, blocks, skips=widths[:LEVELS], pool=True)


def _literal_residual_unet(config, norm):
    """Every block halves the resolution; at full resolution only the image is left to be a skip."""
    widths = unet_widths(config.base_width)
    incoming = (config.num_channels, *widths[: LEVELS - 1])
    blocks = [
        ResidualBlock(*channels, dropout=config.dropout, **norm) for channels in zip(incoming, widths, strict=False)
    ]
    blocks.append(DoubleConv(widths[-2], widths[-1], **norm))
    return _unet(config, norm, blocks, skips=incoming, pool=False, skips_are="inputs")


def _full_resolution_residual_unet(config, norm):
    widths = unet_widths(config.base_width)
    incoming = (config.num_channels, *widths)
    blocks = [
        ResidualBlock(*channels, stride=2 if level else 1, dropout=config.dropout, **norm)
        for level, channels in enumerate(zip(incoming, widths, strict=False))
    ]
    return _unet(config, norm, blocks, skips=widths[:LEVELS], pool=False)


def _unet(config, norm, blocks, skips, pool, skips_are="outputs"):
    *encoder, bottleneck = blocks
    decoder = [
        UNetLevel(TransposedUp(2 * width, width, config.up_kernel_size), DoubleConv(skip + width, width, **norm))
        for width, skip in zip(unet_widths(config.base_width), skips, strict=False)
    ]
    head = nn.Conv2d(config.base_width, config.num_logits, 1)
    return UNet(encoder, bottleneck, reversed(decoder), head, pool, skips_are)


_NETWORKS = {
    "plain": _plain_unet,
    "residual": _literal_residual_unet,
    "residual-full-resolution": _full_resolution_residual_unet,
}


class ResUNetForSemanticSegmentation(OneStageSegmenter):
    """U-Net with an encoder of residual blocks, or of plain ones.

    Examples
    --------
    >>> import torch
    >>> model = ResUNetForSemanticSegmentation(ResUNetConfig(base_width=4)).eval()
    >>> model(torch.rand(1, 1, 50, 40)).logits.shape
    torch.Size([1, 1, 50, 40])
    """

    config: ResUNetConfig
    config_class = ResUNetConfig
    base_model_prefix = "res_unet"
    _no_split_modules = ["ResidualBlock", "DoubleConv", "UNetLevel"]

    @staticmethod
    def build_network(config):
        return _NETWORKS[config.encoder_block](
            config, {"eps": config.batch_norm_eps, "momentum": config.batch_norm_momentum}
        )


__all__ = ["ResUNetForSemanticSegmentation"]
