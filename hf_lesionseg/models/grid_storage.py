"""Two volumes of one space whose files disagree: stored along other axes, or placed by the other of two forms.

What lies on the same voxels and is only stored in another order or direction is brought over without loss. Where two
files agree on the voxels but not on where these lie, the message says by which forms they do, and what to copy.
"""

import nibabel as nib
import numpy as np

from .header_grid import forms_of
from .volume_geometry import grid_distance, same_grid

#: largest entry by which a turn from voxels to voxels may miss 0, 1 or -1; `same_grid` has the last word
_TURN_TOLERANCE = 0.1


def bring_onto_grid(data, affine, shape, like_affine):
    """Store a volume along the axes of another one that covers the same voxels.

    Parameters
    ----------
    data : numpy.ndarray of three axes
    affine : array (4, 4)
        Affine of ``data``.
    shape : sequence of 3 int
    like_affine : array (4, 4)
        Affine of the grid to bring it onto.

    Returns
    -------
    numpy.ndarray of shape ``shape`` or None
        A view where axes are permuted or flipped, ``data`` itself where they are not; None where the voxels of the two
        lie at different places.
    """
    if same_grid(data.shape, affine, shape, like_affine):
        return data
    turn = np.linalg.solve(np.asarray(like_affine, np.float64), np.asarray(affine, np.float64))[:3, :3]
    signs = np.rint(turn)
    if np.abs(turn - signs).max() > _TURN_TOLERANCE or not np.array_equal(signs @ signs.T, np.eye(3)):
        return None
    orientation = nib.io_orientation(nib.affines.from_matvec(signs))
    moved = nib.apply_orientation(data, orientation)
    moved_affine = np.asarray(affine) @ nib.orientations.inv_ornt_aff(orientation, data.shape)
    return moved if same_grid(moved.shape, moved_affine, shape, like_affine) else None


def grid_difference(volume, like, like_name):
    """Say how the grids of two volumes differ: shapes, or the largest distance of their corners.

    Parameters
    ----------
    volume, like : with ``data`` and ``affine``
    like_name : str
        Name of the file of ``like``.
    """
    shape, like_shape = tuple(volume.data.shape), tuple(like.data.shape)
    if shape != like_shape:
        return f"shape {shape}, but {like_name} has {like_shape}"
    return f"lies up to {grid_distance(shape, volume.affine, like.affine):.3g} mm from the voxels of {like_name}"


def advice_on_forms(volume, like, like_name):
    """Say so where two volumes lie on the same voxels by the forms that are not in use, or None.

    Programs move a scan by its sform (SPM, coregistration) and others draw by its qform (ITK): the voxels then still
    belong together, and resampling would destroy what it is to repair.

    Parameters
    ----------
    volume, like : with ``data``, ``affine`` in mm and ``header`` (a NIfTI header or None)
    like_name : str
        Name of the file of ``like``.
    """
    shape = tuple(volume.data.shape)
    if shape != tuple(like.data.shape):
        return None
    for own, affine in forms_of(volume.header, volume.affine).items():
        for other, like_affine in forms_of(like.header, like.affine).items():
            if same_grid(shape, affine, shape, like_affine):
                return (
                    f"the voxels of both agree by its {own} and the {other} of {like_name}, so that a header was moved "
                    f"and no voxel; copy the header of {like_name} onto it (nibabel.Nifti1Image(image.dataobj, "
                    "other.affine, other.header)), resampling would spoil it"
                )
    return None
