"""The benchmark of whole networks: what it keeps, joins, draws and puts on the page of the docs."""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import benchmark_network
import pytest
import report_speed

TIMES = {"contiguous": [2.0, 4.0, 2.0], "folded": [1.0, 1.0, 1.0], "sgemm": [1.0, 1.0, 1.0]}


def rows(width=8, kind="inference"):
    options = Namespace(network="clci-net", batch_size=4)
    return [
        benchmark_network.row_of(options, width, kind, rival, TIMES, flop=4e9, sgemm_rate=8e9)
        for rival in ("contiguous", "folded")
    ]


def result(*widths):
    conditions = {"date": "2026-01-01", "processor": "P", "capability": "AVX512", "torch": "2.13.0", "batch_size": 4,
                  "size": [224, 176], "repeats": 3, "seconds": "of the wall clock"}  # fmt: skip
    return {"conditions": conditions, "rows": [row for width in widths for row in rows(width)]}


def test_ratios_are_of_paired_runs_and_shares_of_the_network_as_it_was_built():
    plain, folded = rows()
    assert folded["times_contiguous"][1] == 2.0  # the median of 2, 4 and 2
    assert folded["seconds_per_slice"] == 0.25
    assert (plain["share_of_sgemm"], folded["share_of_sgemm"]) == (0.25, 0.5)


def test_a_part_replaces_its_own_rows_and_keeps_the_others(tmp_path):
    path = tmp_path / "network.json"
    assert benchmark_network.joined(path, result(16)) == result(16)
    path.write_text(json.dumps(result(8, 16)))
    part = result(8)
    part["rows"][0]["seconds_per_slice"] = 7.0
    found = benchmark_network.joined(path, part)["rows"]
    assert [(row["width"], row["rival"]) for row in found] == [(8, "contiguous"), (8, "folded"), (16, "contiguous"),
                                                               (16, "folded")]  # fmt: skip
    assert found[0]["seconds_per_slice"] == 7.0


def test_the_page_is_filled_between_its_marks(tmp_path):
    page = tmp_path / "speed.md"
    page.write_text(f"before\n{report_speed.BEGIN}\nold\n{report_speed.END}\nbehind\n")
    for _ in range(2):
        report_speed.fill_page(page, report_speed.page_of(result(8)))
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nbehind\n")
    assert "\nold\n" not in text
    assert text.count("| folded | 0.2500 | 2.00 (2.00 to 3.00) | 50 % |") == 1
    page.write_text("no marks")
    with pytest.raises(SystemExit, match="once each"):
        report_speed.fill_page(page, "text")


def test_the_page_of_the_docs_can_be_filled():
    text = (Path(__file__).parents[1] / "docs" / "reference" / "speed.md").read_text("utf-8")
    assert text.count(report_speed.BEGIN) == text.count(report_speed.END) == 1


@pytest.mark.slow
def test_the_benchmark_writes_json_and_plot(tmp_path):
    command = [sys.executable, benchmark_network.__file__, "--widths", "4", "--repeats", "2", "--size", "32", "48"]
    command += ["--rivals", "channels-last", "folded", "layer", "--batch-size", "2", "--threads", "1", "--cpu-time"]
    done = subprocess.run([*command, "--output", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "network_cpu_float32.json").read_text())
    assert {row["pass"] for row in written["rows"]} == {"inference", "training step"}
    assert len(written["rows"]) == 4 + 3
    assert all(row["largest_difference"] < 1e-3 for row in written["rows"] if row["pass"] == "inference")
    assert (tmp_path / "network_cpu_float32.png").stat().st_size > 10_000
    assert "folded: nothing is folded in training" in done.stdout
