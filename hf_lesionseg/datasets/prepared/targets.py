"""Read images that a network learns to make and never takes, and cut them as its inputs are cut."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from nibabel.processing import resample_from_to

from ...errors import GridMismatchError, ScanError
from ...imaging import Scan, read_scan
from ...imaging.file_identity import scan_sha256
from ...imaging.scan import on_grid_of
from ...models.grid_storage import bring_onto_grid
from ...models.intensity import apply_normalization, measure_intensity, plan_normalization
from ...models.slice_planes import to_planes
from ...models.volume_geometry import SliceGeometry

__all__ = ["read_target", "target_planes"]

_LEAST_COVERED = 0.5  # of a case's voxels: less is another scan, or another space


def read_target(path: Path, like: Scan, *, resample: bool = False) -> Scan:
    """Read an image to learn from, on the grid of its case.

    Parameters
    ----------
    path : file
    like : a scan of the case
    resample : bring it linearly onto that grid by both affines, where it lies on another; else that is refused

    Raises
    ------
    GridMismatchError
        Where it lies on another grid, or shows less than half of the case.
    ScanError
        Where it cannot be used.
    """
    scan = read_scan(path)
    if bring_onto_grid(scan.data, scan.affine, like.shape, like.affine) is not None:
        return on_grid_of(scan, like)
    if not resample:
        raise GridMismatchError(
            f"{path}: lies on another grid ({scan.shape}) than {like.path} ({like.shape}); give --resample-dwi where "
            "both are in one space (registered to each other), or resample it yourself"
        )
    image, outside = scan.to_nibabel(), np.float32(np.nan)
    moved = resample_from_to(image, (like.shape, like.affine), order=1, cval=outside)
    data = np.asarray(moved.dataobj, np.float32)
    shown = np.isfinite(data)
    if shown.mean() < _LEAST_COVERED:
        raise GridMismatchError(
            f"{path}: shows {shown.mean():.0%} of {like.path} when it is brought onto its grid; register it to the "
            "case first, as it lies in another space"
        )
    data = np.where(shown, data, np.float32(0))
    if not data.any():
        raise ScanError(f"{path}: is zero everywhere on the grid of {like.path}; give the DWI of this case")
    return Scan(path, data, like.affine, like.header, (*scan.warnings, f"{path}: resampled onto {like.path}"))


def target_planes(scan: Scan, geometry: SliceGeometry) -> tuple[np.ndarray, Mapping]:
    """Cut an image to learn from into the slices that the network sees, and normalise it over its volume.

    Parameters
    ----------
    scan : on the grid of the geometry
    geometry : of the case, as the processor planned it for the network's inputs

    Returns
    -------
    planes : float32 (num_slices, H, W), mean 0 and standard deviation 1 over the volume's non-zero voxels
    record : the mean and standard deviation that were taken, and the file's ``sha256``
    """
    measured = measure_intensity(scan.data, (0.5, 99.5))
    record, _ = plan_normalization(measured, "z-score", None, str(scan.path))
    planes = to_planes(scan.data, geometry, fill=measured["background"])
    apply_normalization(planes, record)
    return planes, {**record, "sha256": scan_sha256(scan.path)}
