"""What the settings of the image processor may be."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from numbers import Integral

from .intensity import NORMALIZATIONS
from .mask_options import MASK_RULES
from .setting_rules import choice, flag, float_pair, int_pair, optional, refuse
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


def _normalization(name, value):
    one = choice(NORMALIZATIONS)
    if not isinstance(value, Mapping):
        return one(name, value)
    return {str(pattern): one(f"{name}[{pattern!r}]", kind) for pattern, kind in value.items()}


def _names(name, value):
    names = list(value) if isinstance(value, list | tuple) else [value]
    if not names or not all(isinstance(entry, str) and entry for entry in names) or len(set(names)) < len(names):
        refuse(name, value, "give the channels of pixel_values in their order, each by a name of its own")
    return tuple(names)


def _size(name, value):
    try:
        size = dict(value)
    except (TypeError, ValueError):
        size = {}
    if set(size) != {"height", "width"} or not all(isinstance(n, Integral) and n >= 1 for n in size.values()):
        refuse(name, value, 'give {"height": rows, "width": columns}, whole numbers of at least 1, or None')
    return {"height": int(size["height"]), "width": int(size["width"])}


def _check_training_crop(settings):
    plane, offset, size = settings["training_plane"], settings["crop_offset"], settings["size"]
    if (plane is None) != (offset is None):
        refuse("training_plane", plane, f"goes together with crop_offset={offset!r}; give both or neither")
    if plane is None:
        return
    if size is None:
        refuse("training_plane", plane, "needs size, the shape of its crop")
    if offset[0] + size["height"] > plane[0] or offset[1] + size["width"] > plane[1]:
        refuse("crop_offset", offset, f"a crop of {size['height']} x {size['width']} there leaves the plane {plane}")


def _check_resize(settings):
    if not settings["resize"]:
        return
    if settings["size"] is None:
        refuse("resize", True, "needs size, the shape that planes are resampled to")
    for name in ("training_spacing", "training_plane"):
        if settings[name] is not None:
            refuse("resize", True, f"excludes {name}={settings[name]!r}; give one of them")


def _check_patterns(settings):
    """Each channel has one normalisation, whatever the order of the patterns: JSON on the Hub is sorted."""
    patterns, channels = settings["normalization"], settings["channel_names"]
    if isinstance(patterns, str):
        return
    for channel in channels:
        matching = [pattern for pattern in patterns if fnmatchcase(channel, pattern)]
        if len(matching) != 1:
            found = f"both {matching[0]!r} and {matching[1]!r} match" if matching else "no pattern matches"
            refuse("normalization", patterns, f"{found} the channel {channel!r}; give one for each channel")
    for pattern in patterns:
        if not any(fnmatchcase(channel, pattern) for channel in channels):
            refuse("normalization", patterns, f"{pattern!r} matches none of the channels {', '.join(channels)}")


_RULES = {
    "channel_names": _names,
    "slice_axis": choice(tuple(PLANE_AXES)),
    "training_spacing": optional(float_pair(lambda *both: min(both) > 0, "give (row, column) in mm, above 0, or None")),
    "size": optional(_size),
    "resize": flag,
    "training_plane": optional(int_pair(1, "give (rows, columns), whole numbers of at least 1, or None")),
    "crop_offset": optional(int_pair(0, "give (row, column), whole numbers of at least 0, or None")),
    "normalization": _normalization,
    "percentiles": float_pair(lambda low, high: 0 <= low < high <= 100, "give (low, high) with 0 <= low < high <= 100"),
    "intensity_range": float_pair(lambda low, high: low < high, "give (low, high) with low < high"),
    "slice_stack": choice(tuple(STACK_OFFSETS)),
    **MASK_RULES,
}
