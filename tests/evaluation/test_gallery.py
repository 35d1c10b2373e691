"""Which cases are shown."""

from hf_lesionseg.evaluation.gallery import pick_cases
from hf_lesionseg.evaluation.scored_case import case_metrics, failed_case
from hf_lesionseg.evaluation.voxel_counts import VoxelCounts


def scored(case, found, missed=0):
    return case_metrics(case, VoxelCounts(found, 0, missed), 0.001)


def picked(*cases):
    return [(rank, case.case) for rank, case in pick_cases(cases)]


def test_worst_median_and_best_by_dice():
    cases = [scored("e", 9, 1), scored("a", 5, 5), scored("c", 0, 9), scored("d", 7, 3), scored("b", 2, 8)]
    assert picked(*cases, failed_case("z", "unreadable")) == [("worst", "c"), ("median", "a"), ("best", "e")]
    # Of an even number the lower of the middle two; ties by name.
    assert picked(scored("d", 9), scored("c", 9), scored("b", 9, 1), scored("a", 1, 9)) == [
        ("worst", "a"), ("median", "b"), ("best", "d"),
    ]  # fmt: skip


def test_few_cases():
    assert picked(scored("a", 1, 9), scored("b", 9)) == [("worst", "a"), ("best", "b")]
    assert picked(scored("a", 1)) == [("only case", "a")]
    assert picked(failed_case("z", "unreadable")) == []


def test_healthy_cases_are_shown_only_where_there_are_no_others():
    healthy = [case_metrics(name, VoxelCounts(0, 0, 0), 0.001) for name in "xyz"]
    assert picked(*healthy, scored("a", 1, 9)) == [("only case", "a")]
    assert [case for _, case in picked(*healthy)] == ["x", "y", "z"]
