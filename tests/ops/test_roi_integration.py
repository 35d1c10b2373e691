"""RoI sampling and pasting inside torch: schema checks, torch.compile, torch.export."""

import pytest
import torch

from hf_lesionseg.models import reference_ops
from hf_lesionseg.ops import backend, roi_paste, roi_sample

CHEAP_CHECKS = ("test_schema", "test_autograd_registration", "test_faketensor")
BOXES = torch.tensor([[1.3, 2.1, 9.7, 8.2], [-2.2, 0.4, 5.1, 6.3], [3.3, 1.2, 8.9, 9.6]])
INDICES = torch.tensor([1, 0, 1])


@pytest.fixture(autouse=True)
def compiled():
    assert backend()["roi_sample"]["cpu"] == backend()["roi_paste"]["cpu"] == "compiled"


def op_and_arguments(name, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    images = torch.randn(2, 3, 9, 11, generator=generator).to(dtype).requires_grad_()
    rois = torch.randn(3, 3, 4, 5, generator=generator).to(dtype).requires_grad_()
    boxes = BOXES.to(wide).requires_grad_()
    arguments = {
        "roi_sample": (images, boxes, INDICES, 4, 5),
        "roi_sample_backward": (rois, images, boxes, INDICES, 2, 9, 11, True),
        "roi_paste": (rois, boxes, INDICES, 9, 11, 2),
        "roi_paste_backward": (images, rois, boxes, INDICES, True, True),
    }
    return getattr(torch.ops.hf_lesionseg, name), arguments[name]


OPS = ("roi_sample", "roi_sample_backward", "roi_paste", "roi_paste_backward")


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_opcheck(name, dtype):
    torch.library.opcheck(*op_and_arguments(name, dtype), test_utils=CHEAP_CHECKS)


@pytest.mark.parametrize("name", OPS)
def test_opcheck_where_little_is_asked_for(name):
    op, arguments = op_and_arguments(name)
    if name == "roi_sample_backward":
        arguments = (arguments[0], None, *arguments[2:-1], True)
    elif name == "roi_paste_backward":
        arguments = (*arguments[:-2], False, True)
    torch.library.opcheck(op, arguments, test_utils=CHEAP_CHECKS)


@pytest.mark.parametrize("name", ["roi_sample", "roi_paste"])
def test_opcheck_through_aot_autograd(name):
    torch.library.opcheck(*op_and_arguments(name), test_utils="test_aot_dispatch_dynamic")


class Zoom(torch.nn.Module):
    """Look closer at boxes and put back what was seen, as a network that locates does."""

    def forward(self, images, boxes, indices):
        rois = roi_sample(images, boxes, indices, (6, 6)).tanh()
        return roi_paste(rois, boxes, indices, images.shape[2:], images.shape[0])


def zoom_in_plain_pytorch(images, boxes, indices):
    rois = reference_ops.roi_sample(images, boxes, indices, (6, 6)).tanh()
    return reference_ops.roi_paste(rois, boxes, indices, images.shape[2:], images.shape[0])


def check(module):
    """Values and gradients, at the size that was compiled and at another."""
    for batch, count in ((2, 3), (3, 5)):
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(batch, 2, 9, 11, generator=generator, requires_grad=True)
        boxes = (10 * torch.rand(count, 4, generator=generator)).requires_grad_()
        indices = torch.randint(0, batch, (count,), generator=generator)
        found, expected = module(images, boxes, indices), zoom_in_plain_pytorch(images, boxes, indices)
        torch.testing.assert_close(found, expected)
        grad = torch.randn(found.shape, generator=generator)
        for ours, theirs in zip(
            torch.autograd.grad(found, (images, boxes), grad),
            torch.autograd.grad(expected, (images, boxes), grad),
            strict=True,
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def op_calls(graph_module):
    modules = (m for m in graph_module.modules() if isinstance(m, torch.fx.GraphModule))
    return [str(node.target) for module in modules for node in module.graph.nodes if "hf_lesionseg" in str(node.target)]


def test_compile_takes_the_ops_whole():
    calls = []

    def count(graph_module, inputs):
        calls.append(op_calls(graph_module))
        return graph_module.forward

    torch._dynamo.reset()
    check(torch.compile(Zoom(), fullgraph=True, backend=count))
    assert calls
    for names in calls:
        assert [name.split(".")[1] for name in names] == ["roi_sample", "roi_paste"]


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [False, True])
def test_inductor_gives_the_same(dynamic):
    torch._dynamo.reset()
    check(torch.compile(Zoom(), fullgraph=True, dynamic=dynamic))


def test_export_keeps_the_ops_and_the_number_of_boxes_free():
    count = torch.export.Dim("count", min=2, max=64)
    shapes = {"images": {0: torch.export.Dim("batch", min=2, max=64)}, "boxes": {0: count}, "indices": {0: count}}
    arguments = (torch.randn(2, 2, 9, 11), BOXES, INDICES)
    program = torch.export.export(Zoom(), arguments, dynamic_shapes=shapes)
    assert len(op_calls(program.graph_module)) == 2
    check(program.module())


def test_compile_takes_the_ops_where_there_is_no_kernel(monkeypatch):
    """Plain PyTorch asks how many RoIs an image has, which a graph cannot; the op hides that from the compiler."""
    monkeypatch.setattr("hf_lesionseg.ops.roi_sampling.uses_kernel", lambda name, device_type: False)
    torch._dynamo.reset()
    check(torch.compile(Zoom(), fullgraph=True, backend="eager"))
    torch._dynamo.reset()


def test_inference_mode():
    with torch.inference_mode():
        images = torch.randn(2, 2, 9, 11)
        found = Zoom()(images, BOXES, INDICES)
        torch.testing.assert_close(found, zoom_in_plain_pytorch(images, BOXES, INDICES))


@pytest.mark.parametrize("wanted", ["values", "boxes"])
@pytest.mark.parametrize("function", [roi_sample, roi_paste])
def test_a_gradient_to_one_argument_alone(function, wanted):
    name = function.__name__
    _, (values, boxes, indices, *sizes) = op_and_arguments(name)
    values, boxes = values.detach(), boxes.detach()
    (values if wanted == "values" else boxes).requires_grad_()
    rest = (tuple(sizes[:2]), *sizes[2:])
    leaf = values if wanted == "values" else boxes
    gradients = [
        torch.autograd.grad(call(values, boxes, indices, *rest).square().sum(), leaf)[0]
        for call in (function, getattr(reference_ops, name))
    ]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)
