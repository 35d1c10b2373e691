"""Maps against the matrix form of the method and against a phantom of known truth."""

import re
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import linalg, ndimage

from hf_lesionseg.datasets.synthetic.perfusion.phantom import (
    TISSUES,
    BolusShape,
    arterial_curve,
    draw_phantom,
    tissue_curves,
)
from hf_lesionseg.errors import ScanError
from hf_lesionseg.imaging.perfusion.arterial_input import brain_mask
from hf_lesionseg.imaging.perfusion.channels import MAP_NAMES, make_channels, perfusion_channels
from hf_lesionseg.imaging.perfusion.deconvolution import PerfusionOptions, deconvolve, perfusion_maps
from hf_lesionseg.imaging.perfusion.series import PerfusionSeries

KEYS = ("cbf", "cbv", "tmax")


def as_series(phantom, data=None):
    data = phantom.data if data is None else data
    affine = np.diag([*phantom.spacing, 1])
    return PerfusionSeries(Path("phantom.nii.gz"), data, affine, nib.Nifti1Header(), phantom.frame_seconds)


def medians(maps, phantom):
    """Median per tissue, one voxel off its edges, of CBF, CBV and Tmax: float (6, 3)."""
    edge = np.ones((3, 3, 1))
    inside = [ndimage.binary_erosion(phantom.tissue == number, edge) for number in range(len(TISSUES))]
    return np.array([[np.median(getattr(maps, key)[each]) for key in KEYS] for each in inside])


TRUTH = np.array([[tissue.cbf, tissue.cbv, tissue.delay] for tissue in TISSUES])


@pytest.fixture(scope="module")
def phantom():
    return draw_phantom()


@pytest.fixture(scope="module")
def maps(phantom):
    return perfusion_maps(as_series(phantom))


@pytest.mark.parametrize("cutoff", [0.01, 0.05, 0.2])
def test_equals_the_truncated_svd_of_the_block_circulant_matrix(cutoff):
    """The matrix of Wu et al. written out, decomposed by LAPACK in float64; curves that have died away, no tail."""
    times = np.arange(0, 60.0)
    bolus = BolusShape()
    curves = tissue_curves(*([getattr(each, key) for each in TISSUES] for key in ("cbf", "cbv", "delay")), times, bolus)
    curves = curves + np.random.default_rng(0).normal(0, 0.3, curves.shape)
    arterial = arterial_curve(times, bolus)
    padded = np.concatenate([arterial, np.zeros(60)])
    weighted = (np.roll(padded, 1) + 4 * padded + np.roll(padded, -1)) / 6
    left, values, right = linalg.svd(linalg.circulant(weighted))
    inverse = np.where(values >= cutoff * values[0], 1 / values, 0)
    residue = (right.T * inverse) @ left.T @ np.vstack([curves.T, np.zeros((60, 6))])
    found = deconvolve(curves, arterial, 1.0, PerfusionOptions("cutoff", cutoff, tail_seconds=0))
    np.testing.assert_allclose(found.height, residue.max(axis=0), rtol=2e-4)
    at = residue.argmax(axis=0)
    np.testing.assert_allclose(found.delay, np.where(at < 60, at, 0), atol=0.51)
    np.testing.assert_allclose(found.area, curves.sum(axis=1) / arterial.sum(), rtol=1e-4)


def test_frame_time_scales_flow_and_delay_but_not_volume():
    times = np.arange(0, 50.0)
    curves = tissue_curves([25], [1.9], [4], times, BolusShape())
    arterial = arterial_curve(times, BolusShape())
    once = deconvolve(curves, arterial, 1.0, PerfusionOptions(tail_seconds=0))
    twice = deconvolve(curves, arterial, 2.0, PerfusionOptions(tail_seconds=0))
    np.testing.assert_allclose(twice.height, once.height / 2, rtol=1e-5)
    np.testing.assert_allclose(twice.delay, once.delay * 2, rtol=1e-4)
    np.testing.assert_allclose(twice.area, once.area, rtol=1e-6)


