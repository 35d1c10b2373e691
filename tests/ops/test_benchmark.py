"""The benchmark of the kernels runs, and its arithmetic is right."""

import json
import subprocess
import sys

import benchmark_kernels
import benchmark_rivals_roi
import pytest


def test_ratios_are_of_paired_runs():
    row = benchmark_kernels.row_of(
        "cell", (4, 32, 224, 176), "forward", {"ours": [1.0, 2.0, 1.0], "eager": [3.0, 4.0, 5.0]}, {"forward": 10e9}
    )
    assert row["ms"] == {"ours": 1000.0, "eager": 4000.0}
    assert row["ratio"]["eager"][1] == 3.0  # the median of 3, 2 and 5, not 4 / 1
    assert row["gb_per_s"] == 10.0


def test_the_summary_is_the_median_over_sizes():
    rows = [
        {"group": "layer", "pass": "forward", "ratio": {"eager": [0, ratio, 9]}} for ratio in (2.0, 5.0, 3.0, 1.5, 4.0)
    ]
    (line,) = benchmark_kernels.summary_of(rows)
    assert (line["median"], line["least"]) == (3.0, 1.5)


def test_the_boxes_of_the_benchmark_lie_where_they_say():
    for size in benchmark_rivals_roi.SIZES:
        (images, boxes, indices, _), grad = benchmark_rivals_roi.inputs(size)
        (batch, _, height, width), count, side = size
        assert boxes.shape == (count, 4)
        assert grad.shape[2:] == (side, side)
        assert set(indices.tolist()) == set(range(min(batch, count)))
        extents = (boxes[:, 2:] - boxes[:, :2]) / boxes.new_tensor([width, height])
        assert 0.2 <= extents.min() <= extents.max() <= 0.6
        assert images.shape == size[0]


@pytest.mark.slow
def test_the_script_writes_table_and_plot(tmp_path):
    command = [sys.executable, benchmark_kernels.__file__, "--only", "roi_paste", "--repeats", "2"]
    done = subprocess.run([*command, "--output", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "kernels_cpu_float32.json").read_text())
    assert result["conditions"]["backend"]["roi_paste"] == "compiled"
    assert len(result["rows"]) == 2 * len(benchmark_rivals_roi.SIZES)
    assert (tmp_path / "kernels_cpu_float32.png").stat().st_size > 10_000
    assert "median over sizes" in done.stdout
