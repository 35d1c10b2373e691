"""RoI sampling and pasting on CUDA: the same tests on a GPU, and without one on the CPU through an emulation.

The emulation compiles the binding and the kernels from their own source; see ``cuda_emulation.h``.
"""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from hf_lesionseg.models import reference_roi
from hf_lesionseg.ops import backend, build

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
ORDERS = ("ascending", "descending", "small grid")
NAN, INF = float("nan"), float("inf")

#: Boxes in images of 11 x 14 pixels.
INSIDE = [
    (1.3, 2.1, 9.8, 7.4),
    (0.0, 0.0, 14.0, 11.0),
    (5.2, 3.1, 5.9, 3.7),
    (2.3, 1.2, 8.8, 6.1),
    (6.1, 4.2, 13.2, 10.7),
]
BESIDE = [(-3.2, -2.4, 6.3, 4.1), (9.7, 6.2, 21.3, 19.6), (-40.1, -9.2, 77.3, 31.7), (30.2, 1.1, 45.6, 9.3)]
MIRRORED = [(9.8, 2.1, 1.3, 7.4), (2.2, 9.6, 7.7, 1.3), (16.4, 13.2, -2.1, -1.7)]
EMPTY = [(4.3, 2.2, 4.3, 8.1), (1.4, 5.3, 9.1, 5.3), (6.3, 4.2, 6.3, 4.2), (-7.3, 2.2, -7.3, 8.1)]
NOWHERE = [(NAN, 1.0, 5.0, 6.0), (1.0, 1.0, INF, 6.0), (1.0, -INF, 5.0, 6.0), (1e30, 1.0, -1e30, 6.0)]


@pytest.fixture(scope="module")
def emulation(compile_library):
    libraries = Path(torch.__file__).parent / "lib"
    library = compile_library(
        "emulated_roi_sampling.cpp",
        flags=[
            *("-DHF_CUDA_EMULATION", *build.DEFINES, "-Wall", "-Werror"),
            *(f"-L{libraries}", f"-Wl,-rpath,{libraries}", "-ltorch", "-ltorch_cpu", "-lc10"),
        ],
    )
    return library


@pytest.fixture(params=[*ORDERS, pytest.param("a GPU", marks=pytest.mark.gpu)])
def cuda(request):
    """``device`` and the namespace ``ops`` that holds the CUDA implementation, which runs there."""
    if request.param == "a GPU":
        if not torch.cuda.is_available():
            pytest.skip("there is no GPU")
        assert backend()["roi_sample"]["cuda"] == "compiled"
        return SimpleNamespace(device="cuda", ops=torch.ops.hf_lesionseg)
    emulation = request.getfixturevalue("emulation")
    emulation.configure(request.param == "descending", 3 if request.param == "small grid" else 0)
    return SimpleNamespace(device="cpu", ops=torch.ops.hf_lesionseg_emulated)


def random_case(boxes, dtype, *, batch=3, channels=9, height=11, width=14, size=(6, 5), indices=None, seed=0):
    """Images, RoIs, gradients of both, boxes and batch indices on the CPU."""
    generator = torch.Generator().manual_seed(seed)

    def numbers(*shape):
        return torch.randn(shape, generator=generator).to(dtype)

    boxes = torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4).to(reference_roi.arithmetic_dtype(numbers(0)))
    if indices is None:
        indices = torch.randint(0, max(batch, 1), (len(boxes),), generator=generator)
    images, grad_images = (numbers(batch, channels, height, width) for _ in range(2))
    rois, grad_rois = (numbers(len(boxes), channels, *size) for _ in range(2))
    return SimpleNamespace(
        images=images,
        rois=rois,
        grad_images=grad_images,
        grad_rois=grad_rois,
        boxes=boxes,
        indices=torch.as_tensor(indices),
    )


def run_all(case, sample, sample_backward, paste, paste_backward):
    """Results of the four ops, those that go to boxes last."""
    c = case
    sizes = (c.images.shape[0], *c.images.shape[2:])
    return {
        "rois": sample(c.images, c.boxes, c.indices, *c.rois.shape[2:]),
        "pasted": paste(c.rois, c.boxes, c.indices, *sizes[1:], sizes[0]),
        **dict(
            zip(
                ("images", "boxes of sampling"),
                sample_backward(c.grad_rois, c.images, c.boxes, c.indices, *sizes, True),
                strict=True,
            )
        ),
        **dict(
            zip(
                ("rois of pasting", "boxes of pasting"),
                paste_backward(c.grad_images, c.rois, c.boxes, c.indices, True, True),
                strict=True,
            )
        ),
    }


def run_on(cuda, case):
    moved = SimpleNamespace(**{name: value.to(cuda.device) for name, value in vars(case).items()})
    ops = (cuda.ops.roi_sample, cuda.ops.roi_sample_backward, cuda.ops.roi_paste, cuda.ops.roi_paste_backward)
    return {name: value.cpu() for name, value in run_all(moved, *ops).items()}


