"""Every row of the bad-input list that concerns the voxels and axes of one scan: read rightly, or one typed error."""

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.errors import ScanError
from hf_lesionseg.imaging import read_scan


def assert_one_line_naming(error, path):
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_plain_scan(save, brain, oblique):
    path = save(brain, oblique)
    scan = read_scan(path)
    np.testing.assert_array_equal(scan.data, brain)
    assert scan.data.dtype == np.float32
    np.testing.assert_allclose(scan.affine, oblique, atol=1e-5)
    np.testing.assert_allclose(scan.spacing, (0.9, 1.1, 3.0), rtol=1e-5)
    np.testing.assert_allclose(scan.voxel_ml, 0.9 * 1.1 * 3.0 / 1000, rtol=1e-5)
    assert scan.warnings == ()


def test_to_nibabel_shares_data_and_names_the_file(save, brain, oblique):
    scan = read_scan(save(brain, oblique))
    image = scan.to_nibabel()
    assert np.shares_memory(image.dataobj, scan.data)
    assert image.affine.tobytes() == scan.affine.tobytes()
    assert image.get_filename() == str(scan.path)


@pytest.mark.parametrize("shape", [(40,), (12, 14)])
def test_too_few_axes(save, shape):
    path = save(np.arange(np.prod(shape), dtype=np.float32).reshape(shape))
    with pytest.raises(ScanError, match="a scan needs three") as error:
        read_scan(path)
    assert_one_line_naming(error, path)


@pytest.mark.parametrize("tail", [(1,), (1, 1)])
def test_one_volume_with_more_axes_is_read_in_three(save, brain, tail):
    scan = read_scan(save(brain.reshape(*brain.shape, *tail)))
    np.testing.assert_array_equal(scan.data, brain)
    assert len(scan.warnings) == 1
    assert "read as (12, 14, 9)" in scan.warnings[0]


@pytest.mark.parametrize("tail", [(3,), (1, 3)])
def test_series_is_not_silently_its_first_volume(save, brain, tail):
    path = save(np.tile(brain.reshape(*brain.shape, *(1 for _ in tail)), tail))
    with pytest.raises(ScanError, match=r"holds 3 volumes; give one 3-D volume \(fslroi") as error:
        read_scan(path)
    assert_one_line_naming(error, path)


