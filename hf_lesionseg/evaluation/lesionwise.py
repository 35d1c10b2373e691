"""Which lesions were found: counts of connected components, by default as the evaluator of ISLES 2022 takes them.

Voxels that touch by a face, an edge or a corner (26-connectivity) are one lesion. A true lesion is found (TP) if the
prediction has a voxel of it, else missed (FN); a predicted lesion without a voxel of the truth is false (FP). Then
lesion-wise F1 = TP / (TP + (FP + FN) / 2). One voxel is enough: F1 measures detection, Dice delineation. Two true
lesions bridged by one predicted lesion are both found.

Other evaluators join voxels by their faces alone, or ask for more than a voxel: with a ``minimum_iou`` a true and a
predicted lesion are matched one to one, the best intersection over union (IoU) first, as long as it is that large. A
lesion without a partner is missed or false, so that a bridge over two lesions finds one of them at most. This is what
panoptica does (Kofler et al., arXiv:2312.02608); its recognition quality is the F1 here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .voxel_counts import check_masks

LESION_NAMES = ("truth_lesions", "predicted_lesions", "missed_lesions", "false_lesions")
"""Columns of the numbers of lesions of a case."""

_TOUCHING = {6: 1, 18: 2, 26: 3}


@dataclass(frozen=True)
class LesionRule:
    """What one lesion is, and when it is found.

    Attributes
    ----------
    connectivity : {26, 18, 6}
        Voxels that touch are one lesion: by a face (6), by an edge too (18), by a corner too (26).
    minimum_iou : float or None
        Match lesions one to one where their intersection over union is at least this, 0..1; None: a voxel is enough.
    """

    connectivity: int = 26
    minimum_iou: float | None = None


BY_A_VOXEL = LesionRule()
"""26-connected lesions, found by a single voxel: this package's own rule, and that of ISLES 2022."""


@dataclass(frozen=True)
class LesionCounts:
    """Numbers of lesions in a true and a predicted mask.

    Attributes
    ----------
    truth, predicted : int
        Lesions of each mask.
    missed : int
        True lesions that were not found; by default those without a predicted voxel.
    false : int
        Predicted lesions that find nothing; by default those without a true voxel.
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


def count_lesions(prediction: np.ndarray, truth: np.ndarray, rule: LesionRule = BY_A_VOXEL) -> LesionCounts:
    """Count the lesions of two masks, and which of them have no counterpart.

    Parameters
    ----------
    prediction, truth : array (X, Y, Z) of bool or of an integer type
        Non-zero is lesion.
    rule : LesionRule
        By default 26-connected lesions, found by a single voxel.

    Raises
    ------
    GridMismatchError, TypeError
        As :func:`~hf_lesionseg.evaluation.voxel_counts.count_voxels`.

    Examples
    --------
    >>> truth = np.array([[[1, 0, 1, 0, 1]]])
    >>> count_lesions(np.array([[[1, 1, 1, 0, 0]]]), truth)
    LesionCounts(truth=3, predicted=1, missed=1, false=0)
    >>> count_lesions(np.array([[[1, 1, 1, 0, 0]]]), truth, LesionRule(minimum_iou=0.2))
    LesionCounts(truth=3, predicted=1, missed=2, false=0)
    """
    prediction, truth = (mask != 0 for mask in check_masks(prediction, truth))
    box = ndimage.find_objects((prediction | truth).view(np.uint8))
    if not box:
        return LesionCounts(0, 0, 0, 0)
    prediction, truth = prediction[box[0]], truth[box[0]]
    structure = ndimage.generate_binary_structure(truth.ndim, _TOUCHING[rule.connectivity])
    predicted_lesions, n_predicted = ndimage.label(prediction, structure, output=np.int32)
    true_lesions, n_true = ndimage.label(truth, structure, output=np.int32)
    both = prediction & truth
    if rule.minimum_iou is None:
        found, right = (len(np.unique(lesions[both])) for lesions in (true_lesions, predicted_lesions))
    else:
        found = right = _matched(predicted_lesions, true_lesions, both, rule.minimum_iou)
    return LesionCounts(int(n_true), int(n_predicted), missed=int(n_true) - found, false=int(n_predicted) - right)


def _matched(predicted: np.ndarray, true: np.ndarray, both: np.ndarray, minimum_iou: float) -> int:
    """Number of one-to-one pairs of two label maps with at least that IoU, the best first."""
    # Unique rows come sorted by predicted, then by true lesion; of equal IoU that order decides.
    pairs, shared = np.unique(np.stack([predicted[both], true[both]], axis=1), axis=0, return_counts=True)
    sizes = np.bincount(predicted.ravel())[pairs[:, 0]] + np.bincount(true.ravel())[pairs[:, 1]]
    iou = shared / (sizes - shared)
    matched_predictions, matched_truths = set(), set()
    for index in np.argsort(-iou, kind="stable"):
        prediction, truth = pairs[index]
        if iou[index] >= minimum_iou and prediction not in matched_predictions and truth not in matched_truths:
            matched_predictions.add(prediction)
            matched_truths.add(truth)
    return len(matched_truths)
