"""Split cases into train, validation and test: by person, alike in lesion volume, the same for the same seed."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import DataError, RejectedCasesError
from ...imaging.atomic import write_aside
from .records import RejectedCase

__all__ = ["PAPER_FRACTIONS", "Splits", "ids_sha256", "load_splits", "make_splits", "save_splits", "split_prepared"]

PAPER_FRACTIONS = {"train": 120 / 220, "validation": 40 / 220, "test": 60 / 220}
"""CLCI-Net's split of the 220 people of ATLAS R1.1."""

_FORMAT_VERSION = 1


@dataclass(frozen=True)
class Splits:
    """Which case is in which split.

    Attributes
    ----------
    members : ids of the cases of each split
    people : number of people of each split
    fractions : share of the people that was asked for, by split; the shares sum to 1
    seed : of the random choice
    """

    members: Mapping[str, list[str]]
    people: Mapping[str, int]
    fractions: Mapping[str, float]
    seed: int


def ids_sha256(ids: Iterable[str]) -> str:
    """Hash of a set of case ids, whatever their order."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


def make_splits(cases: Iterable, fractions: Mapping[str, float] = PAPER_FRACTIONS, seed: int = 0) -> Splits:
    """Split cases so that nobody is in two splits and all splits have small and large lesions in equal shares.

    People are ordered by the volume of their largest lesion, and the splits dealt along this order in the wanted
    proportion, so that chance decides between neighbours only.

    Parameters
    ----------
    cases : objects with ``id``, ``person`` and ``lesion_ml``
    fractions : share of each split, by name; any positive numbers, such as 120, 40 and 60
    seed : of the choice

    Raises
    ------
    DataError
        For impossible fractions, and for fewer people than splits.
    """
    volume, ids = {}, {}
    for case in cases:
        volume[case.person] = max(volume.get(case.person, 0.0), float(case.lesion_ml))
        ids.setdefault(case.person, []).append(case.id)
    shares = _normalised(fractions)
    names = [name for name, share in shares.items() if share > 0]
    if len(volume) < len(names):
        raise DataError(
            f"{len(volume)} people cannot be split into {', '.join(names)}: prepare more cases, or set a fraction to 0"
        )
    rng = np.random.default_rng(seed)
    counts = _counts(len(volume), {name: shares[name] for name in names})
    dealt = _deal(counts, len(volume), rng)
    ordered = sorted(volume, key=lambda person: (volume[person], person))
    members: dict[str, list[str]] = {name: [] for name in shares}
    for person, name in zip(ordered, dealt, strict=True):
        members[name] += ids[person]
    people = {name: counts.get(name, 0) for name in shares}
    return Splits({name: sorted(each) for name, each in members.items()}, people, shares, int(seed))


def split_prepared(dataset, fractions: Mapping[str, float], seed: int) -> None:
    """Split a `PreparedDataset` by person, and keep the split in its folder.

    Raises
    ------
    RejectedCasesError
        Where it cannot be split; with the cases that were rejected, since they may be why.
    """
    try:
        splits = make_splits(dataset.cases, fractions, seed)
    except DataError as error:
        refused = [RejectedCase(each["path"], each["reason"]) for each in dataset.rejected]
        without = f" ({len(refused)} could not be used)" if refused else ""
        raise RejectedCasesError(f"{dataset.folder}: {error}{without}", refused) from error
    save_splits(dataset.folder / "splits.json", splits)


def save_splits(path: str | Path, splits: Splits) -> None:
    """Write a split as JSON, with its seed, its fractions and a hash of the ids."""
    record = {
        "format_version": _FORMAT_VERSION,
        "seed": splits.seed,
        "fractions": dict(splits.fractions),
        "people": dict(splits.people),
        "splits": {name: list(each) for name, each in splits.members.items()},
        "ids_sha256": ids_sha256(case for each in splits.members.values() for case in each),
    }
    with write_aside(Path(path)) as aside:
        aside.write_text(json.dumps(record, indent=2) + "\n")


def load_splits(path: str | Path, cases: Iterable | None = None) -> dict[str, list[str]]:
    """Read a split, and check it against the cases that it is to be used on.

    Parameters
    ----------
    path : file that `save_splits` wrote
    cases : objects with ``id`` and ``person``; without them only the file itself is checked

    Returns
    -------
    dict from the split's name to case ids

    Raises
    ------
    DataError
        Where the file is missing or damaged, names a case twice, an unknown one, leaves one out, or has one person in
        two splits.
    """
    path = Path(path)
    try:
        record = json.loads(path.read_text())
        splits = {name: [str(case) for case in each] for name, each in record["splits"].items()}
        expected = record["ids_sha256"]
    except FileNotFoundError:
        raise DataError(f"{path}: does not exist; run `lesionseg prepare` again, it writes the split last") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: is not a split file ({error}); delete it and run `lesionseg prepare` again"
        ) from error
    names = [case for each in splits.values() for case in each]
    twice = [case for case, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{path}: {twice[0]} is in the split twice; make the split again")
    if ids_sha256(names) != expected:
        raise DataError(
            f"{path}: the ids do not match their hash, so the file was changed by hand; make the split again"
        )
    if cases is not None:
        _check_against(path, splits, {case.id: case.person for case in cases})
    return splits


def _check_against(path: Path, splits: Mapping[str, list[str]], person_of: Mapping[str, str]) -> None:
    names = [case for each in splits.values() for case in each]
    for difference, problem in (
        (set(names) - set(person_of), "names case {} which the data do not have"),
        (set(person_of) - set(names), "leaves out case {}"),
    ):
        if difference:
            raise DataError(f"{path}: {problem.format(sorted(difference)[0])}; make the split again for these data")
    home: dict[str, str] = {}
    for name, each in splits.items():
        for case in each:
            if home.setdefault(person_of[case], name) != name:
                raise DataError(
                    f"{path}: person {person_of[case]} is in {home[person_of[case]]} and {name}; make the split again"
                )


def _normalised(fractions: Mapping[str, float]) -> dict[str, float]:
    values = {name: float(share) for name, share in fractions.items()}
    total = sum(values.values())
    if not values or not all(np.isfinite(share) and share >= 0 for share in values.values()) or total <= 0:
        raise DataError(f"fractions {dict(fractions)} are impossible: give a number of 0 or more to each split")
    return {name: share / total for name, share in values.items()}


def _counts(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """People of each split: the nearest whole numbers, but one at least."""
    counts = {name: max(1, int(share * total)) for name, share in shares.items()}
    while sum(counts.values()) != total:
        step = 1 if sum(counts.values()) < total else -1
        movable = [name for name in counts if counts[name] + step >= 1]
        # the split that is furthest on the wrong side of its share
        name = max(movable, key=lambda each: step * (shares[each] * total - counts[each]))
        counts[name] += step
    return counts


def _deal(counts: Mapping[str, int], total: int, rng: np.random.Generator) -> list[str]:
    """Names of the splits along the order of volumes.

    At each place chance chooses among the splits that are behind their share, the likelier the further one is behind:
    so any stretch of the order holds each split's share of it, to about one person.
    """
    names = list(counts)
    given = dict.fromkeys(names, 0)
    dealt: list[str] = []
    for place in range(1, total + 1):
        behind = [max(counts[name] * place / total - given[name], 0.0) for name in names]
        weights = np.where([given[name] < counts[name] for name in names], np.power(behind, 3), 0.0)
        name = names[rng.choice(len(names), p=weights / weights.sum())]
        given[name] += 1
        dealt.append(name)
    return dealt
