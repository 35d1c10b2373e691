"""Figures of the papers' tables by hand."""

import numpy as np
import pytest

from hf_lesionseg.evaluation.metrics import VoxelCounts, case_metrics
from hf_lesionseg.evaluation.surface import SurfaceDistances
from hf_lesionseg.training.reproduce.case_values import CaseScore
from hf_lesionseg.training.reproduce.measured import cases_of_column, compare_with_best, measure_column
from hf_lesionseg.training.reproduce.scores import summarize_scores
from hf_lesionseg.training.tables import find_table

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
    metrics = case_metrics(name, VoxelCounts(*counts), 0.5, distances=SurfaceDistances(hd_mm, hd_mm, hd_mm))
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


def test_differences_are_to_the_best_row_of_each_column():
    table = find_table("clci-net-1")

    def result(*true_positives):
        cases = [CaseScore(f"c{n}", [VoxelCounts(tp, 0, 10 - tp)]) for n, tp in enumerate(true_positives)]
        scores = [summarize_scores(cases)]
        columns = {column: measure_column(column, table.rows[0], scores) for column in table.columns}
        return {"columns": columns, "scores": scores}

    results = [result(4, 5, 6, 7), result(5, 6, 7, 8), result(2, 6, 3, 9)]
    for column in table.columns:
        compare_with_best(column, results)
    recall = [each["columns"]["volume_recall"] for each in results]
    assert "difference" not in recall[1]
    # Paired: each case of the first row is 0.1 below, whatever the spread between cases.
    assert recall[0]["difference"] == pytest.approx([-10, -10, -10])
    difference, low, high = recall[2]["difference"]
    assert difference == pytest.approx(-15)
    assert low < -15 < high
    assert high > 0
    voe = [each["columns"]["voe"] for each in results]  # lower is better
    assert "difference" not in voe[1]
    assert voe[0]["difference"][0] == pytest.approx(10)
