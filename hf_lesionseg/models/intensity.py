"""Intensities of a scan brought to the range that a network was trained on."""

import re
from fnmatch import fnmatchcase

import numpy as np

from .padding import AIR_HU, padding_values

NORMALIZATIONS = ("percentile", "fixed-range", "window", "z-score", "none")
_CHUNK = 1 << 17
_BRIGHT = 0.7  # share of the range that the bright tissue of scans on it reaches
#: window of a channel that is named as CT, where none was chosen; HU, as of Pancreas-CT
CT_WINDOW = (-100.0, 240.0)
_CT_NAME = re.compile(r"(^|[^a-z])((nc|ce)?ct|cta|ctv|ctp)([^a-z]|$)")


def is_ct(channel):
    """Tell whether a channel is named as CT in Hounsfield units: ct, ncct, cect, cta, ctp_00, ct_portal.

    Perfusion maps (``p_ct_cbf``, ``cbf``) are none: a name that ends with a map's is that map.

    Examples
    --------
    >>> [is_ct(name) for name in ("ct", "NCCT", "ct_venous", "ctp_03", "t1w", "act", "pct_cbf")]
    [True, True, True, True, False, False, False]
    """
    name = channel.lower()
    return bool(_CT_NAME.search(name)) and not re.search(r"(cbf|cbv|mtt|tmax|ttp|mask)$", name)


def modality_settings(channel_names):
    """Normalisation that goes with the kinds of images, where none was chosen.

    The unit decides and not the reader that found the files: CT is cut to a window in HU, images without a unit are
    brought to their own percentiles, so that a constant factor on them changes nothing.

    Parameters
    ----------
    channel_names : sequence of str, or one
        What is none has none; that it is refused is for others.

    Returns
    -------
    dict
        Settings of :class:`LesionImageProcessor`; empty where no channel is CT.
    """
    names = [channel_names] if isinstance(channel_names, str) else channel_names
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return {}
    kinds = {channel: "window" if is_ct(channel) else "percentile" for channel in names}
    if "window" not in kinds.values():
        return {}
    alike = set(kinds.values()) == {"window"}
    return {"normalization": "window" if alike else kinds, "intensity_range": CT_WINDOW}


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
    """Measure what every normalisation starts from, over the voxels that are neither zero nor padding.

    Zero is air in a skull-stripped scan, and padding a constant outside the field of view
    (:func:`~hf_lesionseg.models.padding.padding_values`); where nothing else is left, padding counts.

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
        voxels are missed by none of these); ``padding``, its values.
    """
    flat = volume.ravel(order="K")
    padding = padding_values(flat)
    values = _measured(flat, padding)
    if not values.size:
        padding, values = (), _measured(flat, ())
    mean = values.sum(dtype=np.float64) / values.size
    # in chunks: numpy's own std would hold a float64 copy of the volume
    squares = sum(
        np.square(values[first : first + _CHUNK] - mean, dtype=np.float64).sum()
        for first in range(0, values.size, _CHUNK)
    )
    low, high = (float(value) for value in np.percentile(values, percentiles, overwrite_input=True))
    return {
        "low": low,
        "high": high,
        "minimum": float(flat.min()),
        "maximum": float(flat.max()),
        "mean": float(mean),
        "std": float(np.sqrt(squares / values.size)),
        "background": min(0.0, low, *(value for value in padding if AIR_HU[0] <= value <= AIR_HU[1])),
        "padding": padding,
    }


def _measured(flat, padding):
    """Voxels that count, collected in chunks."""
    if not padding:
        values, filled = np.empty(np.count_nonzero(flat), np.float32), 0
        for first in range(0, flat.size, _CHUNK):
            chunk = flat[first : first + _CHUNK]
            chunk = chunk[chunk != 0]
            values[filled : filled + chunk.size] = chunk
            filled += chunk.size
        return values
    counts = flat != 0
    for value in padding:
        counts &= flat != value
    return flat[counts].astype(np.float32, copy=False)


def plan_normalization(measured, method, intensity_range, name):
    """Choose how one channel is normalised.

    Parameters
    ----------
    measured : dict
        From :func:`measure_intensity`.
    method : {"percentile", "fixed-range", "window", "z-score", "none"}
    intensity_range : tuple of 2 float
        Range for ``fixed-range`` and ``window``; its ends become 0 and 1.
    name : str
        Name of the scan, for the warning.

    Returns
    -------
    record : dict
        ``method`` with ``low`` and ``high``, or ``mean`` and ``std``; ``instead_of`` where a scan was plainly not on
        the fixed range. A window never gives way: Hounsfield units mean the same in every scan.
    warnings : tuple of str
    """
    if method == "none":
        return {"method": "none"}, ()
    doubt = _hounsfield_note(measured, method, name)
    if method == "z-score":
        # all non-zero voxels alike: the contrast is that against zero
        std = measured["std"]
        if std <= 1e-6 * abs(measured["mean"]):
            std = (measured["maximum"] - measured["minimum"]) / 2
        return {"method": "z-score", "mean": measured["mean"], "std": std}, doubt
    if method == "percentile":
        return _percentile_record(measured), doubt
    start, stop = intensity_range
    if method == "window":
        return {"method": "window", "low": float(start), "high": float(stop)}, _doubts(measured, start, stop, name)
    if _is_on_range(measured, start, stop):
        return {"method": "fixed-range", "low": float(start), "high": float(stop)}, ()
    found = f"{name}: intensities from {measured['low']:.4g} to {measured['high']:.4g} are not on the range "
    factor = _power_of_ten(measured, start, stop)
    if factor is not None:
        record = {"method": "fixed-range", "low": start * factor, "high": stop * factor, "instead_of": "fixed-range"}
        return record, (f"{found}{start:g} to {stop:g} of this network; taken as {factor:g} times that range",)
    warning = f"{found}{start:g} to {stop:g} of this network; normalised by percentiles instead"
    return {**_percentile_record(measured), "instead_of": "fixed-range"}, (warning, *doubt)


def _is_on_range(measured, start, stop):
    width = stop - start
    too_wide = measured["high"] > stop + width / 2 or measured["low"] < start - width / 2
    return not (too_wide or measured["high"] < start + width / 20)


def _power_of_ten(measured, start, stop):
    """Factor by which a scan that is as bright as those on the range was stored, as 0..1 or 0..1000 for 0..100."""
    if measured["high"] <= 0 or stop <= 0:
        return None
    factor = 10.0 ** np.ceil(np.log10(measured["high"] / stop) - 1e-9)
    scaled = {name: measured[name] / factor for name in ("low", "high")}
    bright = scaled["high"] >= start + _BRIGHT * (stop - start)
    return float(factor) if bright and _is_on_range(scaled, start, stop) else None


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


def _hounsfield_note(measured, method, name):
    """Warning about CT that is spread by its own values: bone and air take the scale, and tissue a tenth of it."""
    if measured["minimum"] > -900 or measured["maximum"] < 100 or measured["maximum"] > 32767:
        return ()
    return (
        f"{name}: intensities from {measured['minimum']:.4g} to {measured['maximum']:.4g} look like CT in Hounsfield "
        f"units, and {method} leaves tissue a small part of the scale; a window is for CT: name the channel ct",
    )


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
        f"{why}; cut to {window} anyway: export the scan in HU",
    )


def _percentile_record(measured):
    low, high = measured["low"], measured["high"]
    if not low < high:  # nearly all tissue has one value
        low, high = measured["minimum"], measured["maximum"]
    return {"method": "percentile", "low": low, "high": high}
