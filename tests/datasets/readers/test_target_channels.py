"""Images to learn from: kept beside the slices, in the same place, from the data set or from a folder of one's own."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from hf_lesionseg.datasets.augmentation import SliceAugmentation
from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.datasets.prepared.records import Origin
from hf_lesionseg.datasets.prepared.targets import read_target, target_planes
from hf_lesionseg.datasets.prepared.writing import prepare_cases
from hf_lesionseg.datasets.readers.target_channels import MissingTargetWarning, find_own_targets, settle_targets
from hf_lesionseg.datasets.slices import SliceDataset
from hf_lesionseg.errors import DataError, GridMismatchError, ScanError
from hf_lesionseg.imaging import read_scan
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor


@pytest.fixture
def with_dwi(make_records):
    """Three records whose DWI is 3 times the scan plus 7, so that both have equal z-scores where no voxel is zero."""
    records = make_records(3)
    for record in records:
        scan = nib.load(record.images["t1w"])
        dwi = record.images["t1w"].with_name(f"{record.id}_dwi.nii.gz")
        nib.save(nib.Nifti1Image(3 * scan.get_fdata(dtype=np.float32) + 7, scan.affine), dwi)
        record.images["dwi"] = dwi
    return records


@pytest.fixture
def prepare(with_dwi, tmp_path):
    def run(records=with_dwi, folder="out", processor=None, **options):
        processor = processor or LesionImageProcessor(normalization="none", size={"height": 32, "width": 48})
        settings = {"progress": False, "target_channels": ("dwi",)} | options
        return prepare_cases(records, tmp_path / folder, processor, Origin("test", synthetic=True), **settings)

    return run


def test_targets_are_beside_the_slices_and_no_channel(prepare, with_dwi, tmp_path):
    dataset = prepare()
    assert dataset.num_channels == 1
    assert (dataset.channel_names, dataset.target_channels) == (("t1w",), ("dwi",))
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["target_channels"] == ["dwi"]
    case = dataset.cases[0]
    assert case.target("dwi").shape == case.labels().shape == (6, 32, 48)
    # the same window: what the target shows inside is the normalised scan, with nothing moved by a pixel
    volume = nib.load(with_dwi[0].images["dwi"]).get_fdata()
    expected = (3 * case.pixel_values()[:, 0] + 7 - volume.mean()) / volume.std()
    inside = case.pixel_values()[:, 0] > 0
    np.testing.assert_allclose(case.target("dwi")[inside], expected[inside], atol=5e-3)
    np.testing.assert_array_equal(case.target("dwi", 2), case.target("dwi")[2])
    with pytest.raises(DataError, match="has no target channel 'adc'"):
        case.target("adc")


def test_target_is_normalised_over_the_non_zero_voxels_of_its_volume(with_dwi):
    scan = read_scan(with_dwi[0].images["t1w"])  # whose first slice is air
    processor = LesionImageProcessor(normalization="none")
    geometry = processor.preprocess(scan.to_nibabel())["geometry"][0]
    planes, record = target_planes(scan, geometry)
    values = scan.data[scan.data != 0].astype(np.float64)
    assert record["mean"] == pytest.approx(values.mean(), rel=1e-5)
    assert record["std"] == pytest.approx(values.std(), rel=1e-5)
    assert planes[1:].mean() == pytest.approx(0, abs=1e-4)
    np.testing.assert_allclose(planes[0], -values.mean() / values.std(), rtol=1e-5)


def test_image_labels_and_target_move_together(prepare):
    dataset = prepare(processor=LesionImageProcessor(normalization="none"))
    augment = SliceAugmentation({"flip": {}, "rotation": {"degrees": 40}, "crop": {}, "distortion": {}})
    slices = SliceDataset(dataset.cases, slices="lesion", augmentation=augment, targets=("dwi",), seed=3)
    plain = SliceDataset(dataset.cases, slices="lesion", augmentation=augment, seed=3)
    still = SliceDataset(dataset.cases, slices="lesion", targets=("dwi",))
    for index in range(len(slices)):
        item, other = slices[index], plain[index]
        assert set(other) == {"pixel_values", "labels"}
        assert torch.equal(item["pixel_values"], other["pixel_values"])  # the draws are those without a target
        assert torch.equal(item["labels"], other["labels"])
        assert item["dwi"].shape == (1, *item["labels"].shape)
        assert item["dwi"].dtype == torch.float32
        assert not torch.equal(item["dwi"], still[index]["dwi"])
        # the target is linear in the image before, and linear interpolation keeps it so
        image, target = item["pixel_values"][0], item["dwi"][0]
        fit = np.polyfit(image.flatten(), target.flatten(), 1)
        np.testing.assert_allclose(np.polyval(fit, image), target, atol=5e-3)


def test_blur_and_noise_leave_the_target_as_it_was(prepare):
    dataset = prepare(processor=LesionImageProcessor(normalization="none"))
    augment = SliceAugmentation({"blur": {"probability": 1.0}, "noise": {"probability": 1.0}})
    slices = SliceDataset(dataset.cases, slices="lesion", augmentation=augment, targets=("dwi",))
    still = SliceDataset(dataset.cases, slices="lesion", targets=("dwi",))
    for index in range(len(slices)):
        assert torch.equal(slices[index]["dwi"], still[index]["dwi"])
        assert not torch.equal(slices[index]["pixel_values"], still[index]["pixel_values"])


def test_another_target_of_the_same_size_is_prepared_again_and_changes_the_fingerprint(prepare, make_records, tmp_path):
    """An uncompressed file of the same values in another order: equal in size, mean and deviation."""
    records = make_records(2)
    for record in records:
        scan = nib.load(record.images["t1w"])
        record.images["dwi"] = tmp_path / f"{record.id}_dwi.nii"
        nib.save(nib.Nifti1Image(scan.get_fdata(dtype=np.float32), scan.affine), record.images["dwi"])
    dataset = prepare(records)
    before, planes = dataset.fingerprint(), dataset.cases[0].target("dwi")
    assert prepare(records).fingerprint() == prepare(records, "elsewhere").fingerprint() == before
    path = records[0].images["dwi"]
    size, image = path.stat().st_size, nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[::-1].copy(), image.affine), path)
    assert path.stat().st_size == size
    again = prepare(records)
    assert again.fingerprint() != before
    assert not np.array_equal(again.cases[0].target("dwi"), planes)


def test_smaller_planes_are_padded_alike(prepare, make_records, with_dwi):
    small = with_dwi[:1]
    path = small[0].images["dwi"]
    for each in (*small[0].images.values(), *small[0].masks):
        image = nib.load(each)
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[:12, :14], image.affine), each)
    dataset = prepare(processor=LesionImageProcessor(normalization="none"))
    assert path.is_file()
    item = SliceDataset(dataset.cases, targets=("dwi",))[1]
    assert item["pixel_values"].shape == item["dwi"].shape == (1, 24, 20)
    assert item["dwi"][:, 14:].abs().max() == item["dwi"][:, :, 12:].abs().max() == 0
    assert item["dwi"][:, :14, :12].abs().min() > 0


def test_data_without_targets_are_as_before(prepare, make_records, tmp_path):
    records = make_records(2)
    dataset = prepare(records, "plain", target_channels=())
    assert not list((tmp_path / "plain").rglob("targets.npy"))
    before = dataset.fingerprint()
    path = tmp_path / "plain" / "dataset.json"
    record = json.loads(path.read_text())
    del record["target_channels"]  # as older versions wrote it
    path.write_text(json.dumps(record))
    assert PreparedDataset(tmp_path / "plain").target_channels == ()
    assert PreparedDataset(tmp_path / "plain").fingerprint() == before
    assert len(prepare(records, "plain", target_channels=()).cases) == 2
    with pytest.raises(DataError, match=r"was prepared with target_channels \[\], not \['dwi'\]; choose another"):
        prepare(folder="plain")


def test_a_target_on_another_grid_is_refused_or_resampled(prepare, with_dwi):
    record = with_dwi[1]
    scan = nib.load(record.images["t1w"])
    fine = nib.Nifti1Image(np.repeat(np.asarray(scan.dataobj), 2, 0), scan.affine @ np.diag([0.5, 1, 1, 1]))
    nib.save(fine, record.images["dwi"])
    dataset = prepare()
    assert [case.id for case in dataset.cases] == ["case000", "case002"]
    assert "lies on another grid ((40, 24, 6))" in dataset.rejected[0]["reason"]
    assert "--resample-dwi" in dataset.rejected[0]["reason"]
    assert len(prepare(folder="resampled", resample_targets=True).cases) == 3


def test_resampling_goes_by_the_affines(tmp_path):
    """A ramp in mm is the same ramp on a finer and turned grid."""
    grid = np.indices((20, 24, 6)).astype(np.float32)
    like = tmp_path / "like.nii.gz"
    nib.save(nib.Nifti1Image(grid[0] + 1, np.diag([1.0, 1, 2, 1])), like)
    affine = np.array([[0, -0.5, 0, 25], [0.5, 0, 0, -3], [0, 0, 1, -2], [0, 0, 0, 1.0]])
    points = np.einsum("ij,jxyz->ixyz", affine[:3, :3], np.indices((64, 64, 18))) + affine[:3, 3].reshape(3, 1, 1, 1)
    dwi = tmp_path / "dwi.nii.gz"
    nib.save(nib.Nifti1Image((100 + points[0] + 2 * points[1] + 3 * points[2]).astype(np.float32), affine), dwi)
    moved = read_target(dwi, read_scan(like), resample=True)
    np.testing.assert_allclose(moved.data, 100 + grid[0] + 2 * grid[1] + 6 * grid[2], atol=1e-3)
    assert "resampled onto" in moved.warnings[-1]

    for shift, message in ((15, r"shows [1-4]\d% of"), (500, "shows 0% of")):
        nib.save(nib.Nifti1Image(np.ones((20, 24, 6), np.float32) + grid[0], np.diag([1.0, 1, 2, 1])), dwi)
        image = nib.load(dwi)
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine + np.eye(4)[:, :1] @ [[0, 0, 0, shift]]), dwi)
        with pytest.raises(GridMismatchError, match=message):
            read_target(dwi, read_scan(like), resample=True)
    empty = np.zeros((40, 24, 6), np.float32)
    empty[30:] = 1
    nib.save(nib.Nifti1Image(empty, np.diag([1.0, 1, 2, 1])), dwi)
    with pytest.raises(ScanError, match="is zero everywhere on the grid"):
        read_target(dwi, read_scan(like), resample=True)


def test_own_folder_by_the_names_of_the_cases(tmp_path):
    for name in (
        "case_1.nii.gz", "case_10_dwi.nii", "case_2/DWI.nii.gz", "sub-stroke0003_ses-02_dwi.nii.gz",
        "sub-stroke0003_ses-02_adc.nii.gz", "case_4_a.nii", "case_4_b.nii", "case_1_notes.txt",
        "case_10_dwi_mask.nii", "case_6_adc.nii.gz", "case_8_lesion.nii.gz",
    ):  # fmt: skip
        path = tmp_path / "own" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.touch()
    cases = ["case_1", "case_2", "case_10", "sub-stroke0003", "case_4", "case_5", "case_6", "case_8"]
    found, problems = find_own_targets(tmp_path / "own", cases)
    assert {case: path.name for case, path in found.items()} == {
        "case_1": "case_1.nii.gz",
        "case_2": "DWI.nii.gz",
        "case_10": "case_10_dwi.nii",
        "sub-stroke0003": "sub-stroke0003_ses-02_dwi.nii.gz",
    }
    assert "case_4_a.nii and case_4_b.nii could both be its DWI; keep one" in problems["case_4"]
    assert all(
        "no file is named by case_" in problems[case] for case in ("case_6", "case_8")
    )  # ADC and mask are no DWI
    assert "no file is named by case_5; name its DWI case_5.nii.gz" in problems["case_5"]
    with pytest.raises(DataError, match=r"has the DWI of none of 1 cases \(case_7"):
        find_own_targets(tmp_path / "own", ["case_7"])
    with pytest.raises(DataError, match="is not a folder"):
        find_own_targets(tmp_path / "nowhere", ["case_7"])


def test_some_or_none_have_targets(make_records, with_dwi):
    records = [*with_dwi[:2], *make_records(3)[2:]]
    records[2].images.pop("dwi", None)
    kept, rejected, targets = settle_targets(records, ("dwi",), name="test")
    assert ([record.id for record in kept], targets) == (["case000", "case001"], ("dwi",))
    assert (rejected[0].path, rejected[0].reason[:29]) == ("case002", "has no dwi to learn from, as ")
    with pytest.warns(MissingTargetWarning, match="no case of test has dwi, .* extractor \\+ segmentor alone"):
        kept, rejected, targets = settle_targets(records[2:], ("dwi",), name="test")
    assert (len(kept), rejected, targets) == (1, [], ())
