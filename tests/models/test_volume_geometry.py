"""The way from a file's grid to planes and back, against nibabel, scipy and torch as independent truth."""

import itertools
import json

import nibabel as nib
import nibabel.processing
import numpy as np
import pytest
import torch
from scipy import ndimage

from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.models.plane_resampling import resample_plane
from hf_lesionseg.models.slice_planes import as_planes, mask_to_planes, restore_planes, to_planes
from hf_lesionseg.models.volume_geometry import SliceGeometry, VolumeError, plan_slices, same_grid, with_window

CODES = ["".join(c) for order in itertools.permutations(("LR", "PA", "IS")) for c in itertools.product(*order)]
CANONICAL = np.array([[0.9, 0, 0, -31.5], [0, 1.2, 0, 20.25], [0, 0, 3.1, -7], [0, 0, 0, 1]])
TURN = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.15, -0.2, 0.1))
#: canonical.transpose(...) gives (slice, row, column)
TRANSPOSE = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}


def image_with_codes(volume, affine, codes):
    """Turn a RAS+ image so that its axes run along ``codes``; by nibabel's own means."""
    image = nib.Nifti1Image(volume, affine)
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(codes))
    return image.as_reoriented(turn)


def random_volume(shape, seed=0):
    return np.random.default_rng(seed).uniform(0, 1, shape).astype(np.float32)


@pytest.mark.parametrize("codes", CODES)
@pytest.mark.parametrize("slice_axis", TRANSPOSE)
def test_all_axis_codes_there_and_back(codes, slice_axis):
    canonical = random_volume((7, 9, 5))
    image = image_with_codes(canonical, TURN @ CANONICAL, codes)
    volume = image.get_fdata(dtype=np.float32)
    geometry = plan_slices(volume.shape, image.affine, slice_axis=slice_axis)
    assert geometry.orientation == codes
    planes = to_planes(volume, geometry)
    np.testing.assert_array_equal(planes, canonical.transpose(TRANSPOSE[slice_axis]))
    np.testing.assert_array_equal(planes, nib.as_closest_canonical(image).get_fdata().transpose(TRANSPOSE[slice_axis]))
    np.testing.assert_array_equal(restore_planes(planes, geometry), volume)


@pytest.mark.parametrize("codes", CODES)
def test_marked_world_point_lands_where_the_anatomy_says(codes):
    image = image_with_codes(np.zeros((7, 9, 5), np.float32), CANONICAL, codes)
    # third column from the left, sixth row from the back, fourth slice from the feet
    world = CANONICAL @ [2, 5, 3, 1]
    volume = np.zeros(image.shape, np.float32)
    volume[tuple(np.rint(np.linalg.inv(image.affine) @ world).astype(int)[:3])] = 1
    geometry = plan_slices(image.shape, image.affine)
    planes = to_planes(volume, geometry)
    assert np.argwhere(planes).tolist() == [[3, 5, 2]]
    (voxel,) = np.argwhere(restore_planes(planes, geometry))
    np.testing.assert_allclose(nib.affines.apply_affine(image.affine, voxel), world[:3], atol=1e-9)


@pytest.mark.parametrize("kind", ["oblique", "left-handed", "sheared"])
def test_unusual_affines(kind):
    affine = TURN @ CANONICAL
    if kind == "left-handed":
        affine[:3, 0] *= -1
    elif kind == "sheared":
        affine[0, 1] += 0.4
    volume = random_volume((7, 9, 5))
    geometry = plan_slices(volume.shape, affine)
    expected = nib.as_closest_canonical(nib.Nifti1Image(volume, affine)).get_fdata().transpose(2, 1, 0)
    np.testing.assert_array_equal(to_planes(volume, geometry), expected)
    np.testing.assert_array_equal(restore_planes(expected, geometry), volume)


def test_atlas_slices():
    volume = random_volume((197, 233, 4))
    geometry = with_window(plan_slices(volume.shape, np.eye(4)), (5, 11), (224, 176))
    planes = to_planes(volume, geometry)
    np.testing.assert_array_equal(planes, volume.transpose(2, 1, 0)[:, 5:229, 11:187])
    restored = restore_planes(planes, geometry)
    expected = np.zeros_like(volume)
    expected[11:187, 5:229] = volume[11:187, 5:229]
    np.testing.assert_array_equal(restored, expected)
    assert restored.flags.f_contiguous


