"""Which affine and voxel size a header means."""

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.errors import ScanError
from hf_lesionseg.imaging import read_scan


@pytest.mark.parametrize(("codes", "expected"), [((1, 0), "qform"), ((0, 1), "sform"), ((1, 1), "both")])
def test_either_form(save, brain, oblique, codes, expected):
    scan = read_scan(save(brain, oblique, codes=codes))
    np.testing.assert_allclose(scan.affine, oblique, atol=1e-4, err_msg=expected)
    assert scan.warnings == ()


def test_forms_that_differ(save, brain):
    image = nib.Nifti1Image(brain, np.diag([2.0, 3, 4, 1]))
    image.set_qform(np.diag([2.0, 3, 4, 1]) + np.array([[0, 0, 0, 9.0]] + [[0] * 4] * 3), 1)
    path = save(brain)
    image.to_filename(path)
    scan = read_scan(path)
    np.testing.assert_array_equal(scan.affine, np.diag([2.0, 3, 4, 1]))
    assert scan.warnings == (f"{path}: qform and sform differ by up to 9 mm; the sform is used",)


def test_no_orientation_at_all(save, brain):
    path = save(brain, qform_code=0, sform_code=0)
    scan = read_scan(path)
    np.testing.assert_array_equal(scan.affine, nib.load(path).affine)
    np.testing.assert_allclose(scan.spacing, (2, 3, 4))
    assert "no orientation; axes are taken as LAS" in scan.warnings[0]


@pytest.mark.parametrize("qform_code", [0, 1])
def test_identity_sform_with_real_voxel_size(save, brain, qform_code):
    rows = {"srow_x": [1, 0, 0, 0], "srow_y": [0, 1, 0, 0], "srow_z": [0, 0, 1, 0]}
    path = save(brain, scl_slope=np.nan, sform_code=2, qform_code=qform_code, **rows)
    np.testing.assert_array_equal(nib.load(path).affine, np.eye(4))
    scan = read_scan(path)
    np.testing.assert_allclose(scan.spacing, (2, 3, 4))
    np.testing.assert_allclose(scan.voxel_ml, 0.024)
    assert "2 x 3 x 4 mm; the voxel size is used" in scan.warnings[0]
    np.testing.assert_allclose(scan.to_nibabel().affine, scan.affine)


def test_identity_sform_of_a_true_1_mm_grid(save, brain):
    scan = read_scan(save(brain, np.eye(4)))
    np.testing.assert_array_equal(scan.affine, np.eye(4))
    assert scan.warnings == ()


@pytest.mark.parametrize("size", [0, np.nan])
@pytest.mark.parametrize("qform_code", [0, 1])
def test_zero_voxel_size_is_not_one_millimetre(save, brain, size, qform_code):
    path = save(brain, pixdim=[1, 2, 3, size, 0, 0, 0, 0], sform_code=0, qform_code=qform_code)
    with pytest.raises(ScanError, match=r"voxel size 2 x 3 x .* set pixdim") as error:
        read_scan(path)
    assert str(path) in str(error.value)


def test_zero_pixdim_beside_a_good_sform(save, brain, oblique):
    scan = read_scan(save(brain, oblique, pixdim=[1, 0, 0, 0, 0, 0, 0, 0], qform_code=0))
    np.testing.assert_allclose(scan.affine, oblique, atol=1e-5)


@pytest.mark.parametrize(
    "rows",
    [
        {"srow_x": [0, 0, 0, 0]},
        {"srow_x": [1, 0, 0, 0], "srow_y": [2, 0, 0, 0], "srow_z": [0, 0, 1, 0]},
        {"srow_z": [np.nan, 0, 1, 0]},
    ],
)
def test_singular_affine(save, brain, rows):
    path = save(brain, codes=(0, 2), **rows)
    with pytest.raises(ScanError, match=r"affine .* repair the header") as error:
        read_scan(path)
    assert str(path) in str(error.value)


def test_broken_quaternion(save, brain):
    path = save(brain, sform_code=0, qform_code=1, quatern_b=3.0)
    with pytest.raises(ScanError) as error:
        read_scan(path)
    assert str(path) in str(error.value)


def test_shear_is_accepted_with_a_warning(save, brain):
    sheared = np.diag([2.0, 3.0, 4.0, 1.0])
    sheared[0, 1] = 0.5
    scan = read_scan(save(brain, sheared))
    np.testing.assert_allclose(scan.affine, sheared)
    np.testing.assert_allclose(scan.voxel_ml, 0.024)  # a shear keeps the volume, not the product of the sides
    assert any("sheared" in warning for warning in scan.warnings)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_left_handed(save, brain, oblique, axis):
    oblique[:3, axis] *= -1
    scan = read_scan(save(brain, oblique))
    np.testing.assert_allclose(scan.affine, oblique, atol=1e-5)
    assert scan.warnings == ()


@pytest.mark.parametrize("unit", ["meter", "micron"])
def test_lengths_that_are_not_millimetres(save, brain, unit):
    code = {"meter": 1, "micron": 3}[unit]
    assert any(unit in warning for warning in read_scan(save(brain, xyzt_units=code)).warnings)
