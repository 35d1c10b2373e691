"""Metrics against hand-computed cases, their mathematical properties, and an independent library."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hf_lesionseg.errors import GridMismatchError
from hf_lesionseg.evaluation.metrics import METRICS
from hf_lesionseg.evaluation.scored_case import case_metrics, failed_case
from hf_lesionseg.evaluation.voxel_counts import VoxelCounts, count_voxels

# Worked by hand: (TP, FP, FN) -> metrics as fractions of small integers.
HAND_COMPUTED = {
    # P = 5, G = 4, 3 in common: 6/9, 3/5, 3/4, 3/6, 100(1 - 1/2), 100(5/4 - 1)
    "over-segmented": ((3, 2, 1), {"dice": 2 / 3, "precision": 0.6, "recall": 0.75, "iou": 0.5, "voe": 50, "rvd": 25}),
    # P = 2, G = 8, all of P right: 4/10, 1, 1/4, 2/8, 75, 100(2/8 - 1)
    "under-segmented": ((2, 0, 6), {"dice": 0.4, "precision": 1, "recall": 0.25, "iou": 0.25, "voe": 75, "rvd": -75}),
    # P = G = 4 without a voxel in common: right volume, wrong place
    "beside": ((0, 4, 4), {"dice": 0, "precision": 0, "recall": 0, "iou": 0, "voe": 100, "rvd": 0}),
    "perfect": ((7, 0, 0), {"dice": 1, "precision": 1, "recall": 1, "iou": 1, "voe": 0, "rvd": 0}),
    # The policy for empty masks.
    "both empty": ((0, 0, 0), {"dice": 1, "precision": 1, "recall": 1, "iou": 1, "voe": 0, "rvd": 0}),
    "false alarm": (
        (0, 5, 0),
        {"dice": 0, "precision": 0, "recall": math.nan, "iou": 0, "voe": 100, "rvd": math.nan},
    ),
    "missed": ((0, 0, 5), {"dice": 0, "precision": 0, "recall": 0, "iou": 0, "voe": 100, "rvd": -100}),
}


@pytest.mark.parametrize(("counts", "expected"), HAND_COMPUTED.values(), ids=HAND_COMPUTED)
def test_hand_computed_cases(counts, expected):
    scored = case_metrics("case", VoxelCounts(*counts), voxel_ml=0.001)
    for name, value in expected.items():
        assert getattr(scored, name) == pytest.approx(value, nan_ok=True), name
    assert scored.absolute_rvd == pytest.approx(abs(expected["rvd"]), nan_ok=True)


def test_counts_of_a_volume_worked_by_hand():
    truth = np.zeros((3, 4, 5), dtype=np.uint8)
    truth[0, 0, :4] = 1  # G = 4
    prediction = np.zeros((3, 4, 5), dtype=np.uint8)
    prediction[0, 0, 1:5] = 1  # three of them, and one beside
    prediction[2, 3, 4] = 255  # far away; any non-zero value is lesion
    assert count_voxels(prediction, truth) == VoxelCounts(true_positive=3, false_positive=2, false_negative=1)


def test_volumes_are_in_millilitres():
    # 4 true and 5 predicted voxels of 1 x 2 x 5 mm = 0.01 mL
    scored = case_metrics("case", VoxelCounts(3, 2, 1), voxel_ml=0.01)
    assert scored.truth_ml == pytest.approx(0.04)
    assert scored.predicted_ml == pytest.approx(0.05)


def test_counts_of_slices_add_up_to_those_of_the_volume():
    generator = np.random.default_rng(3)
    prediction, truth = generator.random((2, 6, 7, 5)) > 0.6
    by_slice = [count_voxels(prediction[k], truth[k]) for k in range(6)]
    assert sum(by_slice[1:], by_slice[0]) == count_voxels(prediction, truth)


masks = npst.arrays(np.bool_, (2, 3, 4))


@given(masks, masks)
@settings(max_examples=200, deadline=None)
def test_bounds_and_relations(prediction, truth):
    scored = case_metrics("case", (prediction, truth), voxel_ml=0.001)
    assert scored.dice == pytest.approx(2 * scored.iou / (1 + scored.iou))
    assert scored.voe == pytest.approx(100 * (1 - scored.iou))
    for name in ("dice", "precision", "recall", "iou"):
        value = getattr(scored, name)
        assert math.isnan(value) or 0 <= value <= 1
    assert 0 <= scored.voe <= 100
    assert math.isnan(scored.rvd) or scored.rvd >= -100
    assert scored.iou <= scored.dice
    assert math.isnan(scored.recall) == math.isnan(scored.rvd) == (prediction.any() and not truth.any())


@given(masks, masks)
@settings(max_examples=200, deadline=None)
def test_swapping_prediction_and_truth(prediction, truth):
    there = case_metrics("case", (prediction, truth), voxel_ml=0.001)
    back = case_metrics("case", (truth, prediction), voxel_ml=0.001)
    assert (there.dice, there.iou, there.voe) == (back.dice, back.iou, back.voe)
    if prediction.any() and truth.any():
        assert (there.precision, there.recall) == (back.recall, back.precision)
        assert (1 + there.rvd / 100) * (1 + back.rvd / 100) == pytest.approx(1)


@given(masks, masks, st.sampled_from([np.uint8, np.int16, np.int64]))
@settings(max_examples=50, deadline=None)
def test_integer_masks_count_as_boolean_ones(prediction, truth, dtype):
    assert count_voxels(prediction.astype(dtype), truth) == count_voxels(prediction, truth)


@given(masks, masks)
@settings(max_examples=40, deadline=None)
def test_agrees_with_scikit_learn(prediction, truth):
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    if not (prediction.any() and truth.any()):
        return  # there the policies differ; ours is tested above
    scored = case_metrics("case", (prediction, truth), voxel_ml=0.001)
    flat = truth.ravel(), prediction.ravel()
    assert scored.dice == pytest.approx(sklearn_metrics.f1_score(*flat))
    assert scored.precision == pytest.approx(sklearn_metrics.precision_score(*flat, zero_division=0))
    assert scored.recall == pytest.approx(sklearn_metrics.recall_score(*flat))
    assert scored.iou == pytest.approx(sklearn_metrics.jaccard_score(*flat))


def test_agrees_with_monai():
    monai_metrics = pytest.importorskip("monai.metrics")
    torch = pytest.importorskip("torch")
    generator = np.random.default_rng(7)
    prediction, truth = generator.random((2, 9, 8, 7)) > 0.7
    scored = case_metrics("case", (prediction, truth), voxel_ml=0.001)
    batch = [torch.from_numpy(mask)[None, None].float() for mask in (prediction, truth)]
    assert scored.dice == pytest.approx(monai_metrics.compute_dice(*batch).item(), abs=1e-6)
    assert scored.iou == pytest.approx(monai_metrics.compute_iou(*batch).item(), abs=1e-6)


def test_counting_makes_no_float_copy():
    import tracemalloc

    prediction, truth = np.ones((2, 100, 100, 100), dtype=np.uint8)
    tracemalloc.start()
    count_voxels(prediction, truth)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # One boolean temporary (a byte per voxel); a single float32 copy would take four.
    assert peak < 2.5 * truth.size


def test_large_counts_do_not_overflow():
    counts = VoxelCounts(3_000_000_000, 1, 1)
    assert case_metrics("case", counts, voxel_ml=0.001).dice == pytest.approx(1)


def test_shapes_are_never_broadcast():
    with pytest.raises(GridMismatchError, match=r"\(4, 4, 1\).*\(4, 4, 3\)"):
        count_voxels(np.ones((4, 4, 1), bool), np.ones((4, 4, 3), bool))


def test_probabilities_are_refused():
    with pytest.raises(TypeError, match="threshold"):
        count_voxels(np.full((2, 2, 2), 0.4), np.ones((2, 2, 2), bool))


@pytest.mark.parametrize("voxel_ml", [0.0, -1.0, math.nan, math.inf])
def test_voxel_volume_must_be_positive(voxel_ml):
    with pytest.raises(ValueError, match="case 7"):
        case_metrics("case 7", VoxelCounts(1, 1, 1), voxel_ml)


def test_negative_counts_are_refused():
    with pytest.raises(ValueError, match="negative"):
        VoxelCounts(3, -1, 0)


def test_a_failed_case_has_a_reason_and_no_number():
    failed = failed_case("sub-01", "no prediction")
    assert failed.failed
    assert failed.reason == "no prediction"
    assert all(math.isnan(getattr(failed, name)) for name in (metric.name for metric in METRICS))
    assert not failed.truth_is_empty
    assert not failed.prediction_is_empty


def test_rows_are_strict_json():
    row = case_metrics("healthy", VoxelCounts(0, 5, 0), voxel_ml=0.001, person="p").to_dict()
    assert row["recall"] is None
    assert row["false_positive"] == 5
    assert row["person"] == "p"
    assert "NaN" not in json.dumps([row, failed_case("a", "b").to_dict()], allow_nan=False)
