"""The ops inside torch: schema checks, torch.compile, torch.export, autocast."""

import pytest
import torch

from hf_lesionseg.models import reference_ops
from hf_lesionseg.ops import backend, convlstm_cell


@pytest.fixture(autouse=True)
def compiled():
    assert backend()["convlstm_cell"]["cpu"] == "compiled"


def tensors(*, channels=8, filters=2, dtype=torch.float32, grad=False):
    generator = torch.Generator().manual_seed(0)
    gates = torch.randn(2, channels, 3, 5, generator=generator, dtype=dtype)
    state = torch.randn(2, filters, 3, 5, generator=generator, dtype=dtype)
    return gates.requires_grad_(grad), state.requires_grad_(grad)


CHEAP_CHECKS = ("test_schema", "test_autograd_registration", "test_faketensor")


def op_and_arguments(backward, recurrence, *, channels_last=False, dtype=torch.float32):
    gates, state = tensors(channels=6 if recurrence == "no forget gate" else 8, dtype=dtype)
    if channels_last:
        gates, state = (t.contiguous(memory_format=torch.channels_last) for t in (gates, state))
    cell_state = state.requires_grad_() if recurrence == "state" else None
    flags = (recurrence != "zero state", recurrence != "no forget gate")
    if not backward:
        return torch.ops.hf_lesionseg.convlstm_cell, (gates.requires_grad_(), cell_state, *flags)
    grad = torch.ones_like(state).detach().requires_grad_()
    grads = {"state": (grad, grad), "zero state": (grad, None), "no forget gate": (None, grad)}[recurrence]
    return torch.ops.hf_lesionseg.convlstm_cell_backward, (*grads, gates.requires_grad_(), cell_state, *flags)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("recurrence", ["state", "zero state", "no forget gate"])
@pytest.mark.parametrize("backward", [False, True])
def test_opcheck(backward, recurrence, channels_last):
    op, arguments = op_and_arguments(backward, recurrence, channels_last=channels_last)
    torch.library.opcheck(op, arguments, test_utils=CHEAP_CHECKS)


@pytest.mark.parametrize("backward", [False, True])
def test_opcheck_through_aot_autograd(backward):
    torch.library.opcheck(*op_and_arguments(backward, "state"), test_utils="test_aot_dispatch_dynamic")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("recurrence", ["state", "zero state", "no forget gate"])
@pytest.mark.parametrize("backward", [False, True])
def test_opcheck_of_everything(backward, recurrence, channels_last, dtype):
    torch.library.opcheck(*op_and_arguments(backward, recurrence, channels_last=channels_last, dtype=dtype))


class TwoSteps(torch.nn.Module):
    """A step from the zero state and a step with a state, as the networks use the op."""

    def forward(self, first, second):
        _, cell = convlstm_cell(first, forget_gate=False)
        return convlstm_cell(second, cell)[0]


def two_steps_in_plain_pytorch(first, second):
    _, cell = reference_ops.convlstm_cell(first, forget_gate=False)
    return reference_ops.convlstm_cell(second, cell)[0]


def op_calls(graph_module):
    return [
        node
        for module in graph_module.modules()
        if isinstance(module, torch.fx.GraphModule)
        for node in module.graph.nodes
        if str(node.target).startswith("hf_lesionseg.convlstm_cell")
    ]


@pytest.mark.parametrize("dynamic", [False, True])
def test_compile_as_one_graph_with_gradients(dynamic):
    graphs = []

    def keep(graph_module, example_inputs):
        graphs.append(graph_module)
        return graph_module

    first, second = tensors(channels=6, grad=True)[0], tensors(grad=True)[0]
    torch._dynamo.reset()
    run = torch.compile(TwoSteps(), fullgraph=True, dynamic=dynamic, backend=keep)
    hidden = run(first, second)
    assert len(graphs) == 1
    assert len(op_calls(graphs[0])) == 2, "the compiled op is in the graph, not its plain PyTorch"
    plain = two_steps_in_plain_pytorch(first, second)
    torch.testing.assert_close(hidden, plain)
    ours, theirs = (torch.autograd.grad(out.square().sum(), (first, second)) for out in (hidden, plain))
    torch.testing.assert_close(ours, theirs)


def test_compile_through_aot_autograd():
    first, second = tensors(channels=6, grad=True)[0], tensors(grad=True)[0]
    torch._dynamo.reset()
    hidden = torch.compile(TwoSteps(), fullgraph=True, backend="aot_eager")(first, second)
    plain = two_steps_in_plain_pytorch(first, second)
    ours, theirs = (torch.autograd.grad(out.square().sum(), (first, second)) for out in (hidden, plain))
    torch.testing.assert_close(ours, theirs)


def test_compile_with_inductor():
    first, second = tensors(channels=6, grad=True)[0], tensors(grad=True)[0]
    torch._dynamo.reset()
    hidden = torch.compile(TwoSteps(), fullgraph=True)(first, second)
    plain = two_steps_in_plain_pytorch(first, second)
    torch.testing.assert_close(hidden, plain)
    ours, theirs = (torch.autograd.grad(out.square().sum(), (first, second)) for out in (hidden, plain))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("strict", [False, True])
def test_export_with_free_sizes(strict, tmp_path):
    first, second = tensors(channels=6)[0], tensors()[0]
    sizes = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    program = torch.export.export(
        TwoSteps(), (first, second), dynamic_shapes={"first": sizes, "second": sizes}, strict=strict
    )
    assert len(op_calls(program.graph_module)) == 2
    torch.export.save(program, tmp_path / "cell.pt2")
    module = torch.export.load(tmp_path / "cell.pt2").module()
    for batch, height, width in ((2, 3, 5), (3, 7, 4)):
        inputs = torch.randn(batch, 6, height, width), torch.randn(batch, 8, height, width)
        torch.testing.assert_close(module(*inputs), two_steps_in_plain_pytorch(*inputs))


def test_autocast_brings_both_to_the_wider_dtype():
    gates, state = tensors()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden, cell = convlstm_cell(gates.bfloat16(), state)
        assert hidden.dtype == cell.dtype == torch.float32
        assert convlstm_cell(gates, state.bfloat16())[0].dtype == torch.float32
        assert convlstm_cell(gates.bfloat16(), state.bfloat16())[0].dtype == torch.bfloat16
        assert convlstm_cell(gates)[0].dtype == torch.float32
    torch.testing.assert_close(hidden, convlstm_cell(gates.bfloat16().float(), state)[0], rtol=0, atol=0)


def test_autocast_around_a_convolution_trains():
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(3, 8, 3, padding=1)
    images, state = torch.randn(2, 3, 5, 5), torch.zeros(2, 2, 5, 5, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden, _ = convlstm_cell(convolution(images), state)
        hidden.float().square().mean().backward()
    assert convolution.weight.grad.dtype == torch.float32
    assert torch.isfinite(convolution.weight.grad).all()
    assert state.grad.abs().sum() > 0


def test_meta_tensors_give_shapes():
    hidden, cell = torch.ops.hf_lesionseg.convlstm_cell(torch.empty(2, 8, 3, 5, device="meta"), None, True, True)
    assert hidden.shape == cell.shape == (2, 2, 3, 5)
    assert convlstm_cell(torch.empty(2, 8, 3, 5, device="meta"))[0].device.type == "meta"
