"""What a scanner adds to slices of a head (blur, ringing, ghosts, noise), and the range of intensities of the scan."""

import numpy as np
from scipy import ndimage as ndi

from .plan import HeadPlan
from .render import render_slices

__all__ = ["add_artefacts", "intensity_range"]

_COARSE_STEP = 12.0  # mm between the samples that stand for a whole head
_WINDOW = 252.0  # mm, of those samples


def add_artefacts(plan: HeadPlan, values: np.ndarray, spacing, rng: np.random.Generator) -> np.ndarray:
    """Scan rendered slices.

    Parameters
    ----------
    plan : HeadPlan
    values : float32 array (n, rows, columns)
        From :func:`~.render.render_slices`.
    spacing : mm between rows and columns
    rng : source of the noise

    Returns
    -------
    float32 array of the same shape, 0 or more
    """
    scanning = plan.scanning
    if scanning.blur:
        values = ndi.gaussian_filter(values, (0, scanning.blur / spacing[0], scanning.blur / spacing[1]))
    if scanning.ringing < 1:
        values = _cut_frequencies(values, scanning.ringing)
    strength, share = scanning.ghost
    if strength:
        values = values + strength * np.roll(values, round(share * values.shape[1]), axis=1)
    return _noisy(plan, values, rng)


def _noisy(plan, values, rng):
    scanning = plan.scanning
    drawn = rng.standard_normal((2, *values.shape), dtype=np.float32) * np.float32(scanning.noise)
    nothing = values <= 0.005
    values = np.hypot(values + drawn[0], drawn[1])  # Rician: the magnitude of two noisy channels
    if scanning.background == "zero":
        values[nothing] = 0
    elif scanning.background == "floor":
        values[values < 3 * scanning.noise] = 0
    if plan.scanning.stripped is not None or plan.outer.kind == "brain":
        values[nothing] = 0
    return np.power(values, np.float32(scanning.power)) if scanning.power != 1 else values


def _cut_frequencies(values, share):
    spectrum = np.fft.rfft2(values)
    rows = np.abs(np.fft.fftfreq(values.shape[-2])) > share / 2
    columns = np.fft.rfftfreq(values.shape[-1]) > share / 2
    spectrum[..., rows, :] = 0
    spectrum[..., columns] = 0
    return np.abs(np.fft.irfft2(spectrum, s=values.shape[-2:])).astype(np.float32)


def intensity_range(plan: HeadPlan, percentiles, rng: np.random.Generator) -> tuple[float, float]:
    """Percentiles of the non-zero voxels of the whole scan, estimated from samples every 12 mm."""
    bottom, top = plan.heights
    heights = np.arange(bottom, top, _COARSE_STEP, dtype=np.float32)
    size = round(_WINDOW / _COARSE_STEP)
    values, _, _ = render_slices(plan, heights, (size, size), (_COARSE_STEP, _COARSE_STEP))
    values = _noisy(plan, values, rng)
    values = values[values > 0]
    low, high = np.percentile(values, percentiles)
    return float(low), float(max(high, low + 1e-3))
