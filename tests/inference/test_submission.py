"""From maps named as SMIR names them to masks named as SMIR takes them."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from hf_lesionseg.errors import DataError, OutputError, UsageError
from hf_lesionseg.inference import MaskOptions, ModelSource, segment_cases
from hf_lesionseg.inference.submission import export_smir

MAPS = ("tmax", "cbf", "cbv", "mtt")
AFFINE = np.array([[-0.75, 0, 0, 40], [0, 0.75, 0, -30], [0, 0, 12, 5], [0, 0, 0, 1.0]])


@pytest.fixture
def lesionseg(capsys):
    """Return a function that runs ``lesionseg`` and gives its exit status, output and errors."""
    from hf_lesionseg.cli import main

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return end.value.code or 0, told.out, told.err

    return run


def write_case(folder, number):
    """Five volumes; the id of the MTT map is 1000 times the number, and 3."""
    rng = np.random.default_rng(number)
    for place, kind in enumerate(("CT", "CT_CBF", "CT_CBV", "CT_MTT", "CT_Tmax")):
        stem = f"SMIR.Brain.XX.O.{kind}.{1000 * number + place}"
        (folder / stem).mkdir(parents=True)
        data = rng.uniform(1, 90, (20, 18, 3)).astype(np.float32)
        nib.save(nib.Nifti1Image(data, AFFINE), folder / stem / f"{stem}.nii")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A function that gives an untrained network for the given maps."""
    from hf_lesionseg import CLCINetConfig, CLCINetForSemanticSegmentation, LesionImageProcessor

    def make(maps):
        torch.manual_seed(0)
        folder = tmp_path_factory.mktemp("model")
        CLCINetForSemanticSegmentation(CLCINetConfig(num_channels=len(maps), base_width=2)).save_pretrained(folder)
        LesionImageProcessor(channel_names=maps).save_pretrained(folder)
        return folder

    return make


@pytest.mark.parametrize("maps", [MAPS, ("tmax", "cbf")], ids=["with MTT", "MTT in the case's folder only"])
def test_masks_get_the_ids_of_their_mtt_volumes(model, tmp_path, maps):
    inputs = [write_case(tmp_path / "TESTING" / f"case_{number}", number) for number in (1, 2)]
    run = segment_cases(
        inputs, ModelSource(model(maps), device="cpu"), tmp_path / "masks", mask=MaskOptions(threshold=0.5)
    )
    assert run.exit_status == 0, [outcome.reason for outcome in run.outcomes]
    done = export_smir(tmp_path / "masks", tmp_path / "submission", name="my_network-1")
    assert done.failed == {}
    names = {"case_1": "SMIR.my_network-1.1003.nii", "case_2": "SMIR.my_network-1.2003.nii"}
    assert {case: path.name for case, path in done.written.items()} == names
    assert {path.name for path in (tmp_path / "submission").iterdir()} == set(names.values())
    for case, path in done.written.items():
        sent, mask = nib.load(path), nib.load(tmp_path / "masks" / f"{case}_mask.nii.gz")
        np.testing.assert_array_equal(np.asarray(sent.dataobj), np.asarray(mask.dataobj))
        np.testing.assert_array_equal(sent.affine, AFFINE)
        assert sent.get_data_dtype() == np.uint8


def write_result(folder, case, *files):
    """What ``lesionseg segment`` leaves, as far as it matters here."""
    folder.mkdir(exist_ok=True)
    inputs = [{"channel": f"channel{n}", "file": str(file)} for n, file in enumerate(files)]
    (folder / f"{case}_record.json").write_text(json.dumps({"inputs": inputs}))
    nib.save(nib.Nifti1Image(np.ones((4, 4, 2), np.uint8), AFFINE), folder / f"{case}_mask.nii.gz")


def test_what_cannot_be_named_fails_and_the_others_are_written(lesionseg, tmp_path):
    masks = tmp_path / "masks"
    write_result(masks, "good", "SMIR.Brain.XX.O.MR_MTT.339211.nii")
    write_result(masks, "renamed", "mtt.nii.gz")
    write_result(masks, "twice", "SMIR.Brain.XX.O.MR_MTT.339211.nii")
    write_result(masks, "two", "SMIR.Brain.XX.O.MR_MTT.5.nii", "SMIR.Brain.XX.O.MR_MTT.6.nii")
    write_result(masks, "without", "SMIR.Brain.XX.O.MR_MTT.7.nii")
    (masks / "without_mask.nii.gz").unlink()
    (masks / "damaged_record.json").write_text("{}")
    status, text, errors = lesionseg("submit", masks, "-o", tmp_path / "out")
    assert status == 1
    assert text == f"good: {tmp_path / 'out' / 'SMIR.lesionseg.339211.nii'}\n"
    lines = {line.split("/")[-1].split("_")[0]: line for line in errors.splitlines()}
    assert set(lines) == {"renamed", "twice", "two", "without", "damaged"}
    assert "name an MTT volume" in lines["renamed"]
    assert "as case good does" in lines["twice"]
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_an_earlier_export_is_replaced_and_anything_else_left_alone(tmp_path):
    masks, out = tmp_path / "masks", tmp_path / "out"
    write_result(masks, "a", "SMIR.Brain.XX.O.MR_MTT.1.nii")
    export_smir(masks, out, name="old")
    (masks / "a_record.json").unlink()
    write_result(masks, "b", "SMIR.Brain.XX.O.MR_MTT.2.nii")
    export_smir(masks, out)
    assert [path.name for path in out.iterdir()] == ["SMIR.lesionseg.2.nii"]
    (out / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds notes\.txt, which is not a submission"):
        export_smir(masks, out)
    assert {path.name for path in out.iterdir()} == {"SMIR.lesionseg.2.nii", "notes.txt"}


def test_wrong_names_and_folders(tmp_path):
    with pytest.raises(UsageError, match=r"'a\.b' is not allowed"):
        export_smir(tmp_path, tmp_path / "out", name="a.b")
    with pytest.raises(DataError, match="holds no result of `lesionseg segment`"):
        export_smir(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
