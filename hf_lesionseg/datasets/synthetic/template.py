"""The average brain that generated strokes are put into: MNI152NLin2009aSym from the data files of the nilearn wheel.

The T1-weighted template with grey- and white-matter probability at 1 mm lies on 197 x 233 x 189 voxels, the very grid
of ATLAS R2.0. Nothing is downloaded, and nilearn itself is not imported: its package folder is located only.
"""

import importlib.util
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from ...errors import DataError, UsageError

__all__ = ["TEMPLATE_LICENCE", "Template", "load_template"]

TEMPLATE_LICENCE = (
    "Generated on the ICBM 152 2009a nonlinear symmetric template (MNI152NLin2009aSym; Fonov et al., NeuroImage "
    "54:313-327, 2011) of the nilearn package, under its makers' terms: Copyright (C) 1993-2004 Louis Collins, "
    "McConnell Brain Imaging Centre, Montreal Neurological Institute, McGill University. Permission to use, copy, "
    "modify, and distribute this software and its documentation for any purpose and without fee is hereby granted, "
    "provided that the above copyright notice appear in all copies. The authors and McGill University make no "
    "representations about the suitability of this software for any purpose. It is provided 'as is' without express "
    "or implied warranty. The authors are not responsible for any data loss, equipment damage, property loss, or "
    "injury to subjects or patients resulting from the use or misuse of this software package."
)
_FILES = {
    "t1": "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz",
    "grey": "mni_icbm152_gm_tal_nlin_sym_09a_converted.nii.gz",
    "white": "mni_icbm152_wm_tal_nlin_sym_09a_converted.nii.gz",
}
_REMEDY = 'the strokes are generated on its T1 template: pip install "hf-lesionseg[synthetic]"'


@dataclass(frozen=True, eq=False)
class Template:
    """An average brain: intensities, tissue maps and the distances that the generator grows and deforms by.

    Attributes
    ----------
    t1 : float32 (X, Y, Z), 0..1, skull-stripped
    grey, white : float32 (X, Y, Z), probability 0..1
    affine : (4, 4), voxel to MNI mm; axes are RAS+ and isotropic
    spacing : edge of a voxel, mm
    """

    t1: np.ndarray
    grey: np.ndarray
    white: np.ndarray
    affine: np.ndarray
    spacing: float

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.t1.shape

    @cached_property
    def brain(self) -> np.ndarray:
        """Bool (X, Y, Z): tissue and the cerebrospinal fluid within and around it."""
        filled = ndimage.binary_closing(self.t1 > 0, iterations=max(1, round(2 / self.spacing)))
        return ndimage.binary_fill_holes(filled | (self.t1 > 0))

    @cached_property
    def fluid(self) -> np.ndarray:
        """Float32 (X, Y, Z): probability of cerebrospinal fluid, which is what grey and white matter leave."""
        return np.where(self.brain, np.clip(1 - self.grey - self.white, 0, 1), 0).astype(np.float32)

    @cached_property
    def surface_distance(self) -> np.ndarray:
        """Float32 (X, Y, Z), mm: distance to the brain's surface, negative inside the brain."""
        return _signed_distance(self.brain, self.spacing)

    @cached_property
    def ventricle_distance(self) -> np.ndarray:
        """Float32 (X, Y, Z), mm: distance to the lateral ventricles, negative inside them."""
        x, y, z = self.coordinates()
        deep = (np.abs(x) > 1) & (np.abs(x) < 40) & (y > -60) & (y < 36) & (z > -16) & (z < 34)
        cistern = (np.abs(x) < 14) & (y < -20) & (z < 18)  # around the brain stem: as dark and as deep
        fluid = (self.fluid > 0.5) & deep & ~cistern & (self.surface_distance < -22)
        labels, count = ndimage.label(fluid)
        if count == 0:
            raise DataError("the template shows no ventricles: it is not a brain with grey- and white-matter maps")
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        return _signed_distance(np.isin(labels, np.flatnonzero(sizes * self.spacing**3 > 400)), self.spacing)

    def coordinates(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Open grids of MNI x, y and z in mm, to be broadcast."""
        axes = (self.affine[i, 3] + self.spacing * np.arange(n) for i, n in enumerate(self.shape))
        return tuple(np.meshgrid(*(axis.astype(np.float32) for axis in axes), indexing="ij", sparse=True))

    def coarser(self, factor: int) -> "Template":
        """Average blocks of ``factor`` voxels per axis: a smaller brain for quick runs."""

        def blocks(values: np.ndarray) -> np.ndarray:
            padded = np.pad(values, [(0, -n % factor) for n in values.shape])
            x, y, z = (n // factor for n in padded.shape)
            return padded.reshape(x, factor, y, factor, z, factor).mean((1, 3, 5), dtype=np.float32)

        affine = self.affine.copy()
        affine[:3, :3] *= factor
        affine[:3, 3] += self.spacing * (factor - 1) / 2
        return Template(blocks(self.t1), blocks(self.grey), blocks(self.white), affine, self.spacing * factor)


def _signed_distance(mask: np.ndarray, spacing: float) -> np.ndarray:
    """Euclidean distance to `mask`, mm, negative inside, computed at 2 mm at least and interpolated between."""
    step = max(1, round(2 / spacing))
    coarse = mask[::step, ::step, ::step]
    outside = ndimage.distance_transform_edt(~coarse) - 0.5
    inside = ndimage.distance_transform_edt(coarse) - 0.5
    distance = (np.where(coarse, -inside, outside) * step * spacing).astype(np.float32)
    if step == 1:
        return distance
    points = np.meshgrid(*(np.arange(n, dtype=np.float32) / step for n in mask.shape), indexing="ij", sparse=True)
    points = np.stack(np.broadcast_arrays(*points))
    return ndimage.map_coordinates(distance, points, order=1, mode="nearest", output=np.float32)


def _template_folder() -> Path:
    found = importlib.util.find_spec("nilearn")  # locates the package without importing it
    if found is None or not found.submodule_search_locations:
        raise DataError(f"nilearn is not installed; {_REMEDY}")
    folder = Path(next(iter(found.submodule_search_locations))) / "datasets" / "data"
    missing = [name for name in _FILES.values() if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{folder / missing[0]} is missing from the installed nilearn; {_REMEDY}")
    return folder


@lru_cache(maxsize=2)
def load_template(spacing: int = 1) -> Template:
    """Read the template, averaged to a spacing of 1, 2, 3 or 4 mm; it is kept in memory for the next call.

    Raises
    ------
    DataError
        Where nilearn or its data files are missing.
    UsageError
        For another spacing.
    """
    if spacing not in (1, 2, 3, 4):
        raise UsageError(f"spacing {spacing} mm is not possible: take 1, 2, 3 or 4")
    if spacing > 1:
        return load_template(1).coarser(int(spacing))
    folder = _template_folder()
    images = {name: nib.load(folder / file) for name, file in _FILES.items()}
    values = {name: np.asanyarray(image.dataobj).astype(np.float32) / 255 for name, image in images.items()}
    return Template(**values, affine=np.asarray(images["t1"].affine, np.float64), spacing=1.0)