@pytest.mark.parametrize(
    ("start", "shape"),
    [((-3, 2), (20, 4)), ((2, -1), (4, 16)), ((0, 0), (9, 7)), ((-5, -4), (16, 16)), ((8, 6), (3, 3))],
)
def test_windows_crop_and_pad(start, shape):
    volume = random_volume((7, 9, 5))
    geometry = with_window(plan_slices(volume.shape, np.eye(4)), start, shape)
    planes = to_planes(volume, geometry, fill=-1)
    padded = np.pad(volume.transpose(2, 1, 0), ((0, 0), (20, 20), (20, 20)), constant_values=-1)
    rows, columns = (slice(20 + first, 20 + first + length) for first, length in zip(start, shape, strict=True))
    np.testing.assert_array_equal(planes, padded[:, rows, columns])
    inside = np.zeros((5, 49, 47), bool)
    inside[:, rows, columns] = True
    expected = np.where(inside[:, 20:-20, 20:-20], volume.transpose(2, 1, 0), 0).transpose(2, 1, 0)
    np.testing.assert_array_equal(restore_planes(planes, geometry), expected)


def test_window_beside_the_plane():
    volume = random_volume((7, 9, 5))
    geometry = with_window(plan_slices(volume.shape, np.eye(4)), (30, 0), (8, 8))
    assert (to_planes(volume, geometry, fill=-1) == -1).all()
    assert not restore_planes(np.ones((5, 8, 8)), geometry).any()


def test_views_do_not_copy():
    volume = random_volume((7, 9, 5))
    assert np.shares_memory(as_planes(volume, plan_slices(volume.shape, np.diag([-1, 1, 1, 1]))), volume)


@pytest.mark.parametrize("new", [(20, 31), (9, 40), (13, 12)])
def test_linear_enlarging_equals_scipy(new):
    plane = random_volume((9, 12))
    factor = np.array(new) / plane.shape
    expected = ndimage.zoom(plane, factor, order=1, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(resample_plane(plane, new), expected, atol=1e-6)


@pytest.mark.parametrize("new", [(20, 10), (11, 57), (7, 3), (1, 1)])
def test_linear_shrinking_equals_torch_with_antialiasing(new):
    plane = random_volume((41, 57))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(plane)[None, None], new, mode="bilinear", align_corners=False, antialias=True
    )[0, 0]
    np.testing.assert_allclose(resample_plane(plane, new), expected, atol=1e-5)


@pytest.mark.parametrize("new", [(20, 31), (5, 4)])
def test_nearest_equals_scipy(new):
    plane = np.arange(108).reshape(9, 12)
    factor = np.array(new) / plane.shape
    expected = ndimage.zoom(plane, factor, order=0, mode="nearest", grid_mode=True)
    np.testing.assert_array_equal(resample_plane(plane, new, order=0), expected)


def test_unknown_order():
    with pytest.raises(ValueError, match="order 3"):
        resample_plane(random_volume((4, 4)), (5, 5), order=3)


def sphere(shape, affine, centre, radius):
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    distance = np.linalg.norm(nib.affines.apply_affine(affine, grid) - centre, axis=-1)
    return (distance <= radius).astype(np.uint8)


def dice(first, second):
    return 2 * np.logical_and(first, second).sum() / (first.sum() + second.sum())


@pytest.mark.parametrize("spacing", [(0.45, 0.45, 5.0), (0.6, 0.5, 2.0), (2.0, 1.7, 2.0), (1.06, 0.94, 3.0)])
@pytest.mark.parametrize("codes", ["LAS", "PSR", "RAS"])
@pytest.mark.parametrize("slice_axis", ["axial", "sagittal"])
def test_sphere_keeps_its_place_and_size(spacing, codes, slice_axis):
    canonical_shape = tuple(int(90 / size) for size in spacing)
    affine = TURN @ np.array([*np.c_[np.diag(spacing), [-40, -50, -30]], [0, 0, 0, 1]])
    image = image_with_codes(np.zeros(canonical_shape, np.uint8), affine, codes)
    centre = nib.affines.apply_affine(image.affine, np.array(image.shape) * [0.45, 0.55, 0.5])
    truth = sphere(image.shape, image.affine, centre, 25)
    geometry = plan_slices(truth.shape, image.affine, slice_axis=slice_axis, training_spacing=(1.0, 1.0))
    assert geometry.is_resampled
    np.testing.assert_allclose(geometry.plane_spacing, 1.0, rtol=0.05)

    restored = restore_planes(mask_to_planes(truth, geometry).astype(np.float32), geometry) > 0.5
    assert dice(restored, truth) > 0.95
    shift = np.array(ndimage.center_of_mass(restored)) - ndimage.center_of_mass(truth)
    assert np.abs(shift).max() < 0.1


