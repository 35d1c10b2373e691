"""The compiled CUDA kernels on a GPU: run by ``make test-gpu``, with test_cuda_roi_sampling.py's "a GPU" cases."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from hf_lesionseg.models import reference_ops
from hf_lesionseg.ops import backend, convlstm_cell, roi_paste, roi_sample

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
RECURRENCES = ("no forget gate", "zero state", "state")
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def compiled():
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    assert {paths["cuda"] for paths in backend().values()} == {"compiled"}


def run_cell(gates, state, activation, recurrence, grads=None):
    """The cell's ops on the GPU, for tensors on the CPU."""

    def moved(tensor):
        return None if tensor is None else tensor.cuda()

    ops, flags = torch.ops.hf_lesionseg, (activation == "hard_sigmoid", recurrence != "no forget gate")
    if grads is None:
        results = ops.convlstm_cell(moved(gates), moved(state), *flags)
    else:
        results = ops.convlstm_cell_backward(*map(moved, grads), moved(gates), moved(state), *flags)
    return [result.cpu() for result in results]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", reference_ops.GATE_ACTIVATIONS)
@pytest.mark.parametrize("recurrence", RECURRENCES)
@pytest.mark.parametrize("plane", [(29, 31), (32, 48)], ids=["one element at a time", "16 bytes at a time"])
def test_cell_values_and_gradients(dtype, activation, recurrence, plane, check_raw_cell):
    check_raw_cell(run_cell, dtype, activation, recurrence, (2, 6, *plane))


