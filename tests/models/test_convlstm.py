"""The ConvLSTM layer and its shortcuts against the layer as its equations read, in float64."""

import copy
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from hf_lesionseg import ops
from hf_lesionseg.models import layers, reference_ops
from hf_lesionseg.models.layers import ConvLSTM2d


def straightforward(layer, steps):
    """Both convolutions and all four gates at each step, and a state that begins as zeros."""
    batch, _, height, width = steps[0].shape
    hidden = steps[0].new_zeros(batch, layer.recurrent_conv.in_channels, height, width)
    cell = hidden
    for step in steps:
        gates = F.conv2d(step, layer.input_conv.weight, layer.input_conv.bias, padding=layer.input_conv.padding)
        gates = gates + F.conv2d(hidden, layer.recurrent_conv.weight, padding=layer.recurrent_conv.padding)
        hidden, cell = reference_ops.convlstm_cell(gates, cell, gate_activation=layer.gate_activation)
    return hidden


def layer_and_steps(
    *, filters=5, channels=3, size=(2, 6, 7), steps=2, dtype=torch.float32, activation="hard_sigmoid", kernel_size=3
):
    torch.manual_seed(0)
    layer = ConvLSTM2d(channels, filters, kernel_size, gate_activation=activation)
    layer.input_conv.init_weights()
    layer.recurrent_conv.init_weights()
    torch.nn.init.normal_(layer.input_conv.bias)
    batch, height, width = size
    maps = [torch.randn(batch, channels, height, width).to(dtype).requires_grad_() for _ in range(steps)]
    return layer.to(dtype), maps


def gradients(run, layer, steps, weight):
    return torch.autograd.grad((run(*steps) * weight).sum(), [*steps, *layer.parameters()], allow_unused=True)


@pytest.fixture(params=["shared input convolution", "joined convolutions"])
def shortcut(request, monkeypatch):
    """Each way of running the layer, whatever the shape."""
    monkeypatch.setattr(layers, "_FEW_PIXELS", 2**60 if request.param.startswith("shared") else -1)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("activation", reference_ops.GATE_ACTIVATIONS)
def test_as_exact_as_the_equations_in_pytorch(shortcut, steps, activation):
    layer, maps = layer_and_steps(size=(1, 56, 44), filters=32, channels=32, steps=steps, activation=activation)
    exact, exact_maps = copy.deepcopy(layer).double(), [m.detach().double().requires_grad_() for m in maps]
    weight = torch.randint(-4, 5, (1, 32, 56, 44)) / 4
    ours, plain = layer(*maps), straightforward(layer, maps)
    truth = straightforward(exact, exact_maps)
    assert (ours - truth).abs().max() <= 2 * (plain - truth).abs().max()
    grads = gradients(layer, layer, maps, weight)
    plain = gradients(lambda *m: straightforward(layer, m), layer, maps, weight)
    truth = gradients(lambda *m: straightforward(exact, m), exact, exact_maps, weight)
    assert (grads[-1] is None) == (steps == 1), "one step has no recurrent convolution"
    for ours, eager, true in zip(grads, plain, truth, strict=True):
        if ours is None:
            assert not true.any()
        else:
            assert (ours - true).norm() <= 2 * (eager - true).norm() + 1e-7 * true.norm()


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_equal_to_the_equations_in_float64(kernel_size):
    layer, maps = layer_and_steps(dtype=torch.float64, kernel_size=kernel_size, steps=3)
    weight = torch.randn(2, 5, 6, 7, dtype=torch.float64)
    torch.testing.assert_close(layer(*maps), straightforward(layer, maps), rtol=1e-12, atol=1e-13)
    expected = gradients(lambda *m: straightforward(layer, m), layer, maps, weight)
    torch.testing.assert_close(gradients(layer, layer, maps, weight), expected, rtol=1e-11, atol=1e-12)


def test_the_first_step_gives_the_forget_gate_no_gradient(shortcut):
    layer, maps = layer_and_steps()
    for steps, expected in ((maps[:1], False), (maps, True)):
        weight, bias = torch.autograd.grad(layer(*steps).sum(), [layer.input_conv.weight, layer.input_conv.bias])
        assert weight[5:10].any() == bias[5:10].any() == expected
        assert weight[:5].all()
        assert weight[10:].all()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_result_keeps_the_memory_format(shortcut, memory_format):
    layer, maps = layer_and_steps()
    maps = [m.detach().contiguous(memory_format=memory_format) for m in maps]
    assert layer(*maps).is_contiguous(memory_format=memory_format)


def test_without_a_step():
    with pytest.raises(ValueError, match="at least one step"):
        ConvLSTM2d(2, 2)()


