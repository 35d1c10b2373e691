"""Generated organs: shapes, places, intensities, and what makes the small ones hard."""

import numpy as np
import pytest
from scipy import ndimage

from hf_lesionseg.datasets.synthetic.organs.body import ellipse, make_frame, paint_body
from hf_lesionseg.datasets.synthetic.organs.case import ATTRIBUTES, generate_organ
from hf_lesionseg.datasets.synthetic.organs.shapes import KINDS, grow_organ

SHAPE = (96, 96, 16)


@pytest.fixture(scope="module")
def cases():
    return [generate_organ(1, index, SHAPE) for index in range(30)]


def components(case):
    """(area, share of its bounding box) of each part in each slice."""
    for k in range(case.mask.shape[2]):
        parts, _ = ndimage.label(case.mask[:, :, k], np.ones((3, 3)))
        for number, box in enumerate(ndimage.find_objects(parts), 1):
            yield int((parts == number).sum()), float((parts[box] == number).mean())


def test_the_same_seed_and_index_give_the_same_bytes():
    first, again, other = (generate_organ(5, index, SHAPE) for index in (3, 3, 4))
    assert first.scan.tobytes() == again.scan.tobytes()
    assert first.mask.tobytes() == again.mask.tobytes()
    assert first.record == again.record
    assert not np.array_equal(first.scan, other.scan)
    assert not np.array_equal(first.scan, generate_organ(6, 3, SHAPE).scan)


def test_what_a_case_holds(cases):
    for case in cases:
        assert (case.scan.dtype, case.scan.shape) == (np.int16, SHAPE)
        assert set(np.unique(case.mask)) <= {0, 1}
        assert set(case.record) == {"synthetic", "seed", "index", *ATTRIBUTES}
        assert case.record["present"] == bool(case.mask.any())
        assert np.diag(case.affine)[:3] == pytest.approx([340 / 96, 340 / 96, 5])
        voxel_ml = (340 / 96) ** 2 * 5 / 1000
        assert case.record["organ_ml"] == pytest.approx(case.mask.sum() * voxel_ml)
        assert case.record["slices_with_organ"] == np.count_nonzero(case.mask.any((0, 1)))
        if case.record["present"]:
            centre = np.argwhere(case.mask).mean(0) @ case.affine[:3, :3] + case.affine[:3, 3]
            np.testing.assert_allclose(case.record["centre_mm"], centre, atol=0.01)


def test_hounsfield_units_are_those_of_a_ct(cases):
    for case in cases:
        assert -1100 < np.median(case.scan[case.scan < -800]) < -900
        assert case.scan.max() > 250, "bone"
        assert ((case.scan > -150) & (case.scan < -60)).mean() > 0.05, "fat"


def test_labels_lie_on_what_was_drawn(cases):
    for case in cases:
        inner = ndimage.binary_erosion(case.mask, np.ones((3, 3, 1)))
        if inner.sum() > 20:
            assert case.scan[inner].mean() == pytest.approx(case.record["organ_hu"], abs=15)


def test_sizes_and_places_vary_and_many_are_small(cases):
    volumes = np.array([case.record["organ_ml"] for case in cases if case.record["present"]])
    assert np.percentile(volumes, 90) > 8 * np.percentile(volumes, 10)
    assert np.median(volumes) < 25
    areas = np.array([area for case in cases for area, _ in components(case)])
    assert areas.min() >= 6, "what nobody could outline is no part"
    assert np.mean(areas < 32) > 0.3, "of two thousand and more pixels of a slice"
    empty = [np.mean(~case.mask.any((0, 1))) for case in cases]
    assert 0.3 < np.mean(empty) < 0.8
    places = np.array([case.record["centre_mm"] for case in cases if case.record["present"]])
    assert (places.std(0) > 10).all()


def test_shapes_are_no_ellipses(cases):
    fill = [share for case in cases for area, share in components(case) if area >= 12]
    low, high = np.percentile(fill, (10, 90))
    assert low < 0.5
    assert high > 0.68
    assert max(case.record["most_components"] for case in cases) > 1
    several = sum(case.record["most_components"] > 1 for case in cases)
    assert several > len(cases) / 4


def test_some_are_absent_and_some_cut_by_the_border():
    records = [generate_organ(0, index, (64, 64, 6)).record for index in range(40)]
    assert 1 <= sum(not record["present"] for record in records) <= 20
    assert 1 <= sum(record["cut_by_border"] for record in records) <= 8


def test_look_alikes_have_the_intensity_of_the_organ_elsewhere(cases):
    assert np.mean([case.record["look_alikes"] for case in cases]) > 2
    # a threshold about the organ's intensity finds many times its voxels: intensity alone tells nothing
    shares = []
    for case in cases:
        if case.record["present"]:
            smooth = ndimage.gaussian_filter(case.scan.astype(np.float32), (1, 1, 0))
            alike = np.abs(smooth - case.record["organ_hu"]) < 25
            shares.append((alike & (case.mask > 0)).sum() / alike.sum())
    assert np.median(shares) < 0.15


def test_the_organ_lies_before_the_spine():
    """In the body's own frame its place is narrow; in the image it is not."""
    rng = np.random.default_rng(0)
    frame = make_frame(rng, SHAPE, scale=0.9, angle=0.1, shift=(12, -8))
    scan, cavity = paint_body(rng, frame)
    spine = ellipse(frame, (0, -48), (23, 17)) < 0.8
    assert np.median(scan[spine]) > 80
    assert not cavity[spine].any()
    organ = grow_organ(rng, frame, centre=(0, 12, 0), scale=0.6, kind="compact")
    assert organ.any()
    assert abs(frame.x[organ].mean()) < 15
    assert 0 < frame.y[organ].mean() < 25


@pytest.mark.parametrize("kind", KINDS)
def test_volume_grows_with_the_cube_of_the_scale(kind):
    frame = make_frame(np.random.default_rng(0), (128, 128, 32), scale=1.0, angle=0.0, shift=(0, 0))
    volumes = []
    for scale in (0.6, 1.2):
        grown = [
            grow_organ(np.random.default_rng(n), frame, centre=(0, 0, 0), scale=scale, kind=kind).sum()
            for n in range(3)
        ]
        volumes.append(np.mean(grown))
    assert volumes[1] / volumes[0] == pytest.approx(8, rel=0.35)
