"""Building blocks that several networks share: Keras-style convolutions, batch norm, ConvLSTM, padding to a stride."""

import math

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init

from .reference_ops import convlstm_cell as _reference_convlstm_cell

try:  # the fused kernel of the package; published remote code runs on the reference
    from hf_lesionseg.ops import convlstm_cell
except ImportError:
    convlstm_cell = _reference_convlstm_cell

# A normal distribution cut at two standard deviations has this standard deviation; Keras divides it out.
_TRUNCATED_NORMAL_STD = 0.87962566103423978


def is_traced():
    """Whether the operations become a graph that may be run at other sizes, so that no branch may ask for sizes."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def pad_to_stride(images, stride):
    """Pad height and width with zeros at the bottom and right to the next multiple of ``stride``.

    Parameters
    ----------
    images : torch.Tensor of shape (batch, channels, height, width)
    stride : int

    Returns
    -------
    torch.Tensor
        The same tensor where no padding is needed. Crop the result of the network with :func:`crop_to`.
    """
    height, width = images.shape[-2:]
    if is_traced():
        # Always, and in this form: a branch would fix the sizes of the graph, and `-height % stride` hides from the
        # tracer that the padded sides can be halved again and again.
        padded = [stride * ((side + stride - 1) // stride) for side in (height, width)]
        return F.pad(images, (0, padded[1] - width, 0, padded[0] - height))
    below, right = -height % stride, -width % stride
    if below or right:
        images = F.pad(images, (0, right, 0, below))
    return images


def crop_to(maps, height, width):
    """Undo :func:`pad_to_stride`.

    Parameters
    ----------
    maps : torch.Tensor of shape (batch, channels, padded height, padded width)
    height, width : int

    Returns
    -------
    torch.Tensor of shape (batch, channels, height, width)
        A view, but for a graph that is being traced.
    """
    if is_traced():  # a slice asks whether it is shorter than what it is cut from
        return F.pad(maps, (0, width - maps.shape[-1], 0, height - maps.shape[-2]))
    return maps[..., :height, :width]


def he_normal_(weight):
    """Keras' ``he_normal``: a truncated normal of standard deviation sqrt(2 / fan_in), skipped for loaded weights."""
    std = math.sqrt(2 / nn.init._calculate_fan_in_and_fan_out(weight)[0]) / _TRUNCATED_NORMAL_STD
    init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's "SAME" padding, for inputs whose sides are multiples of the stride.

    TensorFlow pads ``max(dilation * (kernel - 1) + 1 - stride, 0)`` rows in all, the odd one at the bottom; the same
    for columns. A 3x3 convolution of stride 2 therefore pads bottom and right only, and one of stride 4 or more is not
    padded at all: it reads the top left corner of each stride cell. ``padding=1`` would shift the samples.
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, dilation=1, bias=True):
        total = max(dilation * (kernel_size - 1) + 1 - stride, 0)
        before, after = total // 2, total - total // 2
        symmetric = before == after
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=before if symmetric else 0,
            dilation=dilation,
            bias=bias,
        )
        self.edge_padding = None if symmetric else (before, after, before, after)

    def forward(self, images):
        if self.edge_padding is not None:
            images = F.pad(images, self.edge_padding)
        return super().forward(images)


