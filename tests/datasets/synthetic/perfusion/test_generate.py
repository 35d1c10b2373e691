"""The folder of generated perfusion cases: ISLES 2018's names, types and JSON, read back."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.datasets.prepare import prepare
from hf_lesionseg.datasets.readers.isles2018 import ISLES2018
from hf_lesionseg.datasets.synthetic.perfusion.generate import Perfusion, generate_perfusion
from hf_lesionseg.errors import DataError, UsageError
from hf_lesionseg.imaging import read_mask, read_scan
from hf_lesionseg.imaging.perfusion.deconvolution import perfusion_maps
from hf_lesionseg.imaging.perfusion.series import read_perfusion_series
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor

SMALL = {"size": 64, "num_slices": 2, "num_frames": 40, "progress": False}


@pytest.fixture(scope="module")
def folder(template, tmp_path_factory):
    """Three patients of seed 1, of whom one at least has two slabs."""
    return generate_perfusion(tmp_path_factory.mktemp("isles") / "generated", patients=3, seed=1, **SMALL)


def volume(case, kind):
    (path,) = case.glob(f"SMIR.Brain.XX.O.{kind}.*/SMIR.Brain.XX.O.{kind}.*.nii")
    assert path.stem == path.parent.name
    return path


def cases_of(folder):
    return sorted((folder / "TRAINING").iterdir(), key=lambda case: int(case.name[5:]))


def test_volumes_have_the_names_and_types_of_isles_2018(folder):
    cases = cases_of(folder)
    assert [case.name for case in cases] == [f"case_{number + 1}" for number in range(len(cases))]
    expected = {
        "CT": np.int32,
        "CT_4DPWI": np.int16,
        "CT_CBF": np.uint16,
        "CT_CBV": np.uint16,
        "CT_MTT": np.float64,
        "CT_Tmax": np.float64,
        "OT": np.uint8,
        "MR_DWI": np.uint16,
    }
    ids = []
    for case in cases:
        assert len(list(case.iterdir())) == len(expected)
        for kind, dtype in expected.items():
            path = volume(case, kind)
            image = nib.load(path)
            assert image.get_data_dtype() == dtype
            assert image.shape == ((64, 64, 2, 40) if kind == "CT_4DPWI" else (64, 64, 2))
            assert image.header.get_zooms()[:3] == pytest.approx((220 / 64, 220 / 64, 10))
            assert path.with_suffix(".json").is_file()
            ids.append(int(path.stem.rsplit(".", 1)[1]))
    assert len(set(ids)) == len(ids)


def test_slabs_of_one_patient_tell_it_in_their_json(folder):
    names = []
    for case in cases_of(folder):
        record = json.loads(volume(case, "OT").with_suffix(".json").read_text())
        assert record["synthetic"]
        names.append(record["description"].split(" - ")[2])
    people = [name.removesuffix("_A").removesuffix("_B") for name in names]
    assert sorted(set(people)) == ["Train_1", "Train_2", "Train_3"]
    assert len(names) == len(set(names)) > 3
    for name in names:
        if name.endswith("_B"):
            assert name.replace("_B", "_A") in names
    assert json.loads((folder / "dataset_description.json").read_text())["Synthetic"]


def test_what_is_read_back_belongs_together(folder):
    lesions = []
    for case in cases_of(folder):
        series = read_perfusion_series(volume(case, "CT_4DPWI"))
        assert series.frame_seconds == 1.0
        assert series.warnings == ()
        tmax, cbf = (read_scan(volume(case, kind)) for kind in ("CT_Tmax", "CT_CBF"))
        maps = perfusion_maps(series)
        np.testing.assert_allclose(tmax.data, maps.tmax, atol=1e-4)
        np.testing.assert_allclose(cbf.data, 10 * maps.cbf, atol=0.51)
        mask = read_mask(volume(case, "OT"), like=tmax)
        read_mask(volume(case, "OT"), like=read_scan(volume(case, "MR_DWI")))
        lesions.append(mask.data > 0)
        assert (lesions[-1] & maps.brain).sum() >= 0.8 * lesions[-1].sum()
    assert sum(lesion.any() for lesion in lesions) >= 3, "an upper slab may show none, as some of ISLES 2018 do"


def test_a_patient_does_not_depend_on_the_others(folder, tmp_path):
    alone = generate_perfusion(tmp_path / "one", patients=1, seed=1, **SMALL)
    for path in sorted(alone.glob("TRAINING/**/*.*")):
        if path.is_file():
            assert path.read_bytes() == (folder / path.relative_to(alone)).read_bytes()
    stamps = {path: path.stat().st_mtime_ns for path in alone.glob("TRAINING/**/*.nii")}
    generate_perfusion(alone, patients=2, seed=1, **SMALL)
    assert len(cases_of(alone)) > len({path.parents[1] for path in stamps})
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items()), "what is there is kept"


def test_the_first_release_has_other_names_and_the_later_one_no_diffusion(template, tmp_path):
    first = generate_perfusion(tmp_path / "first", patients=1, prefix="MR", **SMALL)
    assert volume(cases_of(first)[0], "MR_CBF").name.endswith(".339203.nii")
    later = generate_perfusion(tmp_path / "later", patients=1, dwi=False, **SMALL)
    assert not list(later.glob("**/*DWI.*/")) or all("4DPWI" in path.name for path in later.glob("**/*DWI.*"))
    assert not list(later.glob("**/*MR_DWI*"))


def test_the_reader_of_isles_2018_finds_the_cases(folder):
    records, rejected = ISLES2018().find(folder)
    assert len(records) == len(cases_of(folder))
    assert not rejected
    assert {record.person for record in records} == {"Train_1", "Train_2", "Train_3"}
    with_diffusion, _ = ISLES2018().find(folder, channels=("tmax", "ctp", "dwi"))
    assert len(with_diffusion) == len(records)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"patients": 0}, "at least one"),
        ({"seed": -1}, "seed is -1"),
        ({"prefix": "PT"}, "take 'CT' or 'MR'"),
        ({"size": 8}, "size is 8"),
        ({"num_slices": 40}, "num_slices is 40"),
        ({"num_frames": 3}, "num_frames is 3"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, wrong, message):
    with pytest.raises(UsageError, match=message):
        generate_perfusion(tmp_path / "x", **{"patients": 1, "progress": False, **wrong})


def test_a_folder_of_other_settings_is_left_alone(folder, tmp_path):
    with pytest.raises(DataError, match="other settings"):
        generate_perfusion(folder, patients=3, seed=2, **SMALL)
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(DataError, match="is not empty"):
        generate_perfusion(tmp_path, patients=1, **SMALL)


def test_prepared_cases_stay_together_by_patient_and_have_no_margin(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "out" / "source")  # generated once is enough
    processor = LesionImageProcessor(
        channel_names=("ctp_00", "ctp_10", "pwimax_p", "tmax"), size={"height": 256, "width": 64}
    )
    settings = {"seed": 1, "size": 64, "slices": 2, "frames": 40}
    options = {"processor": processor, "fractions": {"train": 1, "test": 1}, "progress": False}
    dataset = prepare(Perfusion(count=2, **settings), None, tmp_path / "out", **options)
    assert (dataset.synthetic, dataset.name) == (True, "generated CT perfusion")
    assert dataset.perfusion_maps == ["hf_lesionseg"]
    assert [case.person for case in dataset.cases] == ["Train_1", "Train_2", "Train_2"]
    assert {case.shape for case in dataset.cases} == {(2, 4, 64, 64)}, "256 rows would be a margin around 64"
    assert [len({case.person for case in dataset.select(split)}) for split in dataset.splits()] == [1, 1]
    more = prepare(Perfusion(count=3, **settings), None, tmp_path / "out", **options)
    assert {case.person for case in more.cases} == {"Train_1", "Train_2", "Train_3"}
    assert max(case.lesion_ml for case in more.cases) > 1
