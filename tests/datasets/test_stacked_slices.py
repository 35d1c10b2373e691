"""Prepared data of a processor that stacks slices: single on disk, stacked for training and validation."""

import json

import numpy as np
import pytest

from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.datasets.prepared.records import Origin
from hf_lesionseg.datasets.prepared.writing import prepare_cases
from hf_lesionseg.datasets.slices import SliceDataset
from hf_lesionseg.errors import DataError
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.models.slice_stack import stack_slices


def prepare(records, folder, **settings):
    processor = LesionImageProcessor(normalization="fixed-range", **settings)
    return prepare_cases(records, folder, processor, Origin("test", synthetic=True), progress=False)


@pytest.mark.parametrize("stack", ["repeat", "neighbours"])
def test_stored_single_and_read_stacked(make_records, tmp_path, stack):
    records = make_records(2)
    single = prepare(records, tmp_path / "single").cases[1]
    dataset = prepare(records, tmp_path / "stacked", slice_stack=stack)
    case = dataset.cases[1]
    for name in ("pixel_values.npy", "labels.npy", "truth.nii.gz"):
        assert (case.folder / name).read_bytes() == (single.folder / name).read_bytes()
    assert (dataset.num_channels, dataset.channel_names) == (3, ("t1w",))
    assert PreparedDataset(single.folder.parent.parent).num_channels == 1
    np.testing.assert_array_equal(case.planes(), single.pixel_values())
    stacked = stack_slices(single.pixel_values(), stack)
    np.testing.assert_array_equal(case.pixel_values(), stacked)
    np.testing.assert_array_equal(case.pixel_values(5), stacked[5])
    slices = SliceDataset(dataset.cases)
    assert slices[6]["pixel_values"].shape == (3, 24, 20)
    np.testing.assert_array_equal(slices[11]["pixel_values"], stacked[5])
    assert dataset.processor()(records[1].images["t1w"])["pixel_values"].shape == stacked.shape


def test_a_folder_from_before_there_were_stacks_goes_on(make_records, tmp_path):
    records = make_records(2)
    dataset = prepare(records, tmp_path / "out")
    path = dataset.folder / "preprocessor_config.json"
    settings = json.loads(path.read_text())
    del settings["slice_stack"]
    path.write_text(json.dumps(settings))
    fingerprint = PreparedDataset(dataset.folder).fingerprint()
    again = prepare(records, tmp_path / "out")
    assert again.slice_stack == "single"
    assert again.fingerprint() == fingerprint, "or no checkpoint of that time could go on"
    with pytest.raises(DataError, match=r"other settings of the processor \(slice_stack\)"):
        prepare(records, tmp_path / "out", slice_stack="repeat")


def test_an_unknown_stack_is_damage(make_records, tmp_path):
    dataset = prepare(make_records(1), tmp_path / "out")
    path = dataset.folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"slice_stack": "five"}))
    with pytest.raises(DataError, match=r"is damaged \(KeyError\('five'\)\)"):
        PreparedDataset(dataset.folder)
