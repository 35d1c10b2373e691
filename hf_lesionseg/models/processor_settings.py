"""What the settings of the image processor may be."""

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from numbers import Integral, Real

from .intensity import NORMALIZATIONS
from .slice_stack import STACK_OFFSETS
from .volume_geometry import PLANE_AXES


def check_settings(given, defaults):
    """Complete settings by their defaults and bring them to one form (tuples, plain numbers).

    Parameters
    ----------
    given : dict
        May come from JSON: lists where tuples are meant.
    defaults : dict
        Value of every setting that there is.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        Names the field, its value and what it may be.
    """
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise ValueError(f"unknown settings {', '.join(unknown)}: choose among {', '.join(defaults)}")
    settings = {**defaults, **given}
    checked = {name: _RULES[name](name, value) for name, value in settings.items()}
    _check_training_crop(checked)
    _check_resize(checked)
    _check_patterns(checked)
    return checked


def _refuse(name, value, remedy):
    raise ValueError(f"{name}={value!r}: {remedy}")


def _number(value):
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _pair(name, value, fits, remedy):
    if isinstance(value, str | Mapping) or not hasattr(value, "__len__") or len(value) != 2:
        _refuse(name, value, remedy)
    first, second = value
    if not (_number(first) and _number(second) and fits(first, second)):
        _refuse(name, value, remedy)
    return first, second


def _float_pair(fits, remedy):
    return lambda name, value: tuple(float(number) for number in _pair(name, value, fits, remedy))


def _int_pair(smallest, remedy):
    def check(name, value):
        pair = _pair(name, value, lambda *both: all(int(n) == n and n >= smallest for n in both), remedy)
        return tuple(int(number) for number in pair)

    return check


def _optional(rule):
    return lambda name, value: None if value is None else rule(name, value)


def _choice(options):
    def check(name, value):
        if value not in options:
            _refuse(name, value, f"choose one of {', '.join(options)}")
        return value

    return check


def _normalization(name, value):
    one = _choice(NORMALIZATIONS)
    if not isinstance(value, Mapping):
        return one(name, value)
    return {str(pattern): one(f"{name}[{pattern!r}]", kind) for pattern, kind in value.items()}


def _between(lowest, highest, remedy):
    def check(name, value):
        if not (_number(value) and lowest <= value <= highest):
            _refuse(name, value, remedy)
        return float(value)

    return check


def _count(remedy):
    def check(name, value):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 0:
            _refuse(name, value, remedy)
        return int(value)

    return check


def _names(name, value):
    names = list(value) if isinstance(value, list | tuple) else [value]
    if not names or not all(isinstance(entry, str) and entry for entry in names) or len(set(names)) < len(names):
        _refuse(name, value, "give the channels of pixel_values in their order, each by a name of its own")
    return tuple(names)


def _size(name, value):
    try:
        size = dict(value)
    except (TypeError, ValueError):
        size = {}
    if set(size) != {"height", "width"} or not all(isinstance(n, Integral) and n >= 1 for n in size.values()):
        _refuse(name, value, 'give {"height": rows, "width": columns}, whole numbers of at least 1, or None')
    return {"height": int(size["height"]), "width": int(size["width"])}


def _check_training_crop(settings):
    plane, offset, size = settings["training_plane"], settings["crop_offset"], settings["size"]
    if (plane is None) != (offset is None):
        _refuse("training_plane", plane, f"goes together with crop_offset={offset!r}; give both or neither")
    if plane is None:
        return
    if size is None:
        _refuse("training_plane", plane, "needs size, the shape of its crop")
    if offset[0] + size["height"] > plane[0] or offset[1] + size["width"] > plane[1]:
        _refuse("crop_offset", offset, f"a crop of {size['height']} x {size['width']} there leaves the plane {plane}")


def _check_resize(settings):
    if not settings["resize"]:
        return
    if settings["size"] is None:
        _refuse("resize", True, "needs size, the shape that planes are resampled to")
    for name in ("training_spacing", "training_plane"):
        if settings[name] is not None:
            _refuse("resize", True, f"excludes {name}={settings[name]!r}; give one of them")


def _check_patterns(settings):
    """Each channel has one normalisation, whatever the order of the patterns: JSON on the Hub is sorted."""
    patterns, channels = settings["normalization"], settings["channel_names"]
    if isinstance(patterns, str):
        return
    for channel in channels:
        matching = [pattern for pattern in patterns if fnmatchcase(channel, pattern)]
        if len(matching) != 1:
            found = f"both {matching[0]!r} and {matching[1]!r} match" if matching else "no pattern matches"
            _refuse("normalization", patterns, f"{found} the channel {channel!r}; give one for each channel")
    for pattern in patterns:
        if not any(fnmatchcase(channel, pattern) for channel in channels):
            _refuse("normalization", patterns, f"{pattern!r} matches none of the channels {', '.join(channels)}")


def _odd(name, value):
    if (
        not isinstance(value, Integral)
        or isinstance(value, bool)
        or not (value == 0 or (3 <= value <= 15 and value % 2))
    ):
        _refuse(name, value, "give an odd number of voxels from 3 to 15, 0 for no filter")
    return int(value)


def _flag(name, value):
    if not isinstance(value, bool):
        _refuse(name, value, "give true or false")
    return value


_RULES = {
    "channel_names": _names,
    "slice_axis": _choice(tuple(PLANE_AXES)),
    "training_spacing": _optional(
        _float_pair(lambda *both: min(both) > 0, "give (row, column) in mm, above 0, or None")
    ),
    "size": _optional(_size),
    "resize": _flag,
    "training_plane": _optional(_int_pair(1, "give (rows, columns), whole numbers of at least 1, or None")),
    "crop_offset": _optional(_int_pair(0, "give (row, column), whole numbers of at least 0, or None")),
    "normalization": _normalization,
    "percentiles": _float_pair(
        lambda low, high: 0 <= low < high <= 100, "give (low, high) with 0 <= low < high <= 100"
    ),
    "intensity_range": _float_pair(lambda low, high: low < high, "give (low, high) with low < high"),
    "slice_stack": _choice(tuple(STACK_OFFSETS)),
    "threshold": _between(0.0, 1.0, "give a probability from 0 to 1"),
    "minimum_lesion_ml": _between(0.0, 1e6, "give a volume in mL, 0 to keep all lesions"),
    "keep_largest": _count("give a whole number of lesions, 0 to keep all"),
    "median_filter": _odd,
}
