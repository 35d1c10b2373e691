"""Splits: nobody in two, alike in volume, the same for the same seed, and checked when they are read."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from hf_lesionseg.datasets.prepared.splits import PAPER_FRACTIONS, load_splits, make_splits, save_splits
from hf_lesionseg.errors import DataError


@dataclass(frozen=True)
class Case:
    id: str
    person: str
    lesion_ml: float


def cohort(people: int, seed: int = 0, second_scans: int = 0) -> list[Case]:
    volumes = np.random.default_rng(seed).lognormal(np.log(5), 1.9, people)
    cases = [Case(f"p{number:03d}t01", f"p{number:03d}", float(volume)) for number, volume in enumerate(volumes)]
    return cases + [Case(f"p{number:03d}t02", f"p{number:03d}", 1.0) for number in range(second_scans)]


def people_of(cases, ids):
    person = {case.id: case.person for case in cases}
    return {person[each] for each in ids}


def assert_alike_in_volume(cases, splits, bins):
    """Each quantile bin of the people holds each split's share of it, to one person."""
    volume = {}
    for case in cases:
        volume[case.person] = max(volume.get(case.person, 0), case.lesion_ml)
    ordered = sorted(volume, key=volume.get)
    for name, ids in splits.members.items():
        mine = people_of(cases, ids)
        for part in np.array_split(ordered, bins):
            expected = len(part) * len(mine) / len(ordered)
            assert abs(len(mine & set(part)) - expected) <= 1 + 1e-9, (name, bins)


@pytest.mark.parametrize("people", [3, 7, 46, 100, 220, 655])
def test_sizes_are_the_nearest_to_the_fractions(people):
    splits = make_splits(cohort(people), PAPER_FRACTIONS, seed=1)
    assert sum(splits.people.values()) == people
    for name, share in PAPER_FRACTIONS.items():
        assert splits.people[name] >= 1
        assert abs(splits.people[name] - share * people) < 1 or people < 6


def test_the_paper_split_is_120_40_60():
    cases = cohort(220, second_scans=9)
    splits = make_splits(cases, PAPER_FRACTIONS, seed=0)
    assert dict(splits.people) == {"train": 120, "validation": 40, "test": 60}
    assert sum(len(ids) for ids in splits.members.values()) == 229


@pytest.mark.parametrize("seed", range(5))
def test_no_person_is_in_two_splits(seed):
    cases = cohort(60, seed, second_scans=25)
    splits = make_splits(cases, {"train": 3, "validation": 1, "test": 1}, seed)
    people = [people_of(cases, ids) for ids in splits.members.values()]
    assert sum(map(len, people)) == len(set().union(*people)) == 60
    assert sorted(case for ids in splits.members.values() for case in ids) == sorted(case.id for case in cases)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bins", [4, 5])
def test_small_and_large_lesions_are_shared_alike(seed, bins):
    cases = cohort(220, seed, second_scans=9)
    assert_alike_in_volume(cases, make_splits(cases, PAPER_FRACTIONS, seed), bins)


def test_the_check_of_volumes_fails_on_an_unstratified_split():
    cases = cohort(220)
    splits = make_splits(cases, PAPER_FRACTIONS, 0)
    shuffled = np.random.default_rng(0).permutation([case.id for case in cases]).tolist()
    unlucky = type(splits)(
        {"train": shuffled[:120], "validation": shuffled[120:160], "test": shuffled[160:]},
        splits.people,
        splits.fractions,
        0,
    )
    with pytest.raises(AssertionError):
        assert_alike_in_volume(cases, unlucky, 5)


def test_the_seed_decides_and_the_order_of_the_cases_does_not():
    cases = cohort(80, second_scans=10)
    one = make_splits(cases, PAPER_FRACTIONS, 7)
    assert make_splits(cases[::-1], PAPER_FRACTIONS, 7) == one
    assert make_splits(cases, PAPER_FRACTIONS, 8).members != one.members


def test_a_fraction_of_zero_leaves_a_split_empty():
    splits = make_splits(cohort(10), {"train": 0.8, "validation": 0.2, "test": 0}, 0)
    assert splits.members["test"] == []
    assert dict(splits.people) == {"train": 8, "validation": 2, "test": 0}


@pytest.mark.parametrize(
    ("people", "fractions", "message"),
    [
        (2, PAPER_FRACTIONS, "2 people cannot be split into train, validation, test"),
        (9, {"train": -1, "test": 1}, "fractions .* are impossible"),
        (9, {"train": 0, "test": 0}, "fractions .* are impossible"),
        (9, {"train": float("nan")}, "fractions .* are impossible"),
        (9, {}, "fractions .* are impossible"),
    ],
)
def test_impossible_splits_are_refused(people, fractions, message):
    with pytest.raises(DataError, match=message):
        make_splits(cohort(people), fractions, 0)


@pytest.fixture
def saved(tmp_path):
    cases = cohort(20, second_scans=5)
    splits = make_splits(cases, PAPER_FRACTIONS, 3)
    save_splits(tmp_path / "splits.json", splits)
    return cases, splits, tmp_path / "splits.json"


def test_a_split_comes_back_as_it_was_saved(saved):
    cases, splits, path = saved
    assert load_splits(path, cases) == splits.members
    record = json.loads(path.read_text())
    assert record["seed"] == 3
    assert record["fractions"]["train"] == pytest.approx(120 / 220)
    assert record["people"] == splits.people


def test_a_split_of_other_cases_is_refused(saved):
    cases, _, path = saved
    with pytest.raises(DataError, match="names case p000t01 which the data do not have"):
        load_splits(path, cases[1:])
    with pytest.raises(DataError, match="leaves out case stranger"):
        load_splits(path, [*cases, Case("stranger", "stranger", 1.0)])


def test_a_person_in_two_splits_is_refused(saved):
    cases, splits, path = saved
    a, b = splits.members["train"][0], splits.members["test"][0]
    one_person = [Case(case.id, "same" if case.id in (a, b) else case.id, 1.0) for case in cases]
    with pytest.raises(DataError, match="person same is in train and test"):
        load_splits(path, one_person)


def test_a_changed_or_damaged_file_is_refused(saved):
    cases, _, path = saved
    record = json.loads(path.read_text())
    record["splits"]["train"][0] = "another"
    path.write_text(json.dumps(record))
    with pytest.raises(DataError, match="do not match their hash"):
        load_splits(path, cases)
    record["splits"]["train"][0] = record["splits"]["train"][1]
    path.write_text(json.dumps(record))
    with pytest.raises(DataError, match="twice"):
        load_splits(path, cases)
    path.write_text("{")
    with pytest.raises(DataError, match="is not a split file"):
        load_splits(path, cases)
    path.unlink()
    with pytest.raises(DataError, match="does not exist"):
        load_splits(path, cases)
