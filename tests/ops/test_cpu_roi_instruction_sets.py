"""The CPU loops of RoI sampling in every instruction set that this processor has, not only in the best one."""

import ctypes
import importlib
from pathlib import Path

import pytest
import torch

from hf_lesionseg.models import reference_roi

INSTRUCTION_SETS = ("plain", "avx2", "avx512")
ELEMENTS = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
BATCH, CHANNELS = 3, 2
NAN, INF = float("nan"), float("inf")

#: Image and RoI, (height, width). Vectors hold 4, 8 or 16 numbers, and lookups among twice as many are shuffles.
SIZES = {
    "about as large": ((19, 23), (17, 21)),
    "whole vectors": ((16, 32), (8, 16)),
    "RoIs nine times smaller": ((37, 173), (5, 19)),
    "RoIs nine times larger": ((5, 13), (41, 115)),
    "one pixel": ((1, 1), (1, 1)),
    "a column of the image": ((60, 1), (1, 50)),
    "a row of the image": ((1, 70), (33, 1)),
}

#: x1, y1, x2, y2 in units of the image's sides. No position falls on a pixel, where the slope would be ambiguous.
BOXES = {
    "inside": [(0.113, 0.171, 0.727, 0.813), (0.207, 0.391, 0.583, 0.609), (0.013, 0.017, 0.991, 0.983)],
    "across a border": [(-0.311, -0.271, 0.573, 0.617), (0.409, 0.353, 1.379, 1.291), (-3.13, -2.71, 4.19, 3.87)],
    "mirrored": [(0.887, 0.131, 0.093, 0.779), (0.177, 0.919, 0.823, 0.067), (1.211, 1.157, -0.187, -0.149)],
    "empty or outside": [(0.313, 0.211, 0.313, 0.787), (0.421, 0.557, 0.619, 0.557), (1.413, 0.111, 2.107, 0.873)],
    "nowhere": [(NAN, 0.1, 0.5, 0.6), (0.1, 0.1, INF, 0.6)],
}


@pytest.fixture(scope="module")
def loops(compile_library):
    """The loops inside the library that was built and is shipped, not a second build of their sources."""
    shipped = Path(importlib.import_module("hf_lesionseg.ops._C").__file__)
    library = compile_library("cpu_roi_loops_by_instruction_set.cpp", flags=[shipped, f"-Wl,-rpath,{shipped.parent}"])
    library.run_roi.argtypes = [ctypes.c_int] * 4 + [ctypes.c_void_p] * 2 + [ctypes.c_int64]
    return library


@pytest.fixture(params=INSTRUCTION_SETS)
def instruction_set(request, loops):
    chosen = INSTRUCTION_SETS.index(request.param)
    if chosen > loops.best_instruction_set():
        pytest.skip(f"this processor does not have {request.param}")
    return chosen


def random_case(kind, dtype, size, seed):
    """Values, the gradient of the output, boxes and batch indices (several boxes to an image)."""
    (height, width), roi = SIZES[size]
    generator = torch.Generator().manual_seed(seed)
    relative = torch.tensor([box for group in BOXES.values() for box in group], dtype=torch.float64)
    relative = relative + 0.02 * torch.rand((), generator=generator, dtype=torch.float64)
    boxes = (relative * torch.tensor([width, height] * 2)).to(torch.float32).to(reference_dtype(dtype))
    indices = torch.randint(0, BATCH, (len(boxes),), generator=generator)
    images, rois = (BATCH, CHANNELS, height, width), (len(boxes), CHANNELS, *roi)
    values, output = (images, rois) if kind == "sample" else (rois, images)
    return [torch.randn(shape, generator=generator).to(dtype) for shape in (values, output)], boxes, indices


def reference_dtype(dtype):
    return torch.float64 if dtype == torch.float64 else torch.float32


