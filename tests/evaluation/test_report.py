"""What the tables say."""

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from hf_lesionseg.csv_numbers import short_number
from hf_lesionseg.evaluation.report import csv_table, markdown_report, print_summary
from hf_lesionseg.evaluation.scored_case import case_metrics, failed_case
from hf_lesionseg.evaluation.summary import summarize
from hf_lesionseg.evaluation.voxel_counts import VoxelCounts


@pytest.fixture
def cases():
    return [
        case_metrics("a", VoxelCounts(3, 2, 1), 0.001),
        case_metrics("healthy, told so", VoxelCounts(0, 5, 0), 0.001),
        failed_case("b|c", "[path]/b.nii.gz: not a NIfTI file", person="p"),
    ]


def printed(summary):
    console = Console(file=io.StringIO(), width=100)
    print_summary(summary, console=console)
    return console.file.getvalue()


def test_csv_reads_back_to_six_digits(cases):
    table = list(csv.DictReader(io.StringIO(csv_table(cases))))
    assert [row["case"] for row in table] == ["a", "healthy, told so", "b|c"]
    assert table[0]["dice"] == "0.666667"
    assert float(table[0]["truth_ml"]) == pytest.approx(cases[0].truth_ml, rel=1e-6)
    assert max(len(cell) for row in table for name, cell in row.items() if name != "reason") <= len("healthy, told so")
    # Undefined is empty, and not a number that a spreadsheet would average.
    assert table[1]["recall"] == table[2]["dice"] == table[2]["true_positive"] == ""
    assert table[2]["reason"] == cases[2].reason


def test_numbers_are_short_and_without_powers_of_ten():
    found = {number: short_number(number) for number in (1 / 3, 1e8, 2.0, 0.0, -1e-5, 12345.678912, 5, None, "x", True)}
    assert list(found.values()) == ["0.333333", "100000000.0", "2.0", "0.0", "-0.00001", "12345.7", 5, None, "x", True]
    assert short_number(np.float32(0.1)) == "0.1"
    assert math.isnan(short_number(math.nan))


def test_a_single_case_has_no_spread(cases):
    summary = summarize(cases[:1])
    assert (summary["dice"]["mean"], summary["dice"]["std"]) == (cases[0].dice, None)
    assert "| Dice (DSC) | 0..1 | 0.667 | – | 0.667 |" in markdown_report(summary)
    assert summarize([cases[0], replace(cases[0], case="b")])["dice"]["std"] == 0


def test_every_row_of_synthetic_scores_says_so(cases):
    table = list(csv.DictReader(io.StringIO(csv_table(cases, synthetic=True))))
    assert [row["notice"] for row in table] == ["SYNTHETIC LESIONS"] * 3
    assert "SYNTHETIC" not in csv_table(cases)


def test_counts_and_reasons_stand_in_every_report(cases):
    summary = summarize(cases, splits={"test": ["a"]})
    for text in (markdown_report(summary), printed(summary)):
        assert "3 cases of 3 people: 1 with empty truth, 0 with empty prediction, 1 failed" in text
        assert "0.333" in text  # mean Dice of 2/3 and 0
        assert "[path]/b.nii.gz" in text
        assert "split test" in text
    assert "| b\\|c |" in markdown_report(summary)
    assert summary["policy"] in markdown_report(summary)


def test_synthetic_data_are_called_so_in_every_title(cases):
    summary = summarize(cases)
    assert "synthetic" not in markdown_report(summary) + printed(summary)
    summary["synthetic"] = True
    assert markdown_report(summary).startswith("# Evaluation on synthetic data")
    text = printed(summary)
    assert "Evaluation on synthetic data" in text
    assert "By lesion size (synthetic data)" in text


def test_where_nothing_was_scored_no_number_is_printed():
    text = printed(summarize([failed_case("a", "no prediction")]))
    assert "0.0" not in text
    assert "failed: a: no prediction" in text


def test_strangers_are_counted_and_the_first_named(cases):
    summary = summarize(cases) | {"predictions_without_truth": ["[x].nii", "b.nii", "c.nii", "d.nii"]}
    assert "4 predictions ([x].nii, b.nii, c.nii, ...)" in printed(summary)
