"""Layers for ``kernels.kernelize``: each lends its ``forward`` to a layer that holds the weights named here."""

from torch import nn

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
        hidden, cell = None, None
        for step in steps:
            gates = self.input_conv(step)
            if hidden is not None:
                gates = gates + self.recurrent_conv(hidden)
            hidden, cell = convlstm_cell(gates, cell, gate_activation=self.gate_activation)
        return hidden
