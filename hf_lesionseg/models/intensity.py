"""Intensities of a scan brought to the range that a network was trained on."""

from fnmatch import fnmatchcase

import numpy as np

NORMALIZATIONS = ("percentile", "fixed-range", "window", "z-score", "none")
_CHUNK = 1 << 17


def normalization_of(normalization, channel):
    """How one channel is normalised.

    Parameters
    ----------
    normalization : str or dict of str to str
        One of :data:`NORMALIZATIONS`, or one for each pattern of channel names.
    channel : str
        Matched by exactly one of the patterns.
    """
    if isinstance(normalization, str):
        return normalization
    return next(kind for pattern, kind in normalization.items() if fnmatchcase(channel, pattern))


def measure_intensity(volume, percentiles):
    """Measure what every normalisation starts from, over the non-zero voxels (zero is air in a skull-stripped scan).

    Parameters
    ----------
    volume : numpy.ndarray
        Finite, not constant.
    percentiles : tuple of 2 float

    Returns
    -------
    dict
        ``low`` and ``high``, the percentiles; ``minimum`` and ``maximum`` of the whole volume; ``mean`` and ``std``;
        ``background``, the value of air: 0, or ``low`` where that is negative, as in CT (water is 0 there, and its few
        voxels are missed by none of these).
    """
    flat = volume.ravel(order="K")
    values = np.empty(np.count_nonzero(flat), np.float32)
    filled, total = 0, 0.0
    for first in range(0, flat.size, _CHUNK):
        chunk = flat[first : first + _CHUNK]
        chunk = chunk[chunk != 0]
        values[filled : filled + chunk.size] = chunk
        filled += chunk.size
        total += chunk.sum(dtype=np.float64)
    mean = total / filled
    # in chunks: numpy's own std would hold a float64 copy of the volume
    squares = sum(
        np.square(values[first : first + _CHUNK] - mean, dtype=np.float64).sum() for first in range(0, filled, _CHUNK)
    )
    low, high = (float(value) for value in np.percentile(values, percentiles, overwrite_input=True))
    return {
        "low": low,
        "high": high,
        "minimum": float(flat.min()),
        "maximum": float(flat.max()),
        "mean": float(mean),
        "std": float(np.sqrt(squares / filled)),
        "background": min(0.0, low),
    }


def plan_normalization(measured, method, intensity_range, name):
    """Choose how one channel is normalised.

    Parameters
    ----------
    measured : dict
        From :func:`measure_intensity`.
    method : {"percentile", "fixed-range", "window", "z-score", "none"}
    intensity_range : tuple of 2 float
        Of ``fixed-range`` and ``window``: these become 0 and 1.
    name : str
        Of the scan, for the warning.

    Returns
    -------
    record : dict
        ``method`` with ``low`` and ``high``, or ``mean`` and ``std``; ``instead_of`` where a scan was plainly not on
        the fixed range. A window never gives way: Hounsfield units mean the same in every scan.
    warnings : tuple of str
    """
    if method == "none":
        return {"method": "none"}, ()
    if method == "z-score":
        # all non-zero voxels alike: the contrast is that against zero
        std = measured["std"]
        if std <= 1e-6 * abs(measured["mean"]):
            std = (measured["maximum"] - measured["minimum"]) / 2
        return {"method": "z-score", "mean": measured["mean"], "std": std}, ()
    if method == "percentile":
        return _percentile_record(measured), ()
    start, stop = intensity_range
    if method == "window":
        return {"method": "window", "low": float(start), "high": float(stop)}, _doubts(measured, start, stop, name)
    width = stop - start
    too_wide = measured["high"] > stop + width / 2 or measured["low"] < start - width / 2
    too_narrow = measured["high"] < start + width / 20
    if not (too_wide or too_narrow):
        return {"method": "fixed-range", "low": float(start), "high": float(stop)}, ()
    warning = (
        f"{name}: intensities from {measured['low']:.4g} to {measured['high']:.4g} are not on the range {start:g} to "
        f"{stop:g} of this network; normalised by percentiles instead"
    )
    return {**_percentile_record(measured), "instead_of": "fixed-range"}, (warning,)


def tissue_range(measured, record):
    """Intensity of air, and that of bright tissue, by which the window on the planes is placed and padded.

    Under ``window`` these are its ends: from air at -1000 HU even the couch would look like tissue.

    Parameters
    ----------
    measured : dict
        From :func:`measure_intensity`.
    record : dict
        From :func:`plan_normalization`.

    Returns
    -------
    tuple of 2 float
    """
    if record["method"] == "window":
        return record["low"], record["high"]
    return measured["background"], measured["high"]


def apply_normalization(values, record):
    """Normalise in place.

    Parameters
    ----------
    values : numpy.ndarray
        float32; may be a view.
    record : dict
        From :func:`plan_normalization`.
    """
    if record["method"] == "none":
        return
    if record["method"] == "z-score":
        offset, scale = record["mean"], record["std"]
    else:
        offset, scale = record["low"], record["high"] - record["low"]
    # python scalars keep float32 arrays float32, under NumPy 1 and 2
    values -= float(offset)
    values /= float(scale)
    if record["method"] != "z-score":
        np.clip(values, 0.0, 1.0, out=values)


def _doubts(measured, start, stop, name):
    """Warnings about a scan that shows nothing, or something else than Hounsfield units, through a window."""
    window = f"the window {start:g} to {stop:g}"
    if measured["maximum"] <= start or measured["minimum"] >= stop:
        return (
            f"{name}: intensities from {measured['minimum']:.4g} to {measured['maximum']:.4g} all lie on one side of "
            f"{window}, nothing is left to see; is this a CT scan in Hounsfield units?",
        )
    if measured["minimum"] < 0:
        return ()
    # air is -1000 HU and fat -100 HU: a CT scan without a negative voxel has been rescaled or lacks its offset
    if measured["maximum"] <= 255:
        why = "it looks rescaled to grey values"
    elif measured["high"] > 800:
        why = "it looks stored without its offset of -1024"
    else:
        return ()
    return (
        f"{name}: intensities from {measured['minimum']:.4g} to {measured['maximum']:.4g} are hardly Hounsfield units, "
        f"{why}; cut to {window} all the same: export the scan in HU",
    )


def _percentile_record(measured):
    low, high = measured["low"], measured["high"]
    if not low < high:  # nearly all tissue has one value
        low, high = measured["minimum"], measured["maximum"]
    return {"method": "percentile", "low": low, "high": high}
