"""DICOM series written with pydicom, read into Hounsfield units at the right place; and series that are damaged."""

import itertools

import nibabel as nib
import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason='DICOM files need pydicom: pip install "hf-lesionseg[dicom]"')

from hf_lesionseg.errors import ScanError  # noqa: E402
from hf_lesionseg.imaging.dicom import read_dicom_series  # noqa: E402

SPACING = (0.8, 0.7, 1.5)  # between rows, columns, slices; those of `write_slice`


@pytest.fixture
def stored():
    """Stored values of six slices of 5 rows and 7 columns, each value another."""
    return (np.arange(6 * 5 * 7).reshape(6, 5, 7) * 4).astype(np.uint16)


@pytest.fixture
def write(tmp_path, stored, write_slice):
    """Write the series; names are in another order than the slices. Gives the files."""

    def write_series(step=SPACING[2], **settings):
        folder = tmp_path / "series"
        for k, plane in enumerate(stored):
            write_slice(folder / f"{(k * 5) % 7}-x.dcm", plane, k + 1, (-100, -50, 20 + k * step), **settings)
        return sorted(folder.glob("*.dcm"))

    return write_series


@pytest.mark.parametrize("step", [SPACING[2], -SPACING[2]])
def test_order_of_the_instance_number_whichever_way_z_runs(write, stored, step):
    series = read_dicom_series(write(step=step))
    assert series.data.dtype == np.int16
    assert series.data.shape == (7, 5, 6)  # columns, rows, slices
    np.testing.assert_array_equal(series.data, stored.transpose(2, 1, 0).astype(int) - 1024)
    # patient coordinates point left and back, NIfTI's right and front
    expected = [[-0.7, 0, 0, 100], [0, -0.8, 0, 50], [0, 0, step, 20], [0, 0, 0, 1]]
    np.testing.assert_allclose(series.affine, expected, atol=1e-6)
    assert "".join(nib.aff2axcodes(series.affine)) == ("LPS" if step > 0 else "LPI")


def test_voxels_lie_where_dicom_says(write, stored):
    """Against the standard's formula (PS3.3 C.7.6.2.1.1) for an oblique series."""
    row, column = np.array([0.96, 0.28, 0.0]), np.array([-0.28, 0.96, 0.0])
    files = write(ImageOrientationPatient=[*row, *column])
    series = read_dicom_series(files)
    for c, r, k in itertools.product((0, 6), (0, 4), (0, 5)):
        position = np.array([-100, -50, 20 + k * SPACING[2]]) + row * SPACING[1] * c + column * SPACING[0] * r
        found = nib.affines.apply_affine(series.affine, (c, r, k))
        np.testing.assert_allclose(found, position * [-1, -1, 1], atol=1e-6)
    image = series.to_nibabel()
    np.testing.assert_allclose(image.get_qform(), series.affine, atol=1e-4)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_slope_and_intercept_of_each_slice(tmp_path, stored, write_slice):
    for k, plane in enumerate(stored):
        write_slice(tmp_path / f"{k}.dcm", plane, k + 1, (0, 0, k), slope=0.5 if k else 2, intercept=-10 * k)
    series = read_dicom_series(tmp_path.glob("*.dcm"))
    assert series.data.dtype == np.float32
    expected = np.stack([plane * (0.5 if k else 2.0) - 10 * k for k, plane in enumerate(stored)])
    np.testing.assert_allclose(series.data, expected.transpose(2, 1, 0))


def test_values_beyond_int16(write):
    series = read_dicom_series(write(slope=100))
    assert series.data.dtype == np.float32
    assert series.data.max() == 4 * 209 * 100 - 1024


def test_one_slice(tmp_path, stored, write_slice):
    write_slice(tmp_path / "1.dcm", stored[0], 1, (0, 0, 0), SliceThickness=3.0)
    assert read_dicom_series([tmp_path / "1.dcm"]).affine[2, 2] == pytest.approx(3)


def damage_missing(files):
    next(path for path in files if pydicom.dcmread(path).InstanceNumber == 3).unlink()


def damage_first(files):
    next(path for path in files if pydicom.dcmread(path).InstanceNumber == 1).unlink()


def damage_twice(files):
    files[0].with_name("copy.dcm").write_bytes(files[0].read_bytes())


def damage_truncated(files):
    files[0].write_bytes(files[0].read_bytes()[:-20])


def damage_foreign(files):
    files[0].write_bytes(b"<html>")


def change(**tags):
    def damage(files):
        data = pydicom.dcmread(files[0])
        for name, value in tags.items():
            setattr(data, name, value)
        data.save_as(files[0])

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_missing, r"series: slice 3 \(InstanceNumber\) is missing"),
        (damage_first, r"series: the first slice has InstanceNumber 2, 1 is missing"),
        (damage_twice, r"slice 1 \(InstanceNumber\) is there twice"),
        (damage_truncated, r"0-x\.dcm: its pixels cannot be read"),
        (damage_foreign, r"0-x\.dcm: cannot be read as DICOM"),
        (change(SeriesInstanceUID="9.9"), "belong to different series"),
        (change(PixelSpacing=[0.9, 0.9]), r"its PixelSpacing differs"),
        (change(ImagePositionPatient=[-100, -50, 0]), r"slices 1 and 2 are 21\.5 mm apart, the others 1\.5 mm"),
        (change(ImagePositionPatient=None), "has no ImagePositionPatient"),
        (change(NumberOfFrames=4), "holds 4 frames; convert it to NIfTI"),
    ],
)
def test_damaged_series_are_refused(write, damage, message):
    files = write()
    damage(files)
    with pytest.raises(ScanError, match=message) as error:
        read_dicom_series(files[0].parent.glob("*.dcm"))
    assert "\n" not in str(error.value)


def test_no_files():
    with pytest.raises(ScanError, match="without files"):
        read_dicom_series([])
