"""Names in any script on figures: from a font of this machine that has their signs, spelled out where none has.

matplotlib's own font knows Latin, Greek and Cyrillic. Of other scripts it draws placeholders, so that two Chinese
names would look the same. A sign without any font stands as its number, \\u60a3.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PLACEHOLDERS = ("lastresort", "last resort", "adobe blank", "adobeblank")  # fonts that have a box for every sign


def make_readable(figure: Figure) -> None:
    """Give every text of a figure the fonts that its signs need; call it before the figure is saved."""
    from matplotlib.text import Text
    from matplotlib.ticker import FixedFormatter, FuncFormatter

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            formatter = axis.get_major_formatter()
            if isinstance(formatter, FixedFormatter | FuncFormatter):  # sets the ticks' texts anew at every drawing
                axis.set_major_formatter(FuncFormatter(functools.partial(_spelled_label, formatter)))
    for text in figure.findobj(Text):
        words = text.get_text()
        if words.isascii():
            continue
        families = _families(_unknown(words))
        if families:
            text.set_family([*text.get_family(), *families])
        if (spelled := _spell_out(words)) != words:
            text.set_text(spelled)


def _spelled_label(formatter, value: float, place: int | None) -> str:
    return _spell_out(formatter(value, place))


def _spell_out(text: str) -> str:
    lacking = _without_font(_unknown(text))
    return "".join(f"\\u{ord(sign):04x}" if sign in lacking else sign for sign in text)


def _unknown(text: str) -> str:
    """Signs that matplotlib's own font does not have, each once."""
    from matplotlib.font_manager import findfont

    if text.isascii():
        return ""
    known = _signs(findfont("DejaVu Sans"))
    return "".join(sorted({sign for sign in text if sign.isprintable() and ord(sign) not in known}))


def _families(unknown: str) -> list[str]:
    return list(dict.fromkeys(family for sign in unknown if (family := _family_of(sign)) is not None))


def _without_font(unknown: Iterable[str]) -> set[str]:
    return {sign for sign in unknown if _family_of(sign) is None}


@functools.cache
def _family_of(sign: str) -> str | None:
    """The first font of this machine, by name, that has a sign."""
    from matplotlib.font_manager import fontManager

    for entry in sorted(fontManager.ttflist, key=lambda entry: (entry.name, entry.fname)):
        if not entry.name.lower().startswith(_PLACEHOLDERS) and ord(sign) in _signs(entry.fname):
            return entry.name
    return None


@functools.cache
def _signs(file: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(file).get_charmap())
    except (OSError, RuntimeError):  # no font, or none that can be drawn
        return frozenset()
