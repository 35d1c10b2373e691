"""One anatomy of the catalogue: tissues, distances and perhaps a real T1w image, mapped from disk."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import ndimage as ndi

from .tissues import BRAIN, INTRACRANIAL, PARENCHYMA, Tissue

__all__ = ["EDGE_STEP", "VENTRICLE_STEP", "Anatomy", "measure_anatomy"]

#: Units of the stored distances, mm: 255 of them is the largest distance that is told apart.
VENTRICLE_STEP, EDGE_STEP = 0.125, 0.1
_PAD = 2  # voxels of air around every anatomy, so that what lies outside is air


def measure_anatomy(tissue, spacing, image=None):
    """Crop an anatomy and measure what rendering asks of it.

    Parameters
    ----------
    tissue : uint8 array (X, Y, Z) of :class:`~.tissues.Tissue`, RAS+
    spacing : mm
    image : array (X, Y, Z), optional
        T1w, white matter at 110, for scans that lend their image.

    Returns
    -------
    arrays : dict of uint8 arrays
        ``tissue``; ``ventricle``, distance to the nearest ventricle in units of ``VENTRICLE_STEP``; ``edge``, in units
        of ``EDGE_STEP``: in brain tissue its distance to CSF or the skull, elsewhere the distance to brain tissue;
        ``image`` where one was given.
    measured : dict
        ``spacing``; ``centre`` in voxels of the cropped arrays and ``spread`` in mm, mean and standard deviation of
        the brain's voxels along each axis; ``bottom`` and ``top``, mm from the centre, between which there is a head.
    """
    inside = tissue != Tissue.AIR
    if image is not None:
        inside |= image > 12
    box = ndi.find_objects(inside.view(np.uint8))[0]
    tissue = np.pad(tissue[box], _PAD)
    arrays = {"tissue": tissue}
    if image is not None:
        arrays["image"] = np.pad(np.clip(np.rint(image[box]), 0, 255).astype(np.uint8), _PAD)
    voxels = np.argwhere(BRAIN[tissue])
    centre, spread = voxels.mean(0), voxels.std(0) * spacing
    heights = (np.flatnonzero((tissue != Tissue.AIR).any(axis=(0, 1)))[[0, -1]] - centre[2]) * spacing[2]
    ventricles = tissue == Tissue.VENTRICLE
    if ventricles.any():
        distance = ndi.distance_transform_edt(~ventricles, sampling=spacing)
    else:
        distance = np.full(tissue.shape, np.inf)
    brain = PARENCHYMA[tissue]
    edge = ndi.distance_transform_edt(brain | ventricles, sampling=spacing)
    edge += ndi.distance_transform_edt(~(brain | ventricles), sampling=spacing)
    arrays["ventricle"] = np.minimum(np.rint(distance / VENTRICLE_STEP), 255).astype(np.uint8)
    arrays["edge"] = np.minimum(np.rint(edge / EDGE_STEP), 255).astype(np.uint8)
    measured = {
        "spacing": [float(size) for size in spacing],
        "centre": [round(float(value), 3) for value in centre],
        "spread": [round(float(value), 3) for value in spread],
        "bottom": round(float(heights[0]), 2),
        "top": round(float(heights[1]), 2),
        "brain_ml": round(float(INTRACRANIAL[tissue].sum() * np.prod(spacing) / 1000), 1),
    }
    return arrays, measured


class Anatomy:
    """An anatomy of the catalogue.

    Points are in mm from the centre of the brain, RAS+.

    Parameters
    ----------
    folder : Path
        Holds ``tissue.npy`` and the others.
    record : Mapping
        Its entry in the catalogue.

    Attributes
    ----------
    id, person, kind, split : str
        ``kind`` is "labels", "head" or "brain".
    spread : array of 3, mm
    means : array of 3, or None
        Brightness of CSF, cortex and white matter in the image.
    """

    def __init__(self, folder: Path, record: Mapping):
        self.folder = folder
        self.id, self.person, self.kind, self.split = (record[name] for name in ("id", "person", "kind", "split"))
        self.spacing, self.centre, self.spread = (
            np.array(record[name], np.float32) for name in ("spacing", "centre", "spread")
        )
        self.bottom, self.top = float(record["bottom"]), float(record["top"])
        self.means = None if record.get("means") is None else np.array(record["means"], np.float32)

    def __repr__(self):
        return f"Anatomy({self.id!r}, {self.kind})"

    def _load(self, name):
        return np.load(self.folder / f"{name}.npy", mmap_mode="r")

    @cached_property
    def tissue(self):
        return self._load("tissue")

    @cached_property
    def ventricle(self):
        return self._load("ventricle")

    @cached_property
    def edge(self):
        return self._load("edge")

    @cached_property
    def image(self):
        return self._load("image")

    def indices(self, points):
        """Flat numbers of the voxels nearest to points (..., 3); points outside take the nearest border, air."""
        shape = self.tissue.shape
        flat = np.zeros(points.shape[:-1], np.int64)
        for axis in range(3):
            along = np.rint(points[..., axis] * (1 / self.spacing[axis]) + self.centre[axis]).astype(np.int64)
            np.clip(along, 0, shape[axis] - 1, out=along)
            flat *= shape[axis]
            flat += along
        return flat

    def look_up(self, array, flat):
        """Values of one of the arrays at flat numbers of voxels."""
        return array.reshape(-1)[flat]

    def intensities(self, points):
        """The image between its voxels at points (n, 3), float32."""
        voxels = (points / self.spacing + self.centre).T
        return ndi.map_coordinates(self.image, voxels, output=np.float32, order=1, mode="nearest", prefilter=False)
