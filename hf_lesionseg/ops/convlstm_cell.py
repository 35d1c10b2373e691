"""The fused ConvLSTM cell: schema, shapes, gradients and the public function.

The Hub kernel carries a copy of this file, so it imports nothing but torch and, relatively, these two modules.
"""

import torch

from ..models import reference_ops
from .library import declare_op, ops, uses_kernel

_NAME = "convlstm_cell"


def convlstm_cell(gates, cell_state=None, *, gate_activation="hard_sigmoid", forget_gate=True):
    """Pointwise part of a ConvLSTM cell: activate the gates, update the cell state, give the hidden state.

    ``cell = f * cell_state + i * tanh(g)``, ``hidden = o * tanh(cell)`` with i, f, o the activated input, forget and
    output gates and g the candidate (Shi et al. 2015, eq. 3, without peepholes).

    One pass over memory in each direction. For the backward pass nothing is saved but the two arguments, ``gates`` and
    ``cell_state``; activated gates, the new cell state and its tanh are computed anew. Neither pass writes in place, so
    a graph may be run backward twice; second derivatives go through plain PyTorch. float32 and the 16-bit dtypes
    compute in float32, float64 in float64. A result depends neither on the number of threads nor on the memory format;
    results have the memory format of ``gates`` (channels last or contiguous).

    Parameters
    ----------
    gates : torch.Tensor
        Gates before their activation, (batch, 4 * filters, height, width), in the order input, forget, candidate,
        output. float32, float64, bfloat16 or float16.
    cell_state : torch.Tensor, optional
        Cell state of the step before, (batch, filters, height, width). ``None`` means zeros, which are then not read.
    gate_activation : {"hard_sigmoid", "sigmoid"}
        "hard_sigmoid" is Keras 2's ``clip(0.2 x + 0.5, 0, 1)``, not torch's ``hardsigmoid`` (x / 6 + 0.5).
    forget_gate : bool
        ``False`` (only with ``cell_state=None``): gates are (batch, 3 * filters, height, width) in the order input,
        candidate, output.

    Returns
    -------
    hidden, cell : torch.Tensor
        Both (batch, filters, height, width), in the dtype of ``gates``. Under autocast, gates and state of two dtypes
        are brought to the wider one first.

    Raises
    ------
    TypeError
        For a dtype that is not floating, or two dtypes that differ outside of autocast.
    ValueError
        For shapes that do not fit, tensors on two devices, or an unknown ``gate_activation``.

    Examples
    --------
    >>> hidden, cell = convlstm_cell(torch.zeros(1, 8, 4, 4))
    >>> hidden.shape, float(cell.sum())
    (torch.Size([1, 2, 4, 4]), 0.0)
    """
    gates, cell_state = reference_ops.check_convlstm_cell(gates, cell_state, gate_activation, forget_gate)
    if uses_kernel(_NAME, gates.device.type):
        return ops.convlstm_cell(gates, cell_state, gate_activation == "hard_sigmoid", forget_gate)
    return reference_ops.convlstm_cell(gates, cell_state, gate_activation=gate_activation, forget_gate=forget_gate)


def _activation(hard_sigmoid):
    return "hard_sigmoid" if hard_sigmoid else "sigmoid"


def _reference(gates, cell_state, hard_sigmoid, forget_gate):
    results = reference_ops.convlstm_cell(
        gates, cell_state, gate_activation=_activation(hard_sigmoid), forget_gate=forget_gate
    )
    return tuple(result.contiguous(memory_format=_memory_format(gates)) for result in results)


def _reference_backward(grad_hidden, grad_cell, gates, cell_state, hard_sigmoid, forget_gate):
    """Gradients to gates and state, in differentiable PyTorch: the fallback, and the source of second derivatives."""
    gate = reference_ops.split_gates(gates, forget_gate)
    activate = reference_ops.hard_sigmoid if hard_sigmoid else torch.sigmoid
    slope = _hard_sigmoid_slope if hard_sigmoid else _sigmoid_slope
    candidate = torch.tanh(gate["candidate"])
    cell = activate(gate["input"]) * candidate
    if cell_state is not None:
        cell = activate(gate["forget"]) * cell_state + cell
    tanh_cell = torch.tanh(cell)
    zero = torch.zeros_like(cell)
    grad_hidden = zero if grad_hidden is None else grad_hidden
    total = grad_hidden * activate(gate["output"]) * (1 - tanh_cell * tanh_cell)
    if grad_cell is not None:
        total = total + grad_cell
    grad_input = total * candidate * slope(gate["input"])
    grad_candidate = total * activate(gate["input"]) * (1 - candidate * candidate)
    grad_output = grad_hidden * tanh_cell * slope(gate["output"])
    if not forget_gate:
        return torch.cat([grad_input, grad_candidate, grad_output], dim=1), gates.new_empty(0)
    if cell_state is None:
        return torch.cat([grad_input, zero, grad_candidate, grad_output], dim=1), gates.new_empty(0)
    grad_forget = total * cell_state * slope(gate["forget"])
    return torch.cat([grad_input, grad_forget, grad_candidate, grad_output], dim=1), total * activate(gate["forget"])


