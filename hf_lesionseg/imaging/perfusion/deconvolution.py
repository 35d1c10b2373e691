"""CBF, CBV, MTT and Tmax from a raw CT perfusion series, by delay-insensitive deconvolution.

The tissue's curve is its flow times the arterial input convolved with a residue function. Zero-padded to twice its
length the convolution is circular, so that tissue that contrast reaches before the arterial input does no harm (Wu et
al., Magn Reson Med 2003;50:164-174). The singular value decomposition of a circulant matrix is its Fourier transform:
dividing by the arterial spectrum where that is large enough is the truncated SVD, at the price of two FFTs.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import fft, ndimage

from hf_lesionseg.errors import ScanError

from .arterial_input import VascularInput, above_baseline, find_vascular_input, given_arterial_input
from .brain_curve import BrainCurve, find_brain_curve
from .first_pass import FirstPass

__all__ = ["HEMATOCRIT_FACTOR", "TISSUE_DENSITY", "PerfusionMaps", "PerfusionOptions", "deconvolve", "perfusion_maps"]

#: g/mL
TISSUE_DENSITY = 1.04
#: (1 - 0.45) / (1 - 0.25), large to small vessels: contrast is in the plasma, of which capillaries hold more
HEMATOCRIT_FACTOR = 0.55 / 0.75
_LADDER = (0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.10, 0.125, 0.15, 0.175, 0.20, 0.25, 0.30, 0.40, 0.60)
_BLOCK = 32768
_TAIL_FRAMES = 5
_FLUID_HU = 18.0  # between fluid, 0 to 15, and infarcted white matter, from 22 on
_BRAIN_HU = (20.0, 60.0)
_LONGEST_FRAME_SECONDS = 1.25  # above, the phantom's flow is more than a quarter too low even without noise
_FEWEST_BASELINE_FRAMES = 3  # with less, noise of the baseline is an offset of the whole curve, and of its area
_LARGEST_REMAINING = 0.20  # of the enhancement at the end; above, the phantom's late tissue loses a sixth of its volume
_VESSEL_PEAK_SHARE = 0.12  # of the arterial peak; grey matter has 0.03, and noise must not make vessels of it


@dataclass(frozen=True)
class PerfusionOptions:
    """How maps are made.

    Attributes
    ----------
    regularization : "oscillation" (oSVD) raises the cutoff per voxel until the residue function is smooth enough,
        "cutoff" (cSVD) uses one for all
    svd_cutoff : singular values below this share of the largest are dropped ("cutoff")
    oscillation_index : largest oscillation of an accepted residue function ("oscillation")
    tail_seconds : time constant with which curves are taken to fall after the last frame, s; 0 for none
    smoothing_mm : standard deviation of the Gaussian within a slice that curves are averaged with, mm; 0 for none
    vessel_cbv : CBV from which a voxel counts as a vessel, mL/100 g
    venous_scaling : raise the arterial input to the area of the venous curve, where that is larger: most arteries
        are thinner than a voxel
    hematocrit_factor, density : of large over small vessels, and of tissue in g/mL
    """

    regularization: str = "oscillation"
    svd_cutoff: float = 0.10
    oscillation_index: float = 0.06
    tail_seconds: float = 12.0
    smoothing_mm: float = 2.0
    vessel_cbv: float = 9.0
    venous_scaling: bool = True
    hematocrit_factor: float = HEMATOCRIT_FACTOR
    density: float = TISSUE_DENSITY

    def __post_init__(self):
        if self.regularization not in ("oscillation", "cutoff"):
            raise ValueError(f"regularization {self.regularization!r}: take 'oscillation' or 'cutoff'")
        if not 0 <= self.svd_cutoff < 1:
            raise ValueError(f"svd_cutoff {self.svd_cutoff}: give a share of the largest singular value, 0 to below 1")
        if self.oscillation_index <= 0:
            raise ValueError(f"oscillation_index {self.oscillation_index}: give more than 0, such as 0.06")
        for name in ("tail_seconds", "smoothing_mm"):
            if not 0 <= getattr(self, name) < 1000:
                raise ValueError(f"{name} {getattr(self, name)}: give 0 or more")


@dataclass(frozen=True, eq=False)
class PerfusionMaps:
    """Maps of one series; all float32 (X, Y, Z), 0 outside the brain.

    Attributes
    ----------
    cbf : blood flow, mL/100 g/min
    cbv : blood volume, mL/100 g
    mtt : mean transit time, s
    tmax : time at which the residue function is highest, s
    brain : bool (X, Y, Z)
    vessels : bool (X, Y, Z), large vessels within the brain; not averaged with tissue
    vascular_input : curves that the maps were made with
    curve : float64 (T,), mean over the brain, HU
    first_pass : FirstPass, of that curve
    warnings : tuple of str, what in the series makes the values less sure
    """

    cbf: np.ndarray
    cbv: np.ndarray
    mtt: np.ndarray
    tmax: np.ndarray
    brain: np.ndarray
    vessels: np.ndarray
    vascular_input: VascularInput
    curve: np.ndarray
    first_pass: FirstPass
    warnings: tuple[str, ...] = ()


def perfusion_maps(series, options=None, mask=None, arterial_mask=None, progress=None, *, brain_curve=None):
    """Make CBF, CBV, MTT and Tmax maps from a raw series.

    Parameters
    ----------
    series : PerfusionSeries
    options : PerfusionOptions, optional
    mask : bool array of shape ``series.shape``, optional
        The brain with its vessels; found in the frames before contrast where not given.
    arterial_mask : bool array of shape ``series.shape``, optional
        Voxels of the arterial input; found where not given.
    progress : callable, optional
        Called with (stage, steps done, steps to do) of the stages ``"smoothing"`` and ``"deconvolution"``.
    brain_curve : BrainCurve, optional
        The curve of this series and mask, if it is known already.

    Returns
    -------
    PerfusionMaps

    Raises
    ------
    ScanError
        Where no brain, no first pass or no artery is found. The message names the series' file.
    """
    options = options or PerfusionOptions()
    found = find_brain_curve(series, mask) if brain_curve is None else brain_curve
    if series.slice_axis != 2:
        return _maps_of_turned(series, options, found, arterial_mask, progress)
    brain, first_pass = found.mask, found.first_pass
    if not brain.any():
        raise ScanError(f"{series.path}: no brain found (soft tissue of 0 to 90 HU); give a mask of it, or maps")
    if arterial_mask is not None:
        brain = brain | arterial_mask  # an artery of the skull base may lie outside of what was found
    curves = above_baseline(series.data[brain], max(1, first_pass.onset))
    voxels = np.argwhere(brain)
    if arterial_mask is None:
        inputs = find_vascular_input(curves, voxels, first_pass.onset, series.path)
    else:
        inputs = given_arterial_input(curves, arterial_mask[brain], voxels, first_pass.onset, series.path)
    curves = above_baseline(curves, inputs.num_baseline_frames)
    vessels = _vessels(curves, inputs, options)
    _smooth_within(curves, brain, vessels, series.spacing, options.smoothing_mm, progress)
    arterial = inputs.arterial * (max(1.0, inputs.venous_scale) if options.venous_scaling else 1.0)

    residue = deconvolve(curves, arterial, series.frame_seconds, options, progress)
    per_100_g = 100 * options.hematocrit_factor / options.density
    flow = residue.height * per_100_g * 60
    volume = residue.area * per_100_g
    transit = np.divide(60 * volume, flow, out=np.zeros_like(flow), where=flow > 0)
    baseline = series.data[..., : inputs.num_baseline_frames].mean(axis=-1)
    fluid = _fluid(baseline, brain, series.spacing, options)[brain] & ~vessels
    maps = {}
    for key, values in (("cbf", flow), ("cbv", volume), ("mtt", transit), ("tmax", residue.delay)):
        maps[key] = np.zeros(series.shape, np.float32)
        maps[key][brain] = np.where(fluid, 0, values)
    spread = np.zeros(series.shape, bool)
    spread[brain] = vessels
    return PerfusionMaps(
        **maps, brain=brain, vessels=spread, vascular_input=inputs, curve=found.curve, first_pass=first_pass,
        warnings=tuple(_doubts(series, inputs, found)),
    )  # fmt: skip


def _doubts(series, inputs, found):
    """Warnings about a series whose maps are less certain than on the phantom of docs/reference/perfusion-errors.md."""
    if series.frame_seconds > _LONGEST_FRAME_SECONDS:
        yield (
            f"{series.path}: {series.frame_seconds:g} s from frame to frame: flow comes out far too low and Tmax late "
            "(half and 3 s at 2 s on a phantom); compare within this scan only"
        )
    if inputs.num_baseline_frames < _FEWEST_BASELINE_FRAMES:
        yield (
            f"{series.path}: contrast arrives after {inputs.num_baseline_frames} frames, too few for a baseline: "
            "blood volume is uncertain where it is low; start the scan earlier"
        )
    if found.remaining > _LARGEST_REMAINING:
        yield (
            f"{series.path}: ends with {found.remaining:.0%} of the contrast still in the brain: tissue that fills "
            "late gets too little volume and flow (on a phantom a sixth of the volume is lost at 25 %, half at 50 %, "
            "nearly all at 90 %); scan for longer"
        )


def _maps_of_turned(series, options, found: BrainCurve, arterial_mask, progress):
    """Maps of a file whose slices do not lie along the third axis: brain and smoothing go by slices."""
    order = [0, 1, 2]
    order[series.slice_axis], order[2] = 2, series.slice_axis
    turned = replace(series, data=series.data.transpose(*order, 3), affine=series.affine[:, [*order, 3]])
    found = replace(found, mask=found.mask.transpose(order))
    arterial_mask = None if arterial_mask is None else np.transpose(arterial_mask, order)
    maps = perfusion_maps(turned, options, None, arterial_mask, progress, brain_curve=found)
    inputs = maps.vascular_input
    inputs = replace(
        inputs, arterial_voxels=inputs.arterial_voxels[:, order], venous_voxels=inputs.venous_voxels[:, order]
    )
    volumes = {key: getattr(maps, key).transpose(order) for key in ("cbf", "cbv", "mtt", "tmax", "brain", "vessels")}
    return replace(maps, **volumes, vascular_input=inputs)


@dataclass(frozen=True)
class Residue:
    """Height (1/s), area (no unit) and delay (s) of flow-scaled residue functions; float32 (V,) each."""

    height: np.ndarray
    area: np.ndarray
    delay: np.ndarray


def deconvolve(curves, arterial, frame_seconds, options=None, progress=None):
    """Deconvolve curves by the arterial input: block-circulant SVD.

    Parameters
    ----------
    curves : float array of shape (V, T)
        HU above the baseline.
    arterial : float array of shape (T,)
        HU above the baseline.
    frame_seconds : float
    options : PerfusionOptions, optional
    progress : callable, optional
        Called with ("deconvolution", curves done, all curves).

    Returns
    -------
    Residue
        ``height`` is the maximum of the residue function, never negative; ``area`` the ratio of the areas under both
        curves, never negative; ``delay`` the time of the maximum, 0 where that is before the arterial input.
    """
    options = options or PerfusionOptions()
    arterial = np.asarray(arterial, np.float64)
    extended = _extend(arterial[None], frame_seconds, options.tail_seconds)[0]
    spectrum = fft.rfft(_volterra(extended)) * frame_seconds
    height, area, delay = (np.zeros(len(curves), np.float32) for _ in range(3))
    for start in range(0, len(curves), _BLOCK):
        block = slice(start, start + _BLOCK)
        tissue = _extend(np.asarray(curves[block], np.float32), frame_seconds, options.tail_seconds)
        area[block] = np.maximum(tissue.sum(axis=1) / extended.sum(), 0)
        height[block], delay[block] = _peaks(tissue, spectrum, frame_seconds, options)
        if progress is not None:
            progress("deconvolution", min(start + _BLOCK, len(curves)), len(curves))
    return Residue(height, area, delay)


def _extend(curves, frame_seconds, tail_seconds):
    """Twice the frames: after the last, an exponential from the mean of the last ones, or zeros.

    Late tissue is still full when most scans end. Zeros from there on would be a step, which rings in the residue
    function, and a part of the blood volume would be missed.
    """
    frames = curves.shape[1]
    extended = np.zeros((len(curves), 2 * frames), curves.dtype)
    extended[:, :frames] = curves
    if tail_seconds > 0:
        last = min(_TAIL_FRAMES, frames)
        steps = np.arange(frames) + (last + 1) / 2  # from the middle of the frames that the mean is of
        fall = np.exp(-steps * frame_seconds / tail_seconds).astype(curves.dtype)
        extended[:, frames:] = curves[:, -last:].mean(axis=1, keepdims=True) * fall
    return extended


def _volterra(arterial):
    """Weights of the arterial input where it and the residue function run linearly between frames."""
    return (np.roll(arterial, 1) + 4 * arterial + np.roll(arterial, -1)) / 6


def _peaks(curves, spectrum, frame_seconds, options):
    """Height and time of the residue functions' maxima at the regularisation asked for."""
    length = curves.shape[1]
    tissue = fft.rfft(curves, axis=1)
    strength = np.abs(spectrum) / np.abs(spectrum).max()
    inverse = np.divide(1, spectrum, out=np.zeros_like(spectrum), where=strength > 1e-9)

    def residues(rows, cutoff):
        kept = np.where(strength >= cutoff, inverse, 0).astype(np.complex64)
        return fft.irfft(tissue[rows] * kept, length, axis=1)

    if options.regularization == "cutoff":
        return _maxima(residues(slice(None), options.svd_cutoff), frame_seconds)
    height, delay = np.zeros(len(curves), np.float32), np.zeros(len(curves), np.float32)
    # oscillation falls as the cutoff rises: the first rung that is smooth is found by halving, in four steps
    rough = np.full(len(curves), -1)
    smooth = np.full(len(curves), len(_LADDER))
    while True:
        middle = (rough + smooth) // 2
        searching = smooth - rough > 1
        if not searching.any():
            return height, delay
        for rung in np.unique(middle[searching]):
            rows = np.flatnonzero(searching & (middle == rung))
            residue = residues(rows, _LADDER[rung])
            accepted = _oscillation(residue) <= options.oscillation_index
            accepted |= rung == len(_LADDER) - 1  # nothing smoother is left to try
            smooth[rows[accepted]] = rung
            rough[rows[~accepted]] = rung
            height[rows[accepted]], delay[rows[accepted]] = _maxima(residue[accepted], frame_seconds)


