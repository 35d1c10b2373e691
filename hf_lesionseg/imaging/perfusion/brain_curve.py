"""The brain of a CT perfusion series with its curve over time and first pass: what maps and frames both begin with."""

from dataclasses import dataclass

import numpy as np

from .arterial_input import brain_mask
from .first_pass import FirstPass, find_first_pass, smooth_curve, time_intensity_curve

__all__ = ["BrainCurve", "find_brain_curve"]


@dataclass(frozen=True, eq=False)
class BrainCurve:
    """Brain of one series.

    Attributes
    ----------
    mask : bool (X, Y, Z), empty where no brain was found
    curve : float64 (T,), mean over the brain, or the whole slab without one, HU
    first_pass : FirstPass, of that curve
    """

    mask: np.ndarray
    curve: np.ndarray
    first_pass: FirstPass

    @property
    def remaining(self):
        """Share of the largest enhancement that is still there in the last three frames."""
        smooth = smooth_curve(self.curve)
        base = smooth[: self.first_pass.onset + 1].mean()
        return float((smooth[-3:].mean() - base) / (smooth[self.first_pass.peak] - base))

    @property
    def is_cut(self):
        """Whether the series ends before the first pass does."""
        return self.first_pass.end == len(self.curve) - 1


def find_brain_curve(series, mask=None):
    """Take the curve of the brain, and find the first pass in it.

    Parameters
    ----------
    series : PerfusionSeries
    mask : bool array of shape ``series.shape``, optional
        The brain with its vessels. Where not given it is found in the frames before contrast, which the curve of the
        whole slab tells; with it that curve, which table or coil may spoil, is not looked at.

    Returns
    -------
    BrainCurve

    Raises
    ------
    ScanError
        For a curve without a first pass.
    """
    if mask is None or not np.any(mask):
        curve = time_intensity_curve(series.data)
        first_pass = find_first_pass(curve, series.path, series.order_is_sure)
        if mask is None:
            baseline = series.data[..., : max(1, first_pass.onset)].mean(axis=-1)
            mask = brain_mask(baseline.swapaxes(series.slice_axis, 2)).swapaxes(series.slice_axis, 2)
        if not np.any(mask):
            return BrainCurve(np.asarray(mask, bool), curve, first_pass)
    mask = np.asarray(mask, bool)
    curve = time_intensity_curve(series.data, mask)
    return BrainCurve(mask, curve, find_first_pass(curve, series.path, series.order_is_sure))