@pytest.mark.parametrize("slice_axis", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize(
    ("row", "column", "resampled"),
    [
        (3.0, 3.0, False),
        (3.03, 2.94, False),
        (3.15, 2.85, False),  # 5 % either way
        (float(np.float32(3.15)), float(np.float32(2.85)), False),
        (3.16, 3.0, True),
        (3.0, 2.84, True),
        (1.0, 1.0, True),
    ],
)
def test_planes_near_the_training_spacing_keep_their_pixels(slice_axis, row, column, resampled):
    """Exactly: values, lesion and the way back are those of a header that gives 3 mm."""
    slices, rows, columns = TRANSPOSE[slice_axis]
    sizes = np.ones(4)
    sizes[[slices, rows, columns]] = 7.0, row, column
    volume = random_volume((40, 36, 44))
    geometry = plan_slices(volume.shape, np.diag(sizes), slice_axis=slice_axis, training_spacing=(3.0, 3.0))
    assert geometry.is_resampled == resampled
    if resampled:
        expected = [max(1, round(n * size / 3)) for n, size in zip(geometry.plane_shape, (row, column), strict=True)]
        assert geometry.resampled_shape == tuple(expected)
        return
    assert geometry.plane_spacing == pytest.approx((row, column), rel=1e-12)
    planes = to_planes(volume, geometry)
    np.testing.assert_array_equal(planes, volume.transpose(slices, rows, columns))
    np.testing.assert_array_equal(mask_to_planes(volume > 0.5, geometry), planes > 0.5)
    np.testing.assert_array_equal(restore_planes(planes, geometry), volume)


def test_a_header_one_percent_off_gives_the_same_slices():
    volume = random_volume((60, 50, 8)) * 100
    settings = {"training_spacing": (3.0, 3.0), "size": {"height": 64, "width": 64}}
    slices = [
        LesionImageProcessor(**settings)(volume, affine=np.diag([side, side, side, 1]))["pixel_values"]
        for side in (3.0, 3.03, 2.94, 3.15)
    ]
    for others in slices[1:]:
        np.testing.assert_array_equal(others, slices[0])


@pytest.mark.parametrize("spacing", [(1.6, 2.1, 2.0), (1.0, 3.0, 2.0)])
def test_resampled_planes_lie_where_nibabel_resamples_to(spacing):
    affine = TURN @ np.array([*np.c_[np.diag(spacing), [-40, -50, -30]], [0, 0, 0, 1]])
    smooth = ndimage.gaussian_filter(random_volume((30, 26, 6)), 2)
    image = image_with_codes(smooth, affine, "LPS")
    geometry = plan_slices(image.shape, image.affine, training_spacing=(1.0, 1.0))
    rows, columns = geometry.resampled_shape
    # the canonical grid with smaller voxels: outer edges stay, so the first centre moves by half the difference
    scale = np.array([30 / columns, 26 / rows, 1])
    fine = affine @ nib.affines.from_matvec(np.diag(scale), (scale - 1) / 2)
    expected = nibabel.processing.resample_from_to(image, ((columns, rows, 6), fine), order=1, mode="nearest")
    np.testing.assert_allclose(
        to_planes(image.get_fdata(), geometry), expected.get_fdata().transpose(2, 1, 0), atol=1e-5
    )


def test_thin_lesion_survives_shrinking_as_probability():
    lesion = np.zeros((40, 40, 1), np.float32)
    lesion[:, 17] = 1  # one pixel wide; half of such lines would fall between plain linear samples
    for position in range(4):
        geometry = plan_slices(lesion.shape, np.diag([0.25, 0.25, 1, 1]), training_spacing=(1.0, 1.0))
        assert to_planes(np.roll(lesion, position, axis=1), geometry).sum() > 0


@pytest.mark.parametrize("training_spacing", [None, (0.7, 1.9)])
def test_geometry_through_json(training_spacing):
    geometry = plan_slices((7, 9, 5), TURN @ CANONICAL, slice_axis="coronal", training_spacing=training_spacing)
    geometry = with_window(geometry, (-1, 2), (16, 32))
    assert SliceGeometry.from_dict(json.loads(json.dumps(geometry.to_dict()))) == geometry


def test_geometry_of_another_version():
    record = plan_slices((7, 9, 5), CANONICAL).to_dict()
    with pytest.raises(VolumeError, match="prepare this case again"):
        SliceGeometry.from_dict({**record, "zoom": 3})
    del record["shape"]
    with pytest.raises(VolumeError, match=r"missing fields \['shape'\]"):
        SliceGeometry.from_dict(record)


def test_sizes_in_millimetres():
    image = image_with_codes(np.zeros((7, 9, 5)), CANONICAL, "SPL")
    geometry = plan_slices(image.shape, image.affine)
    np.testing.assert_allclose(geometry.spacing, (3.1, 1.2, 0.9))
    np.testing.assert_allclose(geometry.plane_spacing, (1.2, 0.9))
    np.testing.assert_allclose(geometry.slice_spacing, 3.1)
    np.testing.assert_allclose(geometry.voxel_ml, 0.9 * 1.2 * 3.1 / 1000)


def test_same_grid():
    affine = TURN @ CANONICAL
    shape = (7, 9, 5)
    assert same_grid(shape, affine, shape, affine.astype(np.float32))
    assert not same_grid(shape, affine, (7, 9, 6), affine)
    for column in range(3):
        shifted = affine.copy()
        shifted[:3, 3] += affine[:3, column] * 0.2
        assert not same_grid(shape, affine, shape, shifted)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4, 1), (4, 0, 4)])
