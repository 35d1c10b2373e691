"""``lesionseg prepare bids``: somebody's own study."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest


@pytest.fixture
def study(tmp_path):
    generator = np.random.default_rng(0)
    for person in range(1, 6):
        folder = tmp_path / "my-study" / f"sub-{person:02d}" / "anat"
        folder.mkdir(parents=True)
        lesion = np.zeros((20, 18, 4), np.uint8)
        lesion[4 : 8 + person, 3:8, 1:3] = 1
        for suffix in ("T1w", "FLAIR"):
            scan = generator.uniform(10, 60, lesion.shape).astype(np.float32)
            nib.save(nib.Nifti1Image(scan, np.eye(4)), folder / f"sub-{person:02d}_{suffix}.nii.gz")
        affine = np.diag([1, 1, 1 + person // 5, 1])  # the last one's mask lies on another grid
        nib.save(nib.Nifti1Image(lesion, affine), folder / f"sub-{person:02d}_label-lesion_mask.nii.gz")
    return tmp_path / "my-study"


def test_two_channels_and_a_mask_on_another_grid(lesionseg, study, tmp_path):
    out = tmp_path / "prepared"
    status, text, errors = lesionseg("prepare", "bids", study, "-o", out, "--channels", "t1w,flair")
    assert status == 1
    assert "my-study" in text
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert "sub-05_label-lesion_mask.nii.gz" in line
    dataset = json.loads((out / "dataset.json").read_text())
    assert dataset["channel_names"] == ["t1w", "flair"]
    assert [case["id"] for case in dataset["cases"]] == ["sub-01", "sub-02", "sub-03", "sub-04"]


def test_wrong_options(lesionseg, study, tmp_path):
    status, _, errors = lesionseg("prepare", "bids", study, "-o", tmp_path / "prepared", "--entity", "run-1")
    assert status == 2
    assert "--entity 'run-1' is not KEY=VALUE" in errors
    status, _, errors = lesionseg("prepare", "bids", study, "-o", tmp_path / "prepared", "--channels", ",")
    assert status == 2
    assert "--channels names none" in errors


def test_what_was_rejected_is_told_before_what_follows_from_it(lesionseg, study, tmp_path):
    for person in (1, 2, 3):
        next((study / f"sub-{person:02d}").rglob("*_mask.nii.gz")).unlink()
    status, _, errors = lesionseg("prepare", "bids", study, "-o", tmp_path / "prepared")
    lines = [line for line in errors.splitlines() if line.startswith(("left out: ", "error: "))]
    assert status == 1
    assert lines[0].startswith("left out: no lesion mask in its session")
    assert lines[0].endswith("sub-01_T1w.nii.gz and 2 more")
    assert "sub-05_label-lesion_mask.nii.gz" in lines[1]  # on another grid
    assert "1 people cannot be split" in lines[2]
    assert "(4 could not be used)" in lines[2]
    for mask in study.rglob("*_mask.nii.gz"):
        mask.rename(mask.with_name(mask.name.replace("label-lesion", "desc-brain")))
    status, _, errors = lesionseg("prepare", "bids", study, "-o", tmp_path / "brains")
    lines = [line for line in errors.splitlines() if line.startswith(("left out: ", "error: "))]
    assert (status, len(lines)) == (1, 3)
    assert "choose it with --entity desc=brain" in lines[1]
    assert "none of its 5 sessions can be used" in lines[2]


def test_an_entity_that_chooses_a_mask(lesionseg, study, tmp_path):
    for mask in list(study.rglob("*_mask.nii.gz")):
        for rater in ("rater1", "rater2"):
            shutil.copy(mask, mask.with_name(mask.name.replace("_mask", f"_desc-{rater}_mask")))
        mask.unlink()
    status, _, errors = lesionseg("prepare", "bids", study, "-o", tmp_path / "prepared")
    assert status == 1
    assert "(choose with --entity desc=rater1 or --entity desc=rater2)" in errors
    status, _, errors = lesionseg("prepare", "bids", study, "-o", tmp_path / "prepared", "--entity", "desc=rater2")
    dataset = json.loads((tmp_path / "prepared" / "dataset.json").read_text())
    assert dataset["cases"][0]["masks"] == ["sub-01/anat/sub-01_label-lesion_desc-rater2_mask.nii.gz"]


def test_a_whole_beside_its_parts_is_told(lesionseg, study, tmp_path):
    for mask in list(study.rglob("*_mask.nii.gz")):
        shutil.copy(mask, mask.with_name(mask.name.replace("label-lesion", "label-lesionAcute")))
    _, _, errors = lesionseg("prepare", "bids", study, "-o", tmp_path / "prepared")
    assert "note: 4 cases: took label-lesion_mask of label-lesionAcute_mask, label-lesion_mask" in errors
    assert "choose another with --entity label=lesionAcute" in errors


def test_a_folder_of_masks(lesionseg, study, tmp_path):
    for mask in list(study.rglob("*_mask.nii.gz")):
        for name in ("manual", "network"):
            folder = study / "derivatives" / name / mask.parent.relative_to(study)
            folder.mkdir(parents=True)
            shutil.copy(mask, folder)
        mask.unlink()
    _, _, errors = lesionseg("prepare", "bids", study, "-o", tmp_path / "prepared")
    assert "--masks FOLDER, one of derivatives/manual, derivatives/network" in errors
    command = ("prepare", "bids", study, "-o", tmp_path / "prepared", "--masks", "derivatives/manual")
    lesionseg(*command)
    dataset = json.loads((tmp_path / "prepared" / "dataset.json").read_text())
    assert dataset["cases"][0]["masks"] == ["derivatives/manual/sub-01/anat/sub-01_label-lesion_mask.nii.gz"]
