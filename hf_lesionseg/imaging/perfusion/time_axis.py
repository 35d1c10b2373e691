"""Which axis of a 4-D array is time: the one along which a scan stays nearly the same."""

import numpy as np

__all__ = ["find_time_axis"]

_FEWEST = 6  # along a shorter axis, all lies close together
_SAMPLES = 32  # of each of the other axes: what is compared are means
#: of what the next axis shows, where slices lie along the fourth: whole heads have 0.01, brains without skull 0.4
_CLEARLY_LESS = 0.5
#: the same, where the fourth axis is too short to tell: between slices it is 0.26 and more
_LEAST_OF_ALL = 0.2
_UNLIKE = 0.15  # of the difference between any two voxels: no contrast changes a whole slab so much, a brain alone 0.1


def find_time_axis(data):
    """Tell which axis is time, where another one than the fourth clearly is.

    Halfway along the axis of time a voxel still is the same tissue, with noise and some contrast; halfway along any
    other axis it is another place of the head.

    Parameters
    ----------
    data : float array of shape (a, b, c, d)
        HU.

    Returns
    -------
    int
        0 to 2 where the fourth axis cannot be time and this one is; else 3.
    """
    changes = np.array([_change_halfway(data, axis) for axis in range(4)])
    long = np.flatnonzero(np.isfinite(changes))
    if len(long) < 2:
        return 3
    axis, second = long[np.argsort(changes[long])][:2]  # a volume all alike is quiet along every axis but time
    largest, least = (changes[3], _CLEARLY_LESS) if 3 in long else (changes[long].max(), _LEAST_OF_ALL)
    unlike = largest > _UNLIKE * _change_anywhere(data)
    return int(axis) if unlike and changes[axis] < least * changes[second] else 3


def _change_halfway(data, axis):
    """Mean absolute difference of voxels half the axis apart, HU; infinite for an axis too short to tell."""
    length = data.shape[axis]
    if length < _FEWEST:
        return np.inf
    strides = [1 if each == axis else max(1, size // _SAMPLES) for each, size in enumerate(data.shape)]
    half = length // 2
    # planes of the axis one by one, at most as many as are taken of the others: a series may be gigabytes
    starts = np.unique(np.linspace(0, length - half - 1, min(_SAMPLES, length - half)).astype(int))
    index = [slice(None, None, stride) for stride in strides]
    changes = []
    for start in starts:
        planes = [data[(*index[:axis], place, *index[axis + 1 :])] for place in (start, start + half)]
        changes.append(np.abs(planes[0] - planes[1]).mean(dtype=np.float64))
    return float(np.mean(changes))


def _change_anywhere(data):
    """Mean absolute difference of any two voxels, HU."""
    values = np.sort(data[tuple(slice(None, None, max(1, size // _SAMPLES)) for size in data.shape)], axis=None)
    ranks = 2 * np.arange(1, values.size + 1) - values.size - 1
    return float(2 * (ranks * values.astype(np.float64)).sum() / values.size**2)
