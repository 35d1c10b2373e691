"""Folders of generated strokes: like ATLAS R2.0, resumable, the same with any number of workers."""

import json

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.datasets.prepare import prepare
from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.datasets.readers.atlas import ATLAS
from hf_lesionseg.datasets.synthetic.strokes.generate import Strokes, generate_strokes
from hf_lesionseg.errors import DataError, UsageError
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor

COARSE = {"spacing": 4, "progress": False}


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def strokes(tmp_path_factory):
    pytest.importorskip("nilearn")
    return generate_strokes(tmp_path_factory.mktemp("strokes") / "set", count=3, seed=2, **COARSE)


def test_the_folder_is_read_as_atlas(strokes):
    records, rejected = ATLAS().find(strokes)
    assert [record.id for record in records] == [f"sub-r900s000{number}_ses-1" for number in (1, 2, 3)]
    assert len({record.person for record in records}) == 3
    assert not rejected
    description = json.loads((strokes / "dataset_description.json").read_text())
    assert description["Synthetic"] is True
    assert "Louis Collins" in description["License"]


def test_files_hold_what_their_record_says(strokes, template):
    for record in ATLAS().find(strokes)[0]:
        scan, mask = nib.load(record.images["t1w"]), nib.load(record.masks[0])
        sidecar = json.loads((record.images["t1w"].parent / (record.images["t1w"].name[:-7] + ".json")).read_text())
        assert sidecar["synthetic"] is True
        assert sidecar["seed"] == 2
        assert scan.shape == mask.shape
        np.testing.assert_array_equal(scan.affine, mask.affine)
        assert scan.header.get_zooms() == (4, 4, 4)
        assert scan.header["sform_code"] == scan.header["qform_code"] == 4
        assert scan.get_data_dtype() == mask.get_data_dtype() == np.uint8
        values = scan.get_fdata()
        assert values.min() == 0
        assert 70 < values.max() <= 100.001
        lesion = mask.get_fdata()
        assert set(np.unique(lesion)) == {0, 1}
        assert lesion.sum() * 0.064 == pytest.approx(sidecar["lesion_ml"]) == pytest.approx(sum(sidecar["parts_ml"]))


def test_workers_make_no_difference(strokes, tmp_path):
    generate_strokes(tmp_path / "set", count=3, seed=2, workers=2, **COARSE)
    assert files_of(tmp_path / "set") == files_of(strokes)


def test_a_stopped_run_goes_on_and_a_larger_count_adds(strokes, tmp_path):
    output = tmp_path / "set"
    generate_strokes(output, count=1, seed=2, **COARSE)
    first = output / "Training" / "R900" / "sub-r900s0001"
    before = first.stat().st_mtime_ns
    generate_strokes(output, count=3, seed=2, **COARSE)
    assert first.stat().st_mtime_ns == before
    assert files_of(output) == files_of(strokes)


def test_other_settings_and_foreign_folders_are_refused(strokes, tmp_path):
    with pytest.raises(DataError, match="holds strokes of other settings"):
        generate_strokes(strokes, count=3, seed=3, **COARSE)
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="holds no generated strokes"):
        generate_strokes(tmp_path, count=1, **COARSE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count is 0"),
        ({"count": 1, "seed": -1}, "seed is -1"),
        ({"count": 1, "preset": "huge"}, "unknown preset 'huge'"),
        ({"count": 1, "minimum_ml": 500}, "no volumes are left"),
        ({"count": 1, "workers": -1}, "workers is -1"),
    ],
)
def test_impossible_requests_are_refused_before_anything_is_written(options, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        generate_strokes(tmp_path / "set", **COARSE, **options)
    assert not list((tmp_path / "set").rglob("*.nii.gz"))


def test_prepared_strokes_are_marked_synthetic_and_split(tmp_path):
    processor = LesionImageProcessor(normalization="fixed-range", size={"height": 64, "width": 48})
    strokes = Strokes(count=6, seed=2, minimum_ml=5, spacing=4)
    fractions = {"train": 4, "validation": 1, "test": 1}
    options = {"processor": processor, "fractions": fractions, "progress": False}
    dataset = prepare(strokes, None, tmp_path / "data", **options)
    assert dataset.synthetic
    assert "Louis Collins" in dataset.licence
    assert "generated strokes" in dataset.name
    assert {name: len(ids) for name, ids in dataset.splits().items()} == fractions
    assert all(case.lesion_ml > 4.9 for case in dataset.cases)
    case = dataset.cases[0]
    assert case.pixel_values().shape[1:] == (1, 64, 48)
    source = tmp_path / "data" / "source" / case.sources[0]
    assert source.is_file()
    np.testing.assert_array_equal(
        case.truth().data > 0, nib.load(str(source).replace("T1w", "label-L_desc-T1lesion_mask")).get_fdata() > 0
    )
    again = prepare(strokes, None, tmp_path / "data", **options)
    assert again.fingerprint() == dataset.fingerprint() == PreparedDataset(tmp_path / "data").fingerprint()
    assert again.splits() == dataset.splits()
