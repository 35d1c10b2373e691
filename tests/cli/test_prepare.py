"""``lesionseg prepare`` from its arguments to its exit status, then ``lesionseg evaluate`` on what it made."""

import json
import re
import shutil

import nibabel as nib
import numpy as np
import pytest


@pytest.fixture(scope="session")
def atlas_folder(tmp_path_factory):
    """Five people in the layout of ATLAS R2.0, one of them without a mask."""
    source = tmp_path_factory.mktemp("ATLAS_2")
    random = np.random.default_rng(0)
    for person in range(1, 6):
        folder = source / "Training/R001" / f"sub-r001s{person:03}" / "ses-1/anat"
        folder.mkdir(parents=True)
        stem = folder / f"sub-r001s{person:03}_ses-1_space-MNI152NLin2009aSym"
        scan, mask = random.uniform(1, 100, (30, 36, 5)).astype(np.float32), np.zeros((30, 36, 5), dtype=np.uint8)
        mask[8:14, 10:20, 2] = 1
        nib.save(nib.Nifti1Image(scan, np.eye(4)), f"{stem}_T1w.nii.gz")
        if person < 5:
            nib.save(nib.Nifti1Image(mask, np.eye(4)), f"{stem}_label-L_desc-T1lesion_mask.nii.gz")
    return source


def test_atlas_is_prepared_and_what_has_no_mask_left_out(lesionseg, atlas_folder, tmp_path):
    status, text, errors = lesionseg("prepare", "atlas", atlas_folder, "-o", tmp_path / "out")
    assert status == 0
    assert re.search(r"train\s*│\s*2 │", text), text
    (line,) = [line for line in errors.splitlines() if line.startswith("left out: ")]
    assert "no lesion mask" in line
    assert "sub-r001s005" in line
    dataset = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert len(dataset["cases"]) == 4
    processor = json.loads((tmp_path / "out" / "preprocessor_config.json").read_text())
    assert (processor["normalization"], processor["crop_offset"]) == ("fixed-range", [5, 11])


def test_a_broken_scan_is_named_and_the_others_are_prepared(lesionseg, atlas_folder, tmp_path):
    source = shutil.copytree(atlas_folder, tmp_path / "source")
    broken = next(source.rglob("*s002*_T1w.nii.gz"))
    broken.write_bytes(broken.read_bytes()[:200])
    status, _, errors = lesionseg("prepare", "atlas", source, "-o", tmp_path / "out")
    assert status == 1
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert broken.name in line
    assert len(json.loads((tmp_path / "out" / "dataset.json").read_text())["cases"]) == 3
    assert not list((tmp_path / "out").rglob(".partial*"))


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["atlas", "absent"], 2, "absent: no such folder"),
        (["atlas", "empty"], 1, "empty: holds no T1w scan of ATLAS"),
        (["atlas", "empty", "--recipe", "no-such-recipe"], 2, "no-such-recipe"),
        (["synthetic", "--count", "0"], 2, "count is 0"),
        (["synthetic", "--count", "1", "--preset", "tumour"], 2, "tumour"),
    ],
)
def test_what_cannot_be_prepared_is_one_line(lesionseg, monkeypatch, tmp_path, arguments, status, message):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    got, text, errors = lesionseg("prepare", *arguments, "-o", "out")
    assert (got, text) == (status, "")
    assert errors.startswith("error: ")
    assert message in errors
    assert errors.count("\n") == 1


def test_a_recipe_with_impossible_processor_settings_is_wrong_usage(lesionseg, atlas_folder, tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("model_type: clci-net\nprocessor: {slice_axis: diagonal}\n")
    status, _, errors = lesionseg("prepare", "atlas", atlas_folder, "-o", tmp_path / "out", "--recipe", recipe)
    assert status == 2
    assert "slice_axis" in errors


def test_generated_strokes_are_marked_synthetic(lesionseg, tmp_path):
    pytest.importorskip("nilearn")
    out = tmp_path / "strokes"
    status, text, errors = lesionseg(
        "prepare", "synthetic", "-o", out, "--count", 3, "--spacing", 4, "--minimum-ml", 5, "--seed", 3
    )
    assert status == 0, errors
    assert "synthetic" in text
    dataset = json.loads((out / "dataset.json").read_text())
    assert dataset["synthetic"] is True
    assert len(dataset["cases"]) == 3
    assert all(case["lesion_ml"] > 4 for case in dataset["cases"])


def test_evaluate_scores_masks_and_counts_the_missing_one(lesionseg, tmp_path):
    truth = np.zeros((8, 8, 4), dtype=np.uint8)
    truth[2:6, 2:6, 1:3] = 1
    half = truth.copy()
    half[4:] = 0
    for folder, masks in (("truths", {"a": truth, "b": truth}), ("predictions", {"a_mask": half})):
        (tmp_path / folder).mkdir()
        for name, mask in masks.items():
            nib.save(nib.Nifti1Image(mask, np.eye(4)), tmp_path / folder / f"{name}.nii.gz")
    status, text, _ = lesionseg("evaluate", tmp_path / "predictions", tmp_path / "truths", "-o", tmp_path / "scores")
    assert status == 1
    # Half of the truth was found: Dice 2 * 16 / (16 + 32).
    assert text.count("0.667") >= 1
    assert text.count("Dice (DSC)") == 1
    summary = json.loads((tmp_path / "scores" / "metrics.json").read_text())["summary"]
    assert (summary["n_cases"], summary["n_failed"]) == (2, 1)
    assert summary["dice"]["mean"] == pytest.approx(2 / 3)


def test_push_of_what_is_no_model_is_one_line(lesionseg, tmp_path):
    status, text, errors = lesionseg("push", tmp_path, "org/name")
    assert (status, text) == (1, "")
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
