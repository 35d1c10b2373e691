"""From a NIfTI file or image to one finite 3-D volume with a usable affine, or an error that says why not.

What NIfTI headers and voxels get wrong in practice is decided here, once, for files and for images in memory.
"""

import gzip
import zlib
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np

from .file_diagnosis import NIFTI_LENGTHS, channels_first, describe_address, dicom_files_in, what_is, why_not_there
from .header_grid import checked_affine, usable_affine
from .library_log import library_messages
from .scan_formats import ending_of, endings_in_words, format_of, is_gzipped, scan_stem
from .value_scaling import scaling_notes
from .volume_geometry import VolumeError

_GZIP_MAGIC = b"\x1f\x8b"
_SLAB_BYTES = 8 << 20
_UNREADABLE = (
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
    OSError,
    EOFError,
    zlib.error,
    ValueError,
    OverflowError,
    MemoryError,
)


@dataclass(frozen=True, eq=False)
class NiftiVolume:
    """One volume as it lies in its file.

    Parameters
    ----------
    data : numpy.ndarray of shape (X, Y, Z), or (X, Y, Z, T) for a series
        float32; along the file's own axes, in Fortran order where it was read from a file. Finite, but for a series.
    affine : numpy.ndarray of shape (4, 4)
        Voxel indices to world mm, float64, never singular.
    header : nibabel.Nifti1Header, nibabel.Nifti2Header or None
        The header exactly as the file has it, none of nibabel's repairs applied (a NIfTI one is made for Analyze);
        None for images in memory of other formats.
    warnings : tuple of str
        What was odd and how it was read.
    replaced : int
        Values that were NaN or Inf; read as 0, in a series as NaN.
    """

    data: np.ndarray
    affine: np.ndarray
    header: nib.Nifti1Header | None
    warnings: tuple[str, ...] = ()
    replaced: int = 0


def read_nifti(path):
    """Read one volume from a NIfTI-1, NIfTI-2 or Analyze file.

    Data are read in slabs and to the last byte, so that float64 files need no float64 copy of the volume, and the
    checksum of a compressed file is always verified.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    NiftiVolume

    Raises
    ------
    VolumeError
        One line naming the file and the remedy: missing, damaged, not NIfTI, not one 3-D volume of real numbers, no
        usable voxel size, no finite voxel.
    """
    return _read_file(path, _read_volume)


def read_nifti_series(path):
    """Read volumes of one grid over time from a NIfTI-1, NIfTI-2 or Analyze file, frame by frame.

    Parameters
    ----------
    path : str or os.PathLike
        Time is the fourth axis; axes of length 1 before or after it are left out.

    Returns
    -------
    NiftiVolume
        With ``data`` (X, Y, Z, T), NaN where the file is NaN or Inf.

    Raises
    ------
    VolumeError
        As :func:`read_nifti`, and for one single volume or more than one axis beside space.
    """
    return _read_file(path, _read_series)


def read_shape(path):
    """Return the shape that a file's header gives, of all its axes; no voxel is read.

    Raises
    ------
    VolumeError
        One line naming the file and the remedy: missing, damaged, or not NIfTI.
    """
    path = Path(path)
    _check_container(path)
    with ExitStack() as streams:
        streams.enter_context(library_messages())
        try:
            return tuple(int(length) for length in format_of(path).open(path, streams).image.shape)
        except _UNREADABLE as error:
            raise error if isinstance(error, VolumeError) else VolumeError(f"{path}: {_reason(error, path)}") from error


def _read_file(path, read):
    path = Path(path)
    _check_container(path)
    with ExitStack() as streams:
        messages = streams.enter_context(library_messages())
        try:
            opened = format_of(path).open(path, streams)
            volume = read(opened.image, opened.header, str(path), opened.streams)
            if opened.header is None:
                volume = _analyze_as_nifti(volume, opened.image.header, path)
            repairs = tuple(f"{path}: the header is repaired in reading ({message})" for message in messages)
            notes = (*opened.warnings, *scaling_notes(opened.header, str(path)), *repairs)
            return replace(volume, warnings=(*volume.warnings, *notes))
        except VolumeError:
            raise
        except MemoryError as error:
            raise VolumeError(f"{path}: too large for this machine's memory ({error})") from error
        except _UNREADABLE as error:
            raise VolumeError(f"{path}: {_reason(error, path)}") from error


def volume_from_image(image, name=None):
    """Take one volume from a nibabel image, with the same rules as :func:`read_nifti`.

    A float32 array in memory is used as it is, without a copy, where all of it is finite.
    """
    name = name or image.get_filename() or "image in memory"
    header = image.header if isinstance(image, nib.Nifti1Pair) else None
    try:
        return _read_volume(image, header, str(name), ())
    except VolumeError:
        raise
    except _UNREADABLE as error:
        raise VolumeError(f"{name}: {_reason(error)}") from error


