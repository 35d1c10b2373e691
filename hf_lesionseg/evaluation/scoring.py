"""Read one predicted and one true mask, and score the first against the second."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import ScanError
from ..imaging import Scan, read_mask
from ..imaging.scan import check_same_grid
from ..models.nifti_volume import read_nifti
from ..models.volume_geometry import VolumeError
from .matching import TruthCase
from .metrics import CaseMetrics, failed_case
from .slicewise import score_volume


def read_prediction(path: str | Path, truth: Scan, threshold: float | None = None) -> np.ndarray:
    """Read a predicted mask on the truth's grid.

    Parameters
    ----------
    path : path
        A mask (any value above 0 is lesion), or with ``threshold`` a map of probabilities.
    truth : Scan
        Whose grid the prediction must lie on.
    threshold : float, optional
        Voxels above it are lesion.

    Returns
    -------
    bool array (X, Y, Z)

    Raises
    ------
    ScanError
        The file cannot be read, holds NaN or Inf, or holds several fractions although no threshold was given: as a
        mask every faint probability would be lesion.
    GridMismatchError
        It lies on another grid than the truth.
    """
    # Not read_scan: it refuses a volume without contrast, but an empty prediction is a result.
    try:
        volume = read_nifti(path)
    except VolumeError as error:
        raise ScanError(str(error)) from error
    check_same_grid(Scan(Path(path), volume.data, volume.affine, volume.header), truth)
    if volume.replaced:
        raise ScanError(f"{path}: {volume.replaced} voxels are NaN or Inf; a prediction must say 0 where there is none")
    if threshold is not None:
        return volume.data > threshold
    mask = volume.data > 0
    positive = volume.data[mask]
    if positive.size and positive.min() != positive.max() and (np.abs(positive - np.rint(positive)) > 1e-3).any():
        raise ScanError(f"{path}: looks like probabilities, not a mask; give a threshold, for example 0.5")
    return mask


def score_case(
    truth: TruthCase,
    prediction: Path | None,
    threshold: float | None = None,
    slice_axis: str = "axial",
    *,
    distances: bool = False,
) -> CaseMetrics:
    """Score one case; a prediction that is missing, unreadable or on another grid gives a failed case.

    Two volumes are in memory at a time.
    """
    if prediction is None:
        return failed_case(truth.case, "no prediction", truth.person)
    try:
        true_mask = read_mask(truth.path)
        predicted = read_prediction(prediction, true_mask, threshold)
    except ScanError as error:
        return failed_case(truth.case, str(error), truth.person)
    return score_volume(
        truth.case, predicted, true_mask, slice_axis=slice_axis, person=truth.person, distances=distances
    )
