"""Figures of the papers' tables by hand."""

import numpy as np
import pytest

from hf_lesionseg.evaluation.scored_case import case_metrics
from hf_lesionseg.evaluation.voxel_counts import VoxelCounts
from hf_lesionseg.reproduce.means import (
    cases_of_column,
    compare_with_first,
    interval,
    measure_column,
    paired_difference,
)
from hf_lesionseg.reproduce.papers import find_table
from hf_lesionseg.reproduce.scores import CaseScore, summarize_scores

#: true positive, false positive, false negative of six slices
SLICES = [
    VoxelCounts(8, 2, 2),  # Dice 0.8, P 0.8, R 0.8
    VoxelCounts(0, 0, 5),  # missed: Dice, P and R 0
    VoxelCounts(30, 0, 10),  # Dice 6/7, P 1, R 0.75
    VoxelCounts(0, 0, 0),  # rightly empty
    VoxelCounts(0, 7, 0),  # a false alarm
    VoxelCounts(4, 4, 0),  # Dice 2/3, P 0.5, R 1
]


def test_columns_by_hand():
    scores = [CaseScore("a", SLICES[:3], [0.5], [0.5], auc=0.75), CaseScore("b", SLICES[3:], [0.75], [], auc=0.25)]
    found = summarize_scores(scores)
    assert found["dsc"] == pytest.approx((0.8 + 0 + 6 / 7 + 2 / 3) / 4)
    assert found["precision"] == pytest.approx((0.8 + 0 + 1 + 0.5) / 4)
    assert found["recall"] == pytest.approx((0.8 + 0 + 0.75 + 1) / 4)
    assert found["dsc_all_slices"] == pytest.approx((0.8 + 0 + 6 / 7 + 1 + 0 + 2 / 3) / 6)
    # 38 of 38 + 2 found, 17 missed; 4 found, 11 false
    assert found["dsc_volume"] == pytest.approx((76 / (76 + 2 + 17) + 8 / (8 + 11)) / 2)
    # Foreground of 10, 5, 40 and 4 pixels: the third of the four with the least is that of 4 and of 5.
    assert found["dsc_small"] == pytest.approx((0 + 2 / 3) / 2)
    assert (found["miou"], found["miou_single"]) == (0.625, 0.5)
    assert found["dsc_small_organs"] == pytest.approx(8 / 19)  # of 55 and 4 pixels the second
    assert (found["slices"], found["positive_slices"], len(found["cases"])) == (6, 4, 2)
    assert found["volume_auc"] == 0.5
    # Of the first case 2.457 of 3 slices, of the second 0.667 of 1.
    assert found["cases"][0]["values"]["dsc"] == pytest.approx([0.8 + 0 + 6 / 7, 3])
    assert found["cases"][1]["values"]["dsc"] == pytest.approx([2 / 3, 1])
    # The two volumes: 38 of 40 predicted are right and 55 are true; 4 of 15 and 4.
    assert found["volume_dsc"] == found["dsc_volume"]
    assert found["volume_iou"] == pytest.approx((38 / 57 + 4 / 15) / 2)
    assert found["volume_precision"] == pytest.approx((38 / 40 + 4 / 15) / 2)
    assert found["volume_recall"] == pytest.approx((38 / 55 + 4 / 4) / 2)
    assert found["voe"] == pytest.approx(100 * ((1 - 38 / 57) + (1 - 4 / 15)) / 2)
    assert found["rvd"] == pytest.approx(100 * ((40 / 55 - 1) + (15 / 4 - 1)) / 2)
    assert found["absolute_rvd"] == pytest.approx(100 * ((1 - 40 / 55) + (15 / 4 - 1)) / 2)


def test_volumes_without_foreground_have_no_volume_to_compare_with():
    volumes = [VoxelCounts(1, 1, 1), VoxelCounts(0, 5, 0), VoxelCounts(0, 0, 0), VoxelCounts(0, 0, 3)]
    found = summarize_scores([CaseScore(str(n), [each]) for n, each in enumerate(volumes)])
    assert found["volume_dsc"] == pytest.approx((0.5 + 0) / 2)
    assert found["volume_precision"] == pytest.approx((0.5 + 0) / 2)
    assert found["rvd"] == pytest.approx((0 - 100) / 2)
    assert found["voe"] == pytest.approx((100 * (1 - 1 / 3) + 100) / 2)


def test_nothing_to_score():
    found = summarize_scores([CaseScore("a", [VoxelCounts(0, 0, 0)])])
    assert found["dsc"] is None
    assert found["dsc_small"] is None
    assert found["miou"] is None
    assert found["dsc_all_slices"] == 1


def challenge_case(name, counts, hd_mm):
    metrics = case_metrics(name, VoxelCounts(*counts), 0.5).with_values({"hd_mm": hd_mm})
    return CaseScore(name, [VoxelCounts(*counts)], metrics=metrics)


