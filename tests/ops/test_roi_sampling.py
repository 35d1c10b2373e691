"""RoI sampling and pasting against hand-computed values, grid_sample in float64 and finite differences."""

import math

import pytest
import torch
from benchmark_rivals_roi import grid_pasted, grid_sampled
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_lesionseg.models import reference_ops
from hf_lesionseg.ops import backend, roi_paste, roi_sample

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
BOTH = [pytest.param((roi_sample, roi_paste), id="compiled")]
BOTH += [pytest.param((reference_ops.roi_sample, reference_ops.roi_paste), id="reference")]


@pytest.fixture(autouse=True)
def compiled():
    """Nothing here may compare the reference with itself."""
    assert backend()["roi_sample"]["cpu"] == backend()["roi_paste"]["cpu"] == "compiled"


def random_case(kind, *, batch=3, channels=2, image=(19, 23), boxes=5, roi=(7, 9), seed=0, dtype=torch.float64):
    """Values, boxes (inside, partly outside, some inverted), indices, remaining arguments; nothing falls on a pixel."""
    generator = torch.Generator().manual_seed(seed)
    sides = torch.tensor([image[1], image[0]] * 2, dtype=torch.float64)
    box = (1.4 * torch.rand(boxes, 4, generator=generator, dtype=torch.float64) - 0.2) * sides
    # Boxes that float32 holds exactly, so that every dtype is asked the same question.
    box = box.float().to(torch.float64 if dtype == torch.float64 else torch.float32)
    indices = torch.randint(0, batch, (boxes,), generator=generator)
    shape = (batch, channels, *image) if kind == "sample" else (boxes, channels, *roi)
    values = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    return values, box, indices, (roi,) if kind == "sample" else (image, batch)


def results(function, values, boxes, indices, rest):
    """Output and gradients to values and boxes for a fixed random gradient."""
    values, boxes = values.detach().requires_grad_(), boxes.detach().requires_grad_()
    output = function(values, boxes, indices, *rest)
    grad = torch.randint(-8, 9, output.shape, generator=torch.Generator().manual_seed(1)).to(output.dtype) / 4
    return (output.detach(), *torch.autograd.grad(output, (values, boxes), grad))


OP = {"sample": roi_sample, "paste": roi_paste}
REFERENCE = {"sample": reference_ops.roi_sample, "paste": reference_ops.roi_paste}
RIVAL = {"sample": grid_sampled, "paste": grid_pasted}


@pytest.mark.parametrize("functions", BOTH)
def test_hand_computed_sampling(functions):
    sample, _ = functions
    image = torch.tensor([[1.0, 2.0, 4.0], [10.0, 20.0, 40.0]]).reshape(1, 1, 2, 3)
    zero = torch.tensor([0])
    # A box of whole pixels at their size is a crop.
    torch.testing.assert_close(
        sample(image, torch.tensor([[1.0, 0.0, 3.0, 2.0]]), zero, (2, 2)).tolist(), [[[[2.0, 4.0], [20.0, 40.0]]]]
    )
    # The whole image in one pixel: the centre, x = 1.5 - 0.5 = pixel 1, y = 1 - 0.5, between the rows.
    assert sample(image, torch.tensor([[0.0, 0.0, 3.0, 2.0]]), zero, (1, 1)).item() == 11.0
    # Half a pixel beside the border half of the value is left; sides swapped, the RoI is mirrored.
    assert sample(image, torch.tensor([[-1.0, 0.0, 1.0, 1.0]]), zero, (1, 1)).item() == 0.5
    assert sample(image, torch.tensor([[3.0, 0.0, 1.0, 1.0]]), zero, (1, 2)).flatten().tolist() == [4.0, 2.0]
    # An empty box reads one place.
    assert sample(image, torch.tensor([[1.5, 0.5, 1.5, 0.5]]), zero, (1, 2)).flatten().tolist() == [2.0, 2.0]


@pytest.mark.parametrize("functions", BOTH)
def test_hand_computed_pasting(functions):
    _, paste = functions
    rois = torch.tensor([[[[2.0, 4.0]]], [[[3.0, 3.0]]], [[[-1.0, -1.0]]]])
    boxes = torch.tensor([[0.0, 0.0, 2.0, 1.0], [1.0, 0.0, 3.0, 1.0], [0.0, 0.0, 2.0, 1.0]])
    # Image 0 has two RoIs, whose overlap takes the greater; image 1 a negative one; image 2 none.
    pasted = paste(rois, boxes, torch.tensor([0, 0, 1]), (1, 4), 3)
    assert pasted.flatten(1).tolist() == [[2.0, 4.0, 3.0, 0.0], [-1.0, -1.0, 0.0, 0.0], [0.0] * 4]
    # Twice as wide: pixel centres lie a quarter and three quarters of the way between the RoI's, and fade at its ends.
    wide = paste(rois[:1], torch.tensor([[0.0, 0.0, 4.0, 1.0]]), torch.tensor([0]), (1, 4), 1)
    assert wide.flatten().tolist() == [1.5, 2.5, 3.5, 3.0]


