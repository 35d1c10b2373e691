"""The labels that a data set says it has, and the ones that a person asks for by value or name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import DataError
from ...models.label_values import as_labels
from ...models.volume_geometry import VolumeError

__all__ = ["LabelTable", "choose_values", "nnunet_table"]

_BACKGROUND, _UNKNOWN = "background", "ignore"


@dataclass(frozen=True)
class LabelTable:
    """Labels by value and by name.

    Attributes
    ----------
    names : name of each value, the background among them
    regions : values of each name that can be asked for; a region has several
    unknown : values of voxels of which nobody said what they are ("ignore" of nnU-Net)
    """

    names: Mapping[int, str]
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    unknown: frozenset[int] = frozenset()

    @property
    def foreground(self) -> tuple[int, ...]:
        """All values but those of the background and of the unknown."""
        return tuple(sorted(value for value in self.names if value not in self.unknown and value != 0))


def nnunet_table(path: Path, description: Mapping) -> LabelTable | None:
    """The table of an nnU-Net ``dataset.json``; None where it has none.

    Version 1 has ``{"1": "pancreas"}``, version 2 ``{"pancreas": 1}``, or a list of values for a region.

    Raises
    ------
    DataError
        For values that are not whole numbers.
    """
    entries = description.get("labels")
    if not entries:
        return None
    try:
        pairs = [(name, value) if str(value).isdigit() else (value, name) for value, name in dict(entries).items()]
        regions: dict[str, tuple[int, ...]] = {}
        names = {0: _BACKGROUND}
        for name, value in (_as_pair(*pair) for pair in pairs):
            nonzero = [each for each in value if each not in (0, "0")]
            if nonzero and str(name) != _BACKGROUND:
                regions[str(name)] = as_labels(nonzero)
        for name, values in sorted(regions.items(), key=lambda item: -len(item[1])):
            names |= dict.fromkeys(values, name)  # a value is called by the smallest region that has it
    except (AttributeError, TypeError, ValueError, VolumeError) as error:
        raise DataError(f"{path}: labels {entries!r} are not names with values ({error}); correct them") from error
    unknown = frozenset(regions.pop(_UNKNOWN, ()))
    return LabelTable(names, regions, unknown)


def _as_pair(name, value):
    """Name and values of an entry: the side that is not a number is the name."""
    return name, value if isinstance(value, list | tuple) else [value]


def choose_values(label: str | int, regions: Mapping[str, tuple[int, ...]], place: str | Path) -> tuple[int, ...]:
    """Values of the labels that a person asked for, by value or name, several with commas.

    Raises
    ------
    DataError
        For a name that is unknown, and for the background; it lists the known names.
    """
    label = str(label)
    parts = [label] if label in regions else [part.strip() for part in label.split(",")]
    values: list[int] = []
    for part in parts:
        if part in regions:
            values += regions[part]
            continue
        try:
            values += as_labels([part])
        except VolumeError as error:
            if part == "0" or part == _BACKGROUND:
                raise DataError(f"{place}: label {label!r} is 0, which is the background; give another") from error
            known = f"or one of: {', '.join(regions)}" if regions else "such as 1, since labels have no names here"
            raise DataError(f"{place}: label {part!r} is unknown; give a number, {known}") from error
    return tuple(dict.fromkeys(values))
