"""The preview is drawn on volumes whose every voxel is known, and its pixels are read back."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from hf_lesionseg.inference.lesions import find_lesions
from hf_lesionseg.inference.preview import LESION_COLOURS, _planes, write_preview


def head(shape=(60, 70, 50)):
    """An ellipsoid of tissue in RAS+ axes, the left half a little brighter."""
    x, y, z = np.indices(shape)
    middle, radius = np.array(shape) / 2, np.array(shape) / 2 - 4
    inside = sum(((axis - m) / r) ** 2 for axis, m, r in zip((x, y, z), middle, radius, strict=True)) < 1
    return np.where(inside, 60 + 10 * (x < middle[0]), 0).astype(np.float32)


def picture(scan, mask, affine=None, **kwargs):
    affine = np.eye(4) if affine is None else affine
    lesions, labels = find_lesions(mask, affine, 0.001)
    file = io.BytesIO()
    write_preview(file, scan, labels, affine, [lesion.volume_ml for lesion in lesions], title="case", **kwargs)
    return np.asarray(Image.open(file).convert("RGB")).astype(int)


def pixels_of(image, colour):
    return np.argwhere(np.abs(image - np.array(to_rgb(colour)) * 255).sum(axis=2) < 24)


def test_a_lesion_on_the_persons_left_is_drawn_on_the_right():
    scan = head()
    mask = np.zeros(scan.shape, dtype=np.uint8)
    mask[8:18, 30:40, 20:30] = 1  # RAS+: a small x is the left side
    axial = _planes(scan, find_lesions(mask, np.eye(4), 0.001)[1], np.eye(4))[0]
    assert axial.letters == "RLPA"
    columns = np.flatnonzero(axial.labels.any(axis=0))
    assert columns.mean() > axial.labels.shape[1] / 2
    rows = np.flatnonzero(axial.labels.any(axis=1))
    assert len(rows) == 10


def test_planes_do_not_depend_on_how_the_file_is_stored():
    scan = head()
    mask = np.zeros(scan.shape, dtype=np.uint8)
    mask[8:18, 30:42, 20:26] = 1
    mask[8, 30, 27] = 1
    reference = _planes(scan, find_lesions(mask, np.eye(4), 0.001)[1], np.eye(4))
    # Stored as (z, x, y) with x and z flipped.
    flipped = [volume[::-1, :, ::-1].transpose(2, 0, 1) for volume in (scan, mask)]
    affine = np.zeros((4, 4))
    affine[2, 0], affine[0, 1], affine[1, 2], affine[3, 3] = -1, -1, 1, 1
    stored = _planes(flipped[0], find_lesions(flipped[1], affine, 0.001)[1], affine)
    for one, other in zip(reference, stored, strict=True):
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.labels, other.labels)
        assert one.millimetres == other.millimetres


def test_planes_pass_through_the_largest_lesion_in_millimetres():
    scan = head()
    mask = np.zeros(scan.shape, dtype=np.uint8)
    mask[40:50, 20:30, 30:36] = 1
    mask[20, 20, 10] = 1
    planes = _planes(scan, find_lesions(mask, np.diag([2, 1, 3, 1]), 0.006)[1], np.diag([2, 1, 3, 1]))
    assert [plane.name for plane in planes] == ["axial", "coronal", "sagittal"]
    assert all((plane.labels == 1).any() for plane in planes)
    for plane in planes:
        # The mark lies on the lesion.
        sides = zip(plane.mark, plane.millimetres, plane.labels.shape, strict=True)
        row, column = (int(mark / millimetres * pixels) for mark, millimetres, pixels in sides)
        assert plane.labels[row, column] == 1
    # The head is 51 voxels of 2 mm wide and 41 of 3 mm high; 6 mm on either side of it are shown.
    assert planes[0].millimetres[1] == 51 * 2 + 12
    assert planes[1].millimetres[0] == 41 * 3 + 12


def test_colours_of_lesions_are_in_the_picture():
    scan = head()
    mask = np.zeros(scan.shape, dtype=np.uint8)
    mask[20:30, 30:40, 20:30] = 1
    mask[40:45, 30:35, 22:28] = 1
    image = picture(scan, mask)
    assert len(pixels_of(image, LESION_COLOURS[0])) > 100
    assert len(pixels_of(image, LESION_COLOURS[1])) > 50
    # Neither lesion 3 nor 4 exists.
    assert len(pixels_of(image, LESION_COLOURS[3])) == 0


def test_without_a_lesion_no_lesion_colour_is_in_the_picture():
    scan = head()
    image = picture(scan, np.zeros(scan.shape, dtype=np.uint8))
    assert all(len(pixels_of(image, colour)) == 0 for colour in LESION_COLOURS)


@pytest.mark.parametrize("shape", [(20, 20, 1), (64, 64, 2), (1, 5, 7), (30, 30, 200)])
def test_odd_shapes_can_be_drawn(shape):
    scan = np.random.default_rng(0).random(shape, dtype=np.float32)
    mask = np.zeros(shape, dtype=np.uint8)
    mask[0, 0, 0] = 1
    for voxel in ((0.5, 0.5, 10), (3, 3, 3)):
        image = picture(scan, mask, np.diag([*voxel, 1]))
        assert image.shape[0] < 1500


def test_all_zero_scans_and_odd_titles_can_be_drawn():
    empty = np.zeros((20, 21, 22), dtype=np.float32)
    labels = np.zeros(empty.shape, dtype=np.int32)
    write_preview(io.BytesIO(), empty, labels, np.eye(4), [], title="price_$5_{x}^", note="café $")


def test_a_window_decides_what_is_black_and_white():
    """Of a CT a window of soft tissue is drawn as asked for, whatever else is in the scan."""
    scan = np.full((40, 40, 10), -1000.0, np.float32)
    scan[5:35, 5:35] = 40
    scan[5:10, 5:35] = 1500
    greys = []
    for window in ((-60, 140), (-160, 240), None):
        pixels = picture(scan, np.zeros(scan.shape, bool), window=window)
        greys.append(int(np.median(pixels[pixels.shape[0] // 2, :, 0])))
    assert greys[0] == pytest.approx(127.5, abs=2)
    assert greys[1] == pytest.approx(127.5, abs=2)
    assert greys[2] != pytest.approx(127.5, abs=20)


def test_equal_input_gives_equal_bytes():
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        write_preview(file, head(), np.zeros((60, 70, 50), dtype=np.int32), np.eye(4), [], title="case")
    assert files[0].getvalue() == files[1].getvalue()


@pytest.mark.parametrize("spacing", [(5000.0, 5000.0, 5000.0), (1.0, 1.0, 3000.0), (0.001, 0.001, 0.001)])
def test_pixels_are_bounded_whatever_the_voxel_size(spacing):
    scan = head((41, 48, 33))
    mask = np.zeros(scan.shape, np.uint8)
    mask[8:12, 20:24, 10:14] = 1
    affine = np.diag([*spacing, 1])
    for plane in _planes(scan, find_lesions(mask, affine, 0.001)[1], affine):
        assert max(plane.image.shape) <= 1024
        assert plane.labels.any()


def test_no_lesion_is_lost_on_planes_of_many_pixels():
    """One voxel of 5000: the highest of those that share a pixel is shown."""
    scan = np.ones((5000, 40, 3), np.float32)
    scan[:10] = 0
    mask = np.zeros(scan.shape, np.uint8)
    mask[4321, 17, 1] = 1
    axial, coronal, sagittal = _planes(scan, find_lesions(mask, np.eye(4), 0.001)[1], np.eye(4))
    for plane in (axial, coronal, sagittal):
        assert max(plane.image.shape) <= 1024
        assert (plane.labels == 1).sum() == 1
