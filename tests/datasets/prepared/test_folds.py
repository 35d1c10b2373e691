"""Folds: exact partitions by person, alike in volume, the same for the same seed, and checked when they are read."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_lesionseg.datasets.prepared.folds import folds_file, load_folds, make_folds, save_folds
from hf_lesionseg.errors import DataError, UsageError


@dataclass(frozen=True)
class Case:
    id: str
    person: str
    lesion_ml: float


def cohort(scans_per_person, seed=0):
    volumes = np.random.default_rng(seed).lognormal(np.log(5), 1.9, len(scans_per_person))
    return [
        Case(f"p{person:03d}s{scan}", f"p{person:03d}", float(volume))
        for person, (scans, volume) in enumerate(zip(scans_per_person, volumes, strict=True))
        for scan in range(scans)
    ]


@settings(max_examples=150, deadline=None)
@given(scans=st.lists(st.integers(1, 4), min_size=4, max_size=40), data=st.data(), seed=st.integers(0, 99))
def test_folds_are_exact_partitions_by_person(scans, data, seed):
    number = data.draw(st.integers(2, len(scans) - 1))
    cases = cohort(scans, seed)
    person_of = {case.id: case.person for case in cases}
    folds = make_folds(cases, number, seed)
    assert sorted(case for ids in folds.members for case in ids) == sorted(person_of)
    people = [{person_of[case] for case in ids} for ids in folds.members]
    assert sum(map(len, people)) == len(scans)
    assert [len(own) for own in people] == list(folds.people)
    assert max(folds.people) - min(folds.people) <= 1
    held_out = []
    for fold in range(number):
        splits = folds.splits(fold)
        sides = [{person_of[case] for case in splits[split]} for split in ("train", "validation", "test")]
        assert all(sides)
        assert sum(map(len, sides)) == len(set.union(*sides)) == len(scans)
        assert sorted(case for ids in splits.values() for case in ids) == sorted(person_of)
        held_out += splits["test"]
    assert sorted(held_out) == sorted(person_of)


@pytest.mark.parametrize("number", [4, 5, 7])
def test_small_and_large_lesions_are_in_every_fold(number):
    cases = cohort([1] * 100)
    folds = make_folds(cases, number, 0)
    ordered = sorted(cases, key=lambda case: case.lesion_ml)
    for ids in folds.members:
        for part in np.array_split(np.array([case.id for case in ordered]), 4):
            assert abs(len(set(ids) & set(part.tolist())) - len(part) / number) <= 2


def test_the_seed_decides_and_the_order_of_the_cases_does_not():
    cases = cohort([1, 2] * 20)
    assert make_folds(cases[::-1], 4, 3) == make_folds(cases, 4, 3)
    assert make_folds(cases, 4, 4).members != make_folds(cases, 4, 3).members


def test_a_test_set_is_kept_apart():
    cases = cohort([2] * 12)
    folds = make_folds(cases[:16], 4, 0, cases[16:])
    assert folds.left_out == [case.id for case in cases[16:]]
    assert not set(folds.left_out) & {case for ids in folds.members for case in ids}
    with pytest.raises(DataError, match="person p007 has cases in the folds and left out"):
        make_folds(cases[:15], 4, 0, cases[15:])


def test_what_cannot_be_shared_out():
    with pytest.raises(DataError, match="3 people cannot be shared out into 4 folds"):
        make_folds(cohort([5, 1, 1]), 4)
    with pytest.raises(UsageError, match="1 folds cannot be held out in turn"):
        make_folds(cohort([1] * 9), 1)
    with pytest.raises(DataError, match="while fold 0 is held out one person is left"):
        make_folds(cohort([1, 1]), 2)
    with pytest.raises(DataError, match=r"there is no fold 4: 4 folds are numbered 0 to 3"):
        make_folds(cohort([1] * 9), 4).splits(4)


def test_kept_folds_are_those_that_were_made(tmp_path):
    cases = cohort([1, 2, 3] * 5)
    folds = make_folds(cases, 4, 7, ())
    save_folds(folds_file(tmp_path, 4), folds)
    again = load_folds(tmp_path / "folds-4.json", cases)
    assert again.fingerprint() == folds.fingerprint()
    assert [again.splits(fold) for fold in range(4)] == [folds.splits(fold) for fold in range(4)]


def reseal(path, record):
    """Write a record with the hash that belongs to it, as somebody would who means it."""
    from hf_lesionseg.datasets.prepared import folds as room

    made = room.Folds(*(record[name] for name in ("members", "validation", "people", "left_out", "seed")))
    save_folds(path, made)


def test_kept_folds_that_leak_or_fit_no_more_are_refused(tmp_path):
    cases = cohort([2] * 10)
    path = folds_file(tmp_path, 4)
    save_folds(path, make_folds(cases, 4))
    record = json.loads(path.read_text())

    path.write_text(json.dumps(record | {"members": record["members"][::-1]}))
    with pytest.raises(DataError, match=r"folds-4\.json: was changed by hand"):
        load_folds(path, cases)

    leaking = json.loads(json.dumps(record))
    leaking["members"][1].append(leaking["members"][0].pop())  # one of two scans of a person
    reseal(path, leaking)
    with pytest.raises(DataError, match=r"person p\d+ is in fold [01] and fold [01]"):
        load_folds(path, cases)

    leaking = json.loads(json.dumps(record))
    leaking["validation"][0].pop()
    reseal(path, leaking)
    with pytest.raises(DataError, match=r"while fold 0 is held out, person p\d+ is in train and validation"):
        load_folds(path, cases)

    reseal(path, record)
    with pytest.raises(DataError, match=r"holds other cases than these data \(p009s1"):
        load_folds(path, cases[:-1])
    path.write_text("{}")
    with pytest.raises(DataError, match="holds no folds"):
        load_folds(path, cases)
