"""Where the window that a network sees lies on the planes of a scan."""

import numpy as np

from .slice_planes import as_planes
from .volume_geometry import with_window

#: windows are widened in steps of the networks' stride, so that the networks need not pad again
STRIDE = 16
#: of the pixels that resizing whole planes makes, the longer side over the shorter
LARGEST_STRETCH = 1.05


def tissue_footprint(volume, geometry, background, high):
    """Mark the pixels of a plane that hold tissue in any slice.

    Parameters
    ----------
    volume : numpy.ndarray of shape ``geometry.shape``
    geometry : SliceGeometry
    background, high : float
        Intensity of air, and that of bright tissue.

    Returns
    -------
    numpy.ndarray of shape ``geometry.plane_shape``
        bool.
    """
    # one twentieth of the way up from air: above the noise of raw scans, below any tissue
    level = background + 0.05 * (high - background)
    return as_planes(volume > level, geometry).any(axis=0)


def centre_window(geometry, tissue, size):
    """Centre a window on the tissue, as large as asked, or larger (in multiples of 16) rather than cutting tissue.

    Parameters
    ----------
    geometry : SliceGeometry
    tissue : numpy.ndarray of shape ``geometry.plane_shape``
        bool; all False stands for the whole plane.
    size : tuple of 2 int
        Height and width.

    Returns
    -------
    SliceGeometry
    """
    start, shape = [], []
    for axis in (0, 1):
        length, resampled, wanted = geometry.plane_shape[axis], geometry.resampled_shape[axis], size[axis]
        (present,) = np.nonzero(tissue.any(axis=1 - axis))
        first, last = (present[0], present[-1] + 1) if present.size else (0, length)
        first, last = int(np.floor(first * resampled / length)), int(np.ceil(last * resampled / length))
        if last - first > wanted:
            wanted = -(-(last - first) // STRIDE) * STRIDE
        begin = (first + last - wanted) // 2
        if wanted <= resampled:  # rather show what is there than pad
            begin = min(max(begin, 0), resampled - wanted)
        start.append(begin)
        shape.append(wanted)
    return with_window(geometry, start, shape)


def stretch_notes(geometry, name):
    """Tell where whole planes that were resized are stretched, in proportions that the network has not learned.

    Parameters
    ----------
    geometry : SliceGeometry
    name : str
        Name of the scan.

    Returns
    -------
    tuple of str
        Empty up to 5 %.
    """
    row, column = geometry.plane_spacing
    stretch = max(row, column) / min(row, column)
    if stretch <= LARGEST_STRETCH:
        return ()
    return (
        f"{name}: resize makes pixels of {row:.2f} x {column:.2f} mm of this scan, which stretches it by "
        f"{100 * (stretch - 1):.0f} %; pad it to a square field of view",
    )
