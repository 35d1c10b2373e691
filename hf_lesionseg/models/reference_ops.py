"""The kernels of :mod:`hf_lesionseg.ops` in plain PyTorch: the fallback, and the truth their tests compare with.

Imports torch and a sibling only, so that a network published to the Hub as remote code can carry this file along.
"""

import torch

from .reference_roi import roi_paste, roi_sample

__all__ = ["convlstm_cell", "roi_paste", "roi_sample"]

#: What ``gate_activation`` may be.
GATE_ACTIVATIONS = ("hard_sigmoid", "sigmoid")

_FLOATING_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def check_convlstm_cell(gates, cell_state, gate_activation, forget_gate):
    """Refuse arguments that :func:`convlstm_cell` has no meaning for; return ``cell_state`` in the dtype of ``gates``.

    Under autocast both tensors are brought to the wider of their two dtypes, as autocast does for operations of
    several inputs; outside of it dtypes that differ are an error.

    Returns
    -------
    gates, cell_state : torch.Tensor, torch.Tensor or None

    Raises
    ------
    TypeError
        For a dtype that is not floating, or two dtypes that differ.
    ValueError
        For shapes that do not fit, tensors on two devices, or an unknown ``gate_activation``.
    """
    if gate_activation not in GATE_ACTIVATIONS:
        raise ValueError(f"gate_activation is {gate_activation!r}; use one of {', '.join(GATE_ACTIVATIONS)}")
    if gates.dtype not in _FLOATING_DTYPES:
        raise TypeError(f"gates are {gates.dtype}; give float32, float64, bfloat16 or float16")
    count = 4 if forget_gate else 3
    if gates.dim() != 4 or gates.shape[1] % count != 0:
        raise ValueError(
            f"gates have shape {tuple(gates.shape)}; with forget_gate={forget_gate} they must be "
            f"(batch, {count} * filters, height, width)"
        )
    if cell_state is None:
        return gates, None
    if not forget_gate:
        raise ValueError("forget_gate=False leaves nothing to apply to cell_state; give cell_state=None")
    expected = (gates.shape[0], gates.shape[1] // count, gates.shape[2], gates.shape[3])
    if cell_state.shape != expected:
        raise ValueError(
            f"cell_state has shape {tuple(cell_state.shape)}; gates of {tuple(gates.shape)} need {expected}"
        )
    if cell_state.device != gates.device:
        raise ValueError(f"gates are on {gates.device} and cell_state is on {cell_state.device}; move one of them")
    if cell_state.dtype != gates.dtype:
        if not torch.is_autocast_enabled(gates.device.type) or cell_state.dtype not in _FLOATING_DTYPES:
            raise TypeError(f"gates are {gates.dtype} and cell_state is {cell_state.dtype}; convert one of them")
        wider = torch.promote_types(gates.dtype, cell_state.dtype)
        return gates.to(wider), cell_state.to(wider)
    return gates, cell_state


def convlstm_cell(gates, cell_state=None, *, gate_activation="hard_sigmoid", forget_gate=True):
    """Pointwise part of a ConvLSTM cell: activate the gates, update the cell state, give the hidden state.

    ``cell = f * cell_state + i * tanh(g)``, ``hidden = o * tanh(cell)`` with i, f, o the activated input, forget and
    output gates and g the candidate (Shi et al. 2015, eq. 3, without peepholes).

    Parameters
    ----------
    gates : torch.Tensor
        Gates before their activation, (batch, 4 * filters, height, width), in the order input, forget, candidate,
        output. float32, float64, bfloat16 or float16.
    cell_state : torch.Tensor, optional
        Cell state of the step before, (batch, filters, height, width). ``None`` means zeros.
    gate_activation : {"hard_sigmoid", "sigmoid"}
        "hard_sigmoid" is Keras 2's ``clip(0.2 x + 0.5, 0, 1)``, not torch's ``hardsigmoid`` (x / 6 + 0.5).
    forget_gate : bool
        ``False`` (only with ``cell_state=None``): gates are (batch, 3 * filters, height, width) in the order input,
        candidate, output.

    Returns
    -------
    hidden, cell : torch.Tensor
        Both (batch, filters, height, width), in the dtype of ``gates``.

    Raises
    ------
    TypeError, ValueError
        See :func:`check_convlstm_cell`.

    Examples
    --------
    >>> hidden, cell = convlstm_cell(torch.zeros(1, 8, 4, 4))
    >>> hidden.shape, float(cell.sum())
    (torch.Size([1, 2, 4, 4]), 0.0)
    """
    gates, cell_state = check_convlstm_cell(gates, cell_state, gate_activation, forget_gate)
    activate = torch.sigmoid if gate_activation == "sigmoid" else hard_sigmoid
    gate = split_gates(gates, forget_gate)
    cell = activate(gate["input"]) * torch.tanh(gate["candidate"])
    if cell_state is not None:
        cell = activate(gate["forget"]) * cell_state + cell
    return activate(gate["output"]) * torch.tanh(cell), cell


def split_gates(gates, forget_gate=True):
    """Views of the gates by name: {"input", "forget", "candidate", "output"}, without "forget" where there is none."""
    names = ("input", "forget", "candidate", "output") if forget_gate else ("input", "candidate", "output")
    filters = gates.shape[1] // len(names)
    return {name: gates.narrow(1, index * filters, filters) for index, name in enumerate(names)}


def hard_sigmoid(values):
    """Keras 2's hard sigmoid, ``clip(0.2 x + 0.5, 0, 1)``."""
    return torch.clamp(0.2 * values + 0.5, 0.0, 1.0)
