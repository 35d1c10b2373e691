"""Scored cases as JSON and back, so that cases which were scored at different times can be pooled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields

from .lesionwise import LesionCounts
from .metrics import CaseMetrics, VoxelCounts
from .slicewise import SliceDice

_PARTS = {"counts": VoxelCounts, "slices": SliceDice, "lesions": LesionCounts}


def case_to_row(case: CaseMetrics) -> dict:
    """Return all that is known of a case; undefined values are None."""
    row = asdict(case)
    undefined = {name: None for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)}
    return row | undefined


def case_from_row(row: Mapping) -> CaseMetrics:
    """Return the case that :func:`case_to_row` was given, whether or not the row has been through JSON.

    Raises
    ------
    KeyError, TypeError
        The row is none.
    """
    values = {}
    for field in fields(CaseMetrics):
        value = row[field.name]
        if field.name in _PARTS:
            values[field.name] = None if value is None else _PARTS[field.name](**_tuples(value))
        else:
            values[field.name] = math.nan if value is None else value
    return CaseMetrics(**values)


def _tuples(part: Mapping) -> dict:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in part.items()}
