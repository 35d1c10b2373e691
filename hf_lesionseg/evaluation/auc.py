"""Area under the ROC curve of more voxels than can be sorted: from a histogram of fixed size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

BINS = 4096
#: Logits beyond are counted as these: float32 tells no probability of a larger logit from 1.
_LARGEST_LOGIT = 17.0


@dataclass(frozen=True)
class ScoreHistogram:
    """How often each probability was given to background and to lesion.

    The bins are of equal width in the logit (0.008), since the probabilities of a small lesion's background crowd near
    0: the area is exact but for pairs of a lesion and a background voxel in one bin, which count half.

    Attributes
    ----------
    background, lesion : int64 array (BINS,)
    """

    background: np.ndarray
    lesion: np.ndarray

    @classmethod
    def of(cls, probability: np.ndarray, labels: np.ndarray) -> ScoreHistogram:
        """Count the voxels of one volume.

        Parameters
        ----------
        probability : float array, 0..1
        labels : array of the same shape
            Non-zero is lesion.
        """
        probability = np.clip(np.asarray(probability, dtype=np.float32).ravel(), 1e-30, 1.0)
        with np.errstate(divide="ignore"):
            logit = np.log(probability) - np.log1p(-probability)
        scaled = (np.clip(logit, -_LARGEST_LOGIT, _LARGEST_LOGIT) + _LARGEST_LOGIT) / (2 * _LARGEST_LOGIT)
        place = np.minimum((scaled * BINS).astype(np.int64), BINS - 1)
        lesion = np.asarray(labels).ravel() != 0
        return cls(np.bincount(place[~lesion], minlength=BINS), np.bincount(place[lesion], minlength=BINS))

    def __add__(self, other: ScoreHistogram) -> ScoreHistogram:
        return ScoreHistogram(self.background + other.background, self.lesion + other.lesion)

    def auc(self) -> float:
        """Chance that a lesion voxel has a higher probability than one of background, ties half; NaN without either.

        That is Mann and Whitney's U over the number of pairs (Hanley and McNeil, Radiology 143:29, 1982).
        """
        pairs = float(self.lesion.sum()) * float(self.background.sum())
        if not pairs:
            return math.nan
        below = np.cumsum(self.background) - self.background
        return float((self.lesion * (below + self.background / 2)).sum() / pairs)
