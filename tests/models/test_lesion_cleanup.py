"""Which lesions of a mask stay: counted by hand."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.models.lesion_cleanup import clean_lesions, filter_slices
from hf_lesionseg.models.volume_geometry import plan_slices


@pytest.fixture
def mask():
    """Lesions of 6 (a chain of corners), 5, 3 and 3 voxels; the number of each in its voxels."""
    lesions = np.zeros((12, 12, 12), np.uint8)
    for step in range(6):
        lesions[step, step, step] = 1
    lesions[9, 1:6, 9] = 2
    lesions[0:3, 10, 0] = 3
    lesions[10, 10, 9:12] = 4
    return lesions


@pytest.mark.parametrize(
    ("settings", "stay"),
    [
        ({}, {1, 2, 3, 4}),
        ({"keep_largest": 1}, {1}),
        ({"keep_largest": 2}, {1, 2}),
        ({"keep_largest": 3}, {1, 2, 3}),  # of equal ones that whose voxels come first
        ({"keep_largest": 9}, {1, 2, 3, 4}),
        ({"minimum_ml": 0.5}, {1, 2}),
        ({"minimum_ml": 0.55, "keep_largest": 2}, {1}),
        ({"minimum_ml": 0.3, "keep_largest": 3}, {1, 2, 3}),
        ({"minimum_ml": 7, "keep_largest": 1}, set()),
    ],
)
def test_what_stays(mask, settings, stay):
    cleaned = mask > 0
    clean_lesions(cleaned, 0.1, **settings)
    np.testing.assert_array_equal(cleaned, np.isin(mask, list(stay)) & (mask > 0))


def test_an_empty_mask_and_a_full_one_stay():
    for value in (False, True):
        cleaned = np.full((3, 4, 5), value)
        clean_lesions(cleaned, 0.1, keep_largest=1)
        assert (cleaned == value).all()


def test_the_setting_of_the_processor_and_what_replaces_it(mask):
    processor = LesionImageProcessor(keep_largest=1)
    volume = np.random.default_rng(0).uniform(1, 9, mask.shape)
    (geometry,) = processor(volume)["geometry"]
    probability = (mask > 0).astype(np.float32)
    assert processor.mask_from_probability(probability, geometry).sum() == 6
    assert processor.mask_from_probability(probability, geometry, keep_largest=2).sum() == 11
    assert processor.mask_from_probability(probability, geometry, keep_largest=0).sum() == 17
    assert LesionImageProcessor().keep_largest == 0


@pytest.mark.parametrize("value", [-1, 1.5, True, "2"])
def test_a_number_of_lesions_that_cannot_be(value):
    with pytest.raises(ValueError, match=r"keep_largest=.*: give a whole number of lesions, 0 to keep all"):
        LesionImageProcessor(keep_largest=value)


def test_median_filter_of_slices_equals_scipys_in_each_slice():
    rng = np.random.default_rng(3)
    blobs = ndimage.gaussian_filter(rng.normal(size=(31, 27, 6)), 1.0) > 0.12
    for axis, size in ((2, 3), (2, 5), (0, 3), (1, 7)):
        expected = np.stack(
            [
                ndimage.median_filter(plane.astype(np.uint8), size, mode="constant")
                for plane in np.moveaxis(blobs, axis, 0)
            ],
            axis=axis,
        )
        mask = blobs.copy()
        filter_slices(mask, size, axis)
        np.testing.assert_array_equal(mask, expected > 0)
        assert (mask != blobs).any()


def test_median_filter_drops_specks_fills_holes_and_keeps_to_its_slice():
    mask = np.zeros((12, 12, 3), bool)
    mask[2:9, 2:9, 1] = True
    mask[5, 5, 1] = False  # a hole
    mask[10, 10, :] = True  # a speck in each slice, a column of three voxels across them
    filter_slices(mask, 3, 2)
    assert mask[5, 5, 1]
    assert not mask[10, 10].any()
    assert not mask[:, :, [0, 2]].any()
    assert mask[:, :, 1].sum() == 49 - 4, "a square loses its corners only"
    empty = np.zeros((4, 4, 2), bool)
    filter_slices(empty, 5, 2)
    assert not empty.any()


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR", "ASL"])
def test_the_processor_filters_the_slices_that_the_network_saw(codes):
    orientation = nib.orientations.axcodes2ornt(codes)
    canonical = np.zeros((20, 18, 5), np.float32)
    canonical[4:11, 4:11, 2] = 0.9
    canonical[15, 15, :] = 0.9  # a line along the slice axis: in its slices a speck
    to_file = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), orientation)
    probability = nib.orientations.apply_orientation(canonical, to_file)
    affine = np.diag([1.0, 1, 5, 1]) @ nib.orientations.inv_ornt_aff(to_file, canonical.shape)
    geometry = plan_slices(probability.shape, affine)
    assert geometry.orientation == codes
    processor = LesionImageProcessor(median_filter=3)
    mask = processor.mask_from_probability(probability, geometry)
    back = nib.orientations.apply_orientation(
        mask, nib.orientations.ornt_transform(orientation, np.array([[0, 1], [1, 1], [2, 1]]))
    )
    assert back[4:11, 4:11, 2].sum() == 45
    assert back.sum() == 45
    without = processor.mask_from_probability(probability, geometry, median_filter=0)
    assert without.sum() == 49 + 5


@pytest.mark.parametrize("wrong", [1, 2, 4, -3, 17, True, 3.0, "3"])
def test_an_impossible_filter_is_refused(wrong):
    with pytest.raises(ValueError, match=r"median_filter=.*odd number of voxels from 3 to 15"):
        LesionImageProcessor(median_filter=wrong)