def test_the_bars_on_the_phantom_without_noise(maps, phantom):
    """CBV within 10 %, CBF within 25 %, Tmax within 2 s, and the tissues in their order."""
    found = medians(maps, phantom)
    relative = np.abs(found / TRUTH - 1)
    assert (relative[:, 0] < 0.25).all()
    assert (relative[:, 1] < 0.10).all()
    assert (np.abs(found[:, 2] - TRUTH[:, 2]) < 2).all()
    for grey_or_white in (slice(0, 3), slice(3, 6)):
        assert (np.diff(found[grey_or_white, 0]) < 0).all()
        assert (np.diff(found[grey_or_white, 2]) > 0).all()
    assert (np.argsort(found[:, 0]) == np.argsort(TRUTH[:, 0])).all()
    assert (np.argsort(found[:, 1]) == np.argsort(TRUTH[:, 1])).all()


@pytest.mark.parametrize("bolus", [BolusShape(arrival=5.7), BolusShape(rise=4), BolusShape(recirculation=0.2)])
@pytest.mark.parametrize("num_frames", [50, 60])
def test_the_bars_hold_for_other_boluses_and_a_short_scan(bolus, num_frames):
    phantom = draw_phantom(size=96, num_slices=1, num_frames=num_frames, bolus=bolus)
    found = medians(perfusion_maps(as_series(phantom)), phantom)
    relative = np.abs(found / TRUTH - 1)
    assert (relative[:, 0] < 0.25).all()
    assert (relative[:, 1] < 0.10).all()
    assert (np.abs(found[:, 2] - TRUTH[:, 2]) < 2).all()


def test_slow_frames_and_an_early_bolus_are_warned_of(maps):
    def warnings(**changes):
        return perfusion_maps(as_series(draw_phantom(size=64, num_slices=1, num_frames=30, **changes))).warnings

    assert maps.warnings == ()
    (slow,) = warnings(frame_seconds=2.0)
    assert "phantom.nii.gz: 2 s from frame to frame: flow comes out far too low" in slow
    (early,) = warnings(bolus=BolusShape(arrival=1.0), frame_seconds=1.25)
    assert "contrast arrives after 1 frames" in early


@pytest.mark.parametrize(("frames", "told"), [(20, "9"), (25, "5"), (30, "2")])
def test_a_scan_that_ends_while_contrast_is_there_is_warned_of(frames, told):
    """Without noise, and the volume of late tissue is far too low: the reason for the warning."""
    phantom = draw_phantom(size=64, num_slices=1, num_frames=frames)
    found = make_channels(as_series(phantom), ("cbv", "ctp_00"))
    late = np.median(found.channels["cbv"][phantom.tissue == 4]) / TISSUES[4].cbv - 1
    assert late < -0.15
    assert any(re.search(rf"ends with {told}\d% of the contrast still in the brain", each) for each in found.warnings)
    cut = [each for each in found.warnings if "ends before the first pass" in each]
    assert len(cut) == (1 if frames < 30 else 0)
    assert make_channels(as_series(phantom), ("ctp_00",)).warnings == tuple(cut)


def test_a_whole_scan_is_not_warned_of(phantom):
    assert make_channels(as_series(phantom), ("cbv", "ctp_00")).warnings == ()


def test_arteries_and_veins_are_found(maps, phantom):
    inputs = maps.vascular_input
    assert phantom.arteries[tuple(inputs.arterial_voxels.T)].all()
    times = np.arange(60.0)
    np.testing.assert_allclose(inputs.arterial, arterial_curve(times, BolusShape()), atol=0.5)
    assert inputs.num_baseline_frames in (6, 7)
    assert inputs.venous_scale == pytest.approx(1, abs=0.03)
    both = phantom.arteries | phantom.veins
    assert (maps.vessels & both).sum() > 0.9 * both.sum()
    assert (maps.vessels & ~both).sum() < 0.1 * both.sum()
    overlap = (maps.brain & phantom.brain).sum() / (maps.brain | phantom.brain).sum()
    assert overlap > 0.95


