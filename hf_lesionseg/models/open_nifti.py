"""Open NIfTI-1, NIfTI-2 and Analyze files with streams of our own, and FreeSurfer's ``.mgh`` and ``.mgz``."""

import gzip
import math
from pathlib import Path

import nibabel as nib
from nibabel.freesurfer.mghformat import MGHError

from .nifti_header import nifti_header
from .opened_scan import OpenedScan
from .value_scaling import tolerant_class
from .volume_geometry import VolumeError

#: Directions of the axes, one a row, where an .mgh file gives none: coronal, as FreeSurfer has it; nibabel transposes.
_UNORIENTED = [[-1, 0, 0], [0, 0, -1], [0, 1, 0]]
_MOST_COMPRESSED = 1040  # times, by deflate; more is not a gzip file


def open_nifti(path, streams):
    """Open a NIfTI or Analyze file: one pass through a compressed one, to its end, whatever nibabel's defaults.

    Parameters
    ----------
    path : pathlib.Path
        The file; of a pair, either file.
    streams : contextlib.ExitStack
        Closes what is opened.

    Returns
    -------
    OpenedScan

    Raises
    ------
    VolumeError
        For a file of another format, half a pair, or one that is shorter than its header says.
    """
    with _open_stream(path) as stream:
        stream.read(1024)  # as nibabel sniffs; it would only say of a damaged beginning that the type is unknown
    kind = tolerant_class(_kind_of(path))
    if not issubclass(kind, nib.AnalyzeImage | nib.Nifti1Pair):
        raise VolumeError(f"{path}: is {kind.__name__}, not NIfTI; convert it to .nii.gz")
    file_map, opened = _open_files(kind, path, streams)
    if "header" in file_map and "image" in file_map:
        for holder in (file_map["header"], file_map["image"]):
            if holder.fileobj is None:
                raise VolumeError(f"{path}: {holder.filename} is missing; keep .hdr and .img side by side")
    header_stream = file_map["header" if "header" in file_map else "image"].fileobj
    header = None
    if issubclass(kind, nib.Nifti1Pair):
        header = kind.header_class.from_fileobj(header_stream, check=False)
        header_stream.seek(0)
    image = kind.from_file_map(file_map)
    _check_size(image, Path(file_map["image"].filename))
    return OpenedScan(image, header, opened)


def open_freesurfer(path, streams):
    """Open an ``.mgh`` or ``.mgz`` file; as :func:`open_nifti`."""
    file_map, opened = _open_files(nib.MGHImage, path, streams)
    (stream,) = opened
    oriented = any(stream.read(30)[28:])  # goodRASFlag, which nibabel sets where it is not set
    stream.seek(0)
    try:
        image = nib.MGHImage.from_file_map(file_map)
        _check_size(image, path)
    except (MGHError, KeyError, TypeError) as error:  # of a header that is none, or an unknown type of values
        raise VolumeError(
            f"{path}: cannot be read as FreeSurfer's format ({error}); check the file with its converter"
        ) from error
    repetition_s = float(image.header["tr"]) / 1000 if image.ndim > 3 else None
    affine, warnings = image.affine, ()
    if not oriented:
        image.header["Mdc"] = _UNORIENTED
        affine = image.header.get_affine()
        image = nib.spatialimages.SpatialImage(image.dataobj, affine)
        codes = "".join(nib.aff2axcodes(affine))
        warnings = (f"{path}: the header gives no orientation; axes are taken as {codes}",)
    return OpenedScan(image, nifti_header(image.shape, affine, frame_seconds=repetition_s), opened, warnings)


def check_length(shape, itemsize, path, held, gzipped):
    """Refuse a file that cannot hold what its header says, before as much memory is asked for.

    Parameters
    ----------
    shape : sequence of int
    itemsize : int
        Bytes of a value.
    path : pathlib.Path
    held : int
        Bytes of the file that may be voxels.
    gzipped : bool
        They are compressed.
    """
    needed = math.prod(int(length) for length in shape) * itemsize
    held *= _MOST_COMPRESSED if gzipped else 1
    if needed > held:
        raise VolumeError(
            f"{path}: is truncated or damaged (its header, of shape {tuple(map(int, shape))}, asks for {needed} "
            f"bytes and it holds {held} at most); copy or download it again"
        )


def _check_size(image, path):
    check_length(image.shape, image.get_data_dtype().itemsize, path, path.stat().st_size, _is_gzipped(path))


def _open_files(kind, path, streams):
    """The files of an image that are there, open."""
    file_map = kind.filespec_to_file_map(str(path))
    opened = {}
    for holder in file_map.values():
        name = holder.filename
        if name not in opened and Path(name).exists():
            opened[name] = streams.enter_context(_open_stream(Path(name)))
        if name in opened:
            holder.fileobj = opened[name]
    return file_map, tuple(opened.values())


def _kind_of(path):
    """Image class that nibabel takes for a file; of other names than ours, its own error."""
    sniffed = None
    for kind in nib.imageclasses.all_image_classes:
        is_kind, sniffed = kind.path_maybe_image(str(path), sniffed)
        if is_kind:
            return kind
    return type(nib.load(path))


def _open_stream(path):
    return gzip.GzipFile(path) if _is_gzipped(path) else path.open("rb")


def _is_gzipped(path):
    return path.name.lower().endswith((".gz", ".mgz"))
