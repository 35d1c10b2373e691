"""Layers for ``kernels.kernelize``: each lends its ``forward`` to a layer that holds the weights named here."""

import torch
from torch import nn
from torch.nn import functional as F

from .ops.convlstm_cell import convlstm_cell

__all__ = ["ConvLSTM2d", "ConvLSTMCell"]


class ConvLSTMCell(nn.Module):
    """Pointwise part of a ConvLSTM cell; see ``convlstm_cell``.

    Takes gates (batch, 4 * filters, height, width) and the cell state (batch, filters, height, width) or None, and
    gives (hidden, cell).
    """

    has_backward = True
    can_torch_compile = True

    gate_activation: str

    def forward(self, gates, cell_state=None):
        return convlstm_cell(gates, cell_state, gate_activation=self.gate_activation)


class ConvLSTM2d(nn.Module):
    """ConvLSTM over a sequence of feature maps, from the zero state; gives the last hidden state.

    Takes steps of (batch, in_channels, height, width) and gives (batch, filters, height, width).
    """

    has_backward = True
    can_torch_compile = True

    input_conv: nn.Module
    recurrent_conv: nn.Module
    gate_activation: str

    def forward(self, *steps):
        if not steps:
            raise ValueError("ConvLSTM2d needs at least one step; give it one or more feature maps")
        if not (_is_plain(self.input_conv) and _is_plain(self.recurrent_conv)):
            return _with_modules(self, steps)
        # From the zero state the first step needs no forget gate and no recurrent convolution; each later one is one
        # convolution over its input and the hidden state side by side.
        weight, bias = self.input_conv.weight, self.input_conv.bias
        padding, filters = self.input_conv.padding, self.recurrent_conv.in_channels
        without_forget = [torch.cat([tensor[:filters], tensor[2 * filters :]]) for tensor in (weight, bias)]
        gates = F.conv2d(steps[0], *without_forget, padding=padding)
        hidden, cell = convlstm_cell(gates, gate_activation=self.gate_activation, forget_gate=False)
        weight = torch.cat([weight, self.recurrent_conv.weight], dim=1)
        for step in steps[1:]:
            gates = F.conv2d(torch.cat([step, hidden], dim=1), weight, bias, padding=padding)
            hidden, cell = convlstm_cell(gates, cell, gate_activation=self.gate_activation)
        return hidden


def _is_plain(conv):
    """Whether calling the module is nothing but its convolution: no hook, adapter or quantisation."""
    hooks = (conv._forward_hooks, conv._forward_pre_hooks, conv._backward_hooks, conv._backward_pre_hooks)
    plain = isinstance(conv, nn.Conv2d) and type(conv).forward is nn.Conv2d.forward
    return plain and not any(hooks) and "forward" not in vars(conv)


def _with_modules(layer, steps):
    hidden, cell = None, None
    for step in steps:
        gates = layer.input_conv(step)
        if hidden is not None:
            gates = gates + layer.recurrent_conv(hidden)
        hidden, cell = convlstm_cell(gates, cell, gate_activation=layer.gate_activation)
    return hidden
