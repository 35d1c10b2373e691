"""A table from generated organs to the printed page, with the command that the README gives."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "scripts" / "reproduce.py"


def reproduce(*arguments, expected=0):
    done = subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == expected, done.stdout[-2000:] + done.stderr[-2000:]
    return done


@pytest.mark.slow  # trains two networks, each in a process of its own
def test_a_table_is_trained_scored_and_written_once(tmp_path):
    options = ("--data", "synthetic", "--output", tmp_path, "--cases", 12, "--size", 64)
    options += ("--steps", 2, "--base_width", 4, "--batch_size", 4)
    done = reproduce("l-snet-3", *options)
    assert "SYNTHETIC" in done.stdout
    record = json.loads((tmp_path / "l-snet-3.json").read_text())
    assert record["synthetic"] is True
    assert record["budget"]["scale"] == 64 / 512
    assert record["budget"]["encoder_weights"] is None
    assert [row["row"] for row in record["rows"]] == ["U-Net", "L-Net"]
    for row in record["rows"]:
        assert row["columns"]["first_stage_parameters"]["mean"] in (14_328_209, 14_502_853)
        for run in row["runs"]:
            summary = json.loads((tmp_path / run / "training_summary.json").read_text())
            assert summary["run"]["steps"] == 2
            scores = json.loads((tmp_path / run / "scores.json").read_text())
            assert 0 <= scores["dsc"] <= 1
            assert row["columns"]["dsc"]["mean"] == pytest.approx(100 * scores["dsc"])
    text = (tmp_path / "l-snet-3.md").read_text()
    assert "| U-Net | 83.83 |" in text
    with Image.open(tmp_path / "l-snet-3-curves.png") as picture:
        assert picture.size[0] > 1000

    # L-Net's row is also one of Table 2; nothing is trained again.
    folders = sorted((tmp_path / "runs").iterdir())
    weights = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model.safetensors")}
    reproduce("l-snet-2", *options, "--rows", "+ L-Net")
    assert sorted((tmp_path / "runs").iterdir()) == folders
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model.safetensors")} == weights


def test_wrong_arguments_are_named(tmp_path):
    done = reproduce("l-snet-9", "--data", "synthetic", "--output", tmp_path, expected=2)
    assert "no table is called 'l-snet-9'; use one of l-snet-1" in done.stderr
    done = reproduce("l-snet-1", "--data", tmp_path / "nowhere", expected=1)
    assert "holds no prepared data" in done.stderr
    assert not (tmp_path / "organs").exists()


def test_help_lists_the_tables():
    done = reproduce("--help")
    assert "l-snet-4" in done.stdout
    assert "Decay of S-Net's gradient" in done.stdout
