"""Open NRRD and MetaImage files (``.nrrd``, ``.mha``) by SimpleITK, the library that knows both.

ITK counts millimetres to the left, back and up (LPS), whatever the file counts in; here they become RAS+.
"""

import gzip
import re
import zlib

import nibabel as nib
import numpy as np

from .nifti_header import nifti_header
from .open_nifti import check_length
from .opened_scan import OpenedScan
from .volume_geometry import VolumeError

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_LONGEST_HEADER = 1 << 20
_UNITS = {"m": "meter", "meter": "meter", "um": "micron", "µm": "micron", "micron": "micron"}
_READERS = {".nrrd": "NrrdImageIO", ".mha": "MetaImageIO"}
#: By ending: what ends the text header in front of the voxels, what says that these are compressed or plain, and what
#: says where left is.
_HEADER_END = {".nrrd": rb"\r?\n\r?\n", ".mha": rb"(?m)^ElementDataFile\s*=\s*LOCAL[ \t\r]*\n"}
_COMPRESSED = {".nrrd": r"^encoding:\s*gz", ".mha": r"^CompressedData\s*=\s*True"}
_PLAIN = {".nrrd": r"^encoding:\s*raw", ".mha": r"^BinaryData\s*=\s*True"}
_ORIENTED = {
    ".nrrd": r"^space:\s*(?i:left-|right-|[LR][AP]S)",
    ".mha": r"^(?:TransformMatrix|Rotation|Orientation)\s*=",
}


def open_itk(path, streams):
    """Open a ``.nrrd`` or ``.mha`` file; as :func:`~hf_lesionseg.models.open_nifti.open_nifti`.

    Raises
    ------
    VolumeError
        For a file that ITK cannot read, voxels in a second file, fewer than three axes, or where SimpleITK is missing.
    """
    sitk = _simpleitk(path)
    kind = path.suffix.lower()
    header, start = _text_header(path, kind)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(_READERS[kind])  # by itself ITK would not know .MHA
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    if reader.GetDimension() < 3:
        shape = tuple(reader.GetSize())
        raise VolumeError(f"{path}: has {len(shape)} axes {shape}; a scan needs three, a single slice (X, Y, 1)")
    compressed, plain = (re.search(lines[kind], header, re.MULTILINE) for lines in (_COMPRESSED, _PLAIN))
    voxels = _Voxels(path, sitk, reader, start if compressed else None)
    if compressed or plain:  # text may be shorter than what it says
        check_length(voxels.shape, voxels.dtype.itemsize, path, path.stat().st_size - start, bool(compressed))
    affine = _ras_affine(reader)
    warnings = ()
    if not re.search(_ORIENTED[kind], header, re.MULTILINE):
        codes = "".join(nib.aff2axcodes(affine))
        warnings = (f"{path}: the header gives no orientation; axes are taken as {codes}",)
    unit = re.search(r'^space units:\s*"([^"]*)"', header, re.MULTILINE)
    image = nib.spatialimages.SpatialImage(voxels, affine)
    header = nifti_header(voxels.shape, affine, _UNITS.get(unit[1], "mm") if unit else "mm")
    return OpenedScan(image, header, (), warnings)


class _Voxels:
    """The voxels of a file, along its own axes (X, Y, Z) or (X, Y, Z, components or time); read when they are used."""

    def __init__(self, path, sitk, reader, compressed_at):
        self._path, self._sitk, self._reader, self._compressed_at = path, sitk, reader, compressed_at
        components = reader.GetNumberOfComponents()
        self.shape = tuple(reader.GetSize()) + ((components,) if components > 1 else ())
        self.ndim = len(self.shape)
        self.dtype = _dtype(sitk.GetPixelIDValueAsString(reader.GetPixelID()))
        self._array = None

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[...], dtype)

    def __getitem__(self, index):
        if self._array is None:
            self._array = self._read()
        return self._array[index]

    def _read(self):
        if self._compressed_at is not None:
            _check_compressed(self._path, self._compressed_at)
        try:
            image = self._reader.Execute()
        except RuntimeError as error:
            raise _unreadable(self._path, error) from error
        array = self._sitk.GetArrayFromImage(image)  # the last axis of the file first, components behind all
        if image.GetNumberOfComponentsPerPixel() == 1:
            return array.T
        return np.moveaxis(array.T, 0, -1)


def _dtype(name):
    """Data type by ITK's name for it, such as "vector of 16-bit signed integer"."""
    bits = re.search(r"(\d+)-bit", name)
    letter = "c" if "complex" in name else "u" if "unsigned" in name else "i" if "integer" in name else "f"
    return np.dtype(f"{letter}{int(bits[1]) // 8 * (2 if letter == 'c' else 1)}")


def _ras_affine(reader):
    """Affine of voxel indices to world mm, RAS+."""
    dimension = reader.GetDimension()
    direction = np.reshape(reader.GetDirection(), (dimension, dimension))[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = direction * np.asarray(reader.GetSpacing()[:3])
    affine[:3, 3] = reader.GetOrigin()[:3]
    return _LPS_TO_RAS @ affine


def _text_header(path, kind):
    """The header as text, and where the voxels begin."""
    with path.open("rb") as stream:
        head = stream.read(_LONGEST_HEADER)
    end = re.search(_HEADER_END[kind], head)
    text = head[: end.end() if end else 0].decode("latin-1")
    if end is None or re.search(r"^data ?file:", text, re.MULTILINE):
        raise VolumeError(f"{path}: holds no voxels behind its header; save the scan as one {kind} file, or as .nii.gz")
    return text, end.end()


def _check_compressed(path, start):
    """Unpack once to the end, where the checksum stands: ITK does not look at it."""
    try:
        with path.open("rb") as stream:
            stream.seek(start)
            if path.suffix.lower() == ".nrrd":
                with gzip.GzipFile(fileobj=stream) as unpacked:
                    while unpacked.read(1 << 20):
                        pass
                return
            unpacker = zlib.decompressobj()
            while block := stream.read(1 << 20):
                unpacker.decompress(block)
            if not unpacker.eof:
                raise EOFError("it ends within its voxels")
    except (OSError, EOFError, zlib.error) as error:
        raise VolumeError(f"{path}: is truncated or damaged ({error}); copy or download it again") from error


def _simpleitk(path):
    try:
        import SimpleITK
    except ImportError as error:
        ending = path.suffix.lower()
        raise VolumeError(
            f'{path}: reading {ending} needs SimpleITK; pip install "hf-lesionseg[formats]", or convert it to .nii.gz'
        ) from error
    return SimpleITK


def _unreadable(path, error):
    """The error of ITK in one line: its last one, without the places in its sources."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = re.sub(r"^.*?\):\s*", "", lines[-1]) if lines else type(error).__name__
    return VolumeError(f"{path}: cannot be read ({reason}); check the file with its converter")