def _oscillation(residue):
    """Oscillation index of Wu et al. 2003, equation 10: mean absolute second difference over the maximum."""
    second = np.abs(np.diff(residue, 2, axis=1)).sum(axis=1)
    highest = residue.max(axis=1)
    return np.divide(
        second, residue.shape[1] * highest, out=np.full(len(residue), np.inf, np.float32), where=highest > 0
    )


def _maxima(residue, frame_seconds):
    """Maxima (V,) and their times in s, by a parabola through three frames.

    The second half of the circle is time before the arterial input, which counts as 0.
    """
    at = residue.argmax(axis=1)
    rows = np.arange(len(residue))
    height = residue[rows, at]
    before, after = residue[rows, at - 1], residue[rows, (at + 1) % residue.shape[1]]
    bend = 2 * height - before - after
    offset = np.divide(after - before, 2 * bend, out=np.zeros_like(height), where=bend > 0)
    delay = np.where(at < residue.shape[1] // 2, np.maximum(at + offset, 0), 0) * frame_seconds
    return np.maximum(height, 0), delay.astype(np.float32)


def _vessels(curves, inputs, options):
    """Voxels whose blood volume is that of a vessel, not of tissue."""
    per_100_g = 100 * options.hematocrit_factor / options.density
    vessels = np.empty(len(curves), bool)
    for start in range(0, len(curves), _BLOCK):
        block = curves[start : start + _BLOCK]
        volume = block.sum(axis=1, dtype=np.float64) / inputs.arterial.sum() * per_100_g
        peaks = ndimage.gaussian_filter1d(block, 1.0, axis=1).max(axis=1)
        enough = peaks > _VESSEL_PEAK_SHARE * inputs.arterial.max()
        vessels[start : start + _BLOCK] = (volume > options.vessel_cbv) & enough
    return vessels


def _fluid(baseline, brain, spacing, options):
    """Voxels of cerebrospinal fluid: no blood flows there, and a Tmax of its noise would look like a lesion."""
    smooth = _slice_mean(np.clip(baseline, -100, 100), brain, spacing, max(options.smoothing_mm, 1.0))
    if not _BRAIN_HU[0] <= np.median(smooth[brain]) <= _BRAIN_HU[1]:
        return np.zeros(brain.shape, bool)  # these are not true HU, so they tell no fluid from tissue
    return smooth < _FLUID_HU


def _smooth_within(curves, brain, vessels, spacing, smoothing_mm, progress=None):
    """Average curves with their neighbours in the slice, in place, tissue with tissue only; vessels stay."""
    if smoothing_mm <= 0:
        return
    tissue = brain.copy()
    tissue[brain] = ~vessels
    weight = _slice_filter(tissue.astype(np.float32), spacing, smoothing_mm)[tissue]
    frame = np.zeros(brain.shape, np.float32)
    for number in range(curves.shape[1]):
        frame[tissue] = curves[~vessels, number]
        curves[~vessels, number] = _slice_filter(frame, spacing, smoothing_mm)[tissue] / weight
        if progress is not None:
            progress("smoothing", number + 1, curves.shape[1])


def _slice_mean(volume, mask, spacing, sigma_mm):
    """Gaussian mean over the voxels of a mask, within slices."""
    total = _slice_filter(np.where(mask, volume, 0).astype(np.float32), spacing, sigma_mm)
    return total / np.maximum(_slice_filter(mask.astype(np.float32), spacing, sigma_mm), 1e-6)


def _slice_filter(volume, spacing, sigma_mm):
    return ndimage.gaussian_filter(
        volume, (sigma_mm / spacing[0], sigma_mm / spacing[1], 0), mode="constant", truncate=3
    )
