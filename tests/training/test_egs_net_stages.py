"""EGS-Net's stages each train on generated perfusion: the benchmark, through the command line, as in the docs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_egs_net.py"


def check(row):
    """Every part of the loss falls; in people never seen lesions are found and segmented, their DWI is alike."""
    for part, first in row["first"].items():
        assert row["last"][part] < 0.8 * first, part
    assert row["extractor"]["auc"] > 0.7  # an empty map has 0.5, and a Dice of 0
    assert row["extractor"]["dice"] > 0.2
    assert row["correlation"]["brain"] > 0.5
    assert row["correlation"]["slice"] > row["correlation"]["brain"]
    assert row["test_dice"] > 0.2


@pytest.mark.slow  # some minutes
@pytest.mark.timeout(1800)
def test_each_stage_trains(tmp_path):
    pytest.importorskip("nilearn", reason='generated strokes need nilearn: pip install "hf-lesionseg[synthetic]"')
    command = [sys.executable, str(SCRIPT), "-o", str(tmp_path), "--settings", "balanced", "--epochs", "40"]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "SYNTHETIC data, 30 people, 40 epochs" in done.stdout
    (row,) = json.loads((tmp_path / "stages.json").read_text())["rows"]
    check(row)
