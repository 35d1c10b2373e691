"""Dice of single slices, for papers that average over slices (L-SNet's "averaged score of all slices").

It is not a substitute for the Dice of the volume and is reported apart, as two means that differ much:

* "positive slices": slices with lesion in the truth. A slice whose lesion is missed counts 0; what is predicted on
  slices without lesion is not seen.
* "all slices": the others too, by the policy for empty masks of :mod:`~hf_lesionseg.evaluation.metrics`: 1 where
  nothing was predicted, 0 for a false alarm. Where most slices are empty, most of this mean is their 1.

Each slice has one vote, whichever case it is of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np

from ..errors import UsageError
from ..models.volume_geometry import PLANE_AXES
from .metrics import of_counts
from .voxel_counts import VoxelCounts, check_masks

SLICE_AXES = tuple(PLANE_AXES)

SLICE_NAMES = ("dice_positive_slices", "n_positive_slices", "dice_all_slices", "n_slices")
"""Columns of the means over the slices of a case, and how many there are."""


@dataclass(frozen=True)
class SliceDice:
    """Dice of the slices of one case.

    Attributes
    ----------
    axis : {"axial", "coronal", "sagittal"}
    positive : tuple of float
        Dice of each slice with lesion in the truth, in the order of the file.
    empty_right, empty_wrong : int
        Slices without lesion in the truth on which nothing was predicted (Dice 1), and on which something was (Dice 0).
    """

    axis: str
    positive: tuple[float, ...]
    empty_right: int
    empty_wrong: int

    @property
    def everywhere(self) -> tuple[float, ...]:
        """Dice of all slices, the positive ones first."""
        return self.positive + (1.0,) * self.empty_right + (0.0,) * self.empty_wrong

    def to_dict(self) -> dict[str, int | float | None]:
        """Return the means of the case and the numbers of slices behind them; None for a mean of none."""
        values = (_mean(self.positive), len(self.positive), _mean(self.everywhere), len(self.everywhere))
        return dict(zip(SLICE_NAMES, values, strict=True))


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def check_slice_axis(slice_axis: str) -> str:
    """Return ``slice_axis``, or raise :class:`~hf_lesionseg.errors.UsageError` if there is none of that name."""
    if slice_axis not in SLICE_AXES:
        raise UsageError(f"slice axis {slice_axis!r} is unknown; use {', '.join(SLICE_AXES)}")
    return slice_axis


def file_axis(affine: np.ndarray, slice_axis: str) -> int:
    """Return the file's axis that runs from slice to slice; on oblique grids the nearest.

    Parameters
    ----------
    affine : array (4, 4)
        Voxel indices to RAS+ mm.
    slice_axis : {"axial", "coronal", "sagittal"}

    Examples
    --------
    >>> file_axis(np.diag([1, 1, 3, 1]), "axial"), file_axis(np.diag([1, 1, 3, 1])[[2, 0, 1, 3]], "axial")
    (2, 1)
    """
    canonical = PLANE_AXES[check_slice_axis(slice_axis)][0]
    return int(np.flatnonzero(nib.io_orientation(affine)[:, 0] == canonical)[0])


def count_slices(prediction: np.ndarray, truth: np.ndarray, axis: int) -> list[VoxelCounts]:
    """Count, slice by slice along ``axis``, where two masks agree and differ; sums are the volume's.

    Parameters and errors are those of :func:`~hf_lesionseg.evaluation.voxel_counts.count_voxels`.

    Examples
    --------
    >>> count_slices(np.array([[1, 1], [0, 0]]), np.array([[1, 0], [0, 1]]), axis=0)[1]
    VoxelCounts(true_positive=0, false_positive=0, false_negative=1)
    """
    prediction, truth = check_masks(prediction, truth)
    others = tuple(other for other in range(truth.ndim) if other != axis)
    # One boolean temporary of the volume at a time.
    both = np.logical_and(prediction, truth).sum(axis=others).tolist()
    predicted, true = (np.count_nonzero(mask, axis=others).tolist() for mask in (prediction, truth))
    return [VoxelCounts(tp, p - tp, g - tp) for tp, p, g in zip(both, predicted, true, strict=True)]


def slice_dice(counts: Sequence[VoxelCounts], axis: str) -> SliceDice:
    """Turn the counts of the slices of a case into their Dice."""
    empty = [each for each in counts if not each.truth]
    wrong = sum(each.predicted > 0 for each in empty)
    return SliceDice(axis, tuple(of_counts("dice", each) for each in counts if each.truth), len(empty) - wrong, wrong)
