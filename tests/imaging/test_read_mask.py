import numpy as np
import pytest

from hf_lesionseg.errors import GridMismatchError, ScanError
from hf_lesionseg.imaging import read_mask, read_scan
from hf_lesionseg.imaging.scan import read_label_map, read_probability


@pytest.mark.parametrize(("value", "dtype"), [(1, np.uint8), (255, np.uint8), (0.999, np.float32), (3, np.int16)])
def test_whatever_marks_the_lesion(save, value, dtype):
    stored = np.zeros((6, 5, 4), dtype)
    stored[1:3, 2, 1:3] = value
    mask = read_mask(save(stored))
    assert mask.data.dtype == np.uint8
    np.testing.assert_array_equal(mask.data, stored > 0)
    assert mask.warnings == ()


def test_negative_is_background(save):
    np.testing.assert_array_equal(read_mask(save(np.array([[[-1, 0, 2]]], np.int16))).data, [[[0, 0, 1]]])


def test_empty_mask_is_fine(save):
    assert read_mask(save(np.zeros((6, 5, 4), np.uint8))).data.sum() == 0


def test_interpolated_mask_warns(save):
    stored = np.zeros((6, 5, 4), np.float32)
    stored[0, 0, :2] = 0.1, 0.9
    assert "1 voxels between 0 and 0.5" in read_mask(save(stored)).warnings[0]


def test_labels_stored_with_a_slope(save):
    """nibabel saves labels of floats under an integer header with a slope; 2 is then 1.99997."""
    labels = np.zeros((6, 5, 4), np.int16)
    labels[1], labels[2], labels[3, 0] = 2, 3, 7
    stored = labels * np.int16(4681)  # 2 is 9362, 3 is 14043, 7 is 32767
    path = save(stored, scl_slope=7 / 32767, scl_inter=0)
    mask = read_mask(path, values=(2,))
    np.testing.assert_array_equal(mask.data, labels == 2)
    assert mask.warnings == ()
    assert read_mask(path).warnings == (f"{path}: labels 2, 3 and 7 count as one",)
    assert read_mask(path, values=(4,)).warnings == (f"{path}: label 4 occurs in no voxel; the mask holds 2, 3 and 7",)
    plain, reading = read_label_map(path, values=(4,), table={2: "a", 3: "b", 7: "c"})
    assert (plain.warnings, len(reading.notes)) == ((), 1)


def test_a_label_map_that_was_interpolated_is_refused_by_name(save):
    labels = np.zeros((6, 5, 4), np.float32)
    labels[1], labels[2] = 2, 1.5
    path = save(labels)
    with pytest.raises(ScanError, match=r"holds 1\.5 \(20 voxels\), which is not a label") as error:
        read_mask(path, values=(2,))
    assert str(path) in str(error.value)


@pytest.mark.parametrize("values", [None, (2,)])
def test_a_scan_is_no_mask(save, brain, values):
    for data in (brain, brain.astype(np.int16)):
        path = save(data)
        with pytest.raises(ScanError, match="looks like an image, not a mask") as error:
            read_mask(path, values=values)
        assert str(path) in str(error.value)


def test_probabilities_are_read_as_such(save, brain):
    path = save(brain / 100)
    np.testing.assert_array_equal(read_probability(path).data, brain / 100)
    assert read_probability(save(np.zeros((6, 5, 4), np.float32))).data.sum() == 0
    path = save((brain * 2.5).astype(np.uint8))
    with pytest.raises(ScanError, match=r"values from 0 to 249 cannot be probabilities.*divide by 255") as error:
        read_probability(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_is_refused(save, value):
    stored = np.zeros((6, 5, 4), np.float32)
    stored[0, 0, 0] = value
    path = save(stored)
    with pytest.raises(ScanError, match="1 NaN or Inf voxels in a mask") as error:
        read_mask(path)
    assert str(path) in str(error.value)


def test_mask_on_the_grid_of_its_scan(save, brain, oblique):
    scan = read_scan(save(brain, oblique))
    nearly = oblique.copy()
    nearly[:3] *= 1 + 1e-7
    assert (
        read_mask(save((brain > 50).astype(np.uint8), nearly.astype(np.float32), name="mask.nii"), like=scan).shape
        == scan.shape
    )


def test_mask_of_another_shape(save, brain):
    scan = read_scan(save(brain))
    path = save(np.zeros((12, 14, 8), np.uint8), name="mask.nii.gz")
    with pytest.raises(GridMismatchError, match=r"shape \(12, 14, 8\).*has \(12, 14, 9\); resample") as error:
        read_mask(path, like=scan)
    assert str(path) in str(error.value)
    assert str(scan.path) in str(error.value)


@pytest.mark.parametrize("change", ["shifted by a voxel", "mirrored", "scaled"])
def test_mask_at_another_place(save, brain, oblique, change):
    scan = read_scan(save(brain, oblique))
    other = oblique.copy()
    if change == "mirrored":
        other[:3, 0] *= -1
    elif change == "scaled":
        other[:3, :3] *= 1.05
    else:
        other[:3, 3] += other[:3, 0]
    with pytest.raises(GridMismatchError, match="mm from the voxels of"):
        read_mask(save((brain > 50).astype(np.uint8), other, name="mask.nii.gz"), like=scan)
