"""The options of a mask: one place for defaults and rules, and saved ones give way to chosen ones."""

import math
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest

from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.models.mask_options import MASK_DEFAULTS, MaskOptions, clean_mask, make_mask

NAMES = ["threshold", "minimum_lesion_ml", "keep_largest", "median_filter"]


def test_the_options_are_settings_of_the_processor_by_the_same_names(tmp_path):
    assert [each.name for each in fields(MaskOptions)] == NAMES
    processor = LesionImageProcessor()
    assert list(processor.settings())[-4:] == NAMES
    assert {name: getattr(processor, name) for name in NAMES} == MASK_DEFAULTS
    LesionImageProcessor(threshold=0.3, keep_largest=2).save_pretrained(tmp_path)
    again = LesionImageProcessor.from_pretrained(tmp_path)
    assert MaskOptions.of(again) == MaskOptions(0.3, 0.0, 2, 0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        *[
            ({"threshold": value}, "threshold=.*: give a probability")
            for value in (0, 1, -0.1, 50, math.nan, True, "a")
        ],
        *[({"minimum_lesion_ml": value}, "minimum_lesion_ml=.*mL") for value in (-1, math.nan, math.inf, 2e6)],
        *[({"keep_largest": value}, "keep_largest=.*whole number") for value in (-1, 1.5, True)],
        *[({"median_filter": value}, "median_filter=.*odd number") for value in (1, 4, 17, -3, 3.0)],
    ],
)
def test_values_that_cannot_be(wrong, message):
    with pytest.raises(ValueError, match=message):
        MaskOptions(**wrong)
    with pytest.raises(ValueError, match=message):
        LesionImageProcessor(**wrong)


def test_chosen_options_go_over_saved_ones_and_these_over_the_defaults():
    saved = LesionImageProcessor(minimum_lesion_ml=0.1, threshold=0.4)
    assert MaskOptions.of(saved, MaskOptions(threshold=0.2)) == MaskOptions(0.2, 0.1, 0, 0)
    assert MaskOptions().over() == MaskOptions(**MASK_DEFAULTS)
    assert MaskOptions(keep_largest=0).given() == {"keep_largest": 0}


def test_a_processor_of_earlier_code_is_told_only_what_it_does_not_do_by_itself():
    earlier = SimpleNamespace(threshold=0.4, minimum_lesion_ml=0.1)
    assert MaskOptions.of(earlier) == MaskOptions(0.4, 0.1, 0, 0)
    assert MaskOptions(0.4, 0.1, 0, 0).differing_from(earlier) == {}
    assert MaskOptions(0.4, 0.2, 1).differing_from(earlier) == {"minimum_lesion_ml": 0.2, "keep_largest": 1}


def test_slices_are_smoothed_before_lesions_are_dropped():
    probability = np.zeros((9, 9, 3))
    probability[1:4, 1:4, 1], probability[2, 2, 1] = 0.9, 0.1  # a hole that the filter fills; corners that it takes
    probability[6:8, 6, 1] = 0.9
    options = MaskOptions(threshold=0.5, median_filter=3, minimum_lesion_ml=0.005).over()
    mask = make_mask(probability, options, 0.001, 2)
    assert mask.sum() == 5
    assert mask[2, 2, 1]
    assert not make_mask(probability, MaskOptions(0.5, 0.006, 0, 3), 0.001, 2).any()
    again = probability > 0.5
    clean_mask(again, options, 0.001, 2)
    np.testing.assert_array_equal(again, mask)
