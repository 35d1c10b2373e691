"""A folder of generated organs: the same for the same seed, resumable, and prepared with its attributes."""

import json

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.datasets.prepare import prepare
from hf_lesionseg.datasets.synthetic.organs.case import ATTRIBUTES, generate_organ
from hf_lesionseg.datasets.synthetic.organs.generate import Organs, generate_organs
from hf_lesionseg.errors import DataError, UsageError

SMALL = {"size": 64, "slices": 4, "progress": False}


def listing(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_hold_the_case(tmp_path):
    folder = generate_organs(tmp_path / "organs", count=2, seed=3, **SMALL)
    case = generate_organ(3, 1, (64, 64, 4))
    image = nib.load(folder / "imagesTr" / "organ0002_0000.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), case.scan)
    np.testing.assert_allclose(image.affine, case.affine, atol=1e-4)
    label = nib.load(folder / "labelsTr" / "organ0002.nii.gz")
    np.testing.assert_array_equal(np.asarray(label.dataobj), case.mask)
    assert json.loads((folder / "attributes" / "organ0002.json").read_text()) == case.record
    assert json.loads((folder / "dataset.json").read_text())["synthetic"] is True


def test_workers_resuming_and_a_larger_count_give_the_same_files(tmp_path):
    whole = listing(generate_organs(tmp_path / "a", count=4, **SMALL))
    folder = generate_organs(tmp_path / "b", count=2, **SMALL)
    (folder / "attributes" / "organ0002.json").unlink()  # as if killed before the case was whole
    (folder / "imagesTr" / "organ0002_0000.nii.gz").write_bytes(b"half")
    assert listing(generate_organs(folder, count=4, workers=2, **SMALL)) == whole


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 0}, "count is 0; ask for at least one"),
        ({"seed": -1}, "seed is -1"),
        ({"size": 32}, "size is 32; take 64 to 512"),
        ({"slices": 0}, "slices is 0; take 1 to 128"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, settings, message):
    with pytest.raises(UsageError, match=message):
        generate_organs(tmp_path / "out", **({"count": 1} | SMALL | settings))


def test_other_folders_are_refused(tmp_path):
    folder = generate_organs(tmp_path / "organs", count=1, **SMALL)
    with pytest.raises(DataError, match="holds organs of other settings"):
        generate_organs(folder, count=1, seed=1, **SMALL)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    with pytest.raises(DataError, match="is not empty and holds no generated organs"):
        generate_organs(tmp_path / "mine", count=1, **SMALL)


def test_prepared_with_attributes_marked_synthetic(tmp_path):
    dataset = prepare(Organs(count=4, size=64, slices=4), None, tmp_path / "out", progress=False)
    assert dataset.synthetic
    assert (dataset.num_channels, dataset.channel_names) == (3, ("ct",))
    assert sum(len(dataset.select(split)) for split in ("train", "validation", "test")) == 4
    for number, case in enumerate(dataset.cases):
        assert set(ATTRIBUTES) <= set(case.notes)
        assert case.notes["index"] == number
        assert case.lesion_ml == pytest.approx(case.notes["organ_ml"], rel=1e-4)
        assert len(case.lesion_slices) == case.notes["slices_with_organ"]
        assert case.pixel_values().shape == (4, 3, 64, 64)
        assert 0 <= case.pixel_values().min() < case.pixel_values().max() <= 1
    again = prepare(Organs(count=5, size=64, slices=4), None, tmp_path / "out", progress=False)
    assert len(again.cases) == 5
