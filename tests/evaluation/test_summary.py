"""Means, their counts, people and lesion sizes, against numbers worked by hand."""

import json

import pytest

from hf_lesionseg.evaluation.metrics import scores
from hf_lesionseg.evaluation.scored_case import case_metrics, failed_case
from hf_lesionseg.evaluation.summary import describe, lesion_size, summarize
from hf_lesionseg.evaluation.voxel_counts import VoxelCounts


def scored(case, true_positive, false_positive, false_negative, person=None, voxel_ml=1.0):
    return case_metrics(case, VoxelCounts(true_positive, false_positive, false_negative), voxel_ml, person)


@pytest.fixture
def cases():
    return [
        scored("a-1", 2, 2, 2, person="a"),  # Dice 0.5, 4 mL
        scored("a-2", 1, 0, 0, person="a"),  # Dice 1, 1 mL
        scored("b", 0, 0, 10, person="b"),  # missed: Dice 0, 10 mL
        scored("c", 0, 3, 0, person="c"),  # false alarm: Dice 0, no lesion
        scored("d", 0, 0, 0, person="d"),  # healthy and found so: Dice 1
        failed_case("e", "no prediction", person="e"),
        scored("f", 50, 0, 50, person="f"),  # Dice 2/3, 100 mL
    ]


def test_counts_stand_beside_the_means(cases):
    summary = summarize(cases)
    assert summary["n_cases"] == 7
    assert summary["n_people"] == 6
    assert summary["n_empty_truth"] == 2
    assert summary["n_empty_prediction"] == 2
    assert summary["n_failed"] == 1
    assert summary["failed"] == [{"case": "e", "reason": "no prediction"}]
    assert "undefined" in summary["policy"]


def test_means_over_cases(cases):
    summary = summarize(cases)
    assert summary["dice"]["n"] == 6
    assert summary["dice"]["mean"] == pytest.approx((0.5 + 1 + 0 + 0 + 1 + 2 / 3) / 6)
    assert summary["dice"]["median"] == pytest.approx((0.5 + 2 / 3) / 2)
    assert (summary["dice"]["min"], summary["dice"]["max"]) == (0, 1)
    # Recall and RVD of the false alarm are undefined: out of the mean, and visible in n.
    assert summary["recall"]["n"] == summary["rvd"]["n"] == 5
    assert summary["recall"]["mean"] == pytest.approx((0.5 + 1 + 0 + 1 + 0.5) / 5)
    # RVD: 0, 0, -100, 0, -50
    assert summary["rvd"]["mean"] == pytest.approx(-30)
    assert summary["absolute_rvd"]["mean"] == pytest.approx(30)


def test_signed_volume_differences_cancel_and_absolute_ones_do_not():
    summary = summarize([scored("over", 10, 5, 0), scored("under", 5, 0, 5)])
    assert summary["rvd"]["mean"] == pytest.approx(0)
    assert summary["absolute_rvd"]["mean"] == pytest.approx(50)


def test_cases_of_one_person_are_averaged_first(cases):
    per_person = summarize(cases)["per_person"]
    # a: (0.5 + 1) / 2; e has no scored case
    assert per_person["dice"]["n"] == 5
    assert per_person["dice"]["mean"] == pytest.approx((0.75 + 0 + 0 + 1 + 2 / 3) / 5)
    assert per_person["n_people"] == 6
    assert per_person["n_failed"] == 1


def test_a_failed_scan_does_not_hide_the_persons_other_one():
    summary = summarize([scored("a-1", 1, 1, 1, person="a"), failed_case("a-2", "unreadable", person="a")])
    assert summary["per_person"]["dice"] == {"mean": 0.5, "std": None, "median": 0.5, "min": 0.5, "max": 0.5, "n": 1}
    assert summary["per_person"]["n_failed"] == 0
    assert summary["n_failed"] == 1


def test_strata_by_lesion_size(cases):
    strata = summarize(cases)["by_lesion_size"]
    assert {size: block["n_cases"] for size, block in strata.items()} == {
        "no lesion": 2, "small": 2, "medium": 1, "large": 1,
    }  # fmt: skip
    assert strata["small"]["dice"]["mean"] == pytest.approx(0.75)
    # Healthy scans are a class of their own: what was wrongly predicted there is told in mL.
    assert strata["no lesion"]["predicted_ml"]["max"] == pytest.approx(3)


@pytest.mark.parametrize(
    ("volume", "size"),
    [(0, "no lesion"), (0.001, "small"), (4.999, "small"), (5, "medium"), (49.9, "medium"), (50, "large")],
)
def test_cut_points(volume, size):
    assert lesion_size(volume) == size


def test_splits_are_summarised_on_their_own(cases):
    by_split = summarize(cases, splits={"train": ["a-1", "b"], "test": ["d", "e", "not evaluated"]})["by_split"]
    assert by_split["train"]["dice"]["mean"] == pytest.approx(0.25)
    assert by_split["test"]["n_cases"] == 2
    assert by_split["test"]["n_failed"] == 1


def test_spread_is_the_populations():
    assert describe([0.0, 2.0])["std"] == pytest.approx(1)


def test_no_defined_value_gives_no_number():
    summary = summarize([failed_case("a", "unreadable"), failed_case("b", "no prediction")])
    for name in (metric.name for metric in scores()):
        assert summary[name]["mean"] is None
        assert summary[name]["n"] == 0
    json.dumps(summary, allow_nan=False)
    assert summarize([])["n_cases"] == 0


def test_one_case_never_counts_twice():
    with pytest.raises(ValueError, match="case a occurs"):
        summarize([scored("a", 1, 0, 0), scored("a", 1, 0, 0)])
