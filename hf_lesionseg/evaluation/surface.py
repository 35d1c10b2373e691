"""Distances between the surfaces of a predicted and a true lesion, in mm.

The surface of a mask are its voxels that touch a voxel outside by a face; beyond the border of the scan is outside.
With d(a, B) the distance from the centre of voxel a to the nearest surface voxel of B:

=======  ====================================================================  ===============================
metric   formula                                                               source
=======  ====================================================================  ===============================
hd       max of d(p, G) over P and d(g, P) over G                              Huttenlocher et al., IEEE TPAMI
                                                                               15:850, 1993
hd95     the larger of the 95th percentiles of d(p, G) and of d(g, P)          the same, quantiles
assd     mean of all d(p, G) and d(g, P), pooled                               Heimann et al., IEEE TMI
                                                                               28:1251, 2009
=======  ====================================================================  ===============================

Other programs pool both directions before they take the percentile, or average the means of the two directions: their
HD95 and ASSD differ a little from these wherever one surface is larger than the other.

With a mask empty there is no distance. It is NaN here, never 0 and never a distance to the border of the scan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage
from scipy.spatial import KDTree

from .voxel_counts import check_masks

PERCENTILE = 95


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances of two surfaces from each other, voxel by voxel, and what is made of them; NaN with a mask empty.

    Attributes
    ----------
    to_truth : float array (predicted surface voxels,)
        Distance of each from the true surface in mm.
    to_prediction : float array (true surface voxels,)
        Distance of each from the predicted surface in mm.
    """

    to_truth: np.ndarray
    to_prediction: np.ndarray

    @property
    def exist(self) -> bool:
        """Whether there are two surfaces."""
        return bool(len(self.to_truth) and len(self.to_prediction))

    @property
    def hd_mm(self) -> float:
        """Hausdorff distance."""
        return float(max(self.to_truth.max(), self.to_prediction.max())) if self.exist else math.nan

    @property
    def hd95_mm(self) -> float:
        """Its 95 % version."""
        if not self.exist:
            return math.nan
        return float(max(np.percentile(each, PERCENTILE) for each in (self.to_truth, self.to_prediction)))

    @property
    def assd_mm(self) -> float:
        """Average symmetric surface distance."""
        if not self.exist:
            return math.nan
        total = self.to_truth.sum() + self.to_prediction.sum()
        return float(total / (len(self.to_truth) + len(self.to_prediction)))


def surface_points(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return the centres of a mask's surface voxels.

    Parameters
    ----------
    mask : array (X, Y, Z)
        Non-zero is lesion.
    affine : array (4, 4)
        Voxel indices to world mm.

    Returns
    -------
    float64 array (points, 3)
        World coordinates in mm.
    """
    inside = np.asarray(mask) != 0
    box = ndimage.find_objects(inside.view(np.uint8))
    if not box:
        return np.empty((0, 3))
    # Eroding the box alone is the same: beyond its faces lies background or the border, both of them outside.
    inside = inside[box[0]]
    surface = inside & ~ndimage.binary_erosion(inside)
    return apply_affine(affine, np.argwhere(surface) + [side.start for side in box[0]])


def surface_distances(prediction: np.ndarray, truth: np.ndarray, affine: np.ndarray) -> SurfaceDistances:
    """Measure how far the surfaces of two masks lie apart.

    Distances are taken between points in world coordinates, so anisotropic, oblique and sheared voxels are measured as
    they are; the cost grows with the surfaces, not with the scan.

    Parameters
    ----------
    prediction, truth : array (X, Y, Z) of bool or of an integer type
        Non-zero is lesion.
    affine : array (4, 4)
        Voxel indices to world mm, of both.

    Raises
    ------
    GridMismatchError, TypeError
        As :func:`~hf_lesionseg.evaluation.voxel_counts.count_voxels`.

    Examples
    --------
    >>> mask = np.zeros((9, 3, 3), np.uint8)
    >>> mask[1, 1, 1] = 1
    >>> surface_distances(mask, np.roll(mask, 3, axis=0), np.diag([2, 1, 1, 1])).hd_mm
    6.0
    """
    predicted, true = (surface_points(mask, affine) for mask in check_masks(prediction, truth))
    if not len(predicted) or not len(true):
        return SurfaceDistances(np.empty(0), np.empty(0))
    return SurfaceDistances(KDTree(true).query(predicted)[0], KDTree(predicted).query(true)[0])
