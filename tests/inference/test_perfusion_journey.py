"""Both networks of CT perfusion by the commands that a user types, each in a process of its own.

Generated and prepared, trained for a few steps, run on maps and on the raw series of a test case, and evaluated. What
the masks are worth is not tested here: that everything fits together is.
"""

import csv
import json
import os
import subprocess
import sys
from importlib.resources import files

import nibabel as nib
import numpy as np
import pytest
import yaml

RECIPES = {
    "ms-dcnn": (
        "ms-dcnn-isles2018",
        {"base_width": 4, "growth_rate": 4, "block_layers": [2, 2, 2, 2], "up_widths": [16, 16, 8, 8]},
    ),
    "egs-net": ("egs-net-isles2018", {"base_width": 4, "perceptual_widths": [4, 4, 4, 4, 8]}),
}


def lesionseg(*arguments, status=0):
    command = [sys.executable, "-m", "hf_lesionseg.cli", *map(str, arguments)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == status, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr


@pytest.mark.slow  # some ten processes
@pytest.mark.timeout(900)
@pytest.mark.parametrize("network", sorted(RECIPES))
def test_from_generated_series_to_scores(network, tmp_path):
    pytest.importorskip("nilearn")
    name, model = RECIPES[network]
    text = (files("hf_lesionseg.training") / "recipes" / f"{name}.yaml").read_text()
    recipe = tmp_path / f"small-{name}.yaml"
    recipe.write_text(yaml.safe_dump(yaml.safe_load(text) | {"model": model}))
    data = tmp_path / "perfusion"
    small = ("--count", 4, "--seed", 1, "--size", 64, "--slices", 2, "--frames", 40)
    told = lesionseg("prepare", "synthetic-perfusion", "-o", data, *small, "--recipe", recipe)
    assert "synthetic data" in told
    run = tmp_path / "run"
    lesionseg(
        "train", "--recipe", recipe, "--data", data, "--output", run, "--epochs", 2, "--max-steps", 4,
        "--batch-size", 2, "--cpu",
    )  # fmt: skip
    card = (run / "README.md").read_text("utf-8")
    assert "synthetic" in card.lower()
    assert json.loads((run / "config.json").read_text())["perfusion_maps"] == ["hf_lesionseg"]

    (case,) = json.loads((data / "splits.json").read_text())["splits"]["test"][:1]
    folder = data / "source" / "TRAINING" / case
    (series,) = folder.rglob("SMIR*4DPWI*.nii")
    (truth,) = folder.rglob("SMIR*.OT.*.nii")
    raw = tmp_path / f"{case}.nii"
    raw.write_bytes(series.read_bytes())
    masks = {}
    for kind, given in (("maps", folder), ("series", raw)):
        out = tmp_path / kind
        told = lesionseg("segment", given, "--model", run, "-o", out, "--device", "cpu")
        assert "1 of 1 cases" in told
        record = json.loads((out / f"{case}_record.json").read_text())
        made = (record["perfusion"] or {}).get("channels", [])
        assert ("cbf" in made) == (kind == "series")
        masks[kind] = nib.load(out / f"{case}_mask.nii.gz")
        assert masks[kind].shape == nib.load(truth).shape
        assert (out / f"{case}_preview.png").stat().st_size > 10_000
    # the files' CBF and CBV are rounded to a tenth: hardly a voxel may differ
    different = np.asarray(masks["maps"].dataobj) != np.asarray(masks["series"].dataobj)
    assert different.mean() < 0.01

    truths = tmp_path / "truths"
    truths.mkdir()
    (truths / f"{case}_mask.nii").write_bytes(truth.read_bytes())
    lesionseg("evaluate", tmp_path / "series", truths, "-o", tmp_path / "scores")
    with (tmp_path / "scores" / "metrics.csv").open(newline="") as file:
        (row,) = list(csv.DictReader(file))
    assert 0 <= float(row["dice"]) <= 1
