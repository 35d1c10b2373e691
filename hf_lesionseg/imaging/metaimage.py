"""Masks as MetaImage (``.mha``), the format in which grand-challenge.org keeps images.

A text header and the voxels, x fastest, compressed by zlib. MetaImage counts millimetres to the left, back and up
(LPS) where NIfTI counts to the right, front and up (RAS). ``TransformMatrix`` lists the direction of the first axis,
then of the second and the third. Source: the MetaIO documentation (https://itk.org/Wiki/MetaIO/Documentation).
"""

import zlib
from pathlib import Path

import numpy as np

from hf_lesionseg.errors import OutputError

from .atomic import write_aside

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


def write_metaimage(path, mask, like):
    """Write a lesion mask with the geometry of a scan; written aside, then renamed.

    Parameters
    ----------
    path : str or os.PathLike
        Ends in ``.mha``.
    mask : array_like of shape ``like.shape``
        bool, or 0 and 1; stored as uint8.
    like : Scan
        Its affine is kept to the last digits of float64.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    OutputError
        If the file cannot be written, the name ends otherwise, or the mask is not a mask of this scan.
    """
    path, mask = Path(path), np.asarray(mask)
    if path.suffix != ".mha":
        raise OutputError(f"{path}: a MetaImage is named .mha; give a name that ends so")
    if mask.shape != like.data.shape or not np.isin(mask, (0, 1)).all():
        raise OutputError(f"{path}: the mask has shape {mask.shape}, but its scan has {like.data.shape}")
    axes = _RAS_TO_LPS @ np.asarray(like.affine, np.float64)[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    voxels = zlib.compress(mask.astype(np.uint8).tobytes(order="F"), 6)
    header = {
        "ObjectType": "Image",
        "NDims": 3,
        "BinaryData": True,
        "BinaryDataByteOrderMSB": False,
        "CompressedData": True,
        "CompressedDataSize": len(voxels),
        "TransformMatrix": _numbers((axes / spacing).T.ravel()),
        "Offset": _numbers(_RAS_TO_LPS @ np.asarray(like.affine, np.float64)[:3, 3]),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": _numbers(spacing),
        "DimSize": " ".join(map(str, mask.shape)),
        "ElementType": "MET_UCHAR",
        "ElementDataFile": "LOCAL",
    }
    text = "".join(f"{name} = {value}\n" for name, value in header.items())
    with write_aside(path) as aside:
        aside.write_bytes(text.encode("ascii") + voxels)
    return path


def _numbers(values):
    """Numbers in as many digits as bring the same float64 back."""
    return " ".join(repr(float(value) + 0.0) for value in values)
