"""The heat map around a lesion: signed distances by hand and by brute force, weights by the formula."""

import math

import numpy as np
import pytest
import torch

from hf_lesionseg.models.lesion_heat_map import lesion_heat_map, signed_distance


def test_signed_distance_by_hand():
    """A 3x3 lesion: 0 on its rim, -1 in its middle, 1 beside it, the diagonal at its corners."""
    mask = np.zeros((6, 6), bool)
    mask[1:4, 1:4] = True
    found = signed_distance(mask)
    assert found[2, 2] == -1
    assert found[1:4, 1:4].sum() == -1
    assert found[0, 2] == 1
    assert found[0, 0] == pytest.approx(math.sqrt(2))
    assert found[5, 5] == pytest.approx(math.sqrt(8))
    assert found[2, 5] == 2


def test_signed_distance_by_brute_force():
    rng = np.random.default_rng(0)
    mask = rng.random((11, 9)) < 0.2
    points = np.argwhere(np.ones_like(mask))
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    lesion = mask.ravel()
    expected = np.where(lesion, 1 - apart[:, ~lesion].min(1), apart[:, lesion].min(1)).reshape(mask.shape)
    np.testing.assert_allclose(signed_distance(mask), expected)


def test_without_lesion_and_without_background():
    assert (signed_distance(np.zeros((3, 4))) == np.inf).all()
    full = signed_distance(np.ones((3, 5)))
    assert full.tolist() == [[0, 0, 0, 0, 0], [0, -1, -1, -1, 0], [0, 0, 0, 0, 0]]


def test_weights_by_the_formula():
    """1 + 4 exp(-d / 8): 5 in the lesion, e-fold less of the surplus 8 pixels away, 1 without a lesion."""
    labels = torch.zeros(2, 4, 30, dtype=torch.long)
    labels[0, :, :10] = 1
    weights = lesion_heat_map(labels)
    assert weights.dtype == torch.float32
    assert (weights[0, :, :10] == 5).all()
    assert weights[0, 2, 17].item() == pytest.approx(1 + 4 / math.e)
    assert (weights[1] == 1).all()
    assert lesion_heat_map(labels, peak=1.0, decay=4.0)[0, 0, 13].item() == pytest.approx(1 + 1 / math.e)
    assert lesion_heat_map(labels[:0]).shape == (0, 4, 30)
