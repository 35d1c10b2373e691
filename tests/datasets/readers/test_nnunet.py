"""Folders in nnU-Net's layout: channels and labels by name, and what is left out or refused, case by case."""

import json

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.datasets.prepare import prepare
from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.datasets.prepared.records import with_label
from hf_lesionseg.datasets.readers.nnunet import NNUNet, read_channel_names
from hf_lesionseg.errors import DataError
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor

AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])
SHAPE = (20, 18, 5)


def save(path, data, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)


@pytest.fixture
def source(tmp_path):
    """Five CT cases with an organ (1) and, in it, a tumour (2)."""
    folder = tmp_path / "Dataset007_Pancreas"
    rng = np.random.default_rng(0)
    for number in range(5):
        scan = np.full(SHAPE, -1000, np.int16)
        scan[2:18, 2:16] = rng.integers(20, 120, (16, 14, 5))
        label = np.zeros(SHAPE, np.uint8)
        label[4 : 9 + number, 5:11, 1:4] = 1
        label[5:7, 6:8, 2] = 2
        save(folder / "imagesTr" / f"pancreas_{number:03d}_0000.nii.gz", scan)
        save(folder / "labelsTr" / f"pancreas_{number:03d}.nii.gz", label)
    description = {
        "name": "Pancreas",
        "licence": "CC-BY-SA 4.0",
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "pancreas": 1, "cancer": 2},
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def test_cases_with_all_labels(source, tmp_path):
    dataset = prepare(NNUNet(), source, tmp_path / "out", progress=False)
    assert [case.id for case in dataset.cases] == [f"pancreas_{number:03d}" for number in range(5)]
    assert (dataset.name, dataset.licence, dataset.channel_names) == ("Pancreas", "CC-BY-SA 4.0", ("ct",))
    assert not dataset.synthetic
    assert dataset.processor().normalization == "window"
    label = np.asarray(nib.load(source / "labelsTr" / "pancreas_002.nii.gz").dataobj)
    np.testing.assert_array_equal(dataset.cases[2].truth().data, label > 0)
    assert sum(len(dataset.select(split)) for split in ("train", "validation", "test")) == 5
    assert dataset.rejected == []


@pytest.mark.parametrize("label", ["cancer", "2"])
def test_one_label(source, tmp_path, label):
    dataset = prepare(NNUNet(), source, tmp_path / "out", label=label, progress=False)
    assert dataset.name == f"Pancreas ({label})"
    assert [case.truth().data.sum() for case in dataset.cases] == [4] * 5
    before = dataset.cases[0].labels()
    again = prepare(NNUNet(), source, tmp_path / "out", label=label, progress=False)
    np.testing.assert_array_equal(again.cases[0].labels(), before)


