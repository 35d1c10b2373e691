"""Single lesions of a mask: volume, centre, box."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage

#: Voxels that touch by a face, an edge or a corner belong to one lesion.
CONNECTIVITY = 26


@dataclass(frozen=True)
class Lesion:
    """One connected lesion of a mask.

    Attributes
    ----------
    id : int
        1 for the largest; also its value in the label volume.
    volume_ml : float
    n_voxels : int
    centroid_mm : tuple of float
        Mean of its voxels' centres in the scan's world coordinates, RAS+ mm.
    centroid_voxel : tuple of float
        The same in voxel indices of the file (0 is the centre of the first voxel).
    box_start, box_stop : tuple of int
        Voxel indices of the smallest box around it; ``box_stop`` is exclusive.
    """

    id: int
    volume_ml: float
    n_voxels: int
    centroid_mm: tuple[float, float, float]
    centroid_voxel: tuple[float, float, float]
    box_start: tuple[int, int, int]
    box_stop: tuple[int, int, int]

    def to_dict(self) -> dict:
        """Return what ``lesions.json`` holds of this lesion."""
        values = asdict(self)
        box = {"start": list(values.pop("box_start")), "stop": list(values.pop("box_stop"))}
        values["volume_ml"] = round(self.volume_ml, 6)
        for name in ("centroid_mm", "centroid_voxel"):
            values[name] = [round(float(value), 4) for value in values[name]]
        return {**values, "box_voxel": box}


def find_lesions(mask: np.ndarray, affine: np.ndarray, voxel_ml: float) -> tuple[list[Lesion], np.ndarray]:
    """Tell the lesions of a mask apart.

    Parameters
    ----------
    mask : array (X, Y, Z)
        Non-zero is lesion.
    affine : array (4, 4)
        Voxel indices to RAS+ mm.
    voxel_ml : float
        Volume of one voxel in mL.

    Returns
    -------
    lesions : list of Lesion
        The largest first; equal ones in the order of their first voxel.
    labels : int32 array (X, Y, Z)
        0 for background, else the lesion's id.

    Examples
    --------
    >>> mask = np.zeros((4, 4, 4)); mask[1:3, 1, 1] = 1
    >>> lesions, _ = find_lesions(mask, np.diag([2, 2, 2, 1]), 0.008)
    >>> lesions[0].centroid_mm, lesions[0].volume_ml
    ((3.0, 2.0, 2.0), 0.016)
    """
    found, count = ndimage.label(mask, structure=np.ones((3, 3, 3)), output=np.int32)
    voxels = np.argwhere(found)
    owner = found[tuple(voxels.T)] - 1
    sizes = np.bincount(owner, minlength=count)
    sums = np.stack([np.bincount(owner, weights=voxels[:, axis], minlength=count) for axis in range(3)], axis=1)
    boxes = ndimage.find_objects(found)

    order = np.argsort(-sizes, kind="stable")
    new_id = np.zeros(count + 1, dtype=np.int32)
    new_id[order + 1] = np.arange(1, count + 1)
    lesions = []
    for rank, index in enumerate(order, start=1):
        centroid = sums[index] / sizes[index]
        lesions.append(
            Lesion(
                id=rank,
                volume_ml=float(sizes[index] * voxel_ml),
                n_voxels=int(sizes[index]),
                centroid_mm=tuple(float(value) for value in apply_affine(affine, centroid)),
                centroid_voxel=tuple(float(value) for value in centroid),
                box_start=tuple(int(side.start) for side in boxes[index]),
                box_stop=tuple(int(side.stop) for side in boxes[index]),
            )
        )
    return lesions, new_id[found]
