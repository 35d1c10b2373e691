"""Which affine and voxel size a header means."""

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.errors import ScanError
from hf_lesionseg.imaging import read_mask, read_scan, write_mask
from hf_lesionseg.models.header_grid import units_of


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


@pytest.mark.parametrize(("unit", "code", "per_mm"), [("meter", 1, 1e-3), ("micron", 3, 1e3)])
@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (1, 1)])
def test_lengths_in_metres_and_micrometres_are_converted(save, brain, oblique, unit, code, per_mm, codes):
    """One mm stays one mm; lesions get their true volume, and what is written back gets the file's own header."""
    scan = read_scan(save(brain, np.diag([per_mm] * 3 + [1]) @ oblique, codes=codes, xyzt_units=code))
    np.testing.assert_allclose(scan.affine, oblique, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(scan.voxel_ml, abs(np.linalg.det(oblique[:3, :3])) / 1000, rtol=1e-5)
    (warning,) = scan.warnings
    assert f"lengths in {unit}" in warning
    assert "are read as 0.9 x 1.1 x 3 mm" in warning
    assert scan.to_nibabel().header.get_xyzt_units()[0] == "mm"
    mask = read_mask(write_mask(scan.path.with_name("mask.nii.gz"), np.ones(brain.shape, bool), scan), like=scan)
    np.testing.assert_allclose(mask.affine, scan.affine)
    assert mask.header.get_xyzt_units()[0] == unit


def test_units_that_make_no_scan_are_refused(save, brain):
    for size, code in ((0.001, 3), (300.0, 3), (5.0e3, 1), (0.02, 1)):
        path = save(brain, np.diag([size] * 3 + [1]), xyzt_units=code)
        if (size, code) == (0.02, 1):  # 20 mm
            np.testing.assert_allclose(read_scan(path).spacing, 20.0, rtol=1e-6)
        elif (size, code) == (300.0, 3):
            np.testing.assert_allclose(read_scan(path).spacing, 0.3, rtol=1e-6)
        else:
            with pytest.raises(ScanError, match="correct unit and voxel size") as error:
                read_scan(path)
            assert str(path) in str(error.value)


@pytest.mark.parametrize("codes", [(1, 1), (0, 1), (1, 0), (0, 0)])
def test_negative_voxel_size(save, brain, codes, capfd):
    """As ITK and nibabel read it: its absolute value; what nibabel logs is a warning of ours, once."""
    path = save(brain, np.diag([2.0, 3.0, 4.0, 1.0]), codes=codes)
    expected = read_scan(path).affine
    scan = read_scan(save(brain, np.diag([2.0, 3.0, 4.0, 1.0]), codes=codes, pixdim=[1, 2, -3, 4, 1, 1, 1, 1]))
    np.testing.assert_allclose(scan.affine, expected)
    assert sum("pixdim[1,2,3] should be positive" in warning for warning in scan.warnings) == 1
    assert capfd.readouterr() == ("", "")


def test_a_qform_that_is_none_beside_a_good_sform(save, brain, oblique):
    scan = read_scan(save(brain, oblique, codes=(1, 1), quatern_b=3.0))
    np.testing.assert_allclose(scan.affine, oblique, atol=1e-5)
    assert scan.warnings == (f"{scan.path}: the qform is not an orientation; the sform is used",)


def test_the_librarys_own_lines_reach_the_user_again_afterwards(save, brain, caplog):
    path = save(brain, codes=(0, 1), pixdim=[1, 2, -3, 4, 1, 1, 1, 1])
    before = list(nib.imageglobals.logger.handlers)
    read_scan(path)
    assert nib.imageglobals.logger.handlers == before
    nib.load(path)
    assert "should be positive" in caplog.text


@pytest.mark.parametrize(
    ("slope", "intercept", "factor", "message"),
    [
        (np.inf, 0, 1, "slope of its values is inf; values are read as they are stored"),
        (-np.inf, np.nan, 1, "slope of its values is -inf"),
        (2.0, np.inf, 2, "intercept of its values is inf; read as 0"),
        (0.5, np.nan, 0.5, "intercept of its values is nan; read as 0"),
        (np.nan, np.inf, 1, None),
        (0.0, np.inf, 1, None),
    ],
)
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_scaling_that_is_no_number(save, brain, slope, intercept, factor, message, kind):
    stored = brain.astype(np.int16)
    scan = read_scan(save(stored, kind=kind, scl_slope=slope, scl_inter=intercept))
    np.testing.assert_allclose(scan.data, stored * factor)
    assert [message in warning for warning in scan.warnings] == ([] if message is None else [True])


@pytest.mark.parametrize("code", [5, 7, 71, 255])
def test_units_that_nifti_does_not_have(save, brain, code):
    assert read_scan(save(brain, xyzt_units=code)).spacing == (2, 3, 4)


def test_names_of_units_are_those_of_nibabel():
    header = nib.Nifti1Header()
    for space in ("unknown", "meter", "mm", "micron"):
        for time in ("unknown", "sec", "msec", "usec", "hz", "ppm", "rads"):
            header.set_xyzt_units(space, time)
            assert units_of(header) == (space, time) == header.get_xyzt_units()


@pytest.mark.parametrize(("size", "reads"), [(199.0, True), (255.0, False)])
def test_voxels_of_no_scan_are_refused(tmp_path, size, reads):
    """A fuzzed row of the sform made planes of 1100 x 1300 pixels, and 1.7 GB, of a head of 17 x 20 voxels."""
    path = tmp_path / "wide.nii"
    data = np.random.default_rng(0).uniform(1, 9, (6, 7, 5)).astype(np.float32)
    nib.save(nib.Nifti1Image(data, np.diag([2.0, size, 3.0, 1.0])), path)
    if reads:
        assert read_scan(path).spacing[1] == pytest.approx(size)
        return
    with pytest.raises(ScanError, match=r"no scan of a person has voxels of .*255"):
        read_scan(path)
