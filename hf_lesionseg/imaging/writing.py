"""Masks and maps written on the grid of a scan, with the scan's own header."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np

from hf_lesionseg.errors import GridMismatchError, OutputError
from hf_lesionseg.models.scan_formats import ending_of, is_gzipped

from .atomic import write_aside

#: measured on 197 x 233 x 189: level 6 takes a probability map twice as long for the same size; a mask saves 0.2 MB
GZIP_LEVEL = 1


def write_mask(path, mask, like):
    """Write a lesion mask on the grid of a scan.

    The scan's header goes into the file byte by byte (form codes, quaternion, sform rows, pixdim, units, description,
    extensions, byte order); only what describes the values is set: data type, slope, display range. The file is
    always 3-D and written aside, then renamed.

    Parameters
    ----------
    path : str or os.PathLike
        Ends in ``.nii`` or ``.nii.gz``.
    mask : array_like of shape ``like.shape``
        bool, or 0 and 1.
    like : Scan

    Returns
    -------
    pathlib.Path

    Raises
    ------
    GridMismatchError
        If the mask has another shape than the scan.
    OutputError
        If the file cannot be written, or the mask has other values.
    """
    mask = np.asarray(mask)
    if mask.dtype != bool and not ((mask == 0) | (mask == 1)).all():
        raise OutputError(f"{path}: a mask of values {mask.min()} to {mask.max()}; give 0 and 1, and nothing between")
    return _write(path, mask, like, np.dtype(np.uint8), (0.0, 1.0))


def write_volume(path, data, like, dtype=np.float32):
    """Write a map, such as a probability, on the grid of a scan; as :func:`write_mask`, with another data type.

    Parameters
    ----------
    data : array_like of shape ``like.shape``
    dtype : numpy dtype
        As stored; values are stored without slope.

    Returns
    -------
    pathlib.Path
    """
    data = np.asarray(data)
    return _write(path, data, like, np.dtype(dtype), (float(data.min()), float(data.max())))


def _write(path, data, like, dtype, display_range):
    path = Path(path)
    if ending_of(path) not in (".nii", ".nii.gz"):
        raise OutputError(f"{path}: name an output .nii or .nii.gz")
    if data.shape != like.shape:
        raise GridMismatchError(f"{path}: shape {data.shape} on the grid of {like.path}, which has {like.shape}")
    header = _single_file_header(like.header)
    if header["dim"][0] != 3:  # a 4-D file of one volume; nibabel's setter would touch pixdim as well
        header["dim"][0], header["dim"][4:] = 3, 1
    header.set_data_dtype(dtype)
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["cal_min"], header["cal_max"] = display_range
    header.set_data_offset(header.single_vox_offset + header.extensions.get_sizeondisk())
    stored = dtype.newbyteorder(header.endianness)
    with write_aside(path) as aside, aside.open("wb") as file:
        if is_gzipped(path):
            # no name and no time inside: the same mask gives the same bytes
            with gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as stream:
                _write_to(stream, header, data, stored)
        else:
            _write_to(file, header, data, stored)
    return path


def _write_to(stream, header, data, stored):
    header.write_to(stream)
    position = stream.tell()
    stream.write(b"\x00" * (header.get_data_offset() - position))
    for k in range(data.shape[2]):
        stream.write(np.asarray(data[:, :, k], dtype=stored).tobytes(order="F"))


def _single_file_header(header):
    """Copy a header, byte by byte, as that of a single ``.nii`` file."""
    kind = nib.Nifti2Header if isinstance(header, nib.Nifti2Header) else nib.Nifti1Header
    copy = kind(header.binaryblock, header.endianness, check=False, extensions=header.extensions)
    copy["magic"] = kind.single_magic
    return copy
