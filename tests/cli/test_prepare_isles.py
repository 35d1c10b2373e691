"""``lesionseg prepare isles2018``, ``isles2022``, ``isles2024``, ``synthetic-perfusion``: arguments to exit status."""

import json

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.datasets.synthetic.perfusion.phantom import draw_phantom


def write(path, mask=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.random.default_rng(len(path.name)).uniform(1, 100, (16, 18, 2)).astype(np.float32)
    if mask:
        data = np.zeros(data.shape, np.uint8)
        data[4:8, 5:9, 1] = 1
    nib.save(nib.Nifti1Image(data, np.diag([1.0, 1, 5, 1])), path)


@pytest.fixture
def training(tmp_path):
    """Three cases of ISLES 2018 without their JSON files, and one without truth."""
    for number in range(1, 5):
        for kind in ("CT_CBF", "CT_CBV", "CT_MTT", "CT_Tmax", "OT")[: 4 if number == 4 else 5]:
            stem = f"SMIR.Brain.XX.O.{kind}.{345500 + number}"
            write(tmp_path / "TRAINING" / f"case_{number}" / stem / f"{stem}.nii", mask=kind == "OT")
    return tmp_path / "TRAINING"


def test_isles2018_warns_of_unknown_patients_and_leaves_out_what_has_no_truth(lesionseg, training, tmp_path):
    status, text, errors = lesionseg("prepare", "isles2018", training, "-o", tmp_path / "out")
    assert status == 0, errors
    assert "ISLES 2018" in text
    lines = [line for line in errors.splitlines() if line.startswith(("warning: ", "left out: ", "error: "))]
    assert lines[0].startswith("warning: the patient of 3 cases is unknown")
    assert lines[1:] == ["left out: no lesion mask: case_4"]
    assert "LeakageWarning" not in errors

    people = tmp_path / "people.csv"
    people.write_text("case,person\n1,a\n2,b\n3,c\n")
    status, _, errors = lesionseg("prepare", "isles2018", training, "-o", tmp_path / "known", "--people", people)
    assert status == 0
    assert "warning: the patient" not in errors


def test_a_missing_map_is_an_error_by_name(lesionseg, training, tmp_path):
    next((training / "case_2").rglob("*MTT*.nii")).unlink()
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("model_type: clci-net\nprocessor: {channel_names: [mtt, tmax]}\nsplit: {train: 1, test: 1}\n")
    status, _, errors = lesionseg("prepare", "isles2018", training, "-o", tmp_path / "out", "--recipe", recipe)
    assert status == 1
    assert "error: case_2: has no mtt; the processor asks for mtt, tmax" in errors
    dataset = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert [case["id"] for case in dataset["cases"]] == ["case_1", "case_3"]
    assert json.loads((tmp_path / "out" / "splits.json").read_text())["people"] == {"train": 1, "test": 1}


@pytest.mark.parametrize(
    ("command", "kinds"),
    [("isles2022", ("dwi", "adc", "msk")), ("isles2024", ("tmax", "cbf", "cbv", "mtt", "lesion-msk"))],
)
def test_isles2022_and_isles2024(lesionseg, tmp_path, command, kinds):
    for number in range(1, 4):
        for kind in kinds:
            name = f"sub-stroke{number:04d}_ses-01_{kind}.nii.gz"
            write(tmp_path / "in" / "derivatives" / name, mask=kind.endswith("msk"))
    status, text, errors = lesionseg("prepare", command, tmp_path / "in", "-o", tmp_path / "out")
    assert (status, errors.count("error")) == (0, 0), errors
    assert f"ISLES {command[-4:]}" in text
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["channel_names"] == list(kinds[:-1])


def test_a_folder_of_another_challenge_is_one_line(lesionseg, training, tmp_path):
    status, text, errors = lesionseg("prepare", "isles2022", training, "-o", tmp_path / "out")
    assert (status, text, errors.count("\n")) == (1, "", 1)
    assert "use `lesionseg prepare isles2018`" in errors


def test_what_is_odd_in_a_series_is_printed_once_and_maps_from_it_are_told(lesionseg, tmp_path):
    """One ends within the first pass, the header of another does not tell its frame time."""
    phantom = draw_phantom(size=64, num_slices=1, num_frames=40, noise_hu=2)
    affine = np.diag([*phantom.spacing, 1])
    for number in (1, 2, 3):
        home = tmp_path / "in" / f"case_{number}"
        home.mkdir(parents=True)
        series = nib.Nifti1Image(phantom.data[..., : 20 if number == 1 else 40], affine)
        series.header["pixdim"][4] = 0 if number == 2 else 1
        nib.save(series, home / f"SMIR.Brain.XX.O.CT_4DPWI.{number}.nii")
        nib.save(
            nib.Nifti1Image((phantom.tissue == 2).astype(np.uint8), affine), home / f"SMIR.Brain.XX.O.OT.{number}.nii"
        )
    status, text, errors = lesionseg("prepare", "isles2018", tmp_path / "in", "-o", tmp_path / "out")
    assert status == 0, errors
    assert "no case has perfusion maps: all are made from the raw series" in text
    kept = json.loads((tmp_path / "out" / "dataset.json").read_text())["cases"]
    assert ["of the contrast still in the brain" in " ".join(case["warnings"]) for case in kept] == [True, False, False]
    assert ["the header's frame time is 0" in " ".join(case["warnings"]) for case in kept] == [False, True, False]
    for warning in (warning for case in kept for warning in case["warnings"]):
        assert errors.count(f"warning: {warning}") == 1


@pytest.mark.parametrize("recipe", ["ms-dcnn-isles2018", "egs-net-isles2018"])
def test_generated_perfusion_has_the_channels_of_the_recipe(lesionseg, tmp_path, recipe):
    out = tmp_path / "out"
    small = ("--count", 3, "--seed", 1, "--size", 64, "--slices", 1, "--frames", 40)
    status, text, errors = lesionseg("prepare", "synthetic-perfusion", "-o", out, *small, "--recipe", recipe)
    assert (status, errors.count("error")) == (0, 0), errors
    assert "synthetic data" in text
    dataset = json.loads((out / "dataset.json").read_text())
    maps = ["tmax", "cbf", "cbv", "mtt"] if recipe.startswith("ms") else ["cbf", "cbv", "mtt", "tmax"]
    assert [name for name in dataset["channel_names"] if name in maps] == maps
    assert len(dataset["channel_names"]) == (4 if recipe.startswith("ms") else 17)
    assert dataset["synthetic"] is True
    for values in out.glob("cases/*/pixel_values.npy"):
        frames, others = np.split(np.load(values), [11 if recipe.startswith("egs") else 0], axis=1)
        assert others.min() < -0.1, "z-scores"
        for frame in frames.swapaxes(0, 1):  # 0 to 100 HU as 0 to 1, whatever air and bone hold
            assert (frame.min(), frame.max()) == (0, 1)
            assert 0.2 < np.median(frame[frame > 0]) < 0.6
    assert (out / "source" / "TRAINING" / "case_1").is_dir()
    assert list((out / "source").rglob("SMIR*MR_DWI*.nii")), "a generator learns from it"


def test_generated_perfusion_of_impossible_settings_is_one_line(lesionseg, tmp_path):
    status, text, errors = lesionseg(
        "prepare", "synthetic-perfusion", "-o", tmp_path / "out", "--count", 3, "--frames", 5
    )
    assert (status, text) == (2, "")
    assert "error: num_frames is 5; take 30 to 120" in errors
