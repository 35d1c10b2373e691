import numpy as np
import pytest

from hf_lesionseg.errors import GridMismatchError, ScanError
from hf_lesionseg.imaging import read_mask, read_scan


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