def check_varies(volume, name):
    """Raise for a volume without any contrast, all zero or constant: a mask made from it would mean nothing."""
    lowest, highest = volume.min(), volume.max()
    if lowest == highest:
        what = "all zero" if lowest == 0 else f"constant ({lowest:g} everywhere)"
        raise VolumeError(f"{name}: {what}, nothing to segment; export the scan again or leave this case out")


def volume_from_array(array, affine, name):
    """Take one volume from an array, with the same rules as :func:`read_nifti`; float32 is not copied."""
    array = np.asarray(array)
    if array.ndim != 3 or min(array.shape, default=0) < 1:
        raise VolumeError(f"{name}: array of shape {array.shape}; give one volume of three axes per case")
    if array.dtype.kind not in "fiub":
        raise VolumeError(f"{name}: array of dtype {array.dtype}; give one real number per voxel")
    affine = checked_affine(np.eye(4) if affine is None else affine, name)
    data, counts = _read_finite(array, array.shape, name)
    warnings = _describe_replaced(counts, data.size, name)
    return NiftiVolume(data, affine, None, warnings, sum(counts.values()))


def _finite_values(block, name, counts, fill=0.0):
    """Return the block as float32; NaN and Inf become ``fill`` and are added to ``counts``.

    Raises
    ------
    VolumeError
        For finite values beyond float32.
    """
    with np.errstate(over="ignore"):
        values = np.asarray(block, dtype=np.float32)
    finite = np.isfinite(values)
    if finite.all():
        return values
    original = np.asarray(block)
    if np.isfinite(original[~finite]).any():
        largest = np.abs(original[np.isfinite(original)]).max()
        raise VolumeError(f"{name}: values up to {largest:.3g} do not fit float32; rescale the scan")
    nan = int(np.isnan(original).sum())
    counts["NaN"] += nan
    counts["Inf"] += int((~finite).sum()) - nan
    return np.where(finite, values, np.float32(fill))


def _describe_replaced(counts, size, name):
    if sum(counts.values()) == size:
        raise VolumeError(f"{name}: no voxel is finite ({counts['NaN']} NaN, {counts['Inf']} Inf); export it again")
    return tuple(f"{name}: {count} {kind} voxels read as 0" for kind, count in counts.items() if count)


def _check_container(path):
    """Refuse a file that cannot be what its name says, before any library reports a symptom of that."""
    if reason := why_not_there(path):
        raise VolumeError(describe_address(path) or f"{path}: {reason}")
    if path.is_dir():
        what = "a folder of DICOM files; convert it: dcm2niix -z y -o OUT" if dicom_files_in(path) else "a folder"
        raise VolumeError(f"{path}: is {what}; give a NIfTI file")
    expected = format_of(path)
    own = expected is not None and expected.magic and path.is_file() and _first_bytes(path).startswith(expected.magic)
    if not own and (reason := what_is(path)):
        raise VolumeError(f"{path}: {reason}")
    if expected is None:
        raise VolumeError(f"{path}: not a scan by its name ({endings_in_words()}); convert it (DICOM: dcm2niix)")
    if not own and expected.magic:
        raise VolumeError(
            f"{path}: is not in the format {expected.name}, whatever its name says; export the scan again"
        )
    magic = _first_bytes(path)
    ending = ending_of(path)
    if is_gzipped(path) and magic[:2] != _GZIP_MAGIC:
        plain = magic[:4] in NIFTI_LENGTHS or ending == ".img.gz"
        remedy = "rename it without .gz, or compress it" if plain else "nor is it NIfTI: download or export it again"
        raise VolumeError(f"{path}: named .{ending.rpartition('.')[2]} but not gzip; {remedy}")
    if expected.gzipped and not is_gzipped(path) and magic[:2] == _GZIP_MAGIC:
        packed = f"{ending}.gz" if f"{ending}.gz" in expected.gzipped else expected.gzipped[0]
        raise VolumeError(f"{path}: is gzip; rename it to {scan_stem(path)}{packed}")


def _first_bytes(path):
    with path.open("rb") as stream:
        return stream.read(16)


def _read_volume(image, header, name, streams):
    shape, warnings = _spatial_shape(image, name)
    _check_real_numbers(image, name)
    affine, odd_header = usable_affine(image, header, name)
    data, counts = _read_finite(image.dataobj, shape, name)
    _read_to_end(streams)
    return NiftiVolume(
        data=data,
        affine=affine,
        header=header,
        warnings=(*warnings, *odd_header, *_describe_replaced(counts, data.size, name)),
        replaced=sum(counts.values()),
    )