@pytest.mark.parametrize("functions", BOTH)
def test_a_negative_roi_gives_way_to_the_zeros_beside_another(functions):
    _, paste = functions
    rois = torch.tensor([[[[-1.0]]], [[[5.0]]], [[[-2.0]]]], requires_grad=True)
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 2.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    pasted = paste(rois, boxes, torch.tensor([0, 0, 0]), (1, 3), 1)
    assert pasted.flatten().tolist() == [0.0, 5.0, 0.0]
    assert torch.autograd.grad(pasted.sum(), rois)[0].flatten().tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("functions", BOTH)
def test_of_equal_values_the_first_gets_the_gradient(functions):
    _, paste = functions
    rois = torch.ones(3, 1, 1, 2, requires_grad=True)
    boxes = torch.tensor([[0.0, 0.0, 2.0, 1.0], [1.0, 0.0, 3.0, 1.0], [0.0, 0.0, 2.0, 1.0]])
    pasted = paste(rois, boxes, torch.tensor([0, 0, 0]), (1, 4), 1)
    assert pasted.flatten().tolist() == [1.0, 1.0, 1.0, 0.0]
    assert torch.autograd.grad(pasted.sum(), rois)[0].flatten().tolist() == [1.0, 1.0, 0.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("kind", OP)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"batch": 1, "boxes": 1, "image": (40, 50), "roi": (12, 11)},
        {"image": (5, 6), "roi": (33, 40)},
        {"channels": 5, "image": (70, 90), "roi": (4, 3), "boxes": 9},
        {"image": (1, 1), "roi": (1, 1)},
        {"image": (60, 1), "roi": (1, 50)},
    ],
)
def test_values_and_gradients(kind, dtype, sizes, assert_as_exact):
    """The kernel errs at most twice as much as plain PyTorch; the truth is grid_sample in float64."""
    for ours, theirs, true, options in compare(kind, REFERENCE[kind], 10, dtype=dtype, **sizes):
        if dtype == torch.float64:
            torch.testing.assert_close(ours, true, rtol=1e-11, atol=1e-11)
        else:
            assert_as_exact(ours, theirs, true, **options)


def compare(kind, other, seeds, **sizes):
    """Results of the kernel, of ``other`` and the truth over several cases, for values and both gradients.

    Joined, each case by its largest value. Box gradients, four numbers to a box, are too few to rank largest errors by:
    they are to be compared by root mean square.
    """
    columns = [[] for _ in range(3)]
    for seed in range(seeds):
        values, boxes, indices, rest = random_case(kind, seed=seed, **sizes)
        truth = results(RIVAL[kind], values.double(), boxes.double(), indices, rest)
        found = results(OP[kind], values, boxes, indices, rest), results(other, values, boxes, indices, rest)
        for column, *three in zip(columns, *found, truth, strict=True):
            size = max(three[-1].abs().max().item(), 1e-30)
            column.append([tensor.flatten().double() / size for tensor in three])
    largest, typical = {"dtype": values.dtype}, {"dtype": boxes.dtype, "root_mean_square": True}
    for column, options in zip(columns, (largest, largest, typical), strict=True):
        yield *(torch.cat(parts) for parts in zip(*column, strict=True)), options


@pytest.mark.parametrize("kind", OP)
def test_float32_is_as_exact_as_grid_sample(kind, assert_as_exact):
    for *three, options in compare(kind, RIVAL[kind], 5, dtype=torch.float32, image=(60, 50), roi=(30, 31)):
        assert_as_exact(*three, **options)


