"""Confidence intervals against numbers by hand and against scipy's own bootstrap of a plain mean."""

import itertools

import numpy as np
import pytest
from scipy import stats

from hf_lesionseg.reproduce.means import interval, paired_difference


def test_three_cases_by_hand():
    """Of the 27 draws of three cases one has the mean 0 and one the mean 1, 3.7 % each: more than 2.5 %."""
    values = [0.0, 0.5, 1.0]
    means = [np.mean(draw) for draw in itertools.product(values, repeat=3)]
    assert (means.count(0), means.count(1), len(means)) == (1, 1, 27)
    assert interval(values, [1, 1, 1]) == (0, 1)
    # With a fourth case the draws of the mean 0 are 0.4 %, those of 1/8 another 3.1 %.
    low, high = interval([0.0, 0.5, 0.5, 1.0], [1, 1, 1, 1])
    assert (low, high) == (0.125, 0.875)


def test_a_mean_is_scipys():
    values = np.random.default_rng(1).beta(2, 3, 30)
    low, high = interval(values, np.ones(30))
    found = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", random_state=5).confidence_interval
    assert (low, high) == pytest.approx((found.low, found.high), abs=0.004)
    assert interval(values, np.ones(30)) == (low, high)  # seeded


def test_cases_are_drawn_not_slices():
    """Two cases of very many slices are two witnesses: the interval is as wide as they differ."""
    low, high = interval([0.0, 1000.0], [1000, 1000])
    assert (low, high) == (0, 1)
    of_one_slice_each = interval([0.0, 1.0], [1, 1])
    assert of_one_slice_each == (0, 1)


def test_cases_weigh_by_their_slices_and_empty_ones_nothing():
    sums, counts = [9.0, 0.0, 0.5, 0.0], [9, 0, 1, 2]
    low, high = interval(sums, counts)
    assert low < 9.5 / 12 < high
    assert (low, high) == interval([9.0, 0.5, 0.0], [9, 1, 2])


@pytest.mark.filterwarnings("error")
def test_what_has_no_interval():
    assert interval([], []) == (None, None)
    assert interval([0.5], [1]) == (None, None)
    assert interval([0.5, 0.5, 0.5], [1, 1, 1]) == (0.5, 0.5)
    assert all(np.isfinite(interval([1.0, 1.0, 1.0, 1.0, 0.0], np.ones(5))))


def test_paired_differences_do_not_care_for_what_both_find_hard():
    truth = np.random.default_rng(0).uniform(0, 0.8, 20)
    better = truth + 0.05 + np.random.default_rng(1).normal(0, 0.005, 20)
    ones = np.ones(20)
    difference, low, high = paired_difference((truth, ones), (better, ones))
    assert difference == pytest.approx((truth - better).mean())
    assert low < difference < high < 0
    apart = interval(truth, ones)
    assert apart[1] - apart[0] > 10 * (high - low)
    assert paired_difference(([], []), ([], [])) == (None, None, None)
