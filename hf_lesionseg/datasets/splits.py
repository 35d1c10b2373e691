"""Splits by person, balanced in lesion volume, kept in a file.

No person is ever in two splits. People are sorted by their largest lesion volume and dealt out in groups of neighbours,
so that every split sees the whole range of volumes (as Fig. 2 of the CLCI-Net paper shows for its three sets).
"""

import json
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..imaging import write_aside


def make_splits(cases, fractions, seed=0):
    """Share out cases to splits.

    Parameters
    ----------
    cases : iterable
        Anything with ``id``, ``person`` and ``lesion_ml``.
    fractions : dict of str to float
        Shares of people per split; they need not add up to one.
    seed : int

    Returns
    -------
    dict
        ``{"seed", "fractions", "splits": {name: [case ids]}}``, as :func:`save_splits` writes it.

    Raises
    ------
    DataError
        If a share is negative or all are zero.

    Notes
    -----
    With n people, split s gets round(n * share) of them, by largest remainder. People are taken in the order of their
    volume; each goes to the split that lags furthest behind its share so far, ties drawn by the seed, so at every
    volume a split's count differs from its share by less than two people.
    """
    cases = list(cases)
    shares = np.array(list(fractions.values()), dtype=float)
    if len(shares) == 0 or (shares < 0).any() or shares.sum() == 0:
        raise DataError(f"split shares are {fractions}; give shares of 0 or more, not all 0")
    volume = {}
    for case in cases:
        volume[case.person] = max(volume.get(case.person, 0.0), case.lesion_ml)
    generator = np.random.default_rng(seed)
    people = sorted(volume)
    generator.shuffle(people)
    people.sort(key=volume.get)  # stable: equal volumes keep their random order

    wanted = _counts(len(people), shares / shares.sum())
    given = np.zeros_like(wanted)
    offsets = generator.uniform(size=len(wanted))  # where in its turn each split begins
    split_of = {}
    for person in people:
        # The next turn of a split that gets w of n people comes at (given + offset) / w.
        turn = np.where(given < wanted, (given + offsets) / np.maximum(wanted, 1), np.inf)
        chosen = int(np.argmin(turn))
        given[chosen] += 1
        split_of[person] = chosen
    names = list(fractions)
    splits = {name: [] for name in names}
    for case in sorted(cases, key=lambda case: case.id):
        splits[names[split_of[case.person]]].append(case.id)
    return {"seed": seed, "fractions": dict(fractions), "splits": splits}


def _counts(people, shares):
    """Whole numbers of people next to ``people * shares``, which add up to ``people``."""
    exact = people * shares
    counts = np.floor(exact).astype(int)
    for index in np.argsort(counts - exact, kind="stable")[: people - counts.sum()]:
        counts[index] += 1
    return counts


def save_splits(path, splits):
    """Write what :func:`make_splits` gave."""
    with write_aside(path) as aside:
        aside.write_text(json.dumps(splits, indent=1) + "\n", encoding="utf-8")


def load_splits(path, case_ids):
    """Read ``splits.json`` and see that it fits the cases.

    Returns
    -------
    dict of str to list of str

    Raises
    ------
    DataError
        If the file is missing or damaged, names a case that is not there or one case twice, or leaves one out.
    """
    path = Path(path)
    try:
        splits = json.loads(path.read_text(encoding="utf-8"))["splits"]
        listed = [case for ids in splits.values() for case in ids]
    except FileNotFoundError as error:
        raise DataError(f"{path}: is missing; prepare the data again, or write one") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: damaged ({error}); remove it and prepare the data again") from error
    twice = sorted({case for case in listed if listed.count(case) > 1}) if len(set(listed)) < len(listed) else []
    unknown = sorted(set(listed) - set(case_ids))
    missing = sorted(set(case_ids) - set(listed))
    for problem, ids in (("twice", twice), ("that the data do not have", unknown), ("not at all", missing)):
        if ids:
            raise DataError(f"{path}: lists {ids[0]} {problem} ({len(ids)} in all); remove the file and prepare again")
    return splits