def _read_series(image, header, name, streams):
    shape = tuple(int(length) for length in image.shape)
    if min(shape, default=0) < 1:
        raise VolumeError(f"{name}: shape {shape} has an axis without voxels; export the series again")
    beyond = [axis for axis in range(3, len(shape)) if shape[axis] > 1]
    if not beyond:
        raise VolumeError(
            f"{name}: shape {shape} is one volume, not a series; give the 4-D file, time as its last axis"
        )
    if len(beyond) > 1:
        raise VolumeError(f"{name}: shape {shape} has several axes beside space; export one series, (X, Y, Z, time)")
    _check_real_numbers(image, name)
    affine, odd_header = usable_affine(image, header, name)
    data = np.empty((*shape[:3], shape[beyond[0]]), np.float32, order="F")
    counts = {"NaN": 0, "Inf": 0}
    index = [slice(None)] * 3 + [0] * (len(shape) - 3)
    for frame in range(data.shape[3]):
        index[beyond[0]] = frame
        data[..., frame] = _finite_values(image.dataobj[tuple(index)], name, counts, fill=np.nan)
    _read_to_end(streams)
    replaced = sum(counts.values())
    if replaced == data.size:
        raise VolumeError(f"{name}: no voxel is finite in any frame; export it again")
    warnings = (f"{name}: shape {shape} read as {data.shape}",) if len(shape) > 4 else ()
    return NiftiVolume(data, affine, header, (*warnings, *odd_header), replaced)


def _check_real_numbers(image, name):
    kind = image.get_data_dtype().kind
    if kind not in "fiub":
        what = {"V": "RGB colours", "c": "complex numbers"}.get(kind, str(image.get_data_dtype()))
        raise VolumeError(f"{name}: holds {what}, not one real number per voxel; export the scan in grey values")


def _read_to_end(streams):
    for stream in streams:  # the checksum stands at the end of a gzip file, and is only verified when read past it
        while stream.read(1 << 20):
            pass


def _analyze_as_nifti(volume, analyze_header, path):
    """Give an Analyze 7.5 volume a NIfTI header with the same affine, for what is written on its grid."""
    header = nib.Nifti1Header.from_header(analyze_header, check=False)
    if not np.allclose(header.get_best_affine(), volume.affine):
        header.set_sform(volume.affine, code="aligned")
    warning = f"{path}: Analyze has no orientation; axes are taken as {''.join(nib.aff2axcodes(volume.affine))}"
    return replace(volume, header=header, warnings=(*volume.warnings, warning))


def _spatial_shape(image, name):
    shape = tuple(int(length) for length in image.shape)
    if len(shape) < 3:
        raise VolumeError(f"{name}: has {len(shape)} axes {shape}; a scan needs three, a single slice (X, Y, 1)")
    if min(shape) < 1:
        raise VolumeError(f"{name}: shape {shape} has an axis without voxels; export the scan again")
    if channels_first(shape):
        raise VolumeError(
            f"{name}: shape {shape} looks like channels first, as PyTorch and MONAI keep arrays; a scan is (X, Y, Z): "
            "save each channel as a volume of its own (array[0] is the first; keep the affine)"
        )
    if max(shape[3:], default=1) > 1:
        raise VolumeError(
            f"{name}: shape {shape} holds {int(np.prod(shape[3:]))} volumes; give one 3-D volume (fslroi, or "
            "nibabel.funcs.four_to_three, takes one out of a series)"
        )
    warnings = (f"{name}: shape {shape} read as {shape[:3]}; masks are written in 3-D",) if shape[3:] else ()
    return shape[:3], warnings


def _read_finite(dataobj, shape, name):
    counts = {"NaN": 0, "Inf": 0}
    if isinstance(dataobj, np.ndarray):
        data = _finite_values(dataobj.reshape(shape), name, counts)
    else:
        data = np.empty(shape, np.float32, order="F")
        step = max(1, _SLAB_BYTES // (8 * shape[0] * shape[1]))
        rest = (0,) * (len(dataobj.shape) - 3)
        for k in range(0, shape[2], step):
            data[:, :, k : k + step] = _finite_values(dataobj[(..., slice(k, k + step), *rest)], name, counts)
    return data, counts


def _reason(error, path=""):
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile) or "not enough data" in text or "bytes" in text:
        return f"is truncated or damaged ({text}); copy or download it again"
    known = format_of(path)
    return f"cannot be read as {known.name if known else 'NIfTI'} ({text}); check the file with its converter"
