"""Every order that files give to frames, on generated patients and on the phantom; the order of time always passes."""

import numpy as np
import pytest

from hf_lesionseg.datasets.synthetic.perfusion.case import draw_patient, draw_slabs, scan_slab
from hf_lesionseg.datasets.synthetic.perfusion.phantom import BolusShape, draw_phantom
from hf_lesionseg.datasets.synthetic.template import load_template
from hf_lesionseg.errors import ScanError
from hf_lesionseg.imaging.perfusion.arterial_input import brain_mask
from hf_lesionseg.imaging.perfusion.first_pass import find_first_pass, time_intensity_curve

ORDERS = {
    "reversed": (lambda n: np.arange(n)[::-1], "run backwards"),
    "by name from 1": (lambda n: np.array(sorted(range(n), key=lambda k: str(k + 1))), "as text"),
    "by name from 0": (lambda n: np.array(sorted(range(n), key=str)), "as text"),
    "by name, reversed": (lambda n: np.array(sorted(range(n), key=lambda k: str(k + 1)))[::-1], "as text"),
    "even then odd": (lambda n: np.append(np.arange(0, n, 2), np.arange(1, n, 2)), "every other one first"),
    "odd then even": (lambda n: np.append(np.arange(1, n, 2), np.arange(0, n, 2)), "every other one first"),
    "pairs exchanged": (lambda n: np.clip(np.arange(n) ^ 1, 0, n - 1), "pairwise exchanged"),
    "halves exchanged": (lambda n: np.roll(np.arange(n), n // 2), "changed places"),
    "tens exchanged": (lambda n: np.r_[10:20, 0:10, 20:n], ""),
    "every third": (lambda n: np.r_[0:n:3, 1:n:3, 2:n:3], ""),
    "random": (lambda n: np.random.default_rng(n).permutation(n), "in the order of time"),
}


def curves_of(data, brain):
    """Of the slab and of the brain, as both are looked at."""
    return time_intensity_curve(data), time_intensity_curve(data, brain)


@pytest.fixture(scope="module")
def patients():
    template, curves = load_template(2), []
    for number in range(6):
        rng = np.random.default_rng([0, number, 1])
        patient = draw_patient(rng, template)
        slab = draw_slabs(rng, patient, 1, 2)[0]
        series = scan_slab(np.random.default_rng([0, number, 2]), patient, slab, 64).series
        curves += curves_of(series, brain_mask(series[..., :4].mean(axis=-1)))
    return curves


@pytest.fixture(scope="module")
def phantoms():
    """At 5 HU: with and without recirculation, by width of the bolus and length of the scan."""
    curves = []
    for recirculation in (0.0, 0.3, 0.5):
        for rise, alpha in ((5, 3), (8, 3)):
            bolus = BolusShape(recirculation=recirculation, rise=rise, alpha=alpha)
            for frames in (45, 60):
                phantom = draw_phantom(size=64, num_slices=1, num_frames=frames, noise_hu=5, bolus=bolus)
                curves += curves_of(phantom.data, phantom.brain)
    return curves


@pytest.mark.parametrize("name", ORDERS)
def test_a_wrong_order_is_refused_by_name_with_a_remedy(patients, phantoms, name):
    order, message = ORDERS[name]
    for curve in (*patients, *phantoms):
        with pytest.raises(ScanError, match=r"scan\.nii: .*sort them by acquisition time") as error:
            find_first_pass(curve[order(len(curve))], "scan.nii")
        if len(curve) < 50 or name != "halves exchanged":  # a long scan may lose its contrast: see the next test
            assert message in str(error.value) or "changed places" in str(error.value)


def test_who_knows_the_order_is_believed(phantoms):
    backwards = phantoms[0][::-1]
    found = find_first_pass(backwards, order_is_sure=True)
    assert found.onset < found.peak < found.end
    with pytest.raises(ScanError, match="--trust-frame-order"):
        find_first_pass(backwards)


def test_the_order_of_time_passes(patients, phantoms):
    for curve in (*patients, *phantoms):
        found = find_first_pass(curve)
        assert found.onset < found.peak < found.end


@pytest.mark.parametrize("noise", [0, 5, 15])
@pytest.mark.parametrize(("frames", "seconds"), [(18, 1), (20, 1), (25, 1), (30, 1), (20, 3), (30, 2), (90, 1)])
def test_short_slow_long_and_noisy_scans_pass(frames, seconds, noise):
    """Of all boluses, from before the first frame on; the wrong orders of the short ones are not all told."""
    for arrival in (1.0, 6.3):
        for rise, alpha in ((5, 3), (4, 6), (10, 2)):
            phantom = draw_phantom(
                size=64, num_slices=1, num_frames=frames, frame_seconds=seconds, noise_hu=noise, seed=3,
                bolus=BolusShape(arrival=arrival, rise=rise, alpha=alpha, recirculation=0.3),
            )  # fmt: skip
            for curve in curves_of(phantom.data, phantom.brain):
                find_first_pass(curve)


def test_a_scan_that_begins_late_passes_while_it_rises():
    """One that begins on the way down has no baseline, and is refused."""
    phantom = draw_phantom(size=64, num_slices=1, num_frames=60)
    curve = time_intensity_curve(phantom.data, phantom.brain)
    peak = int(curve.argmax())
    assert find_first_pass(curve[peak - 7 : peak + 8]).onset <= 1
    assert find_first_pass(curve[peak - 5 : peak + 4]).onset == 0
    with pytest.raises(ScanError, match="the scan began after contrast had arrived"):
        find_first_pass(curve[peak + 1 :])
