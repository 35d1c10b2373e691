"""A DICOM series of one CT volume, read into one array with its place in space.

What can be wrong with a series is checked here: files of several series in one folder, slices that are missing or there
twice, uneven distances, values that are not Hounsfield units yet.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from ..errors import ScanError, UsageError

__all__ = ["DicomSeries", "read_dicom_series", "require_pydicom"]

_HEADER = (
    "SeriesInstanceUID",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "RescaleSlope",
    "RescaleIntercept",
)
_PATIENT_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # DICOM counts to the left and to the back
_UNEVEN = 0.1  # of the slice distance; a missing slice is 1


@dataclass(frozen=True, eq=False)
class DicomSeries:
    """A volume of slices in the order of their InstanceNumber.

    Attributes
    ----------
    data : (columns, rows, slices), rescaled (HU for CT); int16 where that holds all values, else float32
    affine : (4, 4), from indices of ``data`` to RAS+ world mm; negative steps where slices run downward
    """

    data: np.ndarray
    affine: np.ndarray

    def to_nibabel(self) -> nib.Nifti1Image:
        """A NIfTI image of the same voxels at the same place."""
        image = nib.Nifti1Image(self.data, self.affine)
        image.header.set_xyzt_units("mm")
        image.set_sform(self.affine, code="scanner")
        image.set_qform(self.affine, code="scanner")
        return image


def read_dicom_series(files) -> DicomSeries:
    """Read the files of one series.

    ``RescaleSlope`` and ``RescaleIntercept`` are applied, slice by slice. The order is that of ``InstanceNumber``, not
    of the position: which way the slices run is in the affine.

    Parameters
    ----------
    files : paths, in any order

    Raises
    ------
    UsageError
        Where pydicom is not installed.
    ScanError
        For a file that cannot be read, several series, a slice that is missing or there twice, slices of different
        size or direction, or at uneven distances. One line that names the file or the slice.
    """
    pydicom = require_pydicom()
    files = sorted(Path(path) for path in files)
    if not files:
        raise ScanError("a DICOM series without files; give the folder with its .dcm files")
    headers = sorted(
        ((_read_header(pydicom, path), path) for path in files), key=lambda each: int(each[0].InstanceNumber)
    )
    folder = files[0].parent
    _check_one_series(headers, folder)
    _check_complete(headers, folder)
    affine = _affine(headers, folder)
    first = headers[0][0]
    rescales = [
        (float(_value(header, "RescaleSlope", 1)), float(_value(header, "RescaleIntercept", 0)))
        for header, _ in headers
    ]
    whole = all(slope.is_integer() and intercept.is_integer() for slope, intercept in rescales)
    data = np.empty((int(first.Columns), int(first.Rows), len(headers)), np.int16 if whole else np.float32, order="F")
    for k, ((_, path), (slope, intercept)) in enumerate(zip(headers, rescales, strict=True)):
        values = _read_pixels(pydicom, path) * slope + intercept  # float64: exact for whole numbers
        if whole and (values.min() < -32768 or values.max() > 32767):
            data, whole = data.astype(np.float32), False
        data[:, :, k] = values.T
    return DicomSeries(data, affine)


def require_pydicom():
    """Import pydicom, or raise `UsageError` with the command that installs it."""
    try:
        import pydicom
    except ImportError as error:
        raise UsageError('DICOM files need pydicom: pip install "hf-lesionseg[dicom]"') from error
    return pydicom


def _value(header, name, default):
    value = header.get(name)
    return default if value is None or value == "" else value


def _read_header(pydicom, path):
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_HEADER))
    except (OSError, pydicom.errors.InvalidDicomError, ValueError, EOFError) as error:
        raise ScanError(f"{path}: cannot be read as DICOM ({' '.join(str(error).split())}); copy it again") from error
    needed = ("InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
    missing = [name for name in needed if header.get(name) in (None, "")]
    if missing:
        raise ScanError(
            f"{path}: has no {missing[0]}; leave out files that are not slices of a volume (scouts, reports)"
        )
    if int(_value(header, "NumberOfFrames", 1)) > 1:
        raise ScanError(f"{path}: holds {header.NumberOfFrames} frames; convert it to NIfTI (dcm2niix)")
    return header


def _read_pixels(pydicom, path):
    try:
        return pydicom.dcmread(path).pixel_array
    except (OSError, EOFError, ValueError, AttributeError, RuntimeError, NotImplementedError) as error:
        raise ScanError(
            f"{path}: its pixels cannot be read ({' '.join(str(error).split())}); copy it again, and where it is "
            "compressed convert the series to NIfTI (dcm2niix)"
        ) from error


def _check_one_series(headers, folder):
    first, first_path = headers[0]
    for header, path in headers[1:]:
        if header.get("SeriesInstanceUID") != first.get("SeriesInstanceUID"):
            raise ScanError(f"{folder}: {path.name} and {first_path.name} belong to different series; keep one in it")
        if (header.Rows, header.Columns) != (first.Rows, first.Columns):
            raise ScanError(
                f"{path}: {header.Rows} x {header.Columns} pixels, but {first_path.name} has {first.Rows} x "
                f"{first.Columns}; leave out files that are not slices of this volume"
            )
        for name, tolerance in (("ImageOrientationPatient", 1e-3), ("PixelSpacing", 1e-3)):
            if not np.allclose(
                [float(v) for v in header[name].value], [float(v) for v in first[name].value], atol=tolerance
            ):
                raise ScanError(
                    f"{path}: its {name} differs from that of {first_path.name}; they do not form one volume"
                )


def _check_complete(headers, folder):
    numbers = [int(header.InstanceNumber) for header, _ in headers]
    for (before, after), (_, path) in zip(itertools.pairwise(numbers), headers[1:], strict=True):
        if after == before:
            raise ScanError(f"{path}: slice {after} (InstanceNumber) is there twice; delete one copy")
        if after > before + 1:
            raise ScanError(f"{folder}: slice {before + 1} (InstanceNumber) is missing; download the series again")
    if numbers[0] != 1:
        raise ScanError(
            f"{folder}: the first slice has InstanceNumber {numbers[0]}, 1 is missing; download the series again"
        )


def _affine(headers, folder):
    first = headers[0][0]
    along_row, along_column = np.asarray([float(v) for v in first.ImageOrientationPatient]).reshape(2, 3)
    row_distance, column_distance = (float(v) for v in first.PixelSpacing)
    positions = np.asarray([[float(v) for v in header.ImagePositionPatient] for header, _ in headers])
    normal = np.cross(along_row, along_column)
    if len(positions) > 1:
        step = (positions[-1] - positions[0]) / (len(positions) - 1)
        expected = positions[0] + np.arange(len(positions))[:, None] * step
        distance = np.linalg.norm(step)
        gaps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
        worst = int(np.argmax(np.abs(gaps - np.median(gaps))))
        # where one gap is wide, a slice is missing whatever the numbers say
        if distance == 0 or abs(gaps[worst] - np.median(gaps)) > _UNEVEN * np.median(gaps):
            raise ScanError(
                f"{folder}: slices {worst + 1} and {worst + 2} are {gaps[worst]:.3g} mm apart, the others "
                f"{np.median(gaps):.3g} mm; download the series again, or leave this case out"
            )
        if np.abs(positions - expected).max() > distance:
            raise ScanError(f"{folder}: the slices do not lie on one line; they do not form one volume")
    else:
        step = normal * float(first.get("SliceThickness") or 1.0)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = along_row * column_distance, along_column * row_distance, step
    affine[:3, 3] = positions[0]
    affine = _PATIENT_TO_RAS @ affine
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if not sizes.all() or abs(np.linalg.det(affine[:3, :3] / sizes)) < 1e-4:
        raise ScanError(f"{folder}: its directions or distances are zero or coincide; convert it by hand")
    return affine