def test_shapes_that_are_no_volume(shape):
    with pytest.raises(VolumeError, match="three axes"):
        plan_slices(shape, np.eye(4))


@pytest.mark.parametrize(
    ("affine", "match"),
    [
        (np.eye(3), "4 x 4"),
        (np.diag([1, 1, np.nan, 1]), "NaN"),
        (np.diag([1, 0, 1, 1]), "singular"),
        ([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "singular"),
    ],
)
def test_affines_that_place_nothing(affine, match):
    with pytest.raises(VolumeError, match=match):
        plan_slices((4, 4, 4), affine)


def test_tiny_and_huge_voxels_are_not_singular():
    for side in (0.01, 100.0):
        assert plan_slices((4, 4, 4), np.diag([side, side, side, 1])).spacing == pytest.approx((side,) * 3)


def test_spacing_that_would_blow_up_the_planes():
    with pytest.raises(VolumeError, match="check the voxel size"):
        plan_slices((100, 100, 4), np.diag([1000, 1000, 1, 1]), training_spacing=(1, 1))


def test_planes_of_another_case():
    geometry = plan_slices((7, 9, 5), np.eye(4))
    with pytest.raises(VolumeError, match="give the planes of one case"):
        restore_planes(np.zeros((4, 9, 7)), geometry)
    with pytest.raises(VolumeError, match="on a geometry of shape"):
        to_planes(np.zeros((9, 7, 5)), geometry)


def test_unknown_slice_axis():
    with pytest.raises(VolumeError, match="choose one of axial, coronal, sagittal"):
        plan_slices((7, 9, 5), np.eye(4), slice_axis="transversal")


@pytest.mark.parametrize(("size", "fits"), [(100.0, True), (255.0, False)])
def test_a_wrong_voxel_size_makes_no_planes_that_fill_the_memory(size, fits):
    """20 pixels of 255 mm would be 5100 of 1 mm: a fuzzed header took 1.7 GB."""
    affine = np.diag([4.0, size, 9.0, 1.0])
    if fits:
        assert plan_slices((17, 20, 9), affine, training_spacing=(1.0, 1.0)).resampled_shape == (2000, 68)
        return
    with pytest.raises(VolumeError, match="check the voxel size"):
        plan_slices((17, 20, 9), affine, training_spacing=(1.0, 1.0))
