"""Fold the layers of a network that is only run forward into fewer; changes the network that it is given."""

from collections import Counter
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F
from transformers.models.resnet.modeling_resnet import ResNetConvLayer, ResNetShortCut

from ..models.layers import BatchNorm2d, ConvNormReLU, SameConv2d, UpConvNormReLU
from ..models.unet_levels import NearestUp

_CONVOLUTIONS = (nn.Conv2d, SameConv2d)
_NORMS = (nn.BatchNorm2d, BatchNorm2d)
_CHAINS = (nn.Sequential, ConvNormReLU, UpConvNormReLU)  # each layer's result goes to the next, and nowhere else
_PAIRS = (ResNetConvLayer, ResNetShortCut)


@torch.no_grad()
def fold_network(model):
    """Fold batch norms into the convolutions before them, and upsampling into the convolution behind it.

    Types are compared exactly, so that a subclass, whose forward pass may be another, stays as it is. So does what is
    used in two places.

    Parameters
    ----------
    model : torch.nn.Module
        In eval mode, of float32 or float64 weights; changed in place.

    Returns
    -------
    dict of str to int
        How many of each kind were folded.
    """
    uses = Counter(module for _, module in model.named_modules(remove_duplicate=False))
    folded = Counter()
    for owner in list(model.modules()):
        for convolution, norm_name in _norms_behind_convolutions(owner):
            norm = getattr(owner, norm_name)
            if uses[convolution] == uses[norm] == uses[owner] == 1:
                _fold_norm(convolution, norm)
                setattr(owner, norm_name, nn.Identity().eval())
                folded["batch_norms"] += 1
    for owner in list(model.modules()):
        for name, child in list(owner.named_children()):
            if uses[child] == 1 and (replacement := _without_upsampling(child)) is not None:
                setattr(owner, name, replacement.eval())
                folded["upsamplings"] += 1
    return dict(folded)


def _norms_behind_convolutions(owner):
    """Yield (convolution, name of the batch norm behind it) of the children of one module."""
    if type(owner) in _PAIRS:
        layers = [("convolution", owner.convolution), ("normalization", owner.normalization)]
    elif type(owner) in _CHAINS:
        layers = [(name, child) for name, child in owner.named_children() if type(child) is not nn.Dropout]
    else:
        return
    for (_, convolution), (name, norm) in pairwise(layers):
        if type(convolution) in _CONVOLUTIONS and type(norm) in _NORMS and norm.running_var is not None:
            yield convolution, name


def _fold_norm(convolution, norm):
    """Let a convolution give what the batch norm behind it makes of its result."""
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    if convolution.bias is not None:
        shift = shift + convolution.bias.double() * scale
    weight = convolution.weight.double() * scale[:, None, None, None]
    convolution.weight = _frozen(weight, like=convolution.weight)
    convolution.bias = _frozen(shift, like=convolution.weight)


def _frozen(values, like):
    return nn.Parameter(values.to(like.dtype), requires_grad=False)


def _without_upsampling(module):
    """What replaces a module that begins by nearest-neighbour upsampling and a 2x2 convolution; None for others."""
    if type(module) is NearestUp and _fits(module.conv):
        return nn.Sequential(UpsampledConv2d(module.conv), nn.ReLU(inplace=True))
    if type(module) is UpConvNormReLU and _fits(module[0]):
        return nn.Sequential(UpsampledConv2d(module[0]), *list(module)[1:])
    return None


def _fits(conv):
    plain = conv.stride == conv.dilation == (1, 1) and conv.groups == 1 and conv.bias is not None
    return type(conv) is SameConv2d and conv.kernel_size == (2, 2) and plain


class UpsampledConv2d(nn.Module):
    """A 2x2 convolution with "SAME" padding of a map that is upsampled by 2, nearest neighbour, on the map before that.

    Of the four fine pixels in a coarse one, the first sees its coarse pixel in all four taps, the next ones see two
    coarse pixels, the last one four: 9 products with summed taps in place of 16, and no fine map of all the input's
    channels is written.

    Parameters
    ----------
    conv : SameConv2d
    """

    def __init__(self, conv):
        super().__init__()
        weight = conv.weight.double()
        by_row = (weight.sum(dim=2, keepdim=True), weight)
        kernels = [taps.sum(dim=3, keepdim=True) if column == 0 else taps for taps in by_row for column in (0, 1)]
        self.kernels = nn.ParameterList(_frozen(kernel, like=conv.weight) for kernel in kernels)
        self.bias = conv.bias

    def forward(self, features):
        """Map (batch, in_channels, height, width) to (batch, out_channels, 2 * height, 2 * width)."""
        fine = None
        for index, kernel in enumerate(self.kernels):
            row, column = divmod(index, 2)  # of the fine pixel in its coarse one
            values = F.conv2d(features, kernel, self.bias, padding=(row, column))
            if fine is None:
                fine = _empty_of_twice_the_size(values)
            fine[:, :, row::2, column::2] = values[:, :, row:, column:]
        return fine


def _empty_of_twice_the_size(values):
    batch, channels, height, width = values.shape
    last = not values.is_contiguous() and values.is_contiguous(memory_format=torch.channels_last)
    return torch.empty(
        (batch, channels, 2 * height, 2 * width),
        dtype=values.dtype,
        device=values.device,
        memory_format=torch.channels_last if last else torch.contiguous_format,
    )
