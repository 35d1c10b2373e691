"""How near a generated diffusion image comes to the true one."""

import numpy as np
from scipy import ndimage

__all__ = ["brain_on_dwi", "dwi_correlation", "otsu_threshold"]


def otsu_threshold(values, bins=256):
    """The value that parts an image's bright from its dark pixels so that each kind varies least (Otsu, 1979).

    Parameters
    ----------
    values : numpy.ndarray
    bins : int
        Number of bins of the histogram.

    Examples
    --------
    >>> 1 < otsu_threshold(np.array([0.0, 1.0, 1.0, 9.0, 10.0])) < 9
    True
    """
    counts, edges = np.histogram(values, bins)
    middles = (edges[:-1] + edges[1:]) / 2
    dark = np.cumsum(counts)
    bright = counts.sum() - dark
    below = np.cumsum(counts * middles)
    difference = below / np.maximum(dark, 1) - (below[-1] - below) / np.maximum(bright, 1)
    between = dark * bright * difference**2
    best = np.flatnonzero(between == between.max())  # a whole range, where nothing lies between the two
    return float(edges[(best[0] + best[-1]) // 2 + 1])


def brain_on_dwi(true):
    """Pixels of the head that a DWI shows: the bright ones, and the dark fluid that they enclose.

    Parameters
    ----------
    true : numpy.ndarray of shape (num_slices, height, width)

    Returns
    -------
    numpy.ndarray of that shape
        bool.
    """
    bright = true > otsu_threshold(true)
    return np.stack([ndimage.binary_fill_holes(plane) for plane in bright])


def dwi_correlation(generated, true, where=None):
    """Pearson's correlation of two DWI over the pixels of the brain.

    Air is left out: black beside bright brain correlates whatever is drawn into it. So are slices that nothing was
    generated for, which hold NaN.

    Parameters
    ----------
    generated, true : numpy.ndarray of shape (num_slices, height, width)
        On any scale.
    where : numpy.ndarray of that shape, optional
        bool; by default :func:`brain_on_dwi` of the true one.

    Returns
    -------
    float or None
        None where one of them is constant.
    """
    where = (brain_on_dwi(true) if where is None else where) & ~np.isnan(generated)
    pairs = np.stack([generated[where], true[where]]).astype(np.float64)
    if pairs.shape[1] < 2 or not pairs.std(axis=1).all():
        return None
    return float(np.corrcoef(pairs)[0, 1])
