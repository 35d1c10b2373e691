"""The first pass of contrast in a CT perfusion series: when it is, and the frames that show it to a network.

As Song and Huang (ISLES 2018) prepare a series: the curve of the whole slab over time, smoothed, and 11 frames between
the arrival of contrast and the end of its first pass; the maximum over time of all frames and of these 11.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from hf_lesionseg.errors import ScanError

from .frame_order import check_frame_order

__all__ = [
    "NUM_FRAMES",
    "FirstPass",
    "find_first_pass",
    "pwi_max",
    "sample_first_pass",
    "smooth_curve",
    "time_intensity_curve",
]

#: frames that the extractor sees
NUM_FRAMES = 11
#: share of the rise over the baseline: contrast has arrived, its first pass has ended
_ONSET_SHARE, _END_SHARE = 0.10, 0.40


@dataclass(frozen=True)
class FirstPass:
    """Frame indices of one series.

    Attributes
    ----------
    onset : last frame before the peak in which no more than 10 % of the rise has come
    peak : frame of the highest mean enhancement
    end : first frame after the peak at 40 % of the rise or at a local minimum, or the last frame
    """

    onset: int
    peak: int
    end: int

    def positions(self, num_frames=NUM_FRAMES):
        """Where the frames for a network lie, equally spaced: float64 (num_frames,), in frames of the series.

        Whole numbers where the pass has that many frames; else between them, and what lies there is interpolated.
        """
        positions = np.linspace(self.onset, self.end, num_frames)
        return np.rint(positions) if self.end - self.onset + 1 >= num_frames else positions

    def to_dict(self):
        """Return plain numbers: onset, peak and end, and the positions of the 11 frames."""
        frames = [round(float(position), 2) for position in self.positions()]
        return {"onset": self.onset, "peak": self.peak, "end": self.end, "sampled_frames": frames}


def time_intensity_curve(data, mask=None):
    """Mean over the voxels of each frame; the paper's sum of all pixels but for a factor.

    Parameters
    ----------
    data : numpy.ndarray of shape (X, Y, Z, T)
        HU.
    mask : bool array of shape (X, Y, Z), optional
        Voxels to take; a brain mask shows weak contrast better than the whole slab.

    Returns
    -------
    float64 array of shape (T,)
    """
    # frame by frame: a copy of all brain voxels would be a third of the series once more
    frames = (data[..., frame] for frame in range(data.shape[-1]))
    return np.array([(frame if mask is None else frame[mask]).mean(dtype=np.float64) for frame in frames])


def smooth_curve(curve):
    """Gaussian of five taps (standard deviation 1 frame) along the last axis; the ends repeat."""
    return ndimage.gaussian_filter1d(np.asarray(curve, np.float64), 1.0, axis=-1, mode="nearest", radius=2)


def find_first_pass(curve, name="series", order_is_sure=False):
    """Find arrival, peak and end of the first pass in a curve.

    Parameters
    ----------
    curve : array of shape (T,)
        As :func:`time_intensity_curve` gives it, not smoothed.
    name : str or os.PathLike
        Name of the series, for errors.
    order_is_sure : bool
        Take the frames' order as it is.

    Returns
    -------
    FirstPass

    Raises
    ------
    ScanError
        For a flat curve, frames that are not in the order of time, and a series that begins after contrast has
        arrived; see :func:`~hf_lesionseg.imaging.perfusion.frame_order.check_frame_order`.
    """
    curve = np.asarray(curve, np.float64)
    smooth = smooth_curve(curve)
    if np.ptp(curve) <= 1e-6 * max(1.0, np.abs(curve).max()):
        raise ScanError(f"{name}: the curve over time is flat; no contrast passes, give the perfusion series itself")
    if not order_is_sure:
        check_frame_order(curve, smooth, name)
    peak = int(smooth.argmax())
    base = _baseline(smooth, peak)
    rise = smooth[peak] - base
    before = np.flatnonzero(smooth[:peak] <= base + _ONSET_SHARE * rise)
    onset = int(before[-1]) if before.size else 0
    after = smooth[peak:]
    low = np.flatnonzero(after <= base + _END_SHARE * rise)
    # noise makes minima on the way down: only one from which the curve climbs again by 5 % is the end of a pass
    climbs = [k for k in range(1, len(after) - 1) if _is_minimum(after, k, 0.05 * rise)]
    ends = [int(low[0])] if low.size else []
    end = peak + min([*ends, *climbs[:1], len(after) - 1])
    return FirstPass(onset, peak, max(end, onset + 1))


def _baseline(smooth, peak):
    """Mean of the frames before contrast: the first ones, as far as they stay within 5 % of the range."""
    low = smooth[: peak + 1].min()
    flat = smooth[: peak + 1] <= low + 0.05 * (smooth[peak] - low)
    return float(smooth[: peak + 1][flat].mean())


def _is_minimum(curve, k, climb):
    if not (curve[k] <= curve[k - 1] and curve[k] < curve[k + 1]):
        return False
    return curve[k + 1 :].max() - curve[k] > climb


def sample_first_pass(data, first_pass, num_frames=NUM_FRAMES):
    """Take equally spaced frames from the arrival of contrast to the end of its first pass.

    Frames are taken as they are; where the pass has fewer than asked for, they are interpolated linearly.

    Parameters
    ----------
    data : numpy.ndarray of shape (X, Y, Z, T)
    first_pass : FirstPass
    num_frames : int

    Returns
    -------
    float32 array of shape (X, Y, Z, num_frames)
    """
    positions = first_pass.positions(num_frames)
    if first_pass.end - first_pass.onset + 1 >= num_frames:
        return np.asarray(data[..., positions.astype(int)], np.float32)
    left = np.minimum(positions.astype(int), data.shape[-1] - 2)
    weight = (positions - left).astype(np.float32)
    return data[..., left] * (1 - weight) + data[..., left + 1] * weight


def pwi_max(data):
    """Maximum over time of each voxel, HU: PWImax_o of a whole series, PWImax_p of the 11 frames.

    Parameters
    ----------
    data : numpy.ndarray of shape (X, Y, Z, T)

    Returns
    -------
    float32 array of shape (X, Y, Z)
    """
    return np.max(data, axis=-1).astype(np.float32, copy=False)
