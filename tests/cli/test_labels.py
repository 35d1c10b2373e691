"""``--label`` and what is told of labels on the console."""

import json

import nibabel as nib
import numpy as np
import pytest

SHAPE = (20, 18, 4)


def save(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.diag([2.0, 2.0, 4.0, 1.0])), path)


def write_cases(folder, scan_names, mask_name):
    """Four cases whose masks hold 1 (24 voxels) and 2 (8 voxels, 0.128 mL)."""
    generator = np.random.default_rng(0)
    for number in range(1, 5):
        mask = np.zeros(SHAPE, np.uint8)
        mask[4:8, 3:6, 1:3], mask[12:14, 3:5, 1:3] = 1, 2
        for name in scan_names:
            save(folder / name.format(number), generator.uniform(10, 60, SHAPE).astype(np.float32))
        save(folder / mask_name.format(number), mask)
    return folder


READERS = {
    "atlas": (
        ["sub-r001s00{0}/ses-1/anat/sub-r001s00{0}_ses-1_space-MNI_T1w.nii.gz"],
        "sub-r001s00{0}/ses-1/anat/sub-r001s00{0}_ses-1_space-MNI_label-L_desc-T1lesion_mask.nii.gz",
    ),
    "bids": (["sub-0{0}/anat/sub-0{0}_T1w.nii.gz"], "sub-0{0}/anat/sub-0{0}_label-lesion_mask.nii.gz"),
    "isles2018": (
        ["case_{0}/SMIR.Brain.XX.O.CT_" + kind + ".10{0}.nii" for kind in ("Tmax", "CBF", "CBV", "MTT")],
        "case_{0}/SMIR.Brain.XX.O.OT.10{0}.nii",
    ),
    "isles2022": (
        ["sub-strokecase000{0}_ses-0001_" + kind + ".nii.gz" for kind in ("dwi", "adc")],
        "sub-strokecase000{0}_ses-0001_msk.nii.gz",
    ),
    "isles2024": (
        ["sub-stroke000{0}_ses-01_space-ncct_" + kind + ".nii.gz" for kind in ("tmax", "cbf", "cbv", "mtt")],
        "sub-stroke000{0}_ses-02_space-ncct_lesion-msk.nii.gz",
    ),
    "nnunet": (["imagesTr/c{0}_0000.nii.gz"], "labelsTr/c{0}.nii.gz"),
}


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_tells_of_labels_once_and_takes_one(lesionseg, tmp_path, reader):
    source = write_cases(tmp_path / "data", *READERS[reader])
    status, _, errors = lesionseg("prepare", reader, source, "-o", tmp_path / "all")
    assert status == 0, errors
    (line,) = [line for line in errors.splitlines() if "count as one" in line]
    assert "labels 1 and 2 count as one in the masks; --label chooses among them, such as --label 2" in line
    status, _, errors = lesionseg("prepare", reader, source, "-o", tmp_path / "chosen", "--label", "2")
    assert status == 0, errors
    assert "count as one" not in errors
    dataset = json.loads((tmp_path / "chosen/dataset.json").read_text())
    assert dataset["name"].endswith(" (2)")
    assert [round(case["lesion_ml"], 6) for case in dataset["cases"]] == [0.128] * 4
    assert dataset["cases"][0]["labels"] == {"1": 24, "2": 8}
    status, _, errors = lesionseg("prepare", reader, source, "-o", tmp_path / "none", "--label", "7")
    assert status == 1
    assert "label 7 occurs in none of its 4 masks, which hold 1 and 2" in errors.splitlines()[-1]


def test_pancreas_ct_takes_a_label(lesionseg, tmp_path):
    for number in range(1, 5):
        scan = np.random.default_rng(number).integers(-120, -80, SHAPE).astype(np.int16)
        organs = np.zeros(SHAPE, np.uint8)
        organs[4:10, 3:9, 1:3], organs[14:18, 10:15, 1:3] = 1, 2
        scan[organs == 1] = np.random.default_rng(0).integers(80, 120, int((organs == 1).sum()))
        scan[organs == 2] = 500
        save(tmp_path / f"data/PANCREAS_000{number}.nii.gz", scan)
        save(tmp_path / f"data/label000{number}.nii.gz", organs)
    arguments = ("prepare", "pancreas-ct", tmp_path / "data", "-o")
    status, _, errors = lesionseg(*arguments, tmp_path / "out", "--label", "1")
    assert status == 0, errors
    dataset = json.loads((tmp_path / "out/dataset.json").read_text())
    assert dataset["name"] == "Pancreas-CT (1)"
    assert [round(case["lesion_ml"], 6) for case in dataset["cases"]] == [1.152] * 4
    status, _, errors = lesionseg(*arguments, tmp_path / "none", "--label", "3")
    assert status == 1
    assert "Pancreas-CT (3): label 3 occurs in none of its 4 masks, which hold 1 and 2" in errors
    status, _, errors = lesionseg(*arguments, tmp_path / "all", "--hu-range", "60", "400")
    (line,) = [line for line in errors.splitlines() if "count as one" in line]
    assert "Pancreas-CT: labels 1 and 2 count as one" in line


def test_evaluate_takes_labels_and_refuses_a_folder_against_itself(lesionseg, tmp_path):
    for folder in ("p", "t"):
        write_cases(tmp_path / folder, [], "c{0}.nii.gz")
    status, text, _ = lesionseg("evaluate", tmp_path / "p", tmp_path / "t", "-o", tmp_path / "o", "--no-distances")
    assert status == 0
    assert "labels 1 and 2 count as one in the truths; --label chooses" in text
    assert "--prediction-label chooses" in text
    options = ("-o", tmp_path / "o", "--no-distances")
    status, text, _ = lesionseg("evaluate", tmp_path / "p", tmp_path / "t", *options, "--label", "2")
    assert status == 0
    assert "count as one" not in text
    status, _, errors = lesionseg("evaluate", tmp_path / "t", tmp_path / "t", *options)
    assert status == 2
    assert "every score would be perfect" in errors
    assert lesionseg("evaluate", tmp_path / "t", tmp_path / "t", *options, "--self-check")[0] == 0
