"""Which lesions of a mask stay: counted by hand."""

import numpy as np
import pytest

from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.models.lesion_cleanup import clean_lesions


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