def run(loops, chosen, kind, tensors, boxes, indices, split=0):
    """Output, and gradients to values and boxes, of the loops; NaN where they write nothing."""
    values, grad = tensors
    images, rois = (values, grad) if kind == "sample" else (grad, values)
    sizes = (len(boxes), *images.shape[:2], *rois.shape[2:], *images.shape[2:])
    output, grad_values = torch.full_like(grad, NAN), torch.full_like(values, NAN)
    parts = torch.full((*rois.shape[:2], 4), NAN, dtype=torch.float64)
    # Gradients of boxes that are nowhere are the caller's zeros.
    lost = ~torch.isfinite(boxes).all(1)
    parts[lost] = 0
    if kind == "paste":
        grad_values[lost] = 0
    for backward, used in enumerate(((values, output, None, None, None), (values, None, grad, grad_values, parts))):
        pointers = (ctypes.c_void_p * 7)(*(None if t is None else t.data_ptr() for t in (boxes, indices, *used)))
        arguments = (pointers, (ctypes.c_int64 * 7)(*sizes), split)
        loops.run_roi(chosen, ELEMENTS[values.dtype], kind == "paste", backward, *arguments)
    return output, grad_values, parts.sum(1)


def run_reference(kind, tensors, boxes, indices):
    values, grad = tensors
    if kind == "sample":
        output = reference_roi.sample(values, boxes, indices, *grad.shape[2:])
        sizes = (values.shape[0], *values.shape[2:])
        return output, *reference_roi.sample_backward(grad, values, boxes, indices, *sizes, True)
    output = reference_roi.paste(values, boxes, indices, *grad.shape[2:], BATCH)
    return output, *reference_roi.paste_backward(grad, values, boxes, indices, True, True)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ELEMENTS, ids=str)
@pytest.mark.parametrize("kind", ["sample", "paste"])
def test_values_and_gradients(loops, instruction_set, kind, dtype, size, assert_as_exact):
    """At most twice the error of plain PyTorch, over several cases that are scaled by their largest value and joined.

    Box gradients, four numbers to a box, are too few to rank largest errors by: they go by root mean square.
    """
    columns = [[], [], []]
    for seed in range(4):
        tensors, boxes, indices = random_case(kind, dtype, size, seed)
        ours = run(loops, instruction_set, kind, tensors, boxes, indices)
        plain = run_reference(kind, tensors, boxes, indices)
        truth = run_reference(kind, [t.double() for t in tensors], boxes.double(), indices)
        for column, *three in zip(columns, ours, plain, truth, strict=True):
            defined = ~torch.isnan(three[2])
            assert torch.equal(torch.isnan(three[0]), ~defined), "what is NaN, and what is not written"
            largest = three[2][defined].abs().max().clamp(min=1e-30)
            column.append([t[defined].double() / largest for t in three])
    precisions = (dtype, dtype, boxes.dtype)
    for column, precision, root_mean_square in zip(columns, precisions, (False, False, True), strict=True):
        ours, plain, truth = (torch.cat(parts) for parts in zip(*column, strict=True))
        if dtype == torch.float64:  # the truth's own rounding
            torch.testing.assert_close(ours, truth, rtol=0, atol=1e-13)
        else:
            assert_as_exact(ours, plain, truth, dtype=precision, root_mean_square=root_mean_square)


@pytest.mark.parametrize("dtype", ELEMENTS, ids=str)
@pytest.mark.parametrize("kind", ["sample", "paste"])
def test_splitting_the_work_changes_no_byte(loops, instruction_set, kind, dtype):
    tensors, boxes, indices = random_case(kind, dtype, "about as large", 0)
    whole = run(loops, instruction_set, kind, tensors, boxes, indices)
    for split in (1, 3):
        for result, expected in zip(
            run(loops, instruction_set, kind, tensors, boxes, indices, split), whole, strict=True
        ):
            torch.testing.assert_close(result, expected, rtol=0, atol=0, equal_nan=True)
