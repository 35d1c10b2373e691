"""``lesionseg prepare`` with a recipe that learns from a DWI: of the first release, of one's own, or of nobody."""

import json

import nibabel as nib
import numpy as np
import pytest

MAPS = ("CBF", "CBV", "MTT", "Tmax")
AFFINE = np.diag([1.0, 1, 5, 1])


@pytest.fixture
def write(tmp_path):
    def save(path, data, affine=AFFINE):
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(data, affine), path)

    def training(*, prefix, dwi=()):
        for number in range(1, 4):
            rng = np.random.default_rng(number)
            kinds = [*(f"{prefix}_{name}" for name in MAPS), "OT", *(["MR_DWI"] if number in dwi else [])]
            for kind in kinds:
                stem = f"SMIR.Brain.XX.O.{kind}.{345500 + number}"
                data = rng.uniform(1, 100, (16, 18, 2)).astype(np.float32)
                if kind == "OT":
                    data = (data > 80).astype(np.uint8)
                save(tmp_path / "TRAINING" / f"case_{number}" / stem / f"{stem}.nii", data)
        return tmp_path / "TRAINING"

    training.save = save
    return training


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "maps.yaml"
    path.write_text(
        "model_type: egs-net\nmodel: {base_width: 2, extractor: false, channel_names: [cbf, cbv, mtt, tmax],"
        " map_channels: [cbf, cbv, mtt, tmax]}\nprocessor: {channel_names: [cbf, cbv, mtt, tmax]}\n"
        "target_channels: [dwi]\nsplit: {train: 1}\n"
    )
    return path


def targets(folder):
    return json.loads((folder / "dataset.json").read_text())["target_channels"], sorted(folder.rglob("targets.npy"))


def test_first_release_brings_its_dwi_and_a_case_without_is_named(lesionseg, write, recipe, tmp_path):
    source = write(prefix="MR", dwi=(1, 3))
    status, _, errors = lesionseg("prepare", "isles2018", source, "-o", tmp_path / "out", "--recipe", recipe)
    assert status == 1
    assert "error: case_2: has no dwi to learn from, as other cases have" in errors
    names, files = targets(tmp_path / "out")
    assert (names, [path.parent.name for path in files]) == (["dwi"], ["case_1", "case_3"])
    assert np.load(files[0]).shape == (2, 1, 18, 16)


def test_later_release_is_prepared_without_and_says_so(lesionseg, write, recipe, tmp_path):
    source = write(prefix="CT")
    status, _, errors = lesionseg("prepare", "isles2018", source, "-o", tmp_path / "out", "--recipe", recipe)
    assert status == 0
    assert errors.count("warning: no case of ISLES 2018 has dwi") == 1
    assert "extractor + segmentor alone" in errors
    assert "--dwi FOLDER" in errors
    assert "MissingTargetWarning" not in errors
    assert targets(tmp_path / "out") == ([], [])


def test_own_folder(lesionseg, write, recipe, tmp_path):
    source, own = write(prefix="CT"), tmp_path / "own"
    rng = np.random.default_rng(5)
    write.save(own / "case_1.nii.gz", rng.uniform(1, 9, (16, 18, 2)).astype(np.float32))
    write.save(own / "case_2_dwi.nii.gz", rng.uniform(1, 9, (32, 36, 2)).astype(np.float32), np.diag([0.5, 0.5, 5, 1]))
    command = ["prepare", "isles2018", source, "--recipe", recipe, "--dwi", own, "-o"]
    status, _, errors = lesionseg(*command, tmp_path / "out")
    assert status == 1
    assert "case_2_dwi.nii.gz: lies on another grid ((32, 36, 2))" in errors
    assert f"error: {own}: no file is named by case_3; name its DWI case_3.nii.gz" in errors
    assert targets(tmp_path / "out")[0] == ["dwi"]

    write.save(own / "case_3.nii.gz", rng.uniform(1, 9, (16, 18, 2)).astype(np.float32))
    status, _, errors = lesionseg(*command, tmp_path / "all", "--resample-dwi")
    assert status == 0, errors
    assert len(targets(tmp_path / "all")[1]) == 3


def test_a_folder_of_dwi_that_nothing_asks_for_is_refused(lesionseg, write, tmp_path):
    source = write(prefix="CT")
    status, _, errors = lesionseg("prepare", "isles2018", source, "--dwi", tmp_path, "-o", tmp_path / "out")
    assert status == 2
    assert "nothing asks for it; use a recipe with target_channels: [dwi]" in errors
    assert not (tmp_path / "out").exists()


def test_isles2024_takes_the_dwi_in_the_space_of_the_ct(lesionseg, write, recipe, tmp_path):
    source = tmp_path / "in"
    for number in range(1, 4):
        rng, stem = np.random.default_rng(number), f"sub-stroke{number:04d}"
        home = source / "derivatives" / stem
        for kind in ("tmax", "cbf", "cbv", "mtt"):
            data = rng.uniform(1, 90, (16, 18, 2)).astype(np.float32)
            write.save(home / "ses-01" / f"{stem}_ses-01_space-ncct_{kind}.nii.gz", data)
        write.save(home / "ses-02" / f"{stem}_ses-02_lesion-msk.nii.gz", (data > 60).astype(np.uint8))
        write.save(home / "ses-02" / f"{stem}_ses-02_space-ncct_dwi.nii.gz", data[::-1].copy())
        raw = source / "raw_data" / stem / "ses-02" / f"{stem}_ses-02_dwi.nii.gz"
        write.save(raw, rng.uniform(1, 9, (8, 8, 3)).astype(np.float32), np.diag([3.0, 3, 4, 1]))
    status, _, errors = lesionseg("prepare", "isles2024", source, "-o", tmp_path / "out", "--recipe", recipe)
    assert status == 0, errors
    names, files = targets(tmp_path / "out")
    assert (names, len(files)) == (["dwi"], 3)
