"""Masks as evaluators take them that round every value: what is 0.5 or less is background, whatever lies above lesion.

A mask of integers stays what it is. It matters for masks that were resampled with interpolation, whose rim holds
fractions: this package counts every value above 0 as lesion and warns of it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import ScanError
from ..imaging import Scan
from ..imaging.scan import on_grid_of
from ..models.nifti_volume import read_nifti
from ..models.volume_geometry import VolumeError


def rounds_to_lesion(path: str | Path, like: Scan) -> np.ndarray:
    """Return where a mask's values, rounded to integers (halves to even) and clipped to 0..1, are 1.

    Parameters
    ----------
    path : path
        Of a mask that was read and checked already.
    like : Scan
        Along whose axes the voxels are given back.

    Returns
    -------
    bool array (X, Y, Z)

    Raises
    ------
    ScanError
        The file cannot be read.
    """
    try:
        volume = read_nifti(path)
    except VolumeError as error:
        raise ScanError(str(error)) from error
    values = on_grid_of(Scan(Path(path), volume.data, volume.affine, volume.header), like).data
    return np.clip(np.rint(values), 0, 1) == 1
