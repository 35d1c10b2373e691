"""Number type of prepared slices: half precision where that costs no more than its own rounding."""

import numpy as np

__all__ = ["as_stored"]

#: largest error in shares of the spread of tissue; rounding of float16 in [0, 1] is a quarter of a thousandth
_LARGEST_ERROR = 2.0**-9
_STRIDE = 200_000  # values that the spread is taken from


def as_stored(values: np.ndarray) -> np.ndarray:
    """Return float16, or float32 where float16 would lose what tells tissues apart.

    That is so for values beyond its range, for tiny ones, which it rounds to zero or nearly so, and for tissue that
    differs little beside a large offset.

    Parameters
    ----------
    values : float32 array, finite
    """
    with np.errstate(over="ignore"):
        small = values.astype(np.float16)
    if not np.isfinite(small).all():
        return values
    flat, rounded = values.reshape(-1), small.reshape(-1)
    step = max(1, flat.size // _STRIDE)
    sample, kept = flat[::step], rounded[::step].astype(np.float32)
    shows = sample != sample.min()  # air is one value, or many of them alike
    if not shows.any():
        return small
    low, high = np.percentile(sample[shows], (5, 95))
    if low == high:
        low, high = sample.min(), sample.max()
    tissue = (sample >= low) & (sample <= high)
    error = np.abs(kept[tissue] - sample[tissue]).max()
    return small if error <= _LARGEST_ERROR * (high - low) else values
