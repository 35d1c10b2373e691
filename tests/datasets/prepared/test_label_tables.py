"""Labels of a data set: stored with a slope, named in a table, wanted in vain, or several where one is meant."""

import json

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.datasets.prepare import prepare
from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.datasets.prepared.label_tables import LabelTable, choose_values, nnunet_table
from hf_lesionseg.datasets.prepared.records import Origin, with_label
from hf_lesionseg.datasets.prepared.writing import prepare_cases
from hf_lesionseg.datasets.readers.nnunet import NNUNet
from hf_lesionseg.errors import DataError

AFFINE = np.diag([2.0, 2.0, 4.0, 1.0])
SHAPE = (14, 12, 6)


def save(path, data, dtype=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data, AFFINE)
    if dtype is not None:
        image.header.set_data_dtype(dtype)
    nib.save(image, path)


def labels_of(*values):
    """A map with a block of 16 voxels, 0.256 mL, for each value."""
    data = np.zeros(SHAPE)
    for number, value in enumerate(values):
        data[2 * number + 1 : 2 * number + 3, 2:6, 3:5] = value
    return data


@pytest.fixture
def source(tmp_path):
    """A function that writes one case for each map of labels, and the table of ``dataset.json``."""
    folder = tmp_path / "Dataset001_Brain"

    def write(*maps, labels=None, dtype=np.uint8):
        rng = np.random.default_rng(0)
        for number, data in enumerate(maps):
            save(folder / "imagesTr" / f"c{number}_0000.nii.gz", rng.uniform(1, 90, SHAPE).astype(np.float32))
            save(folder / "labelsTr" / f"c{number}.nii.gz", data, dtype)
        description = {"channel_names": {"0": "T1w"}} | ({} if labels is None else {"labels": labels})
        (folder / "dataset.json").write_text(json.dumps(description))
        return folder

    return write


@pytest.mark.parametrize("dtype", [np.int16, np.uint8])
def test_labels_stored_with_a_slope_are_found(source, tmp_path, dtype):
    """Four of five cases were prepared with a lesion of 0.0 mL: their labels read 1.99997 for 2."""
    folder = source(*[labels_of(1, 2, 7)] * 5, labels={"background": 0, "other": 1, "tumour": 2, "z": 7}, dtype=dtype)
    read = nib.load(folder / "labelsTr" / "c3.nii.gz").get_fdata()
    assert not np.isin(2, read)
    dataset = prepare(NNUNet(), folder, tmp_path / "out", label="tumour", progress=False)
    assert [round(case.lesion_ml, 6) for case in dataset.cases] == [0.256] * 5
    np.testing.assert_array_equal(dataset.cases[3].truth().data, labels_of(1, 2, 7) == 2)
    assert dataset.remarks == []


def test_labels_that_count_as_one_are_told_once_and_the_option_is_named(source, tmp_path):
    folder = source(*[labels_of(1, 2, 5)] * 3, labels={"background": 0, "edema": 1, "core": 2, "other": 5})
    dataset = prepare(NNUNet(), folder, tmp_path / "out", progress=False)
    (remark,) = dataset.remarks
    assert "labels 1 (edema), 2 (core) and 5 (other) count as one in the masks; --label chooses" in remark
    assert [case.warnings for case in dataset.cases] == [()] * 3
    assert PreparedDataset(tmp_path / "out").remarks == [remark]
    chosen = prepare(NNUNet(), folder, tmp_path / "chosen", label="core, 5", progress=False)
    assert [round(case.lesion_ml, 6) for case in chosen.cases] == [0.512] * 3
    assert chosen.remarks == []


def test_masks_of_different_labels_are_several_labels_too(source, tmp_path):
    dataset = prepare(NNUNet(), source(labels_of(1), labels_of(2), labels_of(1)), tmp_path / "out", progress=False)
    assert "labels 1 and 2 count as one" in dataset.remarks[0]
    same = tmp_path / "same"
    for kind in ("imagesTr", "labelsTr"):
        (same / kind).mkdir(parents=True)
    for number in (0, 2):
        (tmp_path / "Dataset001_Brain/imagesTr" / f"c{number}_0000.nii.gz").rename(
            same / "imagesTr" / f"c{number}_0000.nii.gz"
        )
        (tmp_path / "Dataset001_Brain/labelsTr" / f"c{number}.nii.gz").rename(same / "labelsTr" / f"c{number}.nii.gz")
    fractions = {"train": 1, "test": 1}
    assert prepare(NNUNet(), same, tmp_path / "same-out", fractions=fractions, progress=False).remarks == []


def test_a_label_that_some_cases_lack_is_told_and_one_that_all_lack_stops(source, tmp_path):
    folder = source(labels_of(1, 2), labels_of(1), labels_of(1, 2), labels_of())
    dataset = prepare(NNUNet(), folder, tmp_path / "out", label="2", progress=False)
    assert dataset.remarks == [
        "Dataset001_Brain (2): label 2 occurs in no voxel of 2 of 4 masks: c1 and c3",
    ]
    with pytest.raises(DataError, match=r"label 3 occurs in none of its 4 masks, which hold 1 and 2; choose another"):
        prepare(NNUNet(), folder, tmp_path / "none", label="3", progress=False)
    with pytest.raises(DataError, match="is not finished"):
        PreparedDataset(tmp_path / "none")
    both = prepare(NNUNet(), folder, tmp_path / "both", label="2,9", progress=False)
    assert "label 9 occurs in none of its masks" in both.remarks[1]


