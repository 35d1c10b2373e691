"""U-Net with batch norm: the baseline that CLCI-Net is compared with.

As in D-UNet (Zhou et al., TCBB 2019) by the same group, which names it U-Net and publishes it.
"""

from torch import nn

from .configuration_unet_bn import UNetBNConfig
from .one_stage import OneStageSegmenter
from .unet_levels import LEVELS, DoubleConv, NearestUp, UNet, UNetLevel, unet_widths


class UNetBNForSemanticSegmentation(OneStageSegmenter):
    """U-Net (Ronneberger et al., MICCAI 2015) with batch norm after the 3x3 convolutions.

    Examples
    --------
    >>> import torch
    >>> model = UNetBNForSemanticSegmentation(UNetBNConfig(base_width=4)).eval()
    >>> model(torch.rand(1, 1, 50, 40)).logits.shape
    torch.Size([1, 1, 50, 40])
    """

    config: UNetBNConfig
    config_class = UNetBNConfig
    base_model_prefix = "unet_bn"
    _no_split_modules = ["DoubleConv", "UNetLevel"]

    @staticmethod
    def build_network(config):
        norm = {"eps": config.batch_norm_eps, "momentum": config.batch_norm_momentum}
        widths = unet_widths(config.base_width)
        incoming = (config.num_channels, *widths)
        return UNet(
            # The skip of the deepest level passes its dropout too.
            encoder=[
                DoubleConv(incoming[level], widths[level], config.dropout if level == LEVELS - 1 else 0, **norm)
                for level in range(LEVELS)
            ],
            bottleneck=DoubleConv(widths[-2], widths[-1], config.dropout, **norm),
            decoder=[
                UNetLevel(NearestUp(2 * width, width), DoubleConv(2 * width, width, **norm))
                for width in reversed(widths[:LEVELS])
            ],
            head=nn.Conv2d(widths[0], config.num_logits, 1),
        )


__all__ = ["UNetBNForSemanticSegmentation"]
