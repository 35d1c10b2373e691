"""Folds for cross-validation: by person, alike in lesion volume, kept with the prepared data.

``folds-4.json`` in a prepared folder holds the four folds of its people. While fold 0 is held out, the people of the
others train, but for a share of them, balanced as well, on whom the best weights are chosen: those of fold 0 play no
part in the network that they are scored with.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import DataError, UsageError
from ...imaging.atomic import write_aside
from .splits import ids_sha256, make_splits

__all__ = ["Folds", "folds_file", "load_folds", "make_folds", "save_folds"]

_FORMAT_VERSION = 1
VALIDATION_SHARE = 0.2


@dataclass(frozen=True)
class Folds:
    """Which case is in which fold.

    Attributes
    ----------
    members : ids of the cases of each fold; no case is in two, no person either
    validation : for each fold, ids of cases of the other folds on which weights are chosen while it is held out
    people : number of people of each fold
    left_out : ids of cases that are in no fold, such as a test set kept apart
    seed : of the random choice
    """

    members: Sequence[Sequence[str]]
    validation: Sequence[Sequence[str]]
    people: Sequence[int]
    left_out: Sequence[str]
    seed: int

    def __len__(self) -> int:
        return len(self.members)

    def splits(self, held_out: int) -> dict[str, list[str]]:
        """Case ids of "train", "validation" and "test" while one fold is held out: that is the test split.

        Raises
        ------
        DataError
            There is no such fold.
        """
        if not 0 <= held_out < len(self):
            raise DataError(f"there is no fold {held_out}: {len(self)} folds are numbered 0 to {len(self) - 1}")
        chosen = set(self.validation[held_out])
        others = [case for fold, ids in enumerate(self.members) if fold != held_out for case in ids]
        return {
            "train": sorted(set(others) - chosen),
            "validation": sorted(chosen),
            "test": sorted(self.members[held_out]),
        }

    def fingerprint(self) -> str:
        """Hash of which case is in which fold: networks of the same one belong together."""
        return ids_sha256(f"{fold}/{case}" for fold, ids in enumerate(self.members) for case in ids)


def make_folds(cases: Iterable, number: int = 4, seed: int = 0, left_out: Iterable = ()) -> Folds:
    """Share the people out into folds, small and large lesions alike.

    Parameters
    ----------
    cases : objects with ``id``, ``person`` and ``lesion_ml``
    number : of folds, 2 or more
    seed : of the choice
    left_out : cases of the same data that are to be in no fold

    Raises
    ------
    DataError
        For fewer people than folds, too few to validate on, or somebody both in the folds and left out.
    UsageError
        For fewer than two folds.
    """
    cases, left_out = list(cases), list(left_out)
    people = {case.person for case in cases}
    if number < 2:
        raise UsageError(f"{number} folds cannot be held out in turn; give 2 or more")
    if len(people) < number:
        raise DataError(f"{len(people)} people cannot be shared out into {number} folds; give fewer folds")
    both = people & {case.person for case in left_out}
    if both:
        raise DataError(f"person {min(both)} has cases in the folds and left out; keep all cases of a person together")
    dealt = make_splits(cases, {str(fold): 1 for fold in range(number)}, seed)
    members = [dealt.members[str(fold)] for fold in range(number)]
    validation = []
    for fold, held_out in enumerate(members):
        rest = [case for case in cases if case.id not in set(held_out)]
        if len({case.person for case in rest}) < 2:
            raise DataError(
                f"while fold {fold} is held out one person is left for training and validation; prepare more cases"
            )
        shares = {"train": 1 - VALIDATION_SHARE, "validation": VALIDATION_SHARE}
        validation.append(make_splits(rest, shares, seed).members["validation"])
    counts = [dealt.people[str(fold)] for fold in range(number)]
    return Folds(members, validation, counts, sorted(case.id for case in left_out), int(seed))


def folds_file(folder: str | Path, number: int) -> Path:
    """File of a prepared folder that keeps so many folds."""
    return Path(folder) / f"folds-{number}.json"


def save_folds(path: str | Path, folds: Folds) -> None:
    """Write folds as JSON, with their seed and a hash of the ids."""
    record = {"format_version": _FORMAT_VERSION, **asdict(folds), "sha256": _sha256(folds)}
    with write_aside(Path(path)) as aside:
        aside.write_text(json.dumps(record, indent=1) + "\n")


def load_folds(path: str | Path, cases: Iterable) -> Folds:
    """Read folds and check them against the cases that they are of.

    Raises
    ------
    DataError
        Where the file is damaged or was changed by hand, names unknown cases, leaves one out, or has one person in two
        folds, or in training and validation.
    """
    path = Path(path)
    try:
        record = json.loads(path.read_text())
        folds = Folds(*(record[name] for name in ("members", "validation", "people", "left_out", "seed")))
        untouched = record["sha256"] == _sha256(folds)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: holds no folds ({error!r}); delete it and run `lesionseg folds` again") from error
    if not untouched:
        raise DataError(f"{path}: was changed by hand; delete it and run `lesionseg folds` again")
    person_of = {case.id: case.person for case in cases}
    names = [*(case for ids in folds.members for case in ids), *folds.left_out]
    if sorted(names) != sorted(person_of):
        odd = sorted(set(names) ^ set(person_of)) or sorted(name for name in names if names.count(name) > 1)
        raise DataError(
            f"{path}: holds other cases than these data ({odd[0]} differs); delete it and run "
            "`lesionseg folds` again, then train every fold again"
        )
    groups = {f"fold {fold}": ids for fold, ids in enumerate(folds.members)} | {"no fold": folds.left_out}
    _check_people(path, "", groups, person_of)
    for fold in range(len(folds)):
        _check_people(path, f"while fold {fold} is held out, ", folds.splits(fold), person_of)
    return folds


def _check_people(path: Path, when: str, groups: Mapping, person_of: Mapping[str, str]) -> None:
    home: dict[str, str] = {}
    for name, ids in groups.items():
        for case in ids:
            person = person_of[case]
            if home.setdefault(person, name) != name:
                raise DataError(
                    f"{path}: {when}person {person} is in {home[person]} and {name}; delete it and run "
                    "`lesionseg folds` again, then train every fold again"
                )


def _sha256(folds: Folds) -> str:
    groups = {"member": folds.members, "validation": folds.validation, "left out": [folds.left_out]}
    return ids_sha256(
        f"{kind}/{fold}/{case}" for kind, lists in groups.items() for fold, ids in enumerate(lists) for case in ids
    )
