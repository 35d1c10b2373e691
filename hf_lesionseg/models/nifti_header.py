"""A NIfTI header for volumes of other formats: masks are written as NIfTI, on the grid of the scan."""

import nibabel as nib
import numpy as np


def nifti_header(shape, affine, unit="mm", frame_seconds=None):
    """Return a header that places voxels as ``affine`` does.

    Parameters
    ----------
    shape : sequence of int
    affine : array (4, 4)
        Voxel indices to world (RAS+), in ``unit``.
    unit : {"mm", "meter", "micron"}
    frame_seconds : float, optional
        From one volume of a series to the next, s.

    Returns
    -------
    nibabel.Nifti1Header
        With the affine as sform, and as qform where its axes are at right angles, which is all that a qform can say.
    """
    affine = np.asarray(affine, np.float64)
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    sizes = nib.affines.voxel_sizes(affine)
    header["pixdim"][1:4] = sizes
    if sizes.all():
        cosines = affine[:3, :3] / sizes
        if np.abs(cosines.T @ cosines - np.eye(3)).max() < 1e-4:
            header.set_qform(affine, "scanner")
    header.set_sform(affine, "scanner")
    header.set_xyzt_units(unit, "sec" if frame_seconds else None)
    if frame_seconds:
        header["pixdim"][4] = frame_seconds
    return header