def test_colours(save):
    rgb = np.zeros((5, 6, 7), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    path = save(rgb)
    with pytest.raises(ScanError, match=r"RGB colours.*grey values") as error:
        read_scan(path)
    assert_one_line_naming(error, path)


def test_complex_numbers(save, brain):
    with pytest.raises(ScanError, match="complex numbers"):
        read_scan(save(brain.astype(np.complex64)))


@pytest.mark.parametrize("length", [0, -3])
def test_axis_without_voxels(save, brain, length):
    path = save(brain, name="scan.nii", dim=[3, 12, 14, length, 1, 1, 1, 1])
    with pytest.raises(ScanError) as error:
        read_scan(path)
    assert_one_line_naming(error, path)


@pytest.mark.parametrize(("value", "what"), [(0, "all zero"), (5, "constant")])
def test_nothing_to_segment(save, value, what):
    path = save(np.full((5, 6, 7), value, np.float32))
    with pytest.raises(ScanError, match=f"{what}.*nothing to segment") as error:
        read_scan(path)
    assert_one_line_naming(error, path)


@pytest.mark.parametrize(("value", "kind"), [(np.nan, "NaN"), (np.inf, "Inf"), (-np.inf, "Inf")])
def test_some_voxels_not_finite(save, brain, value, kind):
    spoilt = brain.copy()
    spoilt[0, 0, :3] = value
    scan = read_scan(save(spoilt))
    np.testing.assert_array_equal(scan.data, brain)
    assert scan.warnings == (f"{scan.path}: 3 {kind} voxels read as 0",)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_voxel_finite(save, value):
    path = save(np.full((5, 6, 7), value, np.float32))
    with pytest.raises(ScanError, match="no voxel is finite") as error:
        read_scan(path)
    assert_one_line_naming(error, path)


def test_negative_values(save, brain):
    scan = read_scan(save((brain * 20 - 1000).astype(np.int16)))
    assert scan.data.min() == -1000
    assert scan.warnings == ()


def test_integers_with_slope_and_intercept(save):
    stored = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    scan = read_scan(save(stored, scl_slope=0.5, scl_inter=-3))
    np.testing.assert_array_equal(scan.data, stored * 0.5 - 3)


@pytest.mark.parametrize("slope", [np.nan, 0, np.inf])
def test_slope_that_is_none(save, slope):
    stored = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    np.testing.assert_array_equal(read_scan(save(stored, scl_slope=slope, scl_inter=slope)).data, stored)


def test_large_float64_that_float32_can_hold(save, brain):
    scan = read_scan(save(brain.astype(np.float64) * 1e30))
    np.testing.assert_array_equal(scan.data, (brain.astype(np.float64) * 1e30).astype(np.float32))


def test_float64_beyond_float32(save, brain):
    path = save(brain.astype(np.float64) * 1e300)
    with pytest.raises(ScanError, match="do not fit float32; rescale") as error:
        read_scan(path)
    assert_one_line_naming(error, path)


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_big_endian(tmp_path, brain, oblique, dtype, kind):
    header = kind.header_class(endianness=">")
    header.set_data_dtype(dtype)
    path = tmp_path / "big.nii"
    with path.open("wb") as file:
        image = kind(brain.astype(dtype), oblique, header)
        image.header.set_slope_inter(1, 0)
        image.file_map["image"].fileobj = file
        image.to_file_map()
    assert read_scan(path).header.endianness == ">"
    np.testing.assert_array_equal(read_scan(path).data, brain.astype(dtype))


def test_file_larger_than_one_slab(save):
    volume = np.random.default_rng(0).uniform(0, 9, (64, 64, 300)).astype(np.float32)
    np.testing.assert_array_equal(read_scan(save(volume)).data, volume)


@pytest.mark.parametrize("shape", [(20, 30, 1), (1, 30, 20), (7, 5, 3), (1, 1, 2)])
def test_single_slices_and_tiny_scans(save, shape):
    volume = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    np.testing.assert_array_equal(read_scan(save(volume)).data, volume)


@pytest.mark.parametrize("side", [0.3, 6.0])
def test_small_and_large_voxels(save, brain, side):
    scan = read_scan(save(brain, np.diag([side, side, side, 1])))
    np.testing.assert_allclose(scan.voxel_ml, side**3 / 1000, rtol=1e-6)


@pytest.mark.parametrize("name", ["my scan of Zoë (2).nii.gz", "ordner ä/скан 脑.nii", "SCAN.NII.GZ"])
def test_names_with_spaces_and_unicode(save, brain, name):
    path = save(brain, name="plain" + (".nii" if name.endswith(".nii") else ".nii.gz"))
    target = path.parent / name
    target.parent.mkdir(exist_ok=True)
    np.testing.assert_array_equal(read_scan(path.rename(target)).data, brain)


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
@pytest.mark.parametrize("suffix", [".hdr", ".img"])
def test_pair_by_either_name(save, brain, oblique, kind, suffix):
    path = save(brain, oblique, name="scan.img", kind=kind)
    scan = read_scan(path.with_suffix(suffix))
    np.testing.assert_array_equal(scan.data, brain)
    np.testing.assert_allclose(scan.affine, oblique, atol=1e-5)


def test_pair_without_its_other_half(save, brain):
    path = save(brain, name="scan.img", kind=nib.Nifti1Pair)
    path.unlink()
    with pytest.raises(ScanError, match="scan") as error:
        read_scan(path.with_suffix(".hdr"))
    assert "missing" in str(error.value)


def test_analyze_is_read_with_a_warning(save, brain):
    path = save(brain, np.diag([-2.0, 3.0, 4.0, 1.0]), name="old.img", kind=nib.Spm99AnalyzeImage)
    scan = read_scan(path)
    np.testing.assert_array_equal(scan.data, brain)
    np.testing.assert_allclose(scan.spacing, (2, 3, 4))
    assert any("Analyze has no orientation" in warning for warning in scan.warnings)
    np.testing.assert_allclose(scan.header.get_best_affine(), scan.affine, atol=1e-5)


def test_another_format_under_a_nifti_name(tmp_path, brain):
    nib.save(nib.MGHImage(brain, np.eye(4)), tmp_path / "scan.mgz")
    np.testing.assert_array_equal(read_scan(tmp_path / "scan.mgz").data, brain)
    path = (tmp_path / "scan.mgz").rename(tmp_path / "scan.nii.gz")
    with pytest.raises(ScanError, match="cannot be read as NIfTI") as error:
        read_scan(path)
    assert_one_line_naming(error, path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ScanError, match="no such file"):
        read_scan(tmp_path / "nowhere.nii.gz")
    with pytest.raises(ScanError, match="is a folder"):
        read_scan(tmp_path)