def test_the_box_gradient_of_a_smooth_image_does_not_cancel():
    """A ramp on a pedestal of a thousand: the slope along y is a small difference of large rows."""
    ramp = torch.arange(20.0)[:, None].expand(20, 24).reshape(1, 1, 20, 24)
    box = torch.tensor([[3.3, 4.1, 15.2, 14.7]], requires_grad=True)
    output = roi_sample(1000 + ramp, box, torch.tensor([0]), (8, 8))
    (gradient,) = torch.autograd.grad(output.mean(), box)
    # The mean over a box of a ramp of slope 1 is the height of its centre.
    torch.testing.assert_close(gradient, torch.tensor([[0.0, 0.5, 0.0, 0.5]]), rtol=1e-5, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(sorted(OP)),
    batch=st.integers(1, 3),
    channels=st.integers(0, 3),
    image=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    boxes=st.integers(0, 6),
    roi=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 10**6),
    layout=st.sampled_from(["contiguous", "channels last", "strided"]),
)
def test_any_shape(kind, batch, channels, image, boxes, roi, seed, layout):
    values, box, indices, rest = random_case(
        kind, batch=batch, channels=channels, image=image, boxes=boxes, roi=roi, seed=seed
    )
    if layout == "channels last":
        values = values.contiguous(memory_format=torch.channels_last)
    elif layout == "strided":
        values, box = values.transpose(2, 3).contiguous().transpose(2, 3), box.repeat(1, 2)[:, :4]
    expected = results(REFERENCE[kind], values, box, indices, rest)
    found = results(OP[kind], values, box, indices, rest)
    assert found[0].is_contiguous()
    for ours, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-9, atol=1e-9)


def test_a_position_one_pixel_beside_the_image_has_a_slope():
    """At -1 the value is 0, but the slope to the right is the border pixel, as grid_sample has it."""
    images = torch.rand(1, 2, 4, 4, dtype=torch.float64)
    box = torch.tensor([[-1.0, 0.0, 1.0, 4.0]], dtype=torch.float64)
    for size in ((4, 2), (2, 2)):
        found = results(roi_sample, images, box, torch.tensor([0]), (size,))
        for other in (grid_sampled, reference_ops.roi_sample):
            for ours, theirs in zip(found, results(other, images, box, torch.tensor([0]), (size,)), strict=True):
                torch.testing.assert_close(ours, theirs)
    rois, box = images[..., :2] + 1, torch.tensor([[2.0, 0.0, 4.0, 4.0]], dtype=torch.float64)
    found = results(roi_paste, rois, box, torch.tensor([0]), ((4, 8), 1))
    expected = results(reference_ops.roi_paste, rois, box, torch.tensor([0]), ((4, 8), 1))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


NOWHERE = {
    "not a number": ([math.nan, 0.0, 5.0, 5.0], 0),
    "infinite": ([0.0, -math.inf, 5.0, 5.0], 0),
    "image too large": ([0.0, 0.0, 5.0, 5.0], 3),
    "image negative": ([0.0, 0.0, 5.0, 5.0], -1),
    "too wide for float64": ([-1e308, 0.0, 1e308, 8.0], 0),
}


@pytest.mark.parametrize("functions", BOTH)
@pytest.mark.parametrize("case", NOWHERE)
@pytest.mark.parametrize("dtype", DTYPES)
def test_boxes_that_are_nowhere(functions, case, dtype):
    """Their RoI is NaN, they paste nothing, and no gradient comes back; the boxes beside them are as ever."""
    sample, paste = functions
    box, image = NOWHERE[case]
    images, good, _, _ = random_case("sample", boxes=1, dtype=dtype)
    boxes = torch.cat([good, torch.tensor([box], dtype=good.dtype)])
    indices = torch.tensor([1, image])
    output, to_images, to_boxes = results(sample, images, boxes, indices, ((4, 5),))
    alone = results(sample, images, good, indices[:1], ((4, 5),))
    assert output[1].isnan().all()
    assert torch.equal(output[:1], alone[0])
    assert torch.equal(to_boxes[1], torch.zeros_like(to_boxes[1]))
    assert torch.isfinite(to_images).all()
    assert torch.equal(to_images[[0, 2]], torch.zeros_like(to_images[[0, 2]]))

    rois = torch.randn(2, 2, 4, 5).to(dtype)
    canvas, to_rois, to_boxes = results(paste, rois, boxes, indices, ((19, 23), 3))
    assert torch.equal(canvas, paste(rois[:1], good, indices[:1], (19, 23), 3))
    assert not to_rois[1].any()
    assert not to_boxes[1].any()


@pytest.mark.parametrize("functions", BOTH)
@pytest.mark.parametrize("box", [[50.0, 60.0, 70.0, 80.0], [-9.0, -9.0, -2.0, -2.0], [1e30, 1e30, 2e30, 3e30]])
def test_boxes_outside_read_zeros(functions, box):
    sample, paste = functions
    images, _, _, _ = random_case("sample", dtype=torch.float32)
    output, to_images, to_boxes = results(sample, images, torch.tensor([box]), torch.tensor([2]), ((4, 5),))
    for tensor in (output, to_images, to_boxes):
        assert not tensor.any()
    output, to_rois, to_boxes = results(
        paste, torch.ones(1, 2, 4, 5), torch.tensor([box]), torch.tensor([2]), ((19, 23), 3)
    )
    for tensor in (output, to_rois, to_boxes):
        assert not tensor.any()


