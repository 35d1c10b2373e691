"""``lesionseg prepare bids``: somebody's own study."""

import json

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
    assert "--entity 'run-1' is no KEY=VALUE" in errors
    status, _, errors = lesionseg("prepare", "bids", study, "-o", tmp_path / "prepared", "--channels", ",")
    assert status == 2
    assert "--channels names none" in errors
