"""Correlation of generated and true DWI, within the brain."""

import numpy as np
import pytest
from scipy import stats

from hf_lesionseg.evaluation.generated_dwi import brain_on_dwi, dwi_correlation, otsu_threshold


def head(rng):
    """A bright disc with a dark hole on noise: brain, ventricle and air."""
    rows, columns = np.indices((40, 40)) - 20
    radius = np.hypot(rows, columns)
    brain, hole = radius < 15, radius < 4
    image = np.abs(rng.normal(0, 3, (2, 40, 40)))
    image[:, brain & ~hole] += rng.normal(100, 15, (2, (brain & ~hole).sum()))
    return image, np.stack([brain] * 2)


def test_brain_has_its_holes_and_no_air():
    image, brain = head(np.random.default_rng(0))
    np.testing.assert_array_equal(brain_on_dwi(image), brain)
    np.testing.assert_array_equal(brain_on_dwi((image - image.mean()) / image.std()), brain)


def test_threshold_maximises_the_variance_between():
    values = np.random.default_rng(1).normal(0, 1, 500)
    values[:200] += 8
    found = otsu_threshold(values)
    between = {
        cut: (values < cut).mean()
        * (values >= cut).mean()
        * (values[values < cut].mean() - values[values >= cut].mean()) ** 2
        for cut in np.linspace(values.min(), values.max(), 400)[1:-1]
    }
    best = max(between.values())
    low = max(values[values < found].max(), values.min())
    share = (values < found).mean() * (values >= found).mean()
    assert share * (values[values < found].mean() - values[values >= found].mean()) ** 2 == pytest.approx(
        best, rel=1e-3
    )
    assert low < found


def test_correlation_is_pearsons_within_the_brain():
    rng = np.random.default_rng(2)
    true, brain = head(rng)
    generated = true + rng.normal(0, 20, true.shape)
    generated[~brain] = -1000.0  # whatever is drawn into air does not count
    expected = stats.pearsonr(generated[brain], true[brain]).statistic
    assert dwi_correlation(generated, true) == pytest.approx(expected, abs=1e-6)
    assert dwi_correlation(generated, true, np.ones_like(brain)) > expected
    assert dwi_correlation(np.zeros_like(true), true) is None


def test_slices_that_nothing_was_generated_for_do_not_count():
    rng = np.random.default_rng(3)
    true, brain = head(rng)
    generated = true + rng.normal(0, 20, true.shape)
    generated[1] = np.nan
    expected = stats.pearsonr(generated[0][brain[0]], true[0][brain[0]]).statistic
    assert dwi_correlation(generated, true) == pytest.approx(expected, abs=1e-6)
    generated[0] = np.nan
    assert dwi_correlation(generated, true) is None
