"""Switchable normalisation: instance, layer and batch statistics in a learned mixture."""

import torch
from torch import nn
from transformers import initialization as init

from .layers import recomputes


class SwitchNorm2d(nn.Module):
    """Switchable normalisation of Luo et al. (ICLR 2019, arXiv:1806.10779).

    ``weight * (x - mean) / sqrt(var + eps) + bias``, where mean and variance are mixtures of those over (H, W), over
    (C, H, W) and over (N, H, W), each by a softmax of three weights of its own. As in the authors' code the variance
    over (H, W) is the unbiased one and the two others are made from it, and the running statistics of the third take a
    tenth of each batch. Unlike there, where evaluation before any training divides by almost nothing, the running
    variance starts at 1, and a single pixel has the variance 0.

    Statistics are float32 or better, whatever the input; those that run see each batch once, also under activation
    checkpointing.

    Parameters
    ----------
    channels : int
    eps, momentum : float
    """

    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        # In the order instance, layer, batch.
        self.mean_weight = nn.Parameter(torch.ones(3))
        self.var_weight = nn.Parameter(torch.ones(3))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def init_weights(self):
        for constant_one in (self.weight, self.mean_weight, self.var_weight, self.running_var):
            init.ones_(constant_one)
        for constant_zero in (self.bias, self.running_mean):
            init.zeros_(constant_zero)

    def extra_repr(self):
        return f"{self.weight.numel()}, eps={self.eps}, momentum={self.momentum}"

    def forward(self, images):
        """Normalise (batch, channels, height, width)."""
        values = images if images.dtype == torch.float64 else images.float()
        unbiased = int(values.shape[2] * values.shape[3] > 1)
        var_in, mean_in = torch.var_mean(values, dim=(2, 3), correction=unbiased)
        power = var_in + mean_in.square()
        mean_ln = mean_in.mean(dim=1, keepdim=True)
        var_ln = (power.mean(dim=1, keepdim=True) - mean_ln.square()).clamp(min=0)
        if self.training:
            mean_bn = mean_in.mean(dim=0)
            var_bn = (power.mean(dim=0) - mean_bn.square()).clamp(min=0)
            if not recomputes(self):
                with torch.no_grad():
                    self.running_mean.lerp_(mean_bn.detach().to(self.running_mean.dtype), self.momentum)
                    self.running_var.lerp_(var_bn.detach().to(self.running_var.dtype), self.momentum)
        else:
            mean_bn, var_bn = self.running_mean, self.running_var

        def mixture(weight, *statistics):
            shares = weight.to(values.dtype).softmax(dim=0)
            return sum(share * statistic for share, statistic in zip(shares, statistics, strict=True))

        mean = mixture(self.mean_weight, mean_in, mean_ln, mean_bn)
        scale = self.weight * (mixture(self.var_weight, var_in, var_ln, var_bn) + self.eps).rsqrt()
        # One factor and one summand for each map: a single pass over the images.
        shift = self.bias - mean * scale
        return torch.addcmul(shift[..., None, None], values, scale[..., None, None]).to(images.dtype)
