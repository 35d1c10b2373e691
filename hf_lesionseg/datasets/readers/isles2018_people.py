"""Whose a case of ISLES 2018 is: by the JSON file beside its truth, or a CSV file of cases and people.

Two cases may be slabs of one patient, and must not be parted by a split.
"""

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ...errors import DataError
from ...models.scan_formats import scan_stem
from ..prepared.records import DataSetWarning
from .isles import FoundCase

__all__ = ["LeakageWarning", "people_warning", "read_people", "tell_people"]

_PATIENT = re.compile(r"(?P<person>[A-Za-z]+_?\d+)(?:_(?P<slab>[A-Z]))?")
_NUMBERED = re.compile(r"(?:case[ _-]*)?0*(\d+)")


class LeakageWarning(DataSetWarning):
    """Cases whose patient is unknown: one person may be in two splits."""


def people_warning(cases: Iterable) -> str | None:
    """Say of how many cases the patient is unknown and why, None where all are known.

    Parameters
    ----------
    cases : objects with ``id`` and ``notes``
    """
    unknown = [case for case in cases if case.notes.get("person_from") == "case"]
    if not unknown:
        return None
    why = unknown[0].notes.get("person_unknown")  # data that were prepared by earlier versions do not say
    first = unknown[0].id + (f": {why}" if why else "") + (", ..." if len(unknown) > 1 else "")
    return (
        f"the patient of {len(unknown)} cases is unknown ({first}): each counts as a person of its own, and slabs of "
        "one patient may come into training and test; give the JSON files of OT, or a CSV file of cases and people"
    )


def read_people(path: Path) -> dict[str, str]:
    """Person of each case, by the case's number, or its name in lower case where that is not a number.

    Raises
    ------
    DataError
        For a file that cannot be read, has no person, or gives a case two.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [{key.strip().lower(): value for key, value in row.items() if key} for row in csv.DictReader(file)]
        pairs = [(row["case"].strip(), row["person"].strip()) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, AttributeError) as error:
        raise DataError(
            f"{path}: cannot be read as CSV with the columns case and person ({error!r}); write lines like "
            "case_64,Train_40 under a line case,person"
        ) from error
    people: dict[str, str] = {}
    for case, person in pairs:
        if not case or not person:
            raise DataError(f"{path}: case {case!r} has no person; complete it")
        if people.setdefault(_key(case), person) != person:
            raise DataError(f"{path}: case {case!r} has two people, {people[_key(case)]} and {person}; keep one")
    if not people:
        raise DataError(f"{path}: names no case; add lines like case_64,Train_40")
    return people


def tell_people(cases: Sequence[FoundCase], people: Path | None = None) -> None:
    """Set whose each case is, and note how that is known.

    The CSV file goes before the JSON files. A case that it does not name is of the person of those that it does name
    and the JSON files call the same patient.

    Parameters
    ----------
    cases : changed in place
    people : CSV file, as of :func:`read_people`

    Raises
    ------
    DataError
        For a line of the CSV file that names no case, and where it parts a patient some of whose cases it leaves out.
    """
    known = {} if people is None else read_people(people)
    foreign = sorted(known.keys() - {_key(case.id) for case in cases})
    if foreign:
        are = "are not cases" if len(foreign) > 1 else "is not a case"
        raise DataError(
            f"{people}: {', '.join(foreign[:3])} {are} of this folder, "
            f"which holds {cases[0].id} and {len(cases) - 1} more; correct the line, or remove it"
        )
    for case in cases:
        _tell_person(case, known)
    _take_along(cases, people)
    for case in cases:
        case.notes.pop("patient", None)


def _take_along(cases: Sequence[FoundCase], people: Path | None) -> None:
    """Give slabs without a line of the CSV file to the person of the patient's others."""
    for slab in [case for case in cases if case.notes["person_from"] == "json"]:
        others = [case for case in cases if case.notes.get("patient") == slab.person]
        for case in others:
            if case.person != others[0].person:
                raise DataError(
                    f"{people}: {others[0].id} is {others[0].person} and {case.id} is {case.person}, but the JSON "
                    f"files say that both are {slab.person}, as {slab.id} is, which has no line; give it one"
                )
        if others:
            slab.person, slab.notes["person_from"] = others[0].person, "mapping"


def _key(case: str) -> str:
    match = _NUMBERED.fullmatch(case.lower())
    return match[1] if match else case.lower()


def _tell_person(case: FoundCase, known: Mapping[str, str]) -> None:
    record, problem = _read_json(case.mask)
    if record.get("synthetic") is True:  # told by whoever generated the case; scores on it must say so
        case.notes["synthetic"] = True
    patient = _patient_of(record)
    told = known.get(_key(case.id))
    if told is not None:
        case.person, case.notes["person_from"] = told, "mapping"
        if patient:
            case.notes["patient"] = patient["person"]
    elif patient:
        case.person, case.notes["person_from"] = patient["person"], "json"
        if patient["slab"]:
            case.notes["slab"] = patient["slab"]
    else:
        case.notes["person_from"], case.notes["person_unknown"] = "case", problem


def _read_json(mask: Path | None) -> tuple[dict, str]:
    """Content of the JSON beside a truth, and why it may not name the patient."""
    if mask is None:
        return {}, "has no truth"
    path = mask.parent / (scan_stem(mask) + ".json")
    try:
        record = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}, f"{path.name} is missing"
    except (OSError, ValueError):
        return {}, f"{path.name} cannot be read as JSON"
    problem = f"{path.name} has no patient in its description, as in 'ISLES 2018 - OT - Train_40_A'"
    return (record if isinstance(record, dict) else {}), problem


def _patient_of(record: Mapping) -> re.Match | None:
    """The patient in the third part of a description, or None."""
    parts = str(record.get("description", "")).split(" - ")
    return _PATIENT.fullmatch(parts[2].strip()) if len(parts) > 2 else None
