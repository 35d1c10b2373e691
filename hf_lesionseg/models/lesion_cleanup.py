"""Clean a mask: smooth its slices, drop lesions that are too small, and all but the largest."""

import numpy as np
from scipy import ndimage

#: Voxels that touch by a face, an edge or a corner belong to one lesion.
_TOUCHING = np.ones((3, 3, 3))


def clean_lesions(mask, voxel_ml, minimum_ml=0.0, keep_largest=0):
    """Clear 26-connected lesions of a mask, in place.

    Parameters
    ----------
    mask : bool array (X, Y, Z)
    voxel_ml : float
        Volume of a voxel in mL.
    minimum_ml : float
        Lesions below this volume go; 0 keeps lesions of every size.
    keep_largest : int
        So many of the largest lesions stay, of equal ones those whose first voxel comes first in the file; 0 keeps any
        number.
    """
    boxes = ndimage.find_objects(mask.astype(np.uint8)) if minimum_ml > 0 or keep_largest else []
    if not boxes:
        return
    inside = mask[boxes[0]]  # labelling the whole volume would need four bytes per voxel
    lesions, _ = ndimage.label(inside, structure=_TOUCHING)
    voxels = np.bincount(lesions.ravel())
    voxels[0] = 0  # the background is not a lesion
    stay = voxels * voxel_ml >= minimum_ml * (1 - 1e-6)
    if keep_largest:
        stay[np.argsort(-voxels, kind="stable")[keep_largest:]] = False
    inside &= stay[lesions]


def filter_slices(mask, size, axis):
    """Median filter of each slice of a mask, in place: a voxel becomes what most of its square are.

    Parameters
    ----------
    mask : bool array (X, Y, Z)
        Beyond its border is background.
    size : int
        Side of the square in voxels, odd.
    axis : int
        From slice to slice.
    """
    boxes = ndimage.find_objects(mask.astype(np.uint8))
    if not boxes:
        return
    inside = mask[boxes[0]]  # no voxel outside has more than half of its square inside this box
    count = inside.astype(np.int16)
    for side in range(3):
        if side != axis:
            count = ndimage.correlate1d(count, np.ones(size, np.int16), axis=side, mode="constant")
    inside[...] = 2 * count > size * size