def test_a_given_brain_rescues_a_series_whose_slab_curve_is_spoiled():
    phantom = draw_phantom(size=64, num_slices=1, num_frames=40)
    data = phantom.data.copy()
    data[:4] += np.where(np.arange(40) % 2, 400, 0).astype(np.float32)  # a strip of air that blinks
    spoiled, clean = as_series(phantom, data), as_series(phantom)
    with pytest.raises(ScanError, match="jumps up and down"):
        perfusion_maps(spoiled)
    names = (*MAP_NAMES, "ctp_03")
    found, expected = (make_channels(each, names, mask=phantom.brain) for each in (spoiled, clean))
    assert found.first_pass == expected.first_pass == found.maps.first_pass
    for name in names:
        np.testing.assert_array_equal(found.channels[name][phantom.brain], expected.channels[name][phantom.brain])


def test_noise_leaves_the_order_of_flow_and_delay():
    phantom = draw_phantom(size=256, num_slices=1, num_frames=50, noise_hu=5)
    maps = perfusion_maps(as_series(phantom))
    assert phantom.arteries[tuple(maps.vascular_input.arterial_voxels.T)].all()
    found = medians(maps, phantom)
    assert (np.argsort(found[:, 0]) == np.argsort(TRUTH[:, 0])).all()
    assert found[[0, 3], 2].max() < 4 < found[[1, 2, 4, 5], 2].min(), "Tmax still parts the normal side"
    assert (np.abs(found[:4, 1] / TRUTH[:4, 1] - 1) < 0.25).all()


def test_a_delay_of_all_tissue_changes_nothing_but_tmax(phantom):
    """What the circulant matrix is for: arterial inputs that come early or late."""
    times = np.arange(0, 60.0)
    arterial = arterial_curve(times, BolusShape())
    heights, delays = [], []
    for delay in (-3, 0, 3, 6):
        curve = tissue_curves([40], [3], [0], times, BolusShape(arrival=6.3 + delay))
        residue = deconvolve(curve, arterial, 1.0)
        heights.append(residue.height[0])
        delays.append(residue.delay[0])
    np.testing.assert_allclose(heights, heights[1], rtol=0.02)
    np.testing.assert_allclose(np.diff(delays[1:]), 3, atol=0.1)
    assert delays[0] < 0.2


def test_venous_scaling_mends_a_thin_artery(phantom):
    """Arteries at half contrast double all flows; the sinus tells."""
    data = phantom.data.copy()
    data[phantom.arteries] = 40 + (data[phantom.arteries] - 40) / 2
    series = as_series(phantom, data)
    plain = medians(perfusion_maps(series, PerfusionOptions(venous_scaling=False)), phantom)
    scaled = medians(perfusion_maps(series), phantom)
    np.testing.assert_allclose(plain[:, 1] / TRUTH[:, 1], 2, rtol=0.1)
    np.testing.assert_allclose(scaled[:, 1] / TRUTH[:, 1], 1, rtol=0.1)


def test_fluid_and_air_have_no_perfusion(maps, phantom):
    outside = ndimage.binary_erosion(~phantom.brain, np.ones((9, 9, 1)))
    ventricle = np.zeros(phantom.brain.shape, bool)
    ventricle[57:60, 55:70] = True
    for key in ("cbf", "cbv", "mtt", "tmax"):
        values = getattr(maps, key)
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        assert (values[outside] == 0).all()
        assert (values[ventricle] == 0).all()


def test_a_stripped_brain_is_found_too(phantom):
    stripped = np.where(phantom.brain[..., None], phantom.data, 0)
    found = brain_mask(stripped[..., :5].mean(axis=-1))
    assert (found & phantom.brain).sum() / (found | phantom.brain).sum() > 0.93
    assert (np.abs(medians(perfusion_maps(as_series(phantom, stripped)), phantom)[:, 1] / TRUTH[:, 1] - 1) < 0.1).all()


