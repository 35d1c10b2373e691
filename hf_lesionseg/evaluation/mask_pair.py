"""A predicted and a true mask of one case, and what metrics ask of the two."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .lesionwise import BY_A_VOXEL, LesionCounts, LesionRule, count_lesions
from .surface import SurfaceDistances, surface_distances
from .voxel_counts import VoxelCounts


@dataclass(frozen=True, eq=False)
class MaskPair:
    """What a metric is computed from.

    Attributes
    ----------
    counts : VoxelCounts
        Where the masks agree and differ.
    voxel_ml : float
        Volume of one voxel in mL.
    prediction, truth : array (X, Y, Z) of bool or of an integer type, or None
        The masks, non-zero in the lesion; None where only their counts are known.
    affine : array (4, 4) or None
        Voxel indices to world mm.
    lesion_rule : LesionRule
        What one lesion is, and when it is found.
    """

    counts: VoxelCounts
    voxel_ml: float = math.nan
    prediction: np.ndarray | None = None
    truth: np.ndarray | None = None
    affine: np.ndarray | None = None
    lesion_rule: LesionRule = BY_A_VOXEL

    @property
    def truth_ml(self) -> float:
        """Volume of the true lesion in mL."""
        return self.counts.truth * self.voxel_ml

    @property
    def predicted_ml(self) -> float:
        """Volume of the predicted lesion in mL."""
        return self.counts.predicted * self.voxel_ml

    @cached_property
    def surface(self) -> SurfaceDistances:
        """Distances between the two surfaces; measured once, on first use."""
        self._need("affine")
        return surface_distances(self.prediction, self.truth, self.affine)

    @cached_property
    def lesions(self) -> LesionCounts:
        """Numbers of single lesions; counted once, on first use."""
        self._need("prediction")
        return count_lesions(self.prediction, self.truth, self.lesion_rule)

    def _need(self, name: str) -> None:
        if getattr(self, name) is None:
            raise TypeError(f"distances and single lesions cannot be computed from counts; give the masks and {name}")
