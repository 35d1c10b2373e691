"""From a volume on the file grid to the planes that a network sees, and back, by a :class:`SliceGeometry`."""

import nibabel as nib
import numpy as np

from .plane_resampling import resample_plane
from .volume_geometry import PLANE_AXES, VolumeError


def as_planes(volume, geometry):
    """View a volume on the file grid as canonical planes, without copying.

    Parameters
    ----------
    volume : numpy.ndarray of shape ``geometry.shape``

    Returns
    -------
    numpy.ndarray of shape (num_slices, *plane_shape)
        A view; writing into it writes into ``volume``.
    """
    if tuple(volume.shape) != geometry.shape:
        raise VolumeError(f"volume of shape {tuple(volume.shape)} on a geometry of shape {geometry.shape}")
    to_canonical = nib.orientations.axcodes2ornt(geometry.orientation)
    flips = tuple(slice(None, None, int(direction)) for direction in to_canonical[:, 1])
    file_axis_of = np.argsort(to_canonical[:, 0])
    return volume[flips].transpose([int(file_axis_of[axis]) for axis in PLANE_AXES[geometry.slice_axis]])


def to_planes(volume, geometry, *, order=1, fill=0.0, dtype=np.float32, out=None):
    """Cut a volume on the file grid into the planes that the network sees.

    Parameters
    ----------
    volume : numpy.ndarray of shape ``geometry.shape``
    geometry : SliceGeometry
    order : {0, 1}
        In-plane resampling: nearest pixel, or linear (over the whole footprint of a pixel when shrinking).
    fill : float
        Value of pixels that the window adds around the plane.
    dtype : numpy dtype
        Type of the result, if ``out`` is not given.
    out : numpy.ndarray of shape (num_slices, *window_shape), optional
        Where to write; may be a view, such as one channel of ``pixel_values``.

    Returns
    -------
    numpy.ndarray of shape (num_slices, *window_shape)
    """
    planes = as_planes(volume, geometry)
    target, source = _overlap(geometry)
    if out is None:
        out = np.empty((geometry.num_slices, *geometry.window_shape), dtype)
    if target is None or any(part.stop - part.start < size for part, size in zip(target, out.shape[1:], strict=True)):
        out[...] = fill
    if target is None:
        return out
    if not geometry.is_resampled:
        out[(slice(None), *target)] = planes[(slice(None), *source)]
        return out
    for k in range(geometry.num_slices):
        out[k][target] = resample_plane(planes[k], geometry.resampled_shape, order)[source]
    return out


def mask_to_planes(mask, geometry, *, dtype=np.uint8):
    """Cut a lesion mask into planes: resampled as a probability, then thresholded at one half.

    Parameters
    ----------
    mask : numpy.ndarray of shape ``geometry.shape``
        Lesion where > 0.

    Returns
    -------
    numpy.ndarray of shape (num_slices, *window_shape)
        0 and 1.
    """
    lesion = np.asarray(mask) > 0
    if not geometry.is_resampled:
        return to_planes(lesion, geometry, dtype=dtype)
    return (to_planes(lesion, geometry) >= 0.5).astype(dtype)


def restore_planes(values, geometry, order=1):
    """Bring planes back to the file grid: the exact inverse path of :func:`to_planes`.

    Parameters
    ----------
    values : numpy.ndarray of shape (num_slices, *window_shape)
        Probabilities (``order=1``) or labels (``order=0``); outside the window the result is 0.
    geometry : SliceGeometry
    order : {0, 1}

    Returns
    -------
    numpy.ndarray of shape ``geometry.shape``
        In Fortran order, as NIfTI stores it. float32 for ``order=1``; the dtype of ``values`` for ``order=0``.

    Raises
    ------
    VolumeError
        If ``values`` are not the planes of this geometry.
    """
    values = np.asarray(values)
    expected = (geometry.num_slices, *geometry.window_shape)
    if values.shape != expected:
        raise VolumeError(f"planes of shape {values.shape} where this case has {expected}: give the planes of one case")
    volume = np.zeros(geometry.shape, np.float32 if order == 1 else values.dtype, order="F")
    planes = as_planes(volume, geometry)
    target, source = _overlap(geometry)
    if target is None:
        return volume
    if not geometry.is_resampled:
        planes[(slice(None), *source)] = values[(slice(None), *target)]
        return volume
    resampled = np.zeros(geometry.resampled_shape, volume.dtype)
    for k in range(geometry.num_slices):
        resampled[source] = values[k][target]
        planes[k] = resample_plane(resampled, geometry.plane_shape, order)
    return volume


def _overlap(geometry):
    """Part of the window that lies on the plane, as slices of the window and of the plane; None where they miss."""
    target, source = [], []
    for start, length, size in zip(geometry.window_start, geometry.window_shape, geometry.resampled_shape, strict=True):
        first, last = max(start, 0), min(start + length, size)
        if first >= last:
            return None, None
        target.append(slice(first - start, last - start))
        source.append(slice(first, last))
    return tuple(target), tuple(source)
