"""Brain, vessels and the arterial input of a CT perfusion series, found without a reader.

The arterial input follows the idea of Mouridsen et al. (Magn Reson Med 2006;55:524-531): few candidates with much
contrast and a smooth curve, clustered by shape, and of the clusters the one that comes first.
"""

from dataclasses import dataclass

import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage
from scipy.cluster.vq import kmeans2

from hf_lesionseg.errors import ScanError

__all__ = ["VascularInput", "above_baseline", "brain_mask", "find_vascular_input", "given_arterial_input"]

_BONE_HU = 100.0
_SOFT_TISSUE_HU = (0.0, 90.0)
_LEAST_COMPONENT_SHARE = 0.2  # of a slice's largest part: both hemispheres stay, a thin scalp goes
_FEWEST_CANDIDATES, _CANDIDATE_SHARE, _PEAK_SHARE = 40, 0.03, 0.25
_ROUGHEST_SHARE = 0.25
_CLUSTERS = 5
_BLOCK = 65536
_NEAR_HIGHEST = 0.75
_LEAST_PEAK_HU = 15.0  # tissue hardly gets there: without voxels above it there is no artery in the slab


@dataclass(frozen=True)
class VascularInput:
    """Arterial and venous curves of one series.

    Attributes
    ----------
    arterial, venous : float64 (T,), HU above the baseline
    arterial_voxels, venous_voxels : int (n, 3), voxels that the curves are means of
    num_baseline_frames : frames before contrast arrives in the arteries
    """

    arterial: np.ndarray
    venous: np.ndarray
    arterial_voxels: np.ndarray
    venous_voxels: np.ndarray
    num_baseline_frames: int

    @property
    def venous_scale(self):
        """Area under the venous over that under the arterial curve.

        Above 1 where the artery is thinner than a voxel, so that its curve is too low; all that is computed with it
        is then too high by this factor.
        """
        return float(self.venous.sum() / self.arterial.sum())

    def describe(self, series):
        """Where the curves were taken and how high they are, JSON-able: voxel indices from 0, world mm, HU, s."""
        centre = self.arterial_voxels.mean(axis=0)
        return {
            "voxels": self.arterial_voxels.tolist(),
            "centre_mm": [round(float(value), 2) for value in apply_affine(series.affine, centre)],
            "peak_hu": round(float(self.arterial.max()), 2),
            "peak_seconds": round(float(self.arterial.argmax() * series.frame_seconds), 3),
            "baseline_frames": self.num_baseline_frames,
            "venous_voxels": self.venous_voxels.tolist(),
            "venous_scale": round(self.venous_scale, 4),
        }


def brain_mask(baseline):
    """Find the brain with its vessels in a scan without contrast.

    Soft tissue of the slightly smoothed scan, opened so that scalp and brain part, then per slice what a ring of bone
    encloses; without one the largest component and others of at least a fifth of it. Holes are filled.

    Parameters
    ----------
    baseline : float array of shape (X, Y, Z)
        HU, slices along the last axis.

    Returns
    -------
    bool array of shape (X, Y, Z)
    """
    smooth = ndimage.gaussian_filter(np.clip(baseline, -100, 1.2 * _BONE_HU), (1.0, 1.0, 0.0))
    # exactly 0 is the background of a stripped series
    soft = (smooth > _SOFT_TISSUE_HU[0] + 2) & (smooth < _SOFT_TISSUE_HU[1]) & (baseline < 2 * _BONE_HU)
    mask = np.zeros(soft.shape, bool)
    disc = np.hypot(*np.mgrid[-3:4, -3:4]) <= 3
    for k in range(soft.shape[2]):
        opened = ndimage.binary_opening(soft[:, :, k], disc)
        labels, count = ndimage.label(opened)
        if not count:
            continue
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        ringed = ndimage.binary_fill_holes(baseline[:, :, k] > _BONE_HU)
        enclosed = (np.bincount(labels[ringed], minlength=count + 1) > 0.9 * sizes) & (sizes > 0)
        large = sizes >= _LEAST_COMPONENT_SHARE * sizes.max()
        # within a closed skull even a small part is brain, as the pole of a lobe, and nothing outside is
        kept = np.isin(labels, np.flatnonzero(enclosed if (enclosed & large).any() else large))
        mask[:, :, k] = ndimage.binary_fill_holes(kept)
    return mask


def above_baseline(curves, num_baseline_frames):
    """Take from each curve (V, T) the mean of its first frames, in place; float32."""
    curves = np.ascontiguousarray(curves, np.float32)
    curves -= curves[:, :num_baseline_frames].mean(axis=1, keepdims=True)
    return curves


