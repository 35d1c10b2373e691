"""Which lesions were found: counts of connected components, as the evaluator of ISLES 2022 takes them.

Voxels that touch by a face, an edge or a corner (26-connectivity) are one lesion. A true lesion is found (TP) if the
prediction has a voxel of it, else missed (FN); a predicted lesion without a voxel of the truth is false (FP). Then
lesion-wise F1 = TP / (TP + (FP + FN) / 2). One voxel is enough: F1 tells of detection, Dice of delineation. Two true
lesions bridged by one predicted lesion are both found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .metrics import LESION_NAMES, check_masks


@dataclass(frozen=True)
class LesionCounts:
    """Numbers of 26-connected lesions in a true and a predicted mask.

    Attributes
    ----------
    truth, predicted : int
        Lesions of each mask.
    missed : int
        True lesions without a predicted voxel.
    false : int
        Predicted lesions without a true voxel.
    """

    truth: int
    predicted: int
    missed: int
    false: int

    @property
    def difference(self) -> int:
        """Absolute difference of the two numbers of lesions."""
        return abs(self.predicted - self.truth)

    @property
    def f1(self) -> float:
        """Lesion-wise F1 score; 1 where both masks are empty, as Dice is."""
        found = self.truth - self.missed
        wrong = self.missed + self.false
        return found / (found + wrong / 2) if found + wrong else 1.0

    def to_dict(self) -> dict[str, int]:
        """Return the numbers under the names of the tables."""
        return dict(zip(LESION_NAMES, (self.truth, self.predicted, self.missed, self.false), strict=True))


def count_lesions(prediction: np.ndarray, truth: np.ndarray) -> LesionCounts:
    """Count the lesions of two masks, and which of them have no counterpart.

    Parameters
    ----------
    prediction, truth : array (X, Y, Z) of bool or of an integer type
        Non-zero is lesion.

    Raises
    ------
    GridMismatchError, TypeError
        As :func:`~hf_lesionseg.evaluation.metrics.count_voxels`.

    Examples
    --------
    >>> truth = np.array([[[1, 0, 1, 0, 1]]])
    >>> count_lesions(np.array([[[1, 1, 1, 0, 0]]]), truth)
    LesionCounts(truth=3, predicted=1, missed=1, false=0)
    """
    prediction, truth = (mask != 0 for mask in check_masks(prediction, truth))
    box = ndimage.find_objects((prediction | truth).view(np.uint8))
    if not box:
        return LesionCounts(0, 0, 0, 0)
    prediction, truth = prediction[box[0]], truth[box[0]]
    n_truth, missed = _count_apart(truth, prediction)
    n_predicted, false = _count_apart(prediction, truth)
    return LesionCounts(truth=n_truth, predicted=n_predicted, missed=missed, false=false)


def _count_apart(mask: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """Lesions of a bool mask, and those of them in which ``other`` has no voxel."""
    labels, number = ndimage.label(mask, structure=np.ones((3,) * mask.ndim), output=np.int32)
    touched = np.unique(labels[mask & other])
    return int(number), int(number) - len(touched)