def random_rois(dtype=torch.float32, *, batch=2, channels=3, height=9, width=11, rois=5, size=(4, 5)):
    """Images, RoIs, boxes and batch indices; boxes lie inside, across the border, and one is mirrored."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, channels, height, width, generator=generator).to(dtype)
    values = torch.randn(rois, channels, *size, generator=generator).to(dtype)
    scale = torch.tensor([width, height, width, height])
    boxes = torch.rand(rois, 4, generator=generator) * 1.2 * scale - 0.1 * scale
    boxes[1:] = torch.cat([boxes[1:, :2].minimum(boxes[1:, 2:]), boxes[1:, :2].maximum(boxes[1:, 2:]) + 1.3], dim=1)
    indices = torch.randint(0, batch, (rois,), generator=generator)
    boxes = boxes.to(torch.float64 if dtype == torch.float64 else torch.float32)
    return images.cuda(), values.cuda(), boxes.cuda(), indices.cuda()


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("activation", reference_ops.GATE_ACTIVATIONS)
def test_cell_gradients_equal_finite_differences(activation, with_state):
    generator = torch.Generator().manual_seed(0)
    gates = 3 * torch.randn(2, 8, 2, 3, generator=generator, dtype=torch.float64)
    gates[(gates.abs() - 2.5).abs() < 1e-3] += 0.01  # the corners of the hard sigmoid
    state = torch.randn(2, 2, 2, 3, generator=generator, dtype=torch.float64)
    arguments = [tensor.cuda().requires_grad_() for tensor in ((gates, state) if with_state else (gates,))]

    def cell(gates, state=None):
        return convlstm_cell(gates, state, gate_activation=activation)

    assert torch.autograd.gradcheck(cell, arguments)
    assert torch.autograd.gradgradcheck(cell, arguments)


def test_roi_gradients_equal_finite_differences():
    images, rois, boxes, indices = random_rois(torch.float64)
    arguments = images.requires_grad_(), boxes.requires_grad_()
    assert torch.autograd.gradcheck(lambda images, boxes: roi_sample(images, boxes, indices, (4, 5)), arguments)
    assert torch.autograd.gradgradcheck(lambda images, boxes: roi_sample(images, boxes, indices, (4, 5)), arguments)
    arguments = rois.requires_grad_(), boxes
    assert torch.autograd.gradcheck(lambda rois, boxes: roi_paste(rois, boxes, indices, (9, 11), 2), arguments)


def forward_and_backward(rois=64):
    """Values and gradients of all kernels at sizes of a network, with many overlapping boxes."""
    images, values, boxes, indices = random_rois(batch=4, channels=32, height=112, width=88, rois=rois, size=(28, 28))
    generator = torch.Generator().manual_seed(1)
    gates = torch.randn(4, 128, 56, 44, generator=generator).cuda().requires_grad_()
    state = torch.randn(4, 32, 56, 44, generator=generator).cuda().requires_grad_()
    leaves = [tensor.requires_grad_() for tensor in (images, values, boxes)]
    sampled = roi_sample(images, boxes, indices, (28, 28))
    pasted = roi_paste(values, boxes, indices, (112, 88), 4)
    hidden, cell = convlstm_cell(gates, state)
    loss = sum(result.square().sum() for result in (sampled, pasted, hidden, cell))
    return [sampled, pasted, hidden, cell, *torch.autograd.grad(loss, [*leaves, gates, state])]


def test_runs_give_equal_bytes():
    first = forward_and_backward()
    for _ in range(5):
        assert all(torch.equal(result, other) for result, other in zip(first, forward_and_backward(), strict=True))


def test_rois_equal_grid_sample():
    images, _, boxes, indices = random_rois(batch=4, channels=32, height=112, width=88, rois=64)
    size = torch.tensor([88.0, 112.0], device="cuda")
    low, high = boxes[:, :2] / size * 2 - 1, boxes[:, 2:] / size * 2 - 1
    theta = torch.diag_embed((high - low) / 2)
    theta = torch.cat([theta, ((high + low) / 2)[:, :, None]], dim=2)
    grid = F.affine_grid(theta, (64, 32, 28, 28), align_corners=False)
    expected = F.grid_sample(images[indices], grid, align_corners=False)
    torch.testing.assert_close(roi_sample(images, boxes, indices, (28, 28)), expected, rtol=1e-4, atol=1e-4)


def test_positions_are_those_of_the_cpu():
    _, _, boxes, indices = random_rois(torch.float64, rois=200, height=300, width=400)
    boxes[:, 1], boxes[:, 3] = 17.0, 18.0  # one row: the weights along y are 1 and 0
    # Columns of zeros and ones: a value is a weight, and shows the last bit of its position.
    stripes = (torch.arange(400) % 2).double().expand(2, 1, 300, 400).contiguous()
    on_gpu = roi_sample(stripes.cuda(), boxes, indices, (1, 97)).cpu()
    assert torch.equal(on_gpu, roi_sample(stripes, boxes.cpu(), indices.cpu(), (1, 97)))


def test_nothing_waits_for_the_gpu_and_the_current_stream_is_used():
    """A CUDA graph can only be captured if no call synchronises, and holds only what went to its stream."""
    images, values, boxes, indices = random_rois(batch=2, channels=5, rois=8)
    gates = torch.randn(2, 20, 9, 11, device="cuda")
    ops = torch.ops.hf_lesionseg

    def run():
        sampled = ops.roi_sample(images, boxes, indices, 4, 5)
        pasted = ops.roi_paste(values, boxes, indices, 9, 11, 2)
        return [
            sampled,
            pasted,
            *ops.roi_sample_backward(sampled, images, boxes, indices, 2, 9, 11, True),
            *ops.roi_paste_backward(pasted, values, boxes, indices, True, True),
            *ops.convlstm_cell(gates, None, True, True),
        ]

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = run()
    images.mul_(2)
    values.neg_()
    boxes.add_(0.37)
    graph.replay()
    assert all(torch.equal(result, expected) for result, expected in zip(captured, run(), strict=True))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is one GPU only")
def test_tensors_of_another_device_than_the_current_one():
    images, _, boxes, indices = random_rois()
    with torch.cuda.device(0):
        there = roi_sample(images.to("cuda:1"), boxes.to("cuda:1"), indices.to("cuda:1"), (4, 5))
    assert there.device.index == 1
    assert torch.equal(there.cpu(), roi_sample(images, boxes, indices, (4, 5)).cpu())


def test_more_than_2_to_the_31_elements():
    if torch.cuda.mem_get_info()[0] < 40 << 30:
        pytest.skip("the GPU has less than 40 GiB of free memory")
    images = torch.zeros(5, 1, 32768, 16384, dtype=torch.float16, device="cuda")
    images[4, 0, -3:, -3:] = torch.arange(9.0, device="cuda").reshape(3, 3)
    boxes = torch.tensor([[16381.0, 32765.0, 16384.0, 32768.0]], device="cuda")
    indices = torch.tensor([4], device="cuda")
    rois = roi_sample(images, boxes, indices, (3, 3))
    assert rois.flatten().tolist() == list(range(9))
    del images
    pasted = roi_paste(rois, boxes, indices, (32768, 16384), 5)
    assert torch.equal(pasted[4, 0, -3:, -3:], rois[0, 0])
    assert not pasted[:4].any()
    del pasted
    gates = torch.zeros(1, 4, 32768, 20000, dtype=torch.float16, device="cuda")
    gates[:, :, -1, -1] = torch.tensor([9.0, 0.0, 9.0, 9.0], device="cuda").half()
    _, cell = convlstm_cell(gates)
    assert cell[0, 0, -1, -1] == 1
    assert not cell[0, 0, :-1].any()


@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "synccheck"])
def test_memory_checker_finds_nothing(tool):
    """NVIDIA's checker around every kernel; without torch's cache, each tensor has its own allocation."""
    checker = shutil.which("compute-sanitizer")
    if checker is None:
        pytest.skip("compute-sanitizer is not installed: out-of-bounds accesses on the GPU were not looked for")
    program = (
        "import runpy, torch; tests = runpy.run_path('tests/ops/test_gpu.py'); "
        "tests['forward_and_backward'](rois=4); torch.cuda.synchronize()"
    )
    command = [checker, "--tool", tool, "--error-exitcode", "3", sys.executable, "-c", program]
    environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