def find_vascular_input(curves, voxels, onset, name="series"):
    """Choose the arterial input and the venous output among the curves of a brain.

    Candidates are voxels that reach a quarter of the third highest peak (40 voxels at least, 3 % of the brain at
    most), less those that peak within three frames of either end or keep more than half of their peak at the end, and
    the roughest quarter (sum of squared second differences). Curves of unit area are clustered by k-means; the cluster
    with the earliest centre of gravity over the first pass is the arteries, and the mean of its highest curves (three
    quarters of the third highest peak and more) is the arterial input. The candidates of the largest areas, by the
    same rule, make the venous curve: the sinuses are wide and free of partial volume.

    Parameters
    ----------
    curves : float array of shape (V, T)
        HU above the baseline.
    voxels : int array of shape (V, 3)
        Where they lie.
    onset : int
        Frame in which contrast reaches the slab, by its mean curve.
    name : str or os.PathLike
        Name of the series, for errors.

    Returns
    -------
    VascularInput

    Raises
    ------
    ScanError
        Where no curve looks like a vessel's.
    """
    frames = curves.shape[1]
    peaks, shaped = np.empty(len(curves), np.float32), np.empty(len(curves), bool)
    for start in range(0, len(curves), _BLOCK):  # a second copy of all curves may be gigabytes
        block = slice(start, start + _BLOCK)
        smooth = _smoothed(curves[block])
        peaks[block], times = smooth.max(axis=1), smooth.argmax(axis=1)
        shaped[block] = (times >= 3) & (times < frames - 3) & (smooth[:, -3:].mean(axis=1) < 0.5 * peaks[block])
    found = np.flatnonzero(shaped & (peaks > _LEAST_PEAK_HU))
    if len(found) < 3:
        raise ScanError(
            f"{name}: no vessel is seen to fill and empty ({len(found)} voxels of the brain rise above "
            f"{_LEAST_PEAK_HU:g} HU and fall again); give a series that covers the whole first pass, or maps"
        )
    found = found[np.argsort(-peaks[found], kind="stable")]
    # arteries may be thinner than a voxel and far below the sinuses, which would fill any fixed number of candidates
    count = max(_FEWEST_CANDIDATES, min(round(_CANDIDATE_SHARE * len(curves)), _above(peaks[found], _PEAK_SHARE)))
    found = found[:count]
    unit = _smoothed(curves[found])
    areas = np.zeros(len(curves), np.float32)
    areas[found] = unit.sum(axis=1)
    unit /= areas[found][:, None]
    roughness = (np.diff(unit, 2, axis=1) ** 2).sum(axis=1)
    if len(found) >= _FEWEST_CANDIDATES // 2:
        keep = roughness <= np.quantile(roughness, 1 - _ROUGHEST_SHARE)
        found, unit = found[keep], unit[keep]
    labels = np.zeros(len(found), int)
    distinct = len(np.unique(unit.round(5), axis=0))
    if distinct > 2 * _CLUSTERS:
        _, labels = kmeans2(unit.astype(np.float64), _CLUSTERS, minit="++", seed=0)
    elif distinct > 1:  # hardly any noise: every shape is a cluster
        _, labels = np.unique(unit.round(5), axis=0, return_inverse=True)
        labels = labels.ravel()
    moments = _centre_of_gravity(unit)
    sizes = np.bincount(labels)
    least = min(3, sizes.max())
    clusters = [label for label in range(len(sizes)) if sizes[label] >= least]
    first = min(clusters, key=lambda label: np.median(moments[labels == label]))
    arterial = _highest(found[labels == first], peaks)
    venous = _highest(found, areas)
    inputs = [curves[each].mean(axis=0, dtype=np.float64) for each in (arterial, venous)]
    num_baseline = _arrival(inputs[0], onset)
    # contrast reaches an artery before it shows in the slab, and would be part of the baseline
    inputs = [curve - curve[:num_baseline].mean() for curve in inputs]
    return VascularInput(*inputs, voxels[arterial], voxels[venous], num_baseline)


def given_arterial_input(curves, chosen, voxels, onset, name="series"):
    """Take the arterial input from given voxels; the venous output is found, or where there is none the same curve.

    Parameters
    ----------
    curves, voxels, onset, name
        As for :func:`find_vascular_input`.
    chosen : bool array of shape (V,)
        Voxels of the artery.

    Returns
    -------
    VascularInput

    Raises
    ------
    ScanError
        Where none is chosen, or contrast does not raise their curve.
    """
    if not chosen.any():
        raise ScanError(f"{name}: no voxel of the arterial input lies in the brain mask; draw it on this series")
    arterial = curves[chosen].mean(axis=0, dtype=np.float64)
    num_baseline = _arrival(arterial, onset)
    arterial -= arterial[:num_baseline].mean()
    if not (arterial.max() > _LEAST_PEAK_HU / 3 and arterial.sum() > 0):
        raise ScanError(
            f"{name}: the arterial input rises by only {arterial.max():.1f} HU, too little for an artery; mark another"
        )
    places = voxels[chosen]
    try:
        found = find_vascular_input(curves, voxels, onset, name)
    except ScanError:  # the reason for which one gives an artery
        return VascularInput(arterial, arterial, places, places, num_baseline)
    return VascularInput(arterial, found.venous, places, found.venous_voxels, num_baseline)


def _smoothed(curves):
    return ndimage.gaussian_filter1d(curves, 0.7, axis=1, mode="nearest")


def _above(descending, share):
    """How many reach this share of the third highest."""
    return int((descending >= share * descending[min(2, len(descending) - 1)]).sum())


def _highest(found, values):
    """Those of at least three quarters of the third highest value; the very highest alone would be high by noise."""
    descending = found[np.argsort(-values[found], kind="stable")]
    return descending[: _above(values[descending], _NEAR_HIGHEST)]


def _centre_of_gravity(curves):
    """Mean time of the first pass, up to where a curve falls to 30 % of its peak, in frames."""
    frames = np.arange(curves.shape[1])
    peaks = curves.argmax(axis=1)
    over = (curves < 0.3 * curves.max(axis=1, keepdims=True)) & (frames > peaks[:, None])
    ends = np.where(over.any(axis=1), over.argmax(axis=1), curves.shape[1])
    passing = np.where(frames < ends[:, None], np.maximum(curves, 0), 0)
    return (passing * frames).sum(axis=1) / passing.sum(axis=1)


def _arrival(curve, onset):
    """Frames well before contrast: one less than until the artery reaches 5 % of its peak, one at least."""
    before = np.flatnonzero(curve[: curve.argmax()] < 0.05 * curve.max())
    arrival = int(before[-1]) if before.size else 1
    return max(1, min(arrival, onset + 1))
