"""What is kept of a validation, against numbers worked by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.errors import DataError
from hf_lesionseg.evaluation.auc import ScoreHistogram
from hf_lesionseg.evaluation.scored_case import case_metrics
from hf_lesionseg.evaluation.slicewise import SliceDice
from hf_lesionseg.evaluation.voxel_counts import VoxelCounts
from hf_lesionseg.models.configuration_unet_bn import UNetBNConfig
from hf_lesionseg.models.modeling_unet_bn import UNetBNForSemanticSegmentation
from hf_lesionseg.training.validation import ValidatedCase, mean_region_iou, validate_case, validation_record


def validated(loss, counts, slices, ious=None, scores=None):
    metrics = replace(case_metrics("case", VoxelCounts(*counts), 0.001), slices=SliceDice("axial", *slices))
    return ValidatedCase(loss, metrics, ious, scores)


def histogram(lesion, background):
    return ScoreHistogram.of(np.array(lesion + background), np.array([1] * len(lesion) + [0] * len(background)))


def test_volumes_slices_and_regions_are_told_apart():
    cases = [
        validated(0.5, (1, 1, 1), ((1.0, 0.0), 2, 0), (0.5, 0.25, 0.0), histogram([0.9, 0.4], [0.6])),
        validated(0.25, (1, 0, 0), ((0.5,), 0, 1), (1.0,), histogram([0.5], [0.1])),
    ]
    assert validation_record(cases) == pytest.approx(
        {
            "validation_loss": 0.375,
            "validation_dice": 0.75,
            "validation_iou": (1 / 3 + 1) / 2,
            "validation_precision": (1 / 2 + 1) / 2,
            "validation_recall": (1 / 2 + 1) / 2,
            "validation_dice_with_lesion": 0.75,
            "validation_auc": 4 / 6,  # of all voxels: 0.9, 0.4 and 0.5 against 0.6 and 0.1
            "validation_dice_positive_slices": 1.5 / 3,
            "validation_dice_all_slices": 3.5 / 6,
            "validation_miou": 1.75 / 4,  # over components, not over volumes
        }
    )


def test_what_is_marked_in_healthy_scans_is_counted_against_the_dice():
    # voxels of 1 uL: 2 of 3 marked rightly; 4 mL and 30 mL, which counts as 10, where there is nothing
    cases = [
        validated(0.5, (1, 1, 0), ((2 / 3,), 0, 0)),
        validated(0.5, (0, 4000, 0), ((), 0, 1)),
        validated(0.5, (0, 30000, 0), ((), 0, 1)),
    ]
    record = validation_record(cases)
    assert record["validation_dice_with_lesion"] == pytest.approx(2 / 3)
    assert record["validation_false_ml"] == pytest.approx(7)
    assert record["validation_detection"] == pytest.approx(2 / 3 - 0.05 * 7)


def test_what_has_no_mean_is_left_out():
    """NaN is not JSON, and differs from itself where records are compared."""
    healthy = validated(0.0, (0, 0, 0), ((), 4, 0))
    assert {"validation_loss", "validation_dice", "validation_dice_all_slices"} <= set(validation_record([healthy]))
    assert None not in validation_record([healthy]).values()
    assert "validation_auc" not in validation_record([healthy])
    blank = histogram([], [0.5, 0.1])
    assert "validation_auc" not in validation_record([validated(0.0, (0, 0, 0), ((), 4, 0), scores=blank)])
    assert mean_region_iou([healthy]) is None
    assert mean_region_iou([validated(0.0, (0, 0, 0), ((), 4, 0), ())]) is None


def test_the_loss_is_that_of_the_slices_trained_on(prepared):
    """By hand from the network's own probabilities; the metrics stay those of the whole scan."""
    dataset = PreparedDataset(prepared)
    case, processor = dataset.select("validation")[0], dataset.processor()
    torch.manual_seed(0)
    model = UNetBNForSemanticSegmentation(UNetBNConfig(base_width=2, num_channels=dataset.num_channels)).eval()
    first, behind = case.num_slices // 2, case.num_slices // 2 + 3
    whole = validate_case(model, processor, case, batch_size=4)
    found = validate_case(model, processor, case, batch_size=4, slice_range=[first, behind])
    with torch.no_grad():
        p = model(torch.from_numpy(case.pixel_values(slice(first, behind)))).logits.sigmoid()[:, 0].double()
    y = torch.from_numpy(case.labels(slice(first, behind))).double()
    expected = 1 - (2 * (p * y).sum() + 1) / ((p * p).sum() + (y * y).sum() + 1)
    assert found.loss == pytest.approx(expected.item(), rel=1e-5)
    assert found.loss != pytest.approx(whole.loss, rel=1e-3)
    assert found.metrics == whole.metrics
    with pytest.raises(DataError, match=r"none of them in the recipe's slice_range \[1000, 1001\]"):
        validate_case(model, processor, case, batch_size=4, slice_range=[1000, 1001])