def test_one_file_gives_all_seventeen_channels(phantom):
    channels = perfusion_channels(as_series(phantom))
    expected = {f"ctp_{k:02d}" for k in range(11)} | {"cbf", "cbv", "mtt", "tmax", "pwimax_o", "pwimax_p"}
    assert set(channels) == expected
    assert all(each.shape == phantom.brain.shape and each.dtype == np.float32 for each in channels.values())
    brain = phantom.brain
    assert (channels["pwimax_o"] >= channels["pwimax_p"] - 1e-3)[brain].all()
    assert channels["pwimax_p"][phantom.arteries].mean() > 300
    assert channels["ctp_00"][brain].mean() < channels["ctp_05"][brain].mean()


@pytest.mark.parametrize("order", [(2, 1, 0), (0, 2, 1)])
def test_slices_may_lie_along_any_axis_of_the_file(phantom, maps, order):
    affine = np.diag([*phantom.spacing, 1])[:, [*order, 3]]
    data = phantom.data.transpose(*order, 3)
    turned = PerfusionSeries(Path("phantom.nii.gz"), data, affine, nib.Nifti1Header(), 1.0)
    found = perfusion_maps(turned)
    for key in ("cbf", "cbv", "mtt", "tmax", "brain"):
        np.testing.assert_allclose(getattr(found, key), getattr(maps, key).transpose(order), rtol=1e-4, atol=1e-4)
    assert phantom.arteries.transpose(order)[tuple(found.vascular_input.arterial_voxels.T)].all()
    frames = [perfusion_channels(each)["ctp_03"] for each in (turned, as_series(phantom))]
    np.testing.assert_array_equal(frames[0], frames[1].transpose(order))


def test_a_series_without_vessels_or_brain_is_refused(phantom):
    pale = phantom.data.copy()
    vessels = phantom.arteries | phantom.veins
    pale[vessels] = 40
    with pytest.raises(ScanError, match=r"phantom\.nii\.gz: no vessel is seen"):
        perfusion_maps(as_series(phantom, pale))
    with pytest.raises(ScanError, match=r"phantom\.nii\.gz: no brain found"):
        perfusion_maps(as_series(phantom, phantom.data + 500))
    order = np.random.default_rng(0).permutation(60)
    with pytest.raises(ScanError, match="order of time"):
        perfusion_maps(as_series(phantom, phantom.data[..., order]))


@pytest.mark.parametrize("wrong", [{"regularization": "tikhonov"}, {"svd_cutoff": 1.0}, {"oscillation_index": 0}])
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PerfusionOptions(**wrong)


def test_a_whole_slab_would_take_less_than_ten_seconds():
    """A quarter of 256 x 256 x 8 x 45, on one core, by the clock of the process: others do not slow it down."""
    series = as_series(draw_phantom(size=256, num_slices=2, num_frames=45, noise_hu=5))
    started = time.process_time()
    perfusion_maps(series)
    assert time.process_time() - started < 10 / 4


def test_a_small_lobe_within_the_skull_is_brain_and_the_scalp_is_not():
    """A slice at the skull base: bone around two lobes of very different size, a wide scalp outside."""
    x, y = np.mgrid[-60:60, -60:60]
    plane = np.full(x.shape, -1000.0)
    plane[np.hypot(x, y) < 58] = 40  # scalp
    plane[np.hypot(x, y) < 48] = 800
    large, small = np.hypot(x + 12, y) < 30, np.hypot(x - 33, y) < 8
    plane[large | small] = 35
    found = brain_mask(plane[:, :, None])[:, :, 0]
    assert found[ndimage.binary_erosion(large | small, iterations=2)].all()
    assert not found[np.hypot(x, y) > 50].any()
