"""What the readers find in a data set: cases to prepare, and files that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .label_tables import LabelTable, choose_values

__all__ = ["CaseRecord", "DataSetWarning", "Origin", "RejectedCase", "with_label"]


class DataSetWarning(UserWarning):
    """Something that a person should know of a data set before training on it."""


@dataclass(frozen=True)
class CaseRecord:
    """One scan of one person, with its lesion masks.

    Attributes
    ----------
    id : unique within the data set, usable as a folder name
    person : scans of one person share it, and stay in one split
    images : file of each channel, by channel name
    masks : lesion files; the lesion is their union
    values : label values that count as lesion; without them all above 0
    notes : what the reader knows besides, JSON-able; kept with the case
    table : the labels that the data set says its masks have; a mask with another one is refused
    """

    id: str
    person: str
    images: Mapping[str, Path]
    masks: Sequence[Path]
    values: tuple[int, ...] | None = None
    notes: Mapping = field(default_factory=dict)
    table: LabelTable | None = None


@dataclass(frozen=True)
class RejectedCase:
    """A file that does not become a case.

    Attributes
    ----------
    path : file, relative to the data set's folder where it lies in it
    reason : why, in one line
    """

    path: str
    reason: str


@dataclass(frozen=True)
class Origin:
    """Where prepared cases come from; kept with them, and shown in model cards.

    Attributes
    ----------
    name, licence : of the data set
    synthetic : whether the scans are generated
    source : folder that file names are recorded relative to
    remarks : what is to be said of the data set as a whole
    """

    name: str
    synthetic: bool
    licence: str = "unknown"
    source: Path | None = None
    remarks: Sequence[str] = ()


def with_label(records: Iterable[CaseRecord], label: str | int | None, place: str | Path) -> list[CaseRecord]:
    """The records with the lesion that a person asked for; as they are where nobody did.

    Raises
    ------
    DataError
        For a name that the table of a record does not have.
    """
    if label is None:
        return list(records)
    none = LabelTable({})
    return [replace(each, values=choose_values(label, (each.table or none).regions, place)) for each in records]