def test_a_label_that_is_not_in_the_table_is_refused_by_name(source, tmp_path):
    folder = source(labels_of(1), labels_of(1, 4), labels_of(1), labels={"0": "background", "1": "lesion"})
    fractions = {"train": 1, "test": 1}
    dataset = prepare(NNUNet(), folder, tmp_path / "out", fractions=fractions, progress=False)
    assert [case.id for case in dataset.cases] == ["c0", "c2"]
    (refused,) = dataset.rejected
    assert (
        "c1.nii.gz: holds label 4 (16 voxels), but the data set's table of labels has 0 background, 1 lesion"
        in (refused["reason"])
    )
    (folder / "dataset.json").write_text(
        json.dumps({"channel_names": {"0": "T1w"}, "labels": {"background": 0, "lesion": 1, "scar": 4}})
    )
    corrected = prepare(NNUNet(), folder, tmp_path / "out", fractions=fractions, progress=False)
    assert (len(corrected.cases), corrected.rejected) == (3, [])
    assert "labels 1 (lesion) and 4 (scar) count as one" in corrected.remarks[0]
    (folder / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T1w"}, "labels": {"lesion": 1}}))
    narrowed = prepare(NNUNet(), folder, tmp_path / "out", fractions=fractions, progress=False)
    assert [case.id for case in narrowed.cases] == ["c0", "c2"]
    chosen = prepare(NNUNet(), folder, tmp_path / "chosen", label="4", progress=False)
    assert [round(case.lesion_ml, 6) for case in chosen.cases] == [0, 0.256, 0]


@pytest.mark.parametrize("label", [None, "1"])
def test_an_image_and_an_interpolated_map_in_labels_are_refused_by_name(source, tmp_path, label):
    blurred = labels_of(1, 2)
    blurred[0, 0, :4] = 0.4
    scan = np.random.default_rng(1).normal(0, 300, SHAPE).astype(np.float32)
    folder = source(scan, blurred, np.rint(scan), labels_of(1), labels_of(1), labels={"a": 1, "b": 2}, dtype=np.float32)
    fractions = {"train": 1, "test": 1}
    dataset = prepare(NNUNet(), folder, tmp_path / "out", label=label, fractions=fractions, progress=False)
    assert [case.id for case in dataset.cases] == ["c3", "c4"]
    reasons = [each["reason"] for each in dataset.rejected]
    assert ["looks like an image" in reason for reason in reasons] == [True, False, True]
    assert "c1.nii.gz: holds 0.4 (4 voxels), which is not a label" in reasons[1]


def test_voxels_that_nobody_labelled_are_no_lesion(source, tmp_path):
    labels = {"background": 0, "lesion": 1, "ignore": 2}
    folder = source(labels_of(1, 2), labels_of(1), labels_of(1), labels=labels)
    dataset = prepare(NNUNet(), folder, tmp_path / "out", progress=False)
    assert [round(case.lesion_ml, 6) for case in dataset.cases] == [0.256] * 3
    (remark,) = dataset.remarks
    assert "label 2 (ignore) stands for voxels that nobody labelled; they count as background in 1 of 3 masks" in remark


def test_other_readers_take_a_label_and_tell_of_several(make_records, small_processor, tmp_path):
    records = make_records(3)
    for record in records:
        image = nib.load(record.masks[0])
        data = np.asarray(image.dataobj).copy()
        data[15:17, 6:8, 2] = 2
        nib.save(nib.Nifti1Image(data, image.affine), record.masks[0])
    dataset = prepare_cases(records, tmp_path / "all", small_processor, Origin("blocks", False), progress=False)
    assert "blocks: labels 1 and 2 count as one in the masks" in dataset.remarks[0]
    second = with_label(records, "2", "blocks")
    chosen = prepare_cases(second, tmp_path / "chosen", small_processor, Origin("blocks (2)", False), progress=False)
    assert [int(case.truth().data.sum()) for case in chosen.cases] == [4] * 3
    with pytest.raises(DataError, match=r"blocks \(7\): label 7 occurs in none of its 3 masks"):
        prepare_cases(
            with_label(records, "7", "blocks"),
            tmp_path / "none",
            small_processor,
            Origin("blocks (7)", False),
            progress=False,
        )


def test_labels_on_disk_that_are_no_lesion_are_refused(prepared):
    case = prepared.cases[0]
    np.save(case.folder / "labels.npy", case.labels() * 255)
    with pytest.raises(DataError, match=r"labels\.npy: holds 255, not only 0 \(background\) and 1 \(lesion\)"):
        case.labels()


def test_tables_of_both_versions(tmp_path):
    path = tmp_path / "dataset.json"
    first = nnunet_table(path, {"labels": {"0": "background", "1": "pancreas", "2": "cancer"}})
    second = nnunet_table(path, {"labels": {"background": 0, "pancreas": 1, "cancer": 2}})
    assert (
        first == second == LabelTable({0: "background", 1: "pancreas", 2: "cancer"}, {"pancreas": (1,), "cancer": (2,)})
    )
    regions = nnunet_table(
        path, {"labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "core2": 3, "ignore": 4}}
    )
    assert regions.names == {0: "background", 1: "whole", 2: "core", 3: "core2", 4: "ignore"}
    assert (regions.unknown, regions.foreground) == ({4}, (1, 2, 3))
    assert choose_values("core", regions.regions, path) == (2, 3)
    assert nnunet_table(path, {}) is None


@pytest.mark.parametrize("labels", [{"tumour": 1.9}, {"tumour": None}, ["tumour"], {"tumour": "two"}])
def test_a_table_that_is_none_is_refused(tmp_path, labels):
    with pytest.raises(DataError, match=r"dataset\.json: labels .* are not names with values"):
        nnunet_table(tmp_path / "dataset.json", {"labels": labels})


def test_the_table_of_a_record_travels_with_it(source):
    records, _ = NNUNet().find(source(labels_of(1), labels={"lesion": 1}))
    assert records[0].table.names == {0: "background", 1: "lesion"}