@pytest.mark.parametrize("functions", BOTH)
def test_an_empty_box_pastes_nothing(functions):
    _, paste = functions
    boxes = torch.tensor([[3.0, 2.0, 3.0, 6.0]])
    output, to_rois, to_boxes = results(paste, torch.ones(1, 1, 2, 2), boxes, torch.tensor([0]), ((8, 8), 1))
    assert not output.any()
    assert not to_rois.any()
    assert not to_boxes.any()


@pytest.mark.parametrize("functions", BOTH)
def test_no_boxes_and_no_images(functions):
    sample, paste = functions
    none, indices = torch.zeros(0, 4, requires_grad=True), torch.zeros(0, dtype=torch.int64)
    images = torch.ones(2, 3, 5, 6, requires_grad=True)
    output = sample(images, none, indices, (4, 4))
    assert output.shape == (0, 3, 4, 4)
    assert not torch.autograd.grad(output.sum(), images)[0].any()
    pasted = paste(torch.ones(0, 3, 4, 4), none, indices, (5, 6), 2)
    assert pasted.shape == (2, 3, 5, 6)
    assert not pasted.any()
    # Where every box is nowhere the results are still functions of their arguments.
    lost = torch.full((2, 4), math.nan, requires_grad=True)
    rois = torch.ones(2, 3, 4, 4, requires_grad=True)
    assert not torch.autograd.grad(paste(rois, lost, torch.tensor([0, 1]), (5, 6), 2).sum(), rois)[0].any()
    empty = torch.ones(0, 3, 5, 6, requires_grad=True)
    values = sample(empty, torch.zeros(1, 4), torch.tensor([0]), (2, 2))
    assert torch.autograd.grad(values.sum(), empty)[0].shape == empty.shape
    # Without images every RoI is nowhere.
    box = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    assert sample(torch.ones(0, 3, 5, 6), box, torch.tensor([0]), (2, 2)).isnan().all()
    assert paste(torch.ones(1, 3, 2, 2), box, torch.tensor([0]), (5, 6), 0).shape == (0, 3, 5, 6)


def test_an_infinite_pixel_beside_the_box_does_not_leak():
    """A pixel that no position lies next to is not read, whatever vectors are loaded."""
    images = torch.full((1, 1, 6, 40), math.inf)
    images[..., 1:5, 3:20] = 1.0
    output, to_images, to_boxes = results(
        roi_sample, images, torch.tensor([[4.1, 2.2, 18.7, 4.3]]), torch.tensor([0]), ((5, 9),)
    )
    torch.testing.assert_close(output, torch.ones_like(output))
    assert torch.isfinite(to_images).all()
    torch.testing.assert_close(to_boxes, torch.zeros_like(to_boxes))


