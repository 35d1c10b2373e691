"""The phantom's curves against closed forms and conservation of contrast."""

import numpy as np
import pytest
from scipy import integrate

from hf_lesionseg.datasets.synthetic.perfusion.phantom import (
    TISSUES,
    BolusShape,
    arterial_curve,
    draw_phantom,
    tissue_curves,
    vessel_curves,
)

BOLUS = BolusShape()


def test_the_arterial_curve_is_a_gamma_variate():
    time = np.array([0, BOLUS.arrival, BOLUS.arrival + BOLUS.rise, BOLUS.arrival + 2 * BOLUS.rise])
    np.testing.assert_allclose(arterial_curve(time, BOLUS), [0, 0, 320, 320 * 8 * np.exp(-3)])
    fine = np.arange(0, 300, 0.01)
    first = arterial_curve(fine, BOLUS).sum()
    both = arterial_curve(fine, BolusShape(recirculation=0.2)).sum()
    assert both / first == pytest.approx(1.2, rel=1e-3)


@pytest.mark.parametrize("tissue", TISSUES, ids=lambda tissue: tissue.name)
def test_a_curve_equals_numerical_quadrature(tissue):
    """The convolution integral, by adaptive quadrature in float64."""
    times = np.arange(0, 60.0)
    curve = tissue_curves([tissue.cbf], [tissue.cbv], [tissue.delay], times, BOLUS)[0]
    for time in (10.0, 20.0, 31.0, 50.0):
        since = time - tissue.delay

        def integrand(at, since=since):
            return arterial_curve(np.array(at), BOLUS) * np.exp(-(since - at) / tissue.mtt)

        expected = 0.0
        if since > 0:
            expected = integrate.quad(integrand, 0, since, points=[min(BOLUS.arrival, since)], limit=200)[0]
        expected *= tissue.cbf / 6000 * 1.04 / 0.733
        assert curve[int(time)] == pytest.approx(expected, rel=2e-3, abs=1e-3)


def test_all_contrast_passes():
    """Central volume theorem: the areas under both curves are in the ratio of the blood volume."""
    times = np.arange(0, 400.0)
    kinds = [[getattr(each, key) for each in TISSUES] for key in ("cbf", "cbv", "delay")]
    areas = tissue_curves(*kinds, times, BOLUS).sum(axis=1)
    arterial, venous = vessel_curves(times, BOLUS)
    np.testing.assert_allclose(areas / arterial.sum(), np.array(kinds[1]) / 100 * 1.04 / 0.733, rtol=5e-3)
    assert venous.sum() / arterial.sum() == pytest.approx(1, rel=5e-3)
    assert venous.argmax() > arterial.argmax() + 3


def test_many_transit_times_are_interpolated_closely():
    rng = np.random.default_rng(0)
    cbf, cbv, delay = rng.uniform(2, 60, 500), rng.uniform(0.4, 4, 500), rng.uniform(0, 12, 500)
    times = np.arange(0, 50.0)
    together = tissue_curves(cbf, cbv, delay, times, BOLUS)
    for number in (0, 77, 499):
        alone = tissue_curves(cbf[[number]], cbv[[number]], delay[[number]], times, BOLUS)[0]
        np.testing.assert_allclose(together[number], alone, atol=2e-3 * alone.max())


def test_the_phantom_holds_its_tissues_and_its_noise():
    clean = draw_phantom(size=96, num_slices=2, num_frames=30)
    noisy = draw_phantom(size=96, num_slices=2, num_frames=30, noise_hu=5, seed=4)
    assert clean.data.shape == (96, 96, 2, 30)
    for number, tissue in enumerate(TISSUES):
        inside = clean.tissue == number
        assert inside.sum() > 100
        np.testing.assert_allclose(clean.data[inside][:, 0], tissue.hu)
        assert (clean.cbf[inside] == np.float32(tissue.cbf)).all()
    assert (noisy.data - clean.data).std() == pytest.approx(5, rel=0.01)
    assert clean.arteries.any()
    assert not (clean.arteries & (clean.tissue >= 0)).any()
