"""EGS-Net's stages each train on generated perfusion: the benchmark, through the command line, as in the docs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_egs_net.py"


def check(row):
    """Each part of the loss falls, features stay; people never seen: lesions are extracted, the DWI is like theirs."""
    for part, first in row["first"].items():
        assert row["last"][part] < 0.8 * first, part
    first, last = row["true_feature_norm"]
    assert last > 0.1 * first
    assert row["extractor"]["auc"] > 0.6  # an empty map has 0.5, and a Dice of 0
    assert row["extractor"]["dice"] > 0
    assert row["correlation"]["brain"] > max(0.5, row["correlation"]["nearest_input_brain"])
    assert row["correlation"]["slice"] > row["correlation"]["brain"]


@pytest.mark.slow
def test_each_stage_trains(tmp_path):
    pytest.importorskip("nilearn", reason='generated strokes need nilearn: pip install "hf-lesionseg[synthetic]"')
    command = [sys.executable, str(SCRIPT), "-o", str(tmp_path), "--settings", "balanced"]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "SYNTHETIC data, 30 people, 6 epochs" in done.stdout
    (row,) = json.loads((tmp_path / "stages.json").read_text())["rows"]
    check(row)