def test_columns_of_the_challenge_emulate_its_undefined_distances():
    """12 of 62 undefined cases make the published mean and spread of MS-DCNN's HD, but for the mm of the others."""
    (row,) = find_table("ms-dcnn-1").rows
    cases = [challenge_case(f"c{number}", (4, 2, 2), 23.6) for number in range(50)]
    cases += [challenge_case(f"c{number}", (0, 0, 6), float("nan")) for number in range(50, 62)]
    score = summarize_scores(cases)
    hd = measure_column("challenge_hd", row, [score])
    mean, deviation = row.reported["challenge_hd"]
    assert hd["mean"] == pytest.approx(mean, rel=1e-6)
    assert hd["sd"] == pytest.approx(deviation, rel=1e-6)
    assert measure_column("undefined_hd", row, [score])["mean"] == row.reported["undefined_hd"] == 12
    assert measure_column("defined_hd", row, [score])["mean"] == pytest.approx(23.6)
    avd = measure_column("challenge_avd", row, [score])  # mL: 0 of the 50, 6 voxels of 0.5 mL of the 12
    assert (avd["mean"], avd["sd"]) == pytest.approx((3 * 12 / 62, 3 * np.sqrt(12 * 50) / 62))
    assert measure_column("challenge_dc", row, [score])["mean"] == pytest.approx(100 * 50 * (2 / 3) / 62)


def test_seeds_are_averaged_case_by_case():
    row = find_table("clci-net-1").rows[0]
    one, two = (
        summarize_scores([CaseScore("a", [VoxelCounts(a, 0, 10 - a)]), CaseScore("b", [VoxelCounts(b, 0, 10 - b)])])
        for a, b in ((10, 0), (5, 0))
    )
    found = measure_column("volume_recall", row, [one, two])
    assert found["mean"] == pytest.approx(100 * (0.5 + 0.25) / 2)
    assert found["std"] == pytest.approx(25 / np.sqrt(2))  # of 50 and 25
    assert found["sd"] == pytest.approx(100 * 0.375)  # of 0.75 and 0, over the cases
    sums, counts = cases_of_column("volume_recall", [one, two])
    assert (sums.tolist(), counts.tolist()) == ([1.5, 0.0], [2.0, 2.0])


def measured_rows(table, people, *rows):
    """Results of rows by the true positives, of 10, of each case."""
    found = []
    for true_positives in rows:
        cases = [
            CaseScore(f"c{n}", [VoxelCounts(tp, 0, 10 - tp)], person=person)
            for n, (tp, person) in enumerate(zip(true_positives, people, strict=True))
        ]
        scores = [summarize_scores(cases)]
        columns = {column: measure_column(column, table.rows[0], scores) for column in table.columns}
        found.append({"columns": columns, "scores": scores})
    for column in table.columns:
        compare_with_first(column, found)
    return found


def test_differences_are_to_the_first_row():
    """Not to the best one, which is chosen by the same cases."""
    results = measured_rows(find_table("clci-net-1"), "abcd", (4, 5, 6, 7), (5, 6, 7, 8), (2, 6, 3, 9))
    recall = [each["columns"]["volume_recall"] for each in results]
    assert "difference" not in recall[0]
    # Paired: each case of the second row is 0.1 above, whatever the spread between cases.
    assert recall[1]["difference"] == pytest.approx([10, 10, 10])
    difference, low, high = recall[2]["difference"]
    assert difference == pytest.approx(-5)
    assert low < -5 < high
    assert high > 0
    assert results[1]["columns"]["voe"]["difference"][0] == pytest.approx(-10)  # lower is better


def test_two_cases_of_one_person_are_one_witness():
    """Their sums and counts are put together: as if they were slices of one case."""
    table = find_table("clci-net-1")
    values, others = (2, 3, 8, 9, 5, 6, 1, 1), (3, 5, 8, 9, 9, 6, 2, 1)
    by_person = measured_rows(table, "aabbccdd", values, others)
    by_case = measured_rows(table, "abcdefgh", values, others)
    found, apart = (each[0]["columns"]["volume_recall"] for each in (by_person, by_case))
    assert (found["n"], found["people"], apart["people"]) == (8, 4, 8)
    assert found["mean"] == apart["mean"]
    assert (found["low"], found["high"]) == pytest.approx([10 * x for x in interval([5, 17, 11, 2], [2] * 4)])
    assert found["high"] - found["low"] > apart["high"] - apart["low"]
    difference, low, high = by_person[1]["columns"]["volume_recall"]["difference"]
    assert difference == pytest.approx(10)  # 8 more of 80
    ours, theirs = ([(a + b) / 10 for a, b in zip(each[::2], each[1::2], strict=True)] for each in (others, values))
    expected = paired_difference((ours, [2] * 4), (theirs, [2] * 4))
    assert [difference, low, high] == pytest.approx([100 * x for x in expected], abs=1.3)  # a tie, rounded otherwise
