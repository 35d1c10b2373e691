"""What is kept of a validation, against numbers worked by hand."""

import pytest

from hf_lesionseg.evaluation.metrics import VoxelCounts, case_metrics
from hf_lesionseg.evaluation.slicewise import SliceDice
from hf_lesionseg.training.validation import ValidatedCase, mean_region_iou, validation_record


def validated(loss, counts, slices, ious=None):
    return ValidatedCase(
        loss, case_metrics("case", VoxelCounts(*counts), 0.001, slices=SliceDice("axial", *slices)), ious
    )


def test_volumes_slices_and_regions_are_told_apart():
    cases = [
        validated(0.5, (1, 1, 1), ((1.0, 0.0), 2, 0), (0.5, 0.25, 0.0)),
        validated(0.25, (1, 0, 0), ((0.5,), 0, 1), (1.0,)),
    ]
    assert validation_record(cases) == pytest.approx(
        {
            "validation_loss": 0.375,
            "validation_dice": 0.75,
            "validation_dice_positive_slices": 1.5 / 3,
            "validation_dice_all_slices": 3.5 / 6,
            "validation_miou": 1.75 / 4,  # over components, not over volumes
        }
    )


def test_what_has_no_mean_is_left_out():
    """NaN is not JSON, and differs from itself where records are compared."""
    healthy = validated(0.0, (0, 0, 0), ((), 4, 0))
    assert set(validation_record([healthy])) == {"validation_loss", "validation_dice", "validation_dice_all_slices"}
    assert mean_region_iou([healthy]) is None
    assert mean_region_iou([validated(0.0, (0, 0, 0), ((), 4, 0), ())]) is None
