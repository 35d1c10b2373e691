"""``lesionseg prepare`` of CT organs: generated ones, nnU-Net's layout and Pancreas-CT."""

import json
import re

import nibabel as nib
import numpy as np
import pytest


def save(path, data, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.eye(4) if affine is None else affine), path)


def abdomen(number=0):
    """Muscle in air, and in its front a bright block; and the block."""
    rng = np.random.default_rng(number)
    scan = np.full((24, 20, 6), -1000, np.int16)
    scan[2:22, 2:18] = rng.integers(-120, -80, (20, 16, 6))
    organ = np.zeros(scan.shape, np.uint8)
    organ[6:12, 3 : 7 + number % 3, 1:3] = 1
    scan[organ > 0] = rng.integers(80, 110, int(organ.sum()))
    return scan, organ


def test_generated_organs_are_marked_synthetic(lesionseg, tmp_path):
    out = tmp_path / "organs"
    status, text, errors = lesionseg(
        "prepare", "synthetic-organs", "-o", out, "--count", 3, "--size", 64, "--slices", 3, "--seed", 2
    )
    assert status == 0, errors
    assert "synthetic" in text
    dataset = json.loads((out / "dataset.json").read_text())
    assert dataset["synthetic"] is True
    assert [case["notes"]["seed"] for case in dataset["cases"]] == [2, 2, 2]
    processor = json.loads((out / "preprocessor_config.json").read_text())
    assert (processor["normalization"], processor["slice_stack"]) == ("window", "repeat")


def test_a_recipe_decides_processor_and_split(lesionseg, tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "model_type: clci-net\n"
        "processor: {normalization: window, intensity_range: [0, 200], slice_stack: neighbours}\n"
        "split: {train: 1, test: 2}\n"
    )
    out = tmp_path / "organs"
    small = ("--count", 3, "--size", 64, "--slices", 3)
    status, _, errors = lesionseg("prepare", "synthetic-organs", "-o", out, *small, "--recipe", recipe)
    assert status == 0, errors
    processor = json.loads((out / "preprocessor_config.json").read_text())
    assert (processor["channel_names"], processor["slice_stack"]) == (["ct"], "neighbours")
    assert processor["intensity_range"] == [0, 200]
    splits = json.loads((out / "splits.json").read_text())["splits"]
    assert [len(splits[name]) for name in ("train", "test")] == [1, 2]


def test_nnunet_names_the_label_on_another_grid_and_prepares_the_others(lesionseg, tmp_path):
    source = tmp_path / "Dataset001"
    for number in range(4):
        scan, organ = abdomen(number)
        save(source / "imagesTr" / f"case{number}_0000.nii.gz", scan)
        save(source / "labelsTr" / f"case{number}.nii.gz", organ, np.diag([1, 1, 1 + number // 3, 1]))
    save(source / "imagesTr" / "case9_0000.nii.gz", scan)
    status, text, errors = lesionseg("prepare", "nnunet", source, "-o", tmp_path / "out", "--label", "1")
    assert status == 1
    assert re.search(r"train\s*│\s*1 │", text), text
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert "case3.nii.gz: lies up to" in line
    assert "left out: image without a label: imagesTr/case9_0000.nii.gz" in errors


def test_pancreas_ct_prints_the_verdict_of_each_case(lesionseg, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    source, labels = tmp_path / "Pancreas-CT", tmp_path / "labels"
    for number in (1, 2, 3, 4, 25):
        scan, organ = abdomen(number)
        save(source / "data" / f"PANCREAS_{number:04d}.nii.gz", scan)
        organ = organ[:, :, ::-1] if number == 2 else organ[:, :, :-1] if number == 3 else organ
        save(labels / f"label{number:04d}.nii.gz", organ)
    status, text, errors = lesionseg("prepare", "pancreas-ct", source, "--labels", labels, "-o", tmp_path / "out")
    assert status == 1
    assert re.search(r"PANCREAS_0001 │\s+9\d │\s+100% │ fits ", text), text
    assert re.search(r"PANCREAS_0002 │\s+9\d │\s+100% │ fits when flipped: flipped along z", text), text
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert "label0003.nii.gz: shape (24, 20, 5), but the scan" in line
    assert "left out: withdrawn in 2020: the same scan as PANCREAS_0002: data/PANCREAS_0025.nii.gz" in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pancreas-ct", "empty"], "empty: holds no scan of Pancreas-CT"),
        (["nnunet", "empty"], "empty: has no imagesTr and labelsTr"),
    ],
)
def test_what_cannot_be_prepared_is_one_line(lesionseg, monkeypatch, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    got, text, errors = lesionseg("prepare", *arguments, "-o", "out")
    assert (got, text) == (1, "")
    assert errors.startswith("error: ")
    assert message in errors
    assert errors.count("\n") == 1