def recomputes(module):
    """Whether a module in training runs for the second time on its batch, as under activation checkpointing.

    The second forward of a checkpointed block runs inside the backward pass; running statistics that were updated there
    again would double their momentum silently.
    """
    return module.training and not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose running statistics see each batch once, also under activation checkpointing."""

    def forward(self, images):
        if not recomputes(self):
            return super().forward(images)
        copies = self.running_mean.clone(), self.running_var.clone()
        return F.batch_norm(images, *copies, self.weight, self.bias, training=True, eps=self.eps)


class ConvNormReLU(nn.Sequential):
    """Convolution with "SAME" padding, batch norm, ReLU: the ``CBR(kernel, stride, filters)`` of CLCI-Net."""

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, dilation=1, bias=True, eps=1e-3, momentum=0.01
    ):
        super().__init__(
            SameConv2d(in_channels, out_channels, kernel_size, stride=stride, dilation=dilation, bias=bias),
            BatchNorm2d(out_channels, eps=eps, momentum=momentum),
            nn.ReLU(inplace=True),
        )


class UpConvNormReLU(ConvNormReLU):
    """Nearest-neighbour upsampling by 2, then :class:`ConvNormReLU`: the up-convolution of CLCI-Net."""

    def forward(self, features):
        return super().forward(F.interpolate(features, scale_factor=2, mode="nearest"))


def image_context(block, features):
    """Global average pooling through a 1x1 block, spread over the map again.

    In training spread before batch norm: equal to normalising the pooled pixel, and it also works for a batch of one.

    Parameters
    ----------
    block : ConvNormReLU
    features : torch.Tensor of shape (batch, in_channels, height, width)

    Returns
    -------
    torch.Tensor of shape (batch, out_channels, height, width)
    """
    conv, norm, relu = block
    pooled = conv(features.mean(dim=(2, 3), keepdim=True))
    if norm.training:
        pooled = pooled.expand(-1, -1, *features.shape[2:])
    return relu(norm(pooled)).expand(-1, -1, *features.shape[2:])


class InputGateConv2d(nn.Conv2d):
    """Convolution from the input to the four ConvLSTM gates: he-normal, bias 0 but 1 for the forget gate.

    The two gate convolutions are classes of their own because transformers initialises a module of remote code only if
    it holds parameters itself: an initialisation written for the ConvLSTM as a whole would silently never run.
    """

    def init_weights(self):
        he_normal_(self.weight)
        filters = self.out_channels // 4
        bias = torch.zeros_like(self.bias)
        bias[filters : 2 * filters] = 1
        init.copy_(self.bias, bias)


class RecurrentGateConv2d(nn.Conv2d):
    """Convolution from the hidden state to the four ConvLSTM gates: orthogonal, no bias."""

    def init_weights(self):
        init.orthogonal_(self.weight)


class ConvLSTM2d(nn.Module):
    """ConvLSTM over a sequence of feature maps, from the zero state; returns the last hidden state.

    Gates in the order input, forget, candidate, output; no peephole; only the input convolution has a bias
    (Keras 2 ``ConvLSTM2D``).

    What the zero state makes superfluous is not computed: the first step has no recurrent convolution, and no forget
    gate, whose weights it therefore gives no gradient (as zero times anything would). A later step is one convolution
    over its input and the hidden state side by side, which saves writing, adding and reading back a second tensor of
    gates; maps of few pixels take both input convolutions in one call instead (:meth:`_shares_input_conv`).

    For the backward pass are kept, where convolutions are joined: the first input, for each later step the copy of
    input and hidden state side by side (in_channels + filters channels), each step's gates before activation
    (4 * filters channels, 3 * filters in the first), its incoming cell state, and a copy of the weights.

    Parameters
    ----------
    in_channels, filters : int
    kernel_size : int
    gate_activation : {"hard_sigmoid", "sigmoid"}
        "hard_sigmoid" is clip(0.2 x + 0.5, 0, 1).
    """

    def __init__(self, in_channels, filters, kernel_size=3, gate_activation="hard_sigmoid"):
        super().__init__()
        self.gate_activation = gate_activation
        same = kernel_size // 2
        self.input_conv = InputGateConv2d(in_channels, 4 * filters, kernel_size, padding=same)
        self.recurrent_conv = RecurrentGateConv2d(filters, 4 * filters, kernel_size, padding=same, bias=False)

    def forward(self, *steps):
        """Run over ``steps``, each of shape (batch, in_channels, height, width); (batch, filters, height, width).

        Raises
        ------
        ValueError
            Without a step.
        """
        if not steps:
            raise ValueError("ConvLSTM2d needs at least one step; give it one or more feature maps")
        if self._shares_input_conv(steps[0]):
            return self._with_shared_input_conv(steps)
        return self._with_joined_convs(steps)

    def _shares_input_conv(self, step):
        """Whether to run the input convolution over all steps at once, and to call both convolutions as modules.

        On a CPU that is faster where the pixels are few: preparing the weights then costs more than the products. It is
        the only right way where something wraps a convolution: hooks, offloading, adapters, quantisation.
        """
        if not (_is_plain(self.input_conv, InputGateConv2d) and _is_plain(self.recurrent_conv, RecurrentGateConv2d)):
            return True
        # A tracer does without: a branch on sizes would fix them.
        if step.device.type != "cpu" or is_traced():
            return False
        few = _FEW_PIXELS if torch.is_grad_enabled() else _FEW_PIXELS_FORWARD
        return step.shape[0] * step.shape[2] * step.shape[3] <= few

    def _with_shared_input_conv(self, steps):
        batch = steps[0].shape[0]
        gates_of_inputs = self.input_conv(torch.cat(steps))
        hidden, cell = None, None
        for index in range(len(steps)):
            gates = gates_of_inputs.narrow(0, index * batch, batch)
            if hidden is not None:
                gates = gates + self.recurrent_conv(hidden)
            hidden, cell = convlstm_cell(gates, cell, gate_activation=self.gate_activation)
        return hidden

    def _with_joined_convs(self, steps):
        weight, bias = self.input_conv.weight, self.input_conv.bias
        padding, filters = self.input_conv.padding, self.recurrent_conv.in_channels
        without_forget = [torch.cat([tensor[:filters], tensor[2 * filters :]]) for tensor in (weight, bias)]
        gates = F.conv2d(steps[0], *without_forget, padding=padding)
        hidden, cell = convlstm_cell(gates, gate_activation=self.gate_activation, forget_gate=False)
        if len(steps) > 1:
            weight = torch.cat([weight, self.recurrent_conv.weight], dim=1)
        for step in steps[1:]:
            gates = F.conv2d(torch.cat([step, hidden], dim=1), weight, bias, padding=padding)
            hidden, cell = convlstm_cell(gates, cell, gate_activation=self.gate_activation)
        return hidden


# Chosen by measurement on a CPU (AVX-512, float32, 3x3, 8 to 256 filters, channels last): pixels in a batch up to which
# one call for all input convolutions is faster. With a backward pass it takes 0.80 to 0.92 times as long on 616 pixels
# and, by the width, 0.95 to 1.06 times on 2,464; forward alone 0.56 (256 filters) to 1.3 (16) times on 80 to 154
# pixels, and 1.03 to 1.43 times on 616 and more. Contiguous maps are alike.
_FEW_PIXELS = 1024
_FEW_PIXELS_FORWARD = 512


def _is_plain(conv, kind):
    """Whether the module is what ConvLSTM2d put there and calling it is nothing but its convolution."""
    hooks = (conv._forward_hooks, conv._forward_pre_hooks, conv._backward_hooks, conv._backward_pre_hooks)
    hooked = any(hooks) or nn.modules.module._has_any_global_hook()
    return type(conv) is kind and not hooked and "forward" not in vars(conv)