@pytest.mark.parametrize("kind", OP)
@pytest.mark.parametrize("overlap", [False, True])
def test_gradcheck(kind, overlap):
    # At most two RoIs, one per image unless they overlap: the maximum has no slope where two are equal.
    values, boxes, indices, rest = random_case(kind, batch=2, image=(6, 7), boxes=2, roi=(3, 4), seed=3)
    indices = torch.tensor([1, 1]) if overlap else torch.tensor([1, 0])
    values.requires_grad_()
    boxes.requires_grad_()

    def call(values, boxes):
        return OP[kind](values, boxes, indices, *rest)

    assert torch.autograd.gradcheck(call, (values, boxes), eps=1e-7)
    assert torch.autograd.gradgradcheck(call, (values, boxes), eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("kind", OP)
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_and_two_threads_give_equal_bytes(kind, dtype):
    case = random_case(kind, batch=4, channels=5, image=(61, 75), boxes=12, roi=(37, 41), dtype=dtype)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            found.append(results(OP[kind], *case))
    finally:
        torch.set_num_threads(before)
    for again in found[1:]:
        for first, other in zip(found[0], again, strict=True):
            assert torch.equal(first, other)


def test_gradients_that_nobody_needs_are_not_computed():
    images, boxes, indices, rest = random_case("sample")
    output = roi_sample(images.requires_grad_(), boxes, indices, *rest)
    # Nothing but boxes and indices is kept for it.
    assert [t is None for t in output.grad_fn.saved_tensors] == [True, False, False]
    torch.autograd.grad(output.sum(), images)
    with torch.no_grad():
        assert not roi_sample(images, boxes, indices, *rest).requires_grad


@pytest.mark.parametrize("functions", BOTH)
def test_autocast_changes_nothing(functions):
    sample, paste = functions
    images, boxes, indices, rest = random_case("sample", dtype=torch.float32)
    rois, _, _, image_rest = random_case("paste", dtype=torch.float32)
    half = images.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = sample(images, boxes, indices, *rest), paste(rois, boxes, indices, *image_rest)
        assert sample(half, boxes, indices.int(), *rest).dtype == torch.bfloat16
    expected = sample(images, boxes, indices, *rest), paste(rois, boxes, indices, *image_rest)
    for with_autocast, without in zip(found, expected, strict=True):
        assert torch.equal(with_autocast, without)


def test_second_derivatives_under_autocast():
    images, boxes, indices, rest = random_case("sample", dtype=torch.float32)
    found = []
    for enabled in (True, False):
        values, sides = images.clone().requires_grad_(), boxes.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = roi_sample(values, sides, indices, *rest).pow(3).sum()
            (first,) = torch.autograd.grad(loss, sides, create_graph=True)
            found.append(torch.autograd.grad(first.sum(), values)[0])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


BOX, FIRST = torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([0])


@pytest.mark.parametrize("function", [roi_sample, reference_ops.roi_sample])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.ones(3, 4, 4), BOX, FIRST, (2, 2)), ValueError, r"images have shape \(3, 4, 4\)"),
        ((torch.ones(1, 1, 4, 4).long(), BOX, FIRST, (2, 2)), TypeError, "images are torch.int64"),
        ((torch.ones(1, 1, 4, 4), BOX[:, :3], FIRST, (2, 2)), ValueError, r"give \(rois, 4\)"),
        ((torch.ones(1, 1, 4, 4), BOX.long(), FIRST, (2, 2)), TypeError, "boxes are torch.int64"),
        ((torch.ones(1, 1, 4, 4), BOX, FIRST.float(), (2, 2)), TypeError, "batch_indices are torch.float32"),
        ((torch.ones(1, 1, 4, 4), BOX, torch.tensor([0, 0]), (2, 2)), ValueError, "1 boxes need as many"),
        ((torch.ones(1, 1, 4, 4), BOX, FIRST, (2, 0)), ValueError, "output_size"),
        ((torch.ones(1, 1, 4, 4), BOX.to("meta"), FIRST, (2, 2)), ValueError, "boxes are on meta"),
    ],
)
def test_sampling_refuses_what_has_no_meaning(function, arguments, error, message):
    with pytest.raises(error, match=message):
        function(*arguments)


@pytest.mark.parametrize("function", [roi_paste, reference_ops.roi_paste])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.ones(1, 4, 4), BOX, FIRST, (2, 2), 1), ValueError, "rois have shape"),
        ((torch.ones(2, 1, 4, 4), BOX, FIRST, (2, 2), 1), ValueError, "2 rois and 1 boxes"),
        ((torch.ones(1, 1, 4, 4), BOX, FIRST, (2, 2), -1), ValueError, "batch_size is -1"),
        ((torch.ones(1, 1, 4, 4), BOX, FIRST, (0, 2), 1), ValueError, "image_size"),
        ((torch.ones(1, 1, 4, 4), BOX, FIRST, (2**30, 2), 1), ValueError, "below 2"),
        ((torch.ones(1, 1, 0, 4), BOX, FIRST, (2, 2), 1), ValueError, "rois have shape"),
    ],
)
def test_pasting_refuses_what_has_no_meaning(function, arguments, error, message):
    with pytest.raises(error, match=message):
        function(*arguments)


def test_a_direct_call_of_the_op_does_not_read_out_of_bounds():
    ops = torch.ops.hf_lesionseg
    with pytest.raises(RuntimeError, match=r"boxes must be \(rois, 4\)"):
        ops.roi_sample(torch.ones(1, 1, 4, 4), BOX[:, :3], FIRST, 2, 2)
    with pytest.raises(RuntimeError, match="as many batch indices as boxes"):
        ops.roi_sample(torch.ones(1, 1, 4, 4), BOX, torch.tensor([0, 0]), 2, 2)
    with pytest.raises(RuntimeError, match="shape does not fit"):
        ops.roi_paste_backward(torch.ones(1, 2, 4, 4), torch.ones(1, 1, 2, 2), BOX, FIRST, True, True)
