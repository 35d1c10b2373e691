"""What the ConvLSTM is measured against, at which sizes, and what each part of the layer costs.

Import it (``import benchmark_rivals_convlstm``) from a script of this folder. Every rival computes the same function of
the same parameters as ours, so that a benchmark can check the results before it times them.
"""

import collections
import statistics
import time

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hf_lesionseg.models import reference_ops
from hf_lesionseg.models.layers import ConvLSTM2d

#: batch, filters, height, width: the ConvLSTM layers of CLCI-Net at 224 x 176, from the finest to the coarsest.
SIZES = [(4, 32, 224, 176), (4, 64, 112, 88), (4, 128, 56, 44), (4, 256, 28, 22), (4, 256, 14, 11)]
#: The same maps in a batch of 32, for the cell alone.
LARGE_SIZES = [(32, *size[1:]) for size in SIZES]


class StraightforwardConvLSTM2d(ConvLSTM2d):
    """The layer as its equations read: at each step both convolutions, four gates, and a state that begins as zeros."""

    def forward(self, *steps):
        batch, _, height, width = steps[0].shape
        hidden = steps[0].new_zeros(batch, self.recurrent_conv.in_channels, height, width)
        cell = torch.zeros_like(hidden)
        for step in steps:
            gates = self.input_conv(step) + self.recurrent_conv(hidden)
            hidden, cell = eager_cell(gates, cell, gate_activation=self.gate_activation)
        return hidden


def straightforward_layer(layer):
    """A straightforward layer that shares the parameters of ``layer``.

    Returns
    -------
    StraightforwardConvLSTM2d
    """
    filters = layer.recurrent_conv.in_channels
    with torch.device("meta"):
        rival = StraightforwardConvLSTM2d(layer.input_conv.in_channels, filters, gate_activation=layer.gate_activation)
    rival.input_conv, rival.recurrent_conv = layer.input_conv, layer.recurrent_conv
    return rival


def layer_rivals(layer):
    """The layers to time beside ``layer``, by name: "eager" and "torch.compile" of the straightforward one.

    Ask anew for each size: what was compiled before is forgotten, so that no limit of recompilations is met.
    """
    torch._dynamo.reset()
    return {
        "eager": straightforward_layer(layer),
        "torch.compile": torch.compile(straightforward_layer(layer), fullgraph=True, dynamic=False),
    }


def eager_cell(gates, cell_state=None, *, gate_activation="hard_sigmoid", forget_gate=True):
    """The cell in plain PyTorch: what a user would write."""
    return reference_ops.convlstm_cell(gates, cell_state, gate_activation=gate_activation, forget_gate=forget_gate)


def cell_rivals():
    """The cells to time beside :func:`hf_lesionseg.ops.convlstm_cell`, by name; ask anew for each size."""
    torch._dynamo.reset()
    return {"eager": eager_cell, "torch.compile": torch.compile(eager_cell, fullgraph=True, dynamic=False)}


def cell_inputs(size, *, recurrence="state", dtype=torch.float32, channels_last=False, device="cpu", seed=0):
    """Random arguments of the cell, with gradients.

    Parameters
    ----------
    size : tuple of int
        batch, filters, height, width.
    recurrence : {"state", "zero state", "no forget gate"}

    Returns
    -------
    arguments : tuple of torch.Tensor
        (gates, cell_state), or (gates,) without a state.
    options : dict
        Keyword arguments.
    grad_hidden, grad_cell : torch.Tensor
        Gradients to begin the backward pass with.
    """
    generator = torch.Generator(device).manual_seed(seed)
    batch, filters, height, width = size
    channels = (3 if recurrence == "no forget gate" else 4) * filters
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def draw(channels):
        values = torch.randn(batch, channels, height, width, generator=generator, device=device)
        return values.to(dtype).contiguous(memory_format=layout)

    arguments = [draw(channels)] + ([draw(filters)] if recurrence == "state" else [])
    options = {"forget_gate": recurrence != "no forget gate"}
    return tuple(t.requires_grad_() for t in arguments), options, draw(filters), draw(filters)


def layer_inputs(size, *, steps=2, device="cpu", seed=0):
    """A layer with as many channels in as filters, random steps with gradients, and a gradient to its result.

    Returns
    -------
    layer : ConvLSTM2d
    steps : list of torch.Tensor
    grad_hidden : torch.Tensor
    """
    torch.manual_seed(seed)
    batch, filters, height, width = size
    layer = ConvLSTM2d(filters, filters).to(device)
    layer.input_conv.init_weights()
    layer.recurrent_conv.init_weights()
    maps = [torch.randn(batch, filters, height, width, device=device) for _ in range(steps + 1)]
    return layer, [step.requires_grad_() for step in maps[:-1]], maps[-1]


_COPIES = ("cat", "clone", "copy_", "_to_copy", "zeros", "new_zeros", "zeros_like", "slice_backward", "fill_", "zero_")


class PartClock(TorchDispatchMode):
    """Adds up the seconds of each part of a ConvLSTM layer while it is active; CPU only.

    Attributes
    ----------
    seconds : dict of str to float
        Parts are "input convolution", "recurrent convolution", "joined convolution" (of input and hidden state at once)
        and "pointwise" (the cell), each with "backward" before it for its backward pass, and "copies and sums":
        joining maps or weights, adding two tensors of gates, sums of gradients, zero states.
    """

    def __init__(self, layer):
        super().__init__()
        self.recurrent = layer.recurrent_conv.weight.data_ptr()
        self.input_channels, self.gate_channels = layer.input_conv.in_channels, layer.input_conv.out_channels
        self.seconds = collections.defaultdict(float)

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        begun = time.perf_counter()
        result = function(*arguments, **(keywords or {}))
        self.seconds[self._part(function, arguments, result)] += time.perf_counter() - begun
        return result

    def _part(self, function, arguments, result):
        name = function.overloadpacket.__name__
        backward = "backward " if torch._C._current_graph_task_id() != -1 else ""
        if name.startswith("convolution"):
            weight = arguments[2 if backward else 1]
            if weight.data_ptr() == self.recurrent:
                return f"{backward}recurrent convolution"
            joined = weight.shape[1] != self.input_channels
            return f"{backward}{'joined' if joined else 'input'} convolution"
        added = name in ("add", "add_") and not backward and result.shape[1] == self.gate_channels
        if name in _COPIES or added:
            return "copies and sums"
        return f"{backward}pointwise"


def layer_shares(layer, steps, grad_hidden=None, *, repeats=5):
    """Where the time of a layer goes: seconds of each part.

    Parameters
    ----------
    layer : ConvLSTM2d
        Ours, or :class:`StraightforwardConvLSTM2d`.
    steps : list of torch.Tensor
    grad_hidden : torch.Tensor, optional
        With it the backward pass is included.
    repeats : int

    Returns
    -------
    dict of str to float
        Medians by the parts of :class:`PartClock`.
    """
    leaves = [*steps, *layer.parameters()]
    runs = []
    for _ in range(repeats + 1):  # the first one pays for memory and threads
        with torch.set_grad_enabled(grad_hidden is not None), PartClock(layer) as clock:
            hidden = layer(*steps)
            if grad_hidden is not None:
                torch.autograd.grad(hidden, leaves, grad_hidden, allow_unused=True)
        runs.append(clock.seconds)
    return {part: statistics.median(run.get(part, 0.0) for run in runs[1:]) for part in sorted(runs[-1])}
