"""Planes resampled to another pixel size, and back, without a shift."""

from functools import lru_cache

import numpy as np
from scipy import sparse


def resample_plane(plane, shape, order=1):
    """Resample a plane so that it keeps its field of view, edge to edge.

    Parameters
    ----------
    plane : numpy.ndarray of shape (rows, columns)
    shape : tuple of 2 int
        New rows and columns.
    order : {0, 1}
        Nearest pixel, or linear. Where the plane shrinks, the linear kernel is widened to the footprint of a new
        pixel, so that thin lesions fade instead of falling between the samples.

    Returns
    -------
    numpy.ndarray of shape ``shape``
        float32 for ``order=1``, else the dtype of ``plane``.
    """
    if order == 0:
        rows, columns = (_nearest_index(*lengths) for lengths in zip(plane.shape, shape, strict=True))
        return plane[rows[:, None], columns[None, :]]
    if order != 1:
        raise ValueError(f"order {order!r} is unknown: 0 (nearest) or 1 (linear)")
    result = np.ascontiguousarray(plane, dtype=np.float32)
    if shape[0] != plane.shape[0]:
        result = _linear_weights(plane.shape[0], shape[0]) @ result
    if shape[1] != plane.shape[1]:
        result = (_linear_weights(plane.shape[1], shape[1]) @ result.T).T
    return result


def _nearest_index(length, new_length):
    return np.minimum(((np.arange(new_length) + 0.5) * (length / new_length)).astype(int), length - 1)


@lru_cache(maxsize=32)
def _linear_weights(length, new_length):
    """Sparse (new_length, length) matrix of linear interpolation between pixel centres at ``index + 0.5``."""
    scale = length / new_length
    reach = max(scale, 1.0)
    centres = (np.arange(new_length) + 0.5) * scale - 0.5
    taps = np.floor(centres - reach).astype(int)[:, None] + np.arange(int(np.ceil(2 * reach)) + 2)[None, :]
    weights = np.maximum(0.0, 1.0 - np.abs(taps - centres[:, None]) / reach)
    # weights beyond the border are dropped and the rest scaled up, which continues the border pixel outwards
    weights[(taps < 0) | (taps >= length)] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    rows = np.broadcast_to(np.arange(new_length)[:, None], taps.shape)
    used = weights > 0
    return sparse.csr_matrix((weights[used].astype(np.float32), (rows[used], taps[used])), shape=(new_length, length))
