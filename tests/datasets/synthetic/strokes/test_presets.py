"""Volumes, parts, sides and territories against the published and measured numbers."""

import numpy as np
import pytest
from scipy import stats

from hf_lesionseg.datasets.synthetic.strokes.presets import PRESETS, draw_plan, find_preset
from hf_lesionseg.datasets.synthetic.strokes.territories import TERRITORIES
from hf_lesionseg.errors import UsageError


@pytest.fixture(scope="module")
def plans():
    return {
        name: [draw_plan(np.random.default_rng([6, number]), preset) for number in range(3000)]
        for name, preset in PRESETS.items()
    }


@pytest.mark.parametrize(
    ("name", "mean", "sigma", "limits"),
    [("atlas", np.log(5), 1.9, (0.01, 400)), ("acute", 2.27, 2.10, (0.004, 400))],
)
def test_volumes_are_log_normal_within_their_limits(plans, name, mean, sigma, limits):
    volumes = np.array([plan.volume_ml for plan in plans[name]])
    assert limits[0] <= volumes.min()
    assert volumes.max() <= limits[1]
    bounds = (np.log(limits) - mean) / sigma
    truth = stats.truncnorm(*bounds, loc=mean, scale=sigma)
    assert stats.kstest(np.log(volumes), truth.cdf).pvalue > 0.01
    other = stats.truncnorm(*bounds, loc=mean + 0.15, scale=sigma)
    assert stats.kstest(np.log(volumes), other.cdf).pvalue < 0.01, "the test would not see a shift of 16 %"


def test_the_median_of_atlas_is_5_ml(plans):
    assert np.median([plan.volume_ml for plan in plans["atlas"]]) == pytest.approx(5, rel=0.1)


def test_narrower_limits_are_kept():
    preset = PRESETS["atlas"]
    volumes = [draw_plan(np.random.default_rng(number), preset, 5, 50).volume_ml for number in range(300)]
    assert 5 <= min(volumes) < 6
    assert 40 < max(volumes) <= 50
    with pytest.raises(UsageError, match="no volumes are left between 500 and 400 mL"):
        draw_plan(np.random.default_rng(0), preset, 500)
    with pytest.raises(UsageError, match="no volumes are left"):
        draw_plan(np.random.default_rng(0), preset, 5, 4)


def test_parts_follow_the_table(plans):
    """SOOP: 32 / 19 / 24 / 25 % of one, two, three to five and more parts; the largest holds 97 % in the median."""
    counts = np.array([len(plan.part_volumes_ml) for plan in plans["acute"]])
    shares = [(counts == 1).mean(), (counts == 2).mean(), ((counts > 2) & (counts < 6)).mean(), (counts > 5).mean()]
    np.testing.assert_allclose(shares, [0.32, 0.19, 0.24, 0.25], atol=0.07)
    largest = np.array([plan.part_volumes_ml[0] / plan.volume_ml for plan in plans["acute"]])
    assert np.median(largest) == pytest.approx(0.97, abs=0.04)
    assert np.quantile(largest, 0.1) == pytest.approx(0.51, abs=0.08)
    satellites = np.concatenate([plan.part_volumes_ml[1:] for plan in plans["acute"]])
    assert np.median(satellites) == pytest.approx(0.13, abs=0.1)
    assert (satellites < 1).mean() == pytest.approx(0.85, abs=0.15)
    single = np.mean([len(plan.part_volumes_ml) == 1 for plan in plans["atlas"]])
    assert single == pytest.approx(0.58, abs=0.05)


def test_parts_add_up_and_the_first_is_the_largest(plans):
    for plan in plans["acute"]:
        assert sum(plan.part_volumes_ml) == pytest.approx(plan.volume_ml)
        assert plan.part_volumes_ml[0] == max(plan.part_volumes_ml)


def test_sides_and_territories(plans):
    acute = plans["acute"]
    assert np.mean([plan.bilateral for plan in acute]) == pytest.approx(0.21, abs=0.04)
    assert np.mean([plan.side > 0 for plan in acute]) == pytest.approx(0.5, abs=0.04)
    share = {each.name: np.mean([plan.territory == each.name for plan in acute]) for each in TERRITORIES}
    expected = {"mca_cortical": 0.536, "lenticulostriate": 0.133, "pca_cortical": 0.085, "aca": 0.069}
    for name, value in expected.items():
        assert share[name] == pytest.approx(value, abs=0.07)
    capacity = {each.name: each.capacity_ml for each in TERRITORIES}
    assert all(plan.part_volumes_ml[0] <= capacity[plan.territory] for plan in acute)


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(UsageError, match="unknown preset 'chronic': take one of acute, atlas"):
        find_preset("chronic")
