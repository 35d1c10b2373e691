"""Counts of single lesions, by hand and against the evaluator of ISLES 2022 written out anew."""

import numpy as np
import pytest
from scipy import ndimage

from hf_lesionseg.evaluation.lesionwise import LesionCounts, count_lesions


def masks():
    """Three true lesions, one found by two predicted ones, one missed, one found; two false ones."""
    truth, prediction = np.zeros((2, 20, 12, 6), np.uint8)
    truth[1:7, 2, 2] = 1
    prediction[1, 2, 2] = prediction[5, 2, 2] = 1
    truth[10:12, 5, 1] = 1
    truth[15, 9, 4], prediction[15:18, 9, 4] = 1, 255
    prediction[0, 11, 0] = prediction[19, 0, 5] = 1
    return prediction, truth


def test_worked_by_hand():
    found = count_lesions(*masks())
    assert found == LesionCounts(truth=3, predicted=5, missed=1, false=2)
    assert found.difference == 2
    # TP 2, FN 1, FP 2
    assert found.f1 == pytest.approx(2 / (2 + 3 / 2))
    assert found.to_dict() == {"truth_lesions": 3, "predicted_lesions": 5, "missed_lesions": 1, "false_lesions": 2}


def test_touching_by_a_corner_is_one_lesion():
    truth = np.zeros((4, 4, 4), np.uint8)
    truth[0, 0, 0] = truth[1, 1, 1] = truth[2, 2, 2] = 1
    prediction = np.zeros_like(truth)
    prediction[2, 2, 2] = 1
    assert count_lesions(prediction, truth) == LesionCounts(truth=1, predicted=1, missed=0, false=0)


def test_one_prediction_over_two_lesions_finds_both():
    truth = np.zeros((7, 3, 3), np.uint8)
    truth[1, 1, 1] = truth[5, 1, 1] = 1
    prediction = np.zeros_like(truth)
    prediction[1:6, 1, 1] = 1
    found = count_lesions(prediction, truth)
    assert (found.f1, found.difference) == (1.0, 1)


def test_empty_masks():
    prediction, truth = masks()
    nothing = np.zeros_like(truth)
    assert count_lesions(nothing, nothing).f1 == 1
    assert count_lesions(nothing, truth) == LesionCounts(truth=3, predicted=0, missed=3, false=0)
    assert count_lesions(prediction, nothing) == LesionCounts(truth=0, predicted=5, missed=0, false=5)
    assert count_lesions(nothing, truth).f1 == count_lesions(prediction, nothing).f1 == 0


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_a_loop_over_lesions(seed):
    """As the challenge's evaluator does it: one lesion after the other, each compared as a whole volume."""
    random = np.random.default_rng(seed)
    prediction, truth = (ndimage.gaussian_filter(each, 0.9) > 0.45 for each in random.normal(size=(2, 18, 16, 10)))
    touching = ndimage.generate_binary_structure(3, 3)
    true_lesions, n_true = ndimage.label(truth, touching)
    predicted_lesions, n_predicted = ndimage.label(prediction, touching)
    hits = sum(bool((prediction & (true_lesions == label)).any()) for label in range(1, n_true + 1))
    false = sum(not (truth & (predicted_lesions == label)).any() for label in range(1, n_predicted + 1))
    found = count_lesions(prediction, truth)
    assert (found.truth, found.predicted, found.missed, found.false) == (n_true, n_predicted, n_true - hits, false)
    assert found.f1 == pytest.approx(hits / (hits + (n_true - hits + false) / 2))
    assert n_true > 3, "otherwise this shows nothing"
