"""Smooth Gaussian random fields of a given correlation length: cubic B-splines over white noise.

The upsampling is three products with sparse matrices (four taps per voxel and axis), which costs tens of milliseconds
for a whole head and gives the same bytes with any number of threads.
"""

import numpy as np
from scipy import sparse

__all__ = ["lattice_shape", "smooth_field", "upsample"]


def _bspline_matrix(size: int, controls: int, step: float) -> sparse.csr_matrix:
    """Rows of cubic B-spline weights that take `controls` knots, `step` voxels apart, to `size` voxels."""
    position = np.arange(size) / step
    first = np.floor(position).astype(np.int64)
    t = position - first
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6
    # knots are stored from -1 on, so that the first voxel has all its four taps
    columns = np.minimum(first[:, None] + np.arange(4), controls - 1)
    rows = np.repeat(np.arange(size), 4)
    return sparse.csr_matrix((weights.astype(np.float32).ravel(), (rows, columns.ravel())), shape=(size, controls))


def lattice_shape(shape: tuple[int, ...], step: float) -> tuple[int, ...]:
    """Number of knots per axis that `upsample` needs for a volume of `shape` voxels.

    Knot ``j`` of an axis lies at voxel ``(j - 1) * step``.
    """
    return tuple(int(np.floor((size - 1) / step)) + 4 for size in shape)


def upsample(lattice: np.ndarray, shape: tuple[int, int, int], step: float) -> np.ndarray:
    """Interpolate values on a lattice of knots smoothly to voxels.

    Parameters
    ----------
    lattice : array of shape ``lattice_shape(shape, step)``
    shape : (X, Y, Z) of the result, voxels
    step : distance of the knots, voxels

    Returns
    -------
    float32 array (X, Y, Z)
    """
    if lattice.shape != lattice_shape(shape, step):
        raise ValueError(f"lattice has shape {lattice.shape}, this volume needs {lattice_shape(shape, step)}")
    values = np.asarray(lattice, np.float32)
    for axis in (2, 1, 0):  # the largest product comes last, along the first axis, without a transpose
        values = np.moveaxis(values, axis, 0)
        rest = values.shape[1:]
        matrix = _bspline_matrix(shape[axis], values.shape[0], step)
        values = (matrix @ np.ascontiguousarray(values).reshape(values.shape[0], -1)).reshape(shape[axis], *rest)
        values = np.moveaxis(values, 0, axis)
    return np.ascontiguousarray(values)


def smooth_field(rng: np.random.Generator, shape: tuple[int, int, int], length: float) -> np.ndarray:
    """Draw a Gaussian random field of mean 0 and standard deviation 1.

    Parameters
    ----------
    rng : source of the white noise at the knots
    shape : (X, Y, Z), voxels
    length : distance of the knots in voxels, about the correlation length

    Returns
    -------
    float32 array (X, Y, Z)
    """
    knots = rng.standard_normal(lattice_shape(shape, length), dtype=np.float32)
    # mean over a cell of the sum of squared B-spline weights, 151/315 per axis, is the variance that is left
    return upsample(knots, shape, length) * np.float32((315 / 151) ** 1.5)