def _sigmoid_slope(values):
    activated = torch.sigmoid(values)
    return activated * (1 - activated)


def _hard_sigmoid_slope(values):
    # As torch.clamp has it, the two corners of clip(0.2 x + 0.5, 0, 1) let the gradient pass.
    return 0.2 * (values.abs() <= 2.5).to(values.dtype)


def _backward_without_kernel(*arguments):
    grad_gates, grad_state = _reference_backward(*arguments)
    memory_format = _memory_format(arguments[2])
    if arguments[3] is not None:
        grad_state = grad_state.contiguous(memory_format=memory_format)
    return grad_gates.contiguous(memory_format=memory_format), grad_state


def _memory_format(gates):
    if not gates.is_contiguous() and gates.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def _fake(gates, cell_state, hard_sigmoid, forget_gate):
    batch, channels, height, width = gates.shape
    shape = (batch, channels // (4 if forget_gate else 3), height, width)
    memory_format = _memory_format(gates)
    return tuple(
        torch.empty(shape, dtype=gates.dtype, device=gates.device, memory_format=memory_format) for _ in range(2)
    )


def _fake_backward(grad_hidden, grad_cell, gates, cell_state, hard_sigmoid, forget_gate):
    memory_format = _memory_format(gates)
    grad_gates = torch.empty(gates.shape, dtype=gates.dtype, device=gates.device, memory_format=memory_format)
    if cell_state is None:
        return grad_gates, gates.new_empty(0)
    return grad_gates, torch.empty(
        cell_state.shape, dtype=gates.dtype, device=gates.device, memory_format=memory_format
    )


def _save_arguments(ctx, inputs, output):
    gates, cell_state, ctx.hard_sigmoid, ctx.forget_gate = inputs
    ctx.save_for_backward(gates, cell_state)
    # A gradient that does not exist stays None and is not read: a last step's cell state leads nowhere.
    ctx.set_materialize_grads(False)


def _backward(ctx, grad_hidden, grad_cell):
    gates, cell_state = ctx.saved_tensors
    if grad_hidden is None and grad_cell is None:
        return None, None, None, None
    grad_gates, grad_state = ops.convlstm_cell_backward(
        grad_hidden, grad_cell, gates, cell_state, ctx.hard_sigmoid, ctx.forget_gate
    )
    return grad_gates, None if cell_state is None else grad_state, None, None


def _save_backward_arguments(ctx, inputs, output):
    *tensors, ctx.hard_sigmoid, ctx.forget_gate = inputs
    ctx.save_for_backward(*tensors)
    ctx.set_materialize_grads(False)


def _double_backward(ctx, grad_grad_gates, grad_grad_state):
    """Differentiate the plain formula of the backward pass, differentiably where autograd asks for it."""
    with torch.enable_grad():
        # Aliases give the gradient to each argument alone, though one may have been computed from another.
        arguments = [None if t is None else t.view_as(t).requires_grad_() for t in ctx.saved_tensors]
        outputs = _reference_backward(*arguments, ctx.hard_sigmoid, ctx.forget_gate)
    pairs = (outputs[0], grad_grad_gates), (outputs[1], grad_grad_state)
    reached = [(output, grad) for output, grad in pairs if grad is not None and output.requires_grad]
    if not reached:
        return (None,) * 6
    gradients = iter(
        torch.autograd.grad(
            [output for output, _ in reached],
            [t for t in arguments if t is not None],
            [grad for _, grad in reached],
            create_graph=torch.is_grad_enabled(),
            allow_unused=True,
        )
    )
    return (*(None if t is None else next(gradients) for t in arguments), None, None)


declare_op(
    "convlstm_cell",
    "(Tensor gates, Tensor? cell_state, bool hard_sigmoid, bool forget_gate) -> (Tensor, Tensor)",
    reference=_reference,
    fake=_fake,
    setup_context=_save_arguments,
    backward=_backward,
)
declare_op(
    "convlstm_cell_backward",
    "(Tensor? grad_hidden, Tensor? grad_cell, Tensor gates, Tensor? cell_state, bool hard_sigmoid, bool forget_gate)"
    " -> (Tensor, Tensor)",
    reference=_backward_without_kernel,
    fake=_fake_backward,
    setup_context=_save_backward_arguments,
    backward=_double_backward,
)
