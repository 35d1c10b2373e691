"""Context modules between encoder and logits: pyramid pooling (PSPNet) and atrous pyramids (DeepLab)."""

import torch
from torch import nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from .layers import ConvNormReLU, image_context, is_traced


def conv_norm_relu(in_channels, out_channels, kernel_size, dilation=1):
    """Convolution without bias, batch norm with torch's defaults, ReLU; keeps the resolution."""
    return ConvNormReLU(in_channels, out_channels, kernel_size, dilation=dilation, bias=False, eps=1e-5, momentum=0.1)


def grid_averages(features, side):
    """Averages over a grid of ``side`` x ``side`` cells: torch's adaptive pooling.

    Cell i covers the rows from ``floor(i * height / side)`` to ``ceil((i + 1) * height / side)``. A graph that is being
    traced gets a product with the shares of the rows and columns: ONNX has no adaptive pooling for sizes that vary.

    Parameters
    ----------
    features : torch.Tensor of shape (batch, channels, height, width)
    side : int

    Returns
    -------
    torch.Tensor of shape (batch, channels, side, side)
    """
    if not is_traced():
        return F.adaptive_avg_pool2d(features, side)
    rows, columns = (_shares(features, axis, side) for axis in (2, 3))
    return rows @ features @ columns.T


def _shares(features, axis, side):
    """(side, length) matrix whose rows average the cells along an axis."""
    length = features.shape[axis]
    position = torch.arange(length, device=features.device)
    cell = torch.arange(side, device=features.device)[:, None]
    start, stop = cell * length // side, ((cell + 1) * length + side - 1) // side
    inside = ((position >= start) & (position < stop)).to(features.dtype)
    return inside / inside.sum(dim=1, keepdim=True)


class PyramidPooling(GradientCheckpointingLayer):
    """The map beside its averages over coarse grids, fused by a 3x3 convolution (Zhao et al., CVPR 2017, Section 3.2).

    Each average passes a 1x1 convolution to ``in_channels / len(bins)`` feature maps and is upsampled bilinearly.

    Parameters
    ----------
    in_channels, width : int
        ``width`` feature maps leave the fusion.
    bins : sequence of int
        Rows and columns of each grid.
    dropout : float
        After the fusion.
    """

    def __init__(self, in_channels, width, bins=(1, 2, 3, 6), dropout=0.1):
        super().__init__()
        self.bins = tuple(bins)
        branch = max(1, in_channels // len(self.bins))
        self.branches = nn.ModuleList(conv_norm_relu(in_channels, branch, 1) for _ in self.bins)
        self.fusion = conv_norm_relu(in_channels + branch * len(self.bins), width, 3)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features):
        scales = [features]
        for side, branch in zip(self.bins, self.branches, strict=True):
            if side == 1:
                scales.append(image_context(branch, features))
                continue
            pooled = branch(grid_averages(features, side))
            scales.append(F.interpolate(pooled, size=features.shape[2:], mode="bilinear", align_corners=False))
        return self.dropout(self.fusion(torch.cat(scales, dim=1)))


class AtrousPyramid(GradientCheckpointingLayer):
    """Atrous spatial pyramid pooling with image pooling (Chen et al., DeepLabv3, 2017, Section 3.3).

    Parameters
    ----------
    in_channels, width : int
        ``width`` feature maps in each branch and behind the 1x1 convolution that fuses them.
    dilations : sequence of int
        Dilations of the 3x3 branches, beside a 1x1 branch and the average of the image.
    dropout : float
        After the fusion.
    """

    def __init__(self, in_channels, width, dilations=(6, 12, 18), dropout=0.1):
        super().__init__()
        self.point = conv_norm_relu(in_channels, width, 1)
        self.dilated = nn.ModuleList(conv_norm_relu(in_channels, width, 3, dilation) for dilation in dilations)
        self.image = conv_norm_relu(in_channels, width, 1)
        self.fusion = conv_norm_relu((2 + len(dilations)) * width, width, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features):
        scales = [self.point(features), *(conv(features) for conv in self.dilated), image_context(self.image, features)]
        return self.dropout(self.fusion(torch.cat(scales, dim=1)))
