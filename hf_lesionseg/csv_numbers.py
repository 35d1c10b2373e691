"""Numbers as tables hold them: digits that mean something, and no more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

DIGITS = 6


def short_number(value: Any, digits: int = DIGITS) -> Any:
    """Return a float as text of so many significant digits, never in powers of ten; anything else as it is.

    Examples
    --------
    >>> short_number(0.8372093023255814), short_number(1e8), short_number(2.0), short_number(7)
    ('0.837209', '100000000.0', '2.0', 7)
    """
    if not isinstance(value, (float, np.floating)) or not math.isfinite(value):
        return value
    return np.format_float_positional(value, precision=digits, fractional=False, trim="0")


def short_numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of a table with its floats shortened."""
    return {name: short_number(value) for name, value in row.items()}
