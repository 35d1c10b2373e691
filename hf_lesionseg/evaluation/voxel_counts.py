"""Voxels in which a predicted and a true mask agree and differ, and the check that two arrays are such masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import GridMismatchError


@dataclass(frozen=True)
class VoxelCounts:
    """Voxels in which a predicted and a true mask agree and differ; sums over slices or blocks give the volume's.

    Attributes
    ----------
    true_positive, false_positive, false_negative : int
        Numbers of voxels.
    """

    true_positive: int
    false_positive: int
    false_negative: int

    def __post_init__(self):
        if min(self.true_positive, self.false_positive, self.false_negative) < 0:
            raise ValueError(f"voxel counts cannot be negative: {self}")

    @property
    def predicted(self) -> int:
        """Voxels of the predicted lesion, \\|P\\|."""
        return self.true_positive + self.false_positive

    @property
    def truth(self) -> int:
        """Voxels of the true lesion, \\|G\\|."""
        return self.true_positive + self.false_negative

    def __add__(self, other: VoxelCounts) -> VoxelCounts:
        if not isinstance(other, VoxelCounts):
            return NotImplemented
        return VoxelCounts(
            self.true_positive + other.true_positive,
            self.false_positive + other.false_positive,
            self.false_negative + other.false_negative,
        )


def check_masks(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both masks as arrays, or raise as :func:`count_voxels` does."""
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    for name, mask in (("prediction", prediction), ("truth", truth)):
        if not (mask.dtype == np.bool_ or np.issubdtype(mask.dtype, np.integer)):
            raise TypeError(f"{name} is {mask.dtype}, not a mask: threshold it first, for example `values > 0.5`")
    if prediction.shape != truth.shape:
        raise GridMismatchError(
            f"prediction {prediction.shape} and truth {truth.shape} differ in shape; bring both onto one grid"
        )
    return prediction, truth


def count_voxels(prediction: np.ndarray, truth: np.ndarray) -> VoxelCounts:
    """Count where a predicted and a true mask agree and differ.

    Parameters
    ----------
    prediction, truth : array of bool or of an integer type, of one shape
        Non-zero is lesion. Probabilities are refused: which threshold made them a mask is the caller's to say.

    Returns
    -------
    VoxelCounts

    Raises
    ------
    GridMismatchError
        The shapes differ (nothing is broadcast).
    TypeError
        An array holds floating-point values.

    Examples
    --------
    >>> count_voxels(np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0]))
    VoxelCounts(true_positive=1, false_positive=1, false_negative=1)
    """
    prediction, truth = check_masks(prediction, truth)
    # One boolean temporary of the volume, and counts as Python int: no overflow, no float copy.
    true_positive = int(np.count_nonzero(np.logical_and(prediction, truth)))
    return VoxelCounts(
        true_positive=true_positive,
        false_positive=int(np.count_nonzero(prediction)) - true_positive,
        false_negative=int(np.count_nonzero(truth)) - true_positive,
    )
