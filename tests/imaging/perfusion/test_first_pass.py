"""Arrival, peak and end of the first pass; its frames; and curves that have none."""

import numpy as np
import pytest

from hf_lesionseg.errors import ScanError
from hf_lesionseg.imaging.perfusion.first_pass import (
    FirstPass,
    find_first_pass,
    pwi_max,
    sample_first_pass,
    smooth_curve,
    time_intensity_curve,
)


def gamma_variate(frames=45, arrival=8.0, rise=6.0, height=4.0, base=30.0):
    after = np.maximum(np.arange(frames) - arrival, 0) / rise
    return base + height * after**3 * np.exp(3 * (1 - after))


def test_the_first_pass_of_a_gamma_variate():
    """Hand-computed for rise 6, exponent 3: 10 % is reached 1.3 s after arrival, 40 % again at 12.0 s."""
    found = find_first_pass(gamma_variate())
    assert found.peak == 14
    assert found.onset in (8, 9)
    assert found.end in (20, 21)


def test_recirculation_ends_the_first_pass():
    curve = gamma_variate(60) + gamma_variate(60, arrival=17, rise=6, height=3, base=0)
    found = find_first_pass(curve)
    assert found.peak == 14
    assert 17 <= found.end <= 19, "the local minimum between the passes, at more than 40 % of the peak"


def test_noise_does_not_end_it_early():
    rng = np.random.default_rng(0)
    ends = [find_first_pass(gamma_variate() + rng.normal(0, 0.12, 45)).end for _ in range(200)]
    assert min(ends) >= 19
    assert max(ends) <= 22


@pytest.mark.parametrize(("dip", "ends_there"), [(32.90, False), (31.8, True)])
def test_only_a_minimum_from_which_the_curve_climbs_again_ends_it(dip, ends_there):
    curve = np.full(40, 30.0)
    curve[10:25] = [31, 32, 33.5, 34, 33.4, dip, dip, dip, 33.1, 33.1, 33.1, 32.5, 32, 31, 30.5]
    found = find_first_pass(curve)
    assert found.peak in (12, 13)
    assert found.end in (15, 16, 17) if ends_there else found.end > 21


def test_smoothing_is_a_gaussian_of_five_taps():
    impulse = np.zeros(11)
    impulse[5] = 1
    taps = np.exp(-0.5 * np.arange(-2, 3) ** 2)
    np.testing.assert_allclose(smooth_curve(impulse)[3:8], taps / taps.sum())
    assert smooth_curve(impulse)[[2, 8]].sum() == 0


def test_eleven_frames_equally_spaced():
    data = np.arange(45, dtype=np.float32).reshape(1, 1, 1, 45)
    frames = sample_first_pass(data, FirstPass(8, 14, 28))
    np.testing.assert_array_equal(frames.ravel(), np.arange(8, 29, 2))
    frames = sample_first_pass(data, FirstPass(8, 14, 25))
    assert frames.shape == (1, 1, 1, 11)
    assert set(frames.ravel()) <= set(range(45)), "frames are taken, not mixed, where there are enough"
    few = sample_first_pass(data, FirstPass(2, 4, 7))
    np.testing.assert_allclose(few.ravel(), np.linspace(2, 7, 11), rtol=1e-6)
    to_the_end = sample_first_pass(data, FirstPass(40, 42, 44))
    np.testing.assert_allclose(to_the_end.ravel(), np.linspace(40, 44, 11), rtol=1e-6)


@pytest.mark.parametrize("frames", [6, 8, 10])
def test_fewer_than_eleven_frames_are_enough(frames):
    curve = np.interp(np.arange(frames), [0, 1, 3, 5, frames], [30, 30, 38, 32, 31])
    found = find_first_pass(curve)
    assert 0 <= found.onset < found.peak <= found.end < frames


def test_curve_and_maxima():
    data = np.zeros((2, 1, 1, 6), np.float32)
    data[0, 0, 0] = [1, 2, 9, 4, 2, 1]
    data[1, 0, 0] = [-5, -3, -4, -8, -5, -5]
    np.testing.assert_allclose(time_intensity_curve(data), [-2, -0.5, 2.5, -2, -1.5, -2])
    mask = np.array([True, False]).reshape(2, 1, 1)
    np.testing.assert_allclose(time_intensity_curve(data, mask), data[0, 0, 0])
    np.testing.assert_array_equal(pwi_max(data).ravel(), [9, -3])


@pytest.mark.parametrize("curve", [np.full(45, 31.7), np.zeros(20)])
def test_a_flat_curve_is_refused(curve):
    with pytest.raises(ScanError, match=r"scan\.nii: the curve over time is flat"):
        find_first_pass(curve, "scan.nii")


def test_noise_alone_is_refused():
    rng = np.random.default_rng(1)
    for _ in range(30):
        with pytest.raises(ScanError, match=r"flat but for noise|runs? backwards|run backwards"):
            find_first_pass(30 + rng.normal(0, 0.02, 45), "scan.nii")


def test_frames_in_random_order_are_refused():
    rng = np.random.default_rng(2)
    for frames in (30, 45, 60):
        for _ in range(10):
            with pytest.raises(ScanError, match="order of time"):
                find_first_pass(rng.permutation(gamma_variate(frames)))


def test_a_series_that_runs_backwards_is_refused():
    forward = gamma_variate(45) + gamma_variate(45, arrival=18, rise=14, height=1.5, base=0)
    find_first_pass(forward)
    with pytest.raises(ScanError, match="backwards"):
        find_first_pass(forward[::-1])
