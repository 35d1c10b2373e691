"""BIDS data sets as people keep them: derivatives, sessions, spaces, several masks, several runs."""

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.datasets.bids import find_bids_cases, prepare_bids
from hf_lesionseg.errors import DataError


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_masks_in_derivatives_and_beside_the_scans(tmp_path):
    touch(
        tmp_path,
        "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz",
        "derivatives/manual/sub-01/ses-1/anat/sub-01_ses-1_label-lesion_mask.nii.gz",
        "derivatives/manual/sub-01/ses-2/anat/sub-01_ses-2_desc-lesion2_roi.nii.gz",
        "derivatives/manual/sub-01/ses-2/anat/sub-01_ses-2_desc-lesion1_roi.nii.gz",
        "derivatives/manual/sub-01/ses-2/anat/sub-01_ses-2_desc-brain_mask.nii.gz",
        "sub-02/anat/sub-02_T1w.nii",
        "sub-02/anat/sub-02_label-L_mask.nii.gz",
        "sub-03/anat/sub-03_T1w.nii.gz",
        "sub-03/anat/sub-03_mask.nii.gz",  # names no lesion, but is the only one
        "sub-03/anat/._sub-03_T1w.nii.gz",
        "sub-04/anat/sub-04_T1w.nii.gz",
        "derivatives/manual/sub-05/anat/sub-05_label-lesion_mask.nii.gz",
    )
    records, rejected = find_bids_cases(tmp_path)
    assert [(record.id, record.person) for record in records] == [
        ("sub-01_ses-1", "sub-01"),
        ("sub-01_ses-2", "sub-01"),
        ("sub-02", "sub-02"),
        ("sub-03", "sub-03"),
    ]
    assert [path.name for path in records[1].masks] == [
        "sub-01_ses-2_desc-lesion1_roi.nii.gz",
        "sub-01_ses-2_desc-lesion2_roi.nii.gz",
    ]
    assert [(case.path, case.reason.partition(" (")[0]) for case in rejected] == [
        ("sub-04/anat/sub-04_T1w.nii.gz", "no lesion mask in its session"),
        (
            "derivatives/manual/sub-05/anat/sub-05_label-lesion_mask.nii.gz",
            "mask without a scan of these channels",
        ),
    ]


def test_a_mask_goes_with_the_scan_in_its_space(tmp_path):
    touch(
        tmp_path,
        "sub-01/anat/sub-01_T1w.nii.gz",
        "derivatives/prep/sub-01/anat/sub-01_space-MNI_T1w.nii.gz",
        "derivatives/prep/sub-01/anat/sub-01_space-MNI_label-lesion_mask.nii.gz",
    )
    records, _ = find_bids_cases(tmp_path)
    assert records[0].images["t1w"].name == "sub-01_space-MNI_T1w.nii.gz"
    touch(tmp_path, "derivatives/prep/sub-01/anat/sub-01_label-lesion_mask.nii.gz")
    _, rejected = find_bids_cases(tmp_path)
    assert "several spaces (MNI, None)" in rejected[0].reason
    records, _ = find_bids_cases(tmp_path, entities={"space": "MNI"})
    assert records[0].images["t1w"].name == "sub-01_space-MNI_T1w.nii.gz"


def test_several_runs_are_a_choice(tmp_path):
    touch(
        tmp_path,
        "sub-01/anat/sub-01_run-1_T1w.nii.gz",
        "sub-01/anat/sub-01_run-2_T1w.nii.gz",
        "sub-01/anat/sub-01_label-lesion_mask.nii.gz",
    )
    _, rejected = find_bids_cases(tmp_path)
    assert "has several t1w scans" in rejected[0].reason
    assert "run=1" in rejected[0].reason
    records, _ = find_bids_cases(tmp_path, entities={"run": "2"})
    assert records[0].images["t1w"].name == "sub-01_run-2_T1w.nii.gz"


def test_all_channels_are_wanted(tmp_path):
    touch(
        tmp_path,
        "sub-01/anat/sub-01_FLAIR.nii.gz",
        "sub-01/dwi/sub-01_dwi.nii.gz",
        "sub-01/dwi/sub-01_label-lesion_mask.nii.gz",
        "sub-02/anat/sub-02_FLAIR.nii.gz",
        "sub-02/anat/sub-02_label-lesion_mask.nii.gz",
    )
    records, rejected = find_bids_cases(tmp_path, ("flair", "dwi"))
    assert {channel: path.name for channel, path in records[0].images.items()} == {
        "flair": "sub-01_FLAIR.nii.gz",
        "dwi": "sub-01_dwi.nii.gz",
    }
    assert rejected[0].reason == "has no dwi scan"


def test_what_is_no_bids(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        find_bids_cases(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no BIDS scan named like sub-01_\*?_?t1w\.nii\.gz"):
        find_bids_cases(tmp_path)
    touch(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz")
    with pytest.raises(DataError, match=r"none of its sessions can be used, .*no lesion mask"):
        prepare_bids(tmp_path, tmp_path / "out")


def test_prepared_by_person(tmp_path):
    generator = np.random.default_rng(0)
    for person in range(1, 5):
        for session in (1, 2):
            folder = tmp_path / "study" / f"sub-{person:02d}" / f"ses-{session}" / "anat"
            folder.mkdir(parents=True)
            scan = generator.uniform(10, 60, (20, 18, 4)).astype(np.float32)
            lesion = np.zeros(scan.shape, np.uint8)
            lesion[4 : 8 + person, 3:8, 1:3] = 1
            stem = folder / f"sub-{person:02d}_ses-{session}"
            nib.save(nib.Nifti1Image(scan, np.eye(4)), f"{stem}_T1w.nii.gz")
            nib.save(nib.Nifti1Image(lesion, np.eye(4)), f"{stem}_label-lesion_mask.nii.gz")
    (tmp_path / "study" / "dataset_description.json").write_text('{"Name": "My study", "License": "CC0"}')
    dataset = prepare_bids(tmp_path / "study", tmp_path / "out", progress=False)
    assert (dataset.name, dataset.licence, len(dataset.cases)) == ("My study", "CC0", 8)
    for split in dataset.splits():
        people = [case.person for case in dataset.select(split)]
        assert len(people) == 2 * len(set(people))  # both sessions of each
    (tmp_path / "study" / "dataset_description.json").write_text("{")
    with pytest.raises(DataError, match=r"dataset_description\.json: cannot be read"):
        prepare_bids(tmp_path / "study", tmp_path / "other")