def run_reference(case, dtype=None):
    if dtype is not None:
        case = SimpleNamespace(
            **{name: value.to(dtype) if value.is_floating_point() else value for name, value in vars(case).items()}
        )
    formulas = reference_roi
    return run_all(case, formulas.sample, formulas.sample_backward, formulas.paste, formulas.paste_backward)


def check(cuda, cases, assert_as_exact):
    """Hold the results of one case, or of several of the same dtype together, to the tolerance rule.

    Cases are scaled by their largest values, joined, and compared by root mean square: where a small box makes two
    pixels by far the largest, chance decides by more than a factor of two which of two equally good sums is nearer to
    the truth there. A single wrong value among these few thousand still shows.
    """
    cases = cases if isinstance(cases, list) else [cases]
    runs = [(run_on(cuda, case), run_reference(case), run_reference(case, torch.float64)) for case in cases]
    for name in runs[0][-1]:
        joined = [[], [], []]
        for run in runs:
            ours, plain, true = (results[name] for results in run)
            assert ours.shape == plain.shape
            assert ours.dtype == plain.dtype
            defined = ~torch.isnan(true)
            assert torch.equal(torch.isnan(ours), ~defined), name
            largest = true[defined].abs().max().clamp(min=1e-30) if defined.any() else 1.0
            for parts, values in zip(joined, (ours, plain, true), strict=True):
                parts.append(values[defined].double() / largest)
        joined = [torch.cat(parts) for parts in joined]
        if plain.dtype == torch.float64:  # nothing is more exact: roundings, of the largest number
            torch.testing.assert_close(joined[0], joined[2], rtol=0, atol=50 * torch.finfo(torch.float64).eps)
        else:
            assert_as_exact(*joined, dtype=plain.dtype, root_mean_square=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_and_gradients(cuda, dtype, assert_as_exact):
    boxes = [*INSIDE, *BESIDE, *MIRRORED]
    check(cuda, [random_case(boxes, dtype, seed=seed) for seed in range(8)], assert_as_exact)


def test_one_box_per_image(cuda, assert_as_exact):
    check(cuda, random_case(INSIDE[:3], torch.float64, indices=[2, 0, 1]), assert_as_exact)
    check(cuda, random_case(INSIDE[:1], torch.float64), assert_as_exact)


def test_empty_boxes(cuda, assert_as_exact):
    check(cuda, random_case([*EMPTY, *INSIDE[:2]], torch.float32, batch=2), assert_as_exact)


def test_boxes_that_are_nowhere(cuda, assert_as_exact):
    case = random_case([*NOWHERE, *INSIDE], torch.float32, indices=[0, 1, 2, 0, 0, -1, 3, 2**40, 0])
    check(cuda, case, assert_as_exact)
    results = run_on(cuda, case)
    lost = [0, 1, 2, 5, 6, 7]
    assert torch.isnan(results["rois"][lost]).all()
    for name in ("boxes of sampling", "boxes of pasting", "rois of pasting"):
        assert not results[name][lost].any()


def test_several_blocks_share_a_box(cuda, assert_as_exact):
    boxes = [(2.3, 1.4, 50.1, 44.2), (-3.1, 2.2, 66.3, 61.7), (60.4, 50.2, 5.3, -4.1)]
    case = random_case(boxes, torch.float32, batch=2, channels=2, height=59, width=67, size=(51, 43))
    check(cuda, case, assert_as_exact)


@pytest.mark.parametrize(
    "sizes",
    [
        {"boxes": []},
        {"batch": 0},
        {"channels": 0},
        {"boxes": [], "batch": 0},
        {"size": (1, 1)},
        {"height": 1, "width": 1},
    ],
    ids=str,
)
def test_small_sizes(cuda, sizes, assert_as_exact):
    case = random_case(**{"boxes": INSIDE[:3], "dtype": torch.float64, "batch": 2, **sizes})
    check(cuda, case, assert_as_exact)


def test_of_equal_rois_the_first_one_gets_the_gradient(cuda):
    case = random_case([INSIDE[0]] * 3, torch.float32, indices=[1, 1, 1])
    case.rois = case.rois[:1].expand_as(case.rois)
    results = run_on(cuda, case)
    assert results["rois of pasting"][0].any()
    assert not results["rois of pasting"][1:].any()
    assert not results["boxes of pasting"][1:].any()


def test_what_is_not_asked_for_is_empty(cuda):
    case = random_case(INSIDE[:3], torch.float32)
    c = SimpleNamespace(**{name: value.to(cuda.device) for name, value in vars(case).items()})
    expected = run_on(cuda, case)
    sizes = (c.images.shape[0], *c.images.shape[2:])
    images, boxes = cuda.ops.roi_sample_backward(c.grad_rois, None, c.boxes, c.indices, *sizes, True)
    assert boxes.shape == (0,)
    assert torch.equal(images.cpu(), expected["images"])
    images, boxes = cuda.ops.roi_sample_backward(c.grad_rois, c.images, c.boxes, c.indices, *sizes, False)
    assert images.shape == (0,)
    assert torch.equal(boxes.cpu(), expected["boxes of sampling"])
    arguments = (c.grad_images, c.rois, c.boxes, c.indices)
    assert [result.numel() > 0 for result in cuda.ops.roi_paste_backward(*arguments, True, False)] == [True, False]
    assert [result.numel() > 0 for result in cuda.ops.roi_paste_backward(*arguments, False, True)] == [False, True]


def test_any_strides(cuda):
    case = random_case([*INSIDE, *BESIDE], torch.float32)
    expected = run_on(cuda, case)
    for name in ("images", "rois", "grad_images", "grad_rois"):
        setattr(case, name, getattr(case, name).contiguous(memory_format=torch.channels_last))
    case.boxes = case.boxes.T.contiguous().T
    case.indices = case.indices.repeat_interleave(2)[::2]
    for name, value in run_on(cuda, case).items():
        assert torch.equal(value, expected[name]), name


def test_what_does_not_fit_is_refused(cuda):
    refuses_what_does_not_fit(cuda)


def test_the_cpu_refuses_the_same():
    assert backend()["roi_sample"]["cpu"] == "compiled"
    refuses_what_does_not_fit(SimpleNamespace(device="cpu", ops=torch.ops.hf_lesionseg))


def refuses_what_does_not_fit(processor):
    """What every processor says of a direct call of an op whose arguments do not fit each other."""
    case, ops = random_case(INSIDE[:3], torch.float32), processor.ops
    c = SimpleNamespace(**{name: value.to(processor.device) for name, value in vars(case).items()})
    sizes = (c.images.shape[0], *c.images.shape[2:])
    for function, arguments, message in (
        (ops.roi_sample, (c.images[0], c.boxes, c.indices, 4, 4), "must have 4 dimensions"),
        (ops.roi_sample, (c.images, c.boxes[:, :3], c.indices, 4, 4), r"boxes must be \(rois, 4\)"),
        (ops.roi_sample, (c.images, c.boxes[0], c.indices, 4, 4), r"boxes must be \(rois, 4\)"),
        (ops.roi_sample, (c.images, c.boxes, c.indices[:2], 4, 4), "as many batch indices"),
        (ops.roi_sample, (c.images, c.boxes, c.indices.int(), 4, 4), "batch indices must be int64"),
        (ops.roi_sample, (c.images, c.boxes.double(), c.indices, 4, 4), "boxes must be float32"),
        (ops.roi_sample, (c.images.int(), c.boxes, c.indices, 4, 4), "float32, float64, bfloat16 or float16"),
        (ops.roi_sample, (c.images, c.boxes, c.indices, 0, 4), "at least 1"),
        (ops.roi_sample_backward, (c.grad_rois[0], None, c.boxes, c.indices, *sizes, True), "must have 4 dimensions"),
        (ops.roi_sample_backward, (c.grad_rois[:2], None, c.boxes, c.indices, *sizes, True), "shape does not fit"),
        (ops.roi_sample_backward, (c.grad_rois, c.images[:1], c.boxes, c.indices, *sizes, True), "shape does not fit"),
        (ops.roi_sample_backward, (c.grad_rois, c.images[0], c.boxes, c.indices, *sizes, True), "shape does not fit"),
        (ops.roi_sample_backward, (c.grad_rois, c.images.half(), c.boxes, c.indices, *sizes, True), "different dtypes"),
        (ops.roi_sample_backward, (c.grad_rois, None, c.boxes, c.indices, -1, *sizes[1:], True), "negative sizes"),
        (ops.roi_paste, (c.rois[:2], c.boxes, c.indices, *sizes[1:], sizes[0]), "shape does not fit"),
        (ops.roi_paste, (c.rois, c.boxes, c.indices, 2**30, 2, 1), r"below 2\^30"),
        (ops.roi_paste_backward, (c.grad_images[0], c.rois, c.boxes, c.indices, True, True), "must have 4 dimensions"),
        (ops.roi_paste_backward, (c.grad_images[:, :1], c.rois, c.boxes, c.indices, True, True), "shape does not fit"),
        (ops.roi_paste_backward, (c.grad_images.half(), c.rois, c.boxes, c.indices, True, True), "different dtypes"),
    ):
        with pytest.raises(RuntimeError, match=message):
            function(*arguments)


def test_every_order_of_threads_gives_the_same_bytes(emulation):
    case = random_case([*INSIDE, *BESIDE, *MIRRORED, *EMPTY], torch.float32)
    cuda = SimpleNamespace(device="cpu", ops=torch.ops.hf_lesionseg_emulated)
    results = []
    for descending, grid_limit in ((False, 0), (True, 0), (False, 3), (True, 1)):
        emulation.configure(descending, grid_limit)
        results.append(run_on(cuda, case))
    for other in results[1:]:
        assert all(torch.equal(value, other[name]) for name, value in results[0].items())
