"""Data sets with raw series: channels made from them when cases are prepared, and what is said of it."""

import json

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.datasets.prepare import prepare
from hf_lesionseg.datasets.readers.isles2018 import ISLES2018
from hf_lesionseg.datasets.readers.isles2024 import ISLES2024
from hf_lesionseg.datasets.synthetic.perfusion.phantom import draw_phantom
from hf_lesionseg.errors import DataError
from hf_lesionseg.imaging import read_perfusion_series
from hf_lesionseg.imaging.perfusion.channels import make_channels
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor

MAPS = ("tmax", "cbf", "cbv", "mtt")


@pytest.fixture(scope="module")
def phantom():
    return draw_phantom(size=64, num_slices=2, num_frames=40, noise_hu=2)


def save(path, data, spacing, seconds=1.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data, np.diag([*spacing, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    if data.ndim == 4:
        image.header["pixdim"][4] = seconds
    nib.save(image, path)
    return path


def smir(root, case, kind, number=345500):
    stem = f"SMIR.Brain.XX.O.{kind}.{number + case}"
    return root / f"case_{case}" / stem / f"{stem}.nii"


@pytest.fixture
def raw(tmp_path, phantom):
    """Three cases of ISLES 2018 with series and truth, without maps."""
    root = tmp_path / "TRAINING"
    for case in (1, 2, 3):
        save(smir(root, case, "CT_4DPWI"), phantom.data, phantom.spacing)
        truth = save(smir(root, case, "OT"), (phantom.tissue == 2).astype(np.uint8), phantom.spacing)
        truth.with_suffix(".json").write_text(json.dumps({"description": f"ISLES 2018 - OT - Train_{case}"}))
    return root


def test_maps_are_made_where_no_case_has_any(raw, tmp_path):
    processor = LesionImageProcessor(channel_names=MAPS, normalization="z-score")
    dataset = prepare(ISLES2018(), raw, tmp_path / "out", processor=processor, progress=False)
    assert [case.id for case in dataset.cases] == ["case_1", "case_2", "case_3"]
    assert dataset.perfusion_maps == ["hf_lesionseg"]
    (case, *_) = dataset.cases
    assert case.made_from_series == MAPS
    assert set(case.sources) == {"case_1/SMIR.Brain.XX.O.CT_4DPWI.345501/SMIR.Brain.XX.O.CT_4DPWI.345501.nii"}

    for number in (1, 2, 3):  # the same maps as files
        made = make_channels(read_perfusion_series(smir(raw, number, "CT_4DPWI")), MAPS).channels
        for name in MAPS:
            kind = "CT_Tmax" if name == "tmax" else f"CT_{name.upper()}"
            save(smir(raw, number, kind), made[name], (220 / 64, 220 / 64, 8))
    of_files = prepare(ISLES2018(), raw, tmp_path / "files", processor=processor, progress=False)
    assert of_files.perfusion_maps == ["other software"]
    assert of_files.cases[0].made_from_series == ()
    np.testing.assert_array_equal(case.planes(), of_files.cases[0].planes())
    assert case.planes().std(axis=(0, 2, 3)).min() > 0.1


def test_beside_maps_of_other_software_none_are_made(raw, phantom, tmp_path):
    for name in ("CBF", "CBV", "MTT", "Tmax"):
        save(smir(raw, 1, f"CT_{name}"), phantom.cbf, phantom.spacing)
    records, rejected = ISLES2018().find(raw)
    assert [record.id for record in records] == ["case_1"]
    assert [each.path for each in rejected] == ["case_2", "case_3"]
    assert "has no tmax and no cbf and no cbv and no mtt" in rejected[0].reason
    assert "do not mix those of two programs" in rejected[0].reason


def test_a_map_that_is_negative_everywhere_is_refused(raw, phantom, tmp_path):
    for case in (1, 2):
        for name in ("CBF", "CBV", "MTT", "Tmax"):
            sign = -1 if case == 2 and name == "MTT" else 1
            save(smir(raw, case, f"CT_{name}"), sign * phantom.cbf, phantom.spacing)
    dataset = prepare(ISLES2018(), raw, tmp_path / "out", fractions={"train": 1}, progress=False)
    assert [case.id for case in dataset.cases] == ["case_1"]
    assert "no value of mtt is above 0" in next(e["reason"] for e in dataset.rejected if "case_2" in e["path"])


def test_without_series_the_remedy_is_not_that_of_missing_masks(raw, phantom, tmp_path):
    for case in (1, 2, 3):
        smir(raw, case, "CT_4DPWI").unlink()
        save(smir(raw, case, "CT"), phantom.cbf, phantom.spacing)
    with pytest.raises(DataError, match=r"case_1: has no tmax .*the processor asks for") as error:
        prepare(ISLES2018(), raw, tmp_path / "out", progress=False)
    assert "lesion masks" not in str(error.value)


def test_isles_2024_makes_them_too(phantom, tmp_path):
    for person in ("sub-stroke0001", "sub-stroke0002", "sub-stroke0003"):
        home = tmp_path / "in" / "derivatives" / person
        save(home / "ses-01" / f"{person}_ses-01_ctp.nii.gz", phantom.data, phantom.spacing)
        truth = (phantom.tissue == 2).astype(np.uint8)
        save(home / "ses-02" / f"{person}_ses-02_lesion-msk.nii.gz", truth, phantom.spacing)
    processor = LesionImageProcessor(channel_names=("tmax", "cbf"), normalization="z-score")
    dataset = prepare(ISLES2024(), tmp_path / "in", tmp_path / "out", processor=processor, progress=False)
    assert dataset.perfusion_maps == ["hf_lesionseg"]
    assert {case.made_from_series for case in dataset.cases} == {("tmax", "cbf")}


def test_warnings_of_a_series_are_kept_once(raw, phantom, tmp_path):
    numbers = np.clip(np.round(phantom.data + 1024), 0, None).astype(np.int16)[..., 2:36:4]
    save(smir(raw, 1, "CT_4DPWI"), numbers, phantom.spacing)
    processor = LesionImageProcessor(channel_names=("ctp_00", "ctp_05", "pwimax_o"), normalization="z-score")
    dataset = prepare(ISLES2018(), raw, tmp_path / "out", processor=processor, progress=False)
    told = [warning.split(": ", 1)[1].split(";")[0] for warning in dataset.cases[0].warnings]
    assert told == ["only 9 frames", "values are CT numbers without their rescale intercept"]
    assert dataset.cases[1].warnings == ()
    assert dataset.cases[1].made_from_series == ("ctp_00", "ctp_05", "pwimax_o")