def test_labels_by_name(tmp_path):
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "labelsTr").mkdir()
    for name in ("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"):
        (tmp_path / name).touch()

    def values(labels, label):
        (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
        records, _ = NNUNet().find(tmp_path)
        return with_label(records, label, tmp_path)[0].values

    assert values({"0": "background", "1": "pancreas"}, "pancreas") == (1,)
    assert values({"background": 0, "whole": [1, 2, 3]}, "whole") == (1, 2, 3)
    assert values({}, "3") == (3,)
    assert values({}, None) is None
    with pytest.raises(DataError, match=r"'liver' is unknown; give a number, or one of: pancreas, cancer"):
        values({"background": 0, "pancreas": 1, "cancer": 2}, "liver")
    with pytest.raises(DataError, match="which is the background"):
        values({}, "0")


def test_several_channels(tmp_path):
    folder = tmp_path / "brains"
    rng = np.random.default_rng(0)
    for number in range(3):
        for channel in range(2):
            save(folder / "imagesTr" / f"b{number}_{channel:04d}.nii", rng.uniform(1, 9, SHAPE).astype(np.float32))
        save(folder / "labelsTr" / f"b{number}.nii", (rng.random(SHAPE) > 0.9).astype(np.uint8))
    assert read_channel_names(folder) == ("image0", "image1")
    (folder / "dataset.json").write_text(json.dumps({"modality": {"0": "T1 post", "1": "FLAIR"}}))
    assert read_channel_names(folder) == ("t1_post", "flair")
    (folder / "imagesTr" / "b1_0001.nii").unlink()
    dataset = prepare(NNUNet(), folder, tmp_path / "out", fractions={"train": 1}, progress=False)
    assert dataset.channel_names == ("t1_post", "flair")
    assert [case.id for case in dataset.cases] == ["b0", "b2"]
    assert dataset.rejected == [{"path": "imagesTr/b1_0000.nii", "reason": "channel _0001 is missing"}]
    second = nib.load(folder / "imagesTr" / "b0_0001.nii").get_fdata()
    values = dataset.cases[0].planes()[:, 1]
    assert np.corrcoef(values.ravel(), second.transpose(2, 1, 0).ravel())[0, 1] > 0.99


def test_label_on_another_grid_is_refused_by_name_and_the_others_go_on(source, tmp_path):
    path = source / "labelsTr" / "pancreas_001.nii.gz"
    label = np.asarray(nib.load(path).dataobj)
    moved = AFFINE.copy()
    moved[0, 3] = 40
    save(path, label, moved)
    save(source / "labelsTr" / "pancreas_003.nii.gz", label[:-1])
    dataset = prepare(NNUNet(), source, tmp_path / "out", progress=False)
    assert [case.id for case in dataset.cases] == ["pancreas_000", "pancreas_002", "pancreas_004"]
    moved, smaller = sorted(dataset.rejected, key=lambda each: each["path"])
    assert "labelsTr/pancreas_001.nii.gz: lies up to 40 mm from the voxels of" in moved["reason"]
    assert "labelsTr/pancreas_003.nii.gz: shape (19, 18, 5), but" in smaller["reason"]


def test_a_case_without_foreground_and_one_cut_by_the_border(source, tmp_path):
    save(source / "labelsTr" / "pancreas_000.nii.gz", np.zeros(SHAPE, np.uint8))
    scan = np.asarray(nib.load(source / "imagesTr" / "pancreas_000_0000.nii.gz").dataobj).copy()
    scan[:, :, 4] = np.random.default_rng(0).integers(-1020, -980, SHAPE[:2])  # a slice of air, with its noise
    save(source / "imagesTr" / "pancreas_000_0000.nii.gz", scan)
    cut = np.zeros(SHAPE, np.uint8)
    cut[15:, :6, 3:] = 1
    save(source / "labelsTr" / "pancreas_004.nii.gz", cut)
    dataset = prepare(NNUNet(), source, tmp_path / "out", progress=False)
    empty, border = dataset.cases[0], dataset.cases[4]
    assert (empty.lesion_ml, empty.lesion_slices.tolist()) == (0, [])
    assert not empty.labels().any()
    assert empty.tissue_slices.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(border.truth().data, cut)
    np.testing.assert_array_equal(border.labels(), cut.transpose(2, 1, 0))
    assert PreparedDataset(dataset.folder).rejected == []


def test_what_is_left_out(source):
    (source / "labelsTr" / "pancreas_001.nii.gz").unlink()
    (source / "imagesTr" / "pancreas_002_0000.nii.gz").unlink()
    (source / "imagesTr" / "._pancreas_003_0000.nii.gz").write_bytes(b"AppleDouble")
    records, rejected = NNUNet().find(source)
    assert [record.id for record in records] == ["pancreas_000", "pancreas_003", "pancreas_004"]
    assert [(each.path, each.reason) for each in rejected] == [
        ("imagesTr/pancreas_001_0000.nii.gz", "image without a label"),
        ("labelsTr/pancreas_002.nii.gz", "label without an image"),
    ]


def test_folders_of_another_layout_are_refused(source, tmp_path):
    with pytest.raises(DataError, match="has no imagesTr and labelsTr; give the folder"):
        NNUNet().find(tmp_path)
    (source / "dataset.json").write_text("{")
    with pytest.raises(DataError, match=r"dataset\.json: cannot be read"):
        NNUNet().find(source)
    (source / "dataset.json").write_text('{"channel_names": {"0": "CT", "1": "ct"}}')
    with pytest.raises(DataError, match="cannot be told apart"):
        NNUNet().find(source)
    for path in (source / "imagesTr").iterdir():
        path.unlink()
    (source / "dataset.json").unlink()
    with pytest.raises(DataError, match="holds no image named like NAME_0000"):
        NNUNet().find(source)


def test_another_processor(source, tmp_path):
    processor = LesionImageProcessor(channel_names=("ct",), normalization="window", intensity_range=(0, 100))
    dataset = prepare(NNUNet(), source, tmp_path / "out", processor=processor, progress=False)
    assert dataset.num_channels == 1
    assert dataset.processor().intensity_range == (0.0, 100.0)


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("imagesTr/a{n}_0000.nii.gz", "labelsTr/a{n}.nii.gz"),
        ("imagesTr/a{n}_0000.nii.gz", "labelsTr/a{n}_0000.nii.gz"),
        ("imagesTr/a{n}_0000.nii.gz", "labelsTr/a{n}_mask.nii.gz"),
        ("imagesTr/a{n}_0000.nii.gz", "labelsTr/a{n}_0000_seg.nii"),
        ("imagesTr/a{n}.nii.gz", "labelsTr/a{n}.nii.gz"),  # Medical Segmentation Decathlon
        ("imagesTr/a{n}.nii.gz", "labelsTr/a{n}_lesion_mask.nii.gz"),
        ("imagesTr/a{n}_mask_0000.nii.gz", "labelsTr/a{n}_mask.nii.gz"),
        ("imagesTr/a{n}/ct_0000.nii.gz", "labelsTr/a{n}/ct.nii.gz"),
        ("imagesTr/a{n}/ct_0000.nii.gz", "labelsTr/a{n}.nii.gz"),
        ("imagesTr/a{n}/scan_0000.nii.gz", "labelsTr/a{n}/label.nii.gz"),
    ],
)
def test_names_that_belong_together(tmp_path, image, label):
    touch(tmp_path, *(name.format(n=n) for n in (1, 2, 3) for name in (image, label)))
    records, rejected = NNUNet().find(tmp_path)
    assert rejected == []
    assert len(records) == 3
    for n, record in enumerate(records, 1):
        assert record.images["image"] == tmp_path / image.format(n=n)
        assert record.masks == (tmp_path / label.format(n=n),)


def test_second_copies_and_names_without_a_channel_are_named(tmp_path):
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTr/a_0000.nii", "imagesTr/b.nii.gz")
    touch(tmp_path, "labelsTr/a.nii.gz", "labelsTr/a_mask.nii.gz", "labelsTr/b.nii.gz")
    records, rejected = NNUNet().find(tmp_path)
    assert [(record.id, record.masks[0].name) for record in records] == [("a", "a.nii.gz")]
    assert [(each.path, each.reason) for each in rejected] == [
        ("imagesTr/b.nii.gz", "name without a channel's number, such as _0000"),
        ("imagesTr/a_0000.nii.gz", "second copy of imagesTr/a_0000.nii"),
        ("labelsTr/a_mask.nii.gz", "second label of a beside labelsTr/a.nii.gz"),
        ("labelsTr/b.nii.gz", "label without an image"),
    ]
