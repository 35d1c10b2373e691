"""EGS-Net's stages each train on generated perfusion: the benchmark, through the command line, as in the docs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_egs_net.py"


def check(row):
    """Each part of the loss falls, features stay, and the generated DWI is like that of people never seen."""
    for part, first in row["first"].items():
        assert row["last"][part] < 0.8 * first, part
    first, last = row["true_feature_norm"]
    assert last > 0.1 * first
    assert row["correlation"]["brain"] > 0.5
    assert row["correlation"]["slice"] > row["correlation"]["brain"]


@pytest.mark.slow
def test_each_stage_trains(tmp_path):
    pytest.importorskip("nilearn", reason='generated strokes need nilearn: pip install "hf-lesionseg[synthetic]"')
    command = [sys.executable, str(SCRIPT), "-o", str(tmp_path), "--settings", "strong-frozen"]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "SYNTHETIC data, 30 people, 6 epochs" in done.stdout
    (row,) = json.loads((tmp_path / "stages.json").read_text())["rows"]
    check(row)
