"""The area under the ROC curve from a histogram, against pairs counted by hand and against Mann and Whitney's U."""

import math

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from hf_lesionseg.evaluation.auc import BINS, ScoreHistogram


def test_pairs_by_hand():
    """Lesion 0.9 and 0.4, background 0.6, 0.4 and 0.1: 3 + 1.5 of 6 pairs are in order."""
    found = ScoreHistogram.of(np.array([0.9, 0.4, 0.6, 0.4, 0.1]), np.array([1, 1, 0, 0, 0]))
    assert found.auc() == pytest.approx(4.5 / 6)


@pytest.mark.parametrize("shift", [0.0, 1.0, 4.0])
def test_a_second_opinion(shift):
    """Probabilities as a network gives them: background near 0, in float32."""
    rng = np.random.default_rng(0)
    labels = rng.random(20_000) < 0.02
    logits = rng.normal(-6, 2, labels.size) + shift * labels
    probability = (1 / (1 + np.exp(-logits))).astype(np.float32)
    lesion, background = probability[labels], probability[~labels]
    truth = mannwhitneyu(lesion, background).statistic / (lesion.size * background.size)
    assert ScoreHistogram.of(probability, labels).auc() == pytest.approx(truth, abs=2e-4)
    sklearn = pytest.importorskip("sklearn.metrics")
    assert ScoreHistogram.of(probability, labels).auc() == pytest.approx(
        sklearn.roc_auc_score(labels, probability), abs=2e-4
    )


def test_volumes_are_added_not_averaged():
    rng = np.random.default_rng(1)
    parts = [(rng.random((2, 8, 8)), rng.random((2, 8, 8)) < 0.3) for _ in range(3)]
    added = sum((ScoreHistogram.of(*part) for part in parts[1:]), ScoreHistogram.of(*parts[0]))
    together = ScoreHistogram.of(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    assert added.auc() == together.auc()
    assert added.lesion.shape == (BINS,)  # whatever the number of voxels


@pytest.mark.filterwarnings("error")
def test_certain_and_one_sided_answers():
    assert ScoreHistogram.of(np.array([0.0, 1.0]), np.array([0, 1])).auc() == 1
    assert ScoreHistogram.of(np.array([1.0, 0.0]), np.array([0, 1])).auc() == 0
    assert ScoreHistogram.of(np.array([0.5, 0.5]), np.array([0, 1])).auc() == 0.5
    assert math.isnan(ScoreHistogram.of(np.array([0.5, 0.7]), np.array([0, 0])).auc())
    assert math.isnan(ScoreHistogram.of(np.array([0.5, 0.7]), np.array([1, 1])).auc())
