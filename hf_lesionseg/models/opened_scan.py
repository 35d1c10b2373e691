"""What the opener of a scan format returns."""

from typing import Any, NamedTuple

import nibabel as nib


class OpenedScan(NamedTuple):
    """A scan file that is open; its voxels are read later, in slabs.

    Attributes
    ----------
    image : nibabel.spatialimages.SpatialImage
        Shape, data type, affine (RAS+) and voxels.
    header : nibabel.Nifti1Header or None
        For what is written on the scan's grid: the file's own of a NIfTI file, else one that is made of its affine;
        None of Analyze, whose header is made later.
    streams : tuple of file objects
        Read to their ends afterwards, where a checksum may stand.
    warnings : tuple of str
        What was odd and how it is read.
    """

    image: nib.spatialimages.SpatialImage
    header: nib.Nifti1Header | None
    streams: tuple[Any, ...] = ()
    warnings: tuple[str, ...] = ()
