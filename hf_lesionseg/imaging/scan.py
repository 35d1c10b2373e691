"""Scans and lesion masks read from files, checked."""

from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np

from hf_lesionseg.errors import GridMismatchError, ScanError
from hf_lesionseg.models.grid_storage import advice_on_forms, bring_onto_grid, grid_difference
from hf_lesionseg.models.label_values import check_probabilities, read_labels
from hf_lesionseg.models.nifti_volume import check_varies, read_nifti
from hf_lesionseg.models.scan_formats import ending_of
from hf_lesionseg.models.volume_geometry import VolumeError


@dataclass(frozen=True, eq=False)
class Scan:
    """One 3-D volume, along the axes of its file.

    Parameters
    ----------
    path : pathlib.Path
    data : numpy.ndarray of shape (X, Y, Z)
        float32 and finite for a scan; uint8, 0 and 1, for a mask.
    affine : numpy.ndarray of shape (4, 4)
        Voxel indices to world mm, for computing. Equals the file's, but where an identity sform hides the voxel size.
    header : nibabel.Nifti1Header or nibabel.Nifti2Header
        As the file has it, to the byte; what is written on this grid gets it back. Of other formats one that is made of
        the affine.
    warnings : tuple of str
        What was odd in the file and how it was read.
    """

    path: Path
    data: np.ndarray
    affine: np.ndarray
    header: nib.Nifti1Header
    warnings: tuple[str, ...] = ()

    @property
    def shape(self):
        """Voxels along the file's axes."""
        return self.data.shape

    @property
    def spacing(self):
        """Voxel size along the file's axes in mm."""
        return tuple(float(size) for size in nib.affines.voxel_sizes(self.affine))

    @property
    def voxel_ml(self):
        """Volume of a voxel in mL."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def to_nibabel(self):
        """Return an image of the checked data with the affine to compute with; no copy of the data."""
        image = nib.Nifti1Image(self.data, self.affine)
        image.header.set_xyzt_units("mm")
        if ending_of(self.path):
            image.file_map["image"].filename = str(self.path)  # later errors name the file
        return image


def read_scan(path):
    """Read one 3-D scan and refuse what cannot be segmented.

    Accepted, with an entry in ``warnings``: a 4-D file of one volume; NaN and Inf voxels, read as 0 (maps are often
    NaN outside the brain) as long as some voxel is finite; qform and sform that differ (the sform counts); neither
    of them set; an identity sform with a real voxel size; sheared axes. Accepted as they are: any axis order and
    direction, oblique and left-handed grids, any byte order and integer scaling, and every format of
    :mod:`~hf_lesionseg.models.scan_formats`.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    Scan

    Raises
    ------
    ScanError
        For a missing or damaged file, 2-D or several volumes, colours or complex numbers, no finite voxel, values
        beyond float32, all voxels zero or equal, no usable voxel size or orientation. One line, with the remedy.
    """
    volume = _read(path)
    try:
        check_varies(volume.data, path)
    except VolumeError as error:
        raise ScanError(str(error)) from error
    return Scan(Path(path), volume.data, volume.affine, volume.header, volume.warnings)


def read_mask(path, like=None, values=None):
    """Read a lesion mask: 1 where the file is > 0, whatever it marks lesions with (1, 255, 0.999).

    Parameters
    ----------
    path : str or os.PathLike
    like : Scan, optional
        The scan on whose voxels the mask must lie; it is brought to the order of its axes, without loss.
    values : sequence of int, optional
        In a map of several labels, the labels that become 1, within 0.05, since a slope makes 1.99997 of 2.

    Returns
    -------
    Scan
        With uint8 data. An empty mask is fine. Its ``warnings`` tell several labels that count as one, and wanted ones
        that no voxel has.

    Raises
    ------
    ScanError
        For a file that cannot be read, for NaN or Inf (whether such a voxel is lesion is not ours to guess), for an
        image or probabilities in the place of a mask, and, with ``values``, for a value that is not a whole number.
    GridMismatchError
        If the mask is not on the grid of ``like``.
    """
    mask, reading = read_label_map(path, like, values)
    return replace(mask, warnings=(*mask.warnings, *reading.notes))


def read_label_map(path, like=None, values=None, table=None, *, rounds=False):
    """Read a mask as :func:`read_mask`, and tell its labels apart from its warnings.

    Parameters
    ----------
    path, like, values : as for :func:`read_mask`
    table : mapping of int to str, optional
        The labels that the data set says it has; another one is refused.
    rounds : bool
        Values are rounded first, so that 0.5 and less is background.

    Returns
    -------
    mask : Scan
        Its ``warnings`` are without the notes of its labels.
    reading : LabelReading
        Result of :func:`~hf_lesionseg.models.label_values.read_labels`: which labels there are, and remarks on them.
    """
    volume = _read_finite(path, "a mask; set them to 0 (background) or 1 (lesion)")
    try:
        reading = read_labels(volume.data, str(path), values, table, rounds=rounds)
    except VolumeError as error:
        raise ScanError(str(error)) from error
    warnings = (*volume.warnings, *reading.warnings)
    mask = Scan(Path(path), reading.mask.astype(np.uint8, order="F"), volume.affine, volume.header, warnings)
    if like is not None:
        mask = on_grid_of(mask, like)
    return mask, reading


def read_probability(path, like=None):
    """Read a map of probabilities, in [0, 1] but for rounding.

    Parameters
    ----------
    path : str or os.PathLike
    like : Scan, optional
        The scan on whose voxels it must lie; it is brought to the order of its axes, without loss.

    Returns
    -------
    Scan
        float32; of zeros, too: an empty prediction is a result.

    Raises
    ------
    ScanError
        For a file that cannot be read, NaN or Inf, and values that cannot be probabilities.
    GridMismatchError
        If it is not on the grid of ``like``.
    """
    volume = _read_finite(path, "a map of probabilities; it must say 0 where there is none")
    probability = Scan(Path(path), volume.data, volume.affine, volume.header, volume.warnings)
    if like is not None:
        probability = on_grid_of(probability, like)
    try:
        check_probabilities(volume.data, str(path))
    except VolumeError as error:
        raise ScanError(str(error)) from error
    return probability


def on_grid_of(scan, like):
    """Return a volume along the axes of another that covers the same voxels; both may be stored in any order.

    Parameters
    ----------
    scan, like : Scan

    Returns
    -------
    Scan
        ``scan`` itself where it is stored as ``like``; else its voxels, permuted and flipped, with affine and header of
        ``like`` and an entry in ``warnings``.

    Raises
    ------
    GridMismatchError
        Where the voxels lie at different places; the message names both files and the remedy.
    """
    data = bring_onto_grid(scan.data, scan.affine, like.shape, like.affine)
    if data is scan.data:
        return scan
    if data is not None:
        stored, wanted = ("".join(nib.aff2axcodes(each.affine)) for each in (scan, like))
        note = f"{scan.path}: stored as {stored}, brought to the order {wanted} of {like.path}; no voxel is changed"
        return Scan(scan.path, np.asfortranarray(data), like.affine, like.header, (*scan.warnings, note))
    remedy = advice_on_forms(scan, like, like.path) or (
        "resample it onto that grid (nibabel.processing.resample_from_to, order=0)"
    )
    raise GridMismatchError(f"{scan.path}: {grid_difference(scan, like, like.path)}; {remedy}")


def _read(path):
    try:
        return read_nifti(path)
    except VolumeError as error:
        raise ScanError(str(error)) from error


def _read_finite(path, what):
    volume = _read(path)
    if volume.replaced:
        raise ScanError(f"{path}: {volume.replaced} NaN or Inf voxels in {what}")
    return volume