@pytest.mark.parametrize(("size", "shared"), [((4, 14, 11), True), ((4, 28, 22), False), ((1, 56, 44), False)])
def test_few_pixels_share_the_input_convolution(size, shared):
    layer, maps = layer_and_steps(size=size)
    nodes, waiting = set(), [layer(*maps).grad_fn]
    while waiting:
        node = waiting.pop()
        nodes.add(node)
        waiting += [following for following, _ in node.next_functions if following not in nodes | {None}]
    # One joins the steps; four join what is left of the first step's weights and biases, input and hidden state, and
    # the weights of both convolutions.
    assert sum(node.name() == "CatBackward0" for node in nodes) == (1 if shared else 4)


@pytest.mark.parametrize(("size", "shared"), [((3, 14, 11), True), ((4, 14, 11), False)])
def test_fewer_pixels_share_it_where_nothing_runs_backwards(size, shared):
    layer, (step, _) = layer_and_steps(size=size)
    assert layer._shares_input_conv(step)
    with torch.inference_mode():
        assert layer._shares_input_conv(step) == shared


def test_hooks_and_replaced_convolutions_take_part(monkeypatch):
    monkeypatch.setattr(layers, "_FEW_PIXELS", -1)
    layer, maps = layer_and_steps()
    seen, plain = [], layer(*maps)
    hook = layer.recurrent_conv.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    torch.testing.assert_close(layer(*maps), plain)
    assert len(seen) == 1
    hook.remove()

    class Doubled(torch.nn.Module):
        """As an adapter: has the attributes of the convolution it wraps, and computes something else."""

        def __init__(self, conv):
            super().__init__()
            self.conv, self.weight, self.bias = conv, conv.weight, conv.bias
            self.in_channels, self.padding = conv.in_channels, conv.padding

        def forward(self, maps):
            return 2 * self.conv(maps)

    layer.input_conv = Doubled(layer.input_conv)
    doubled, _ = layer_and_steps()
    with torch.no_grad():
        doubled.input_conv.weight.mul_(2)
        doubled.input_conv.bias.mul_(2)
    torch.testing.assert_close(layer(*maps), straightforward(doubled, maps))


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_as_one_graph(backend, dynamic):
    layer, maps = layer_and_steps()
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend=backend, dynamic=dynamic)
    torch.testing.assert_close(compiled(*maps), layer(*maps))
    weight = torch.randn(2, 5, 6, 7)
    ours, expected = (gradients(run, layer, maps, weight) for run in (compiled, layer))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("strict", [False, True])
def test_export_with_free_sizes(strict):
    layer, maps = layer_and_steps()
    sizes = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    program = torch.export.export(layer, tuple(maps), dynamic_shapes={"steps": (sizes, sizes)}, strict=strict)
    for batch, height, width in ((1, 3, 5), (4, 40, 30)):
        steps = [torch.randn(batch, 3, height, width) for _ in range(2)]
        torch.testing.assert_close(program.module()(*steps), layer(*steps))


def test_autocast(shortcut):
    layer, maps = layer_and_steps()
    exact = layer(*maps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = layer(*maps)
        # One step may come from an operation that autocast leaves in float32.
        mixed = layer(maps[0].bfloat16(), maps[1])
    assert hidden.dtype == mixed.dtype == torch.bfloat16
    torch.testing.assert_close(hidden.float(), exact, rtol=0.05, atol=0.03)
    torch.testing.assert_close(mixed.float(), exact, rtol=0.05, atol=0.03)
    hidden.float().sum().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in layer.parameters())


def test_activation_checkpointing(shortcut):
    layer, maps = layer_and_steps()
    weight = torch.randn(2, 5, 6, 7)
    again = gradients(lambda *steps: checkpoint(layer, *steps, use_reentrant=False), layer, maps, weight)
    assert all(torch.equal(a, b) for a, b in zip(again, gradients(layer, layer, maps, weight), strict=True))


@pytest.mark.parametrize("size", [(2, 22, 18), (0, 4, 4), (1, 1, 1)])
def test_the_reference_cell_gives_the_same(monkeypatch, size, shortcut):
    assert ops.backend()["convlstm_cell"]["cpu"] == "compiled"
    layer, maps = layer_and_steps(size=size)
    compiled = layer(*maps)
    monkeypatch.setattr(layers, "convlstm_cell", reference_ops.convlstm_cell)
    torch.testing.assert_close(layer(*maps), compiled)


PEAK = """
import re, sys, torch
sys.path.insert(0, sys.argv[1])
import test_convlstm as t
layer, maps = t.layer_and_steps(size=(2, 160, 160), filters=32, channels=32)
run = layer if sys.argv[2] == "ours" else lambda *steps: t.straightforward(layer, steps)
run(*(m[:, :, :8, :8] for m in maps)).sum().backward()
def peak():  # of this process alone: ru_maxrss begins with what its parent had
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
before = peak()
run(*maps).sum().backward()
print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells the peak of a process")
def test_peak_memory_is_below_the_straightforward_layers():
    grown = {}
    for name in ("ours", "straightforward"):
        command = [sys.executable, "-c", PEAK, str(__file__).rpartition("/")[0], name]
        grown[name] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown["ours"] < 0.9 * grown["straightforward"], grown
