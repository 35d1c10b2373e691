"""What is read from a 4-D file: time, HU, gaps; and what is refused by name."""

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.errors import ScanError
from hf_lesionseg.imaging.perfusion.series import fill_gaps, read_perfusion_series
from hf_lesionseg.imaging.writing import write_volume


@pytest.fixture
def bolus():
    """A series (10, 12, 3, 20): brain of 35 HU in air, enhanced by up to 30 HU at frame 8."""
    rng = np.random.default_rng(3)
    data = np.full((10, 12, 3, 20), -1000, np.float32)
    data[2:8, 2:10] = 35 + 30 * np.exp(-(((np.arange(20) - 8) / 3) ** 2))
    data[2:8, 2:10] += rng.normal(0, 1, (6, 8, 3, 20))
    return data


def test_a_series_is_read_as_it_lies_in_its_file(bolus, save, oblique):
    path = save(bolus, oblique)
    series = read_perfusion_series(path)
    np.testing.assert_array_equal(series.data, bolus)
    assert series.shape == (10, 12, 3)
    assert series.num_frames == 20
    assert series.frame_seconds == 1.0
    assert series.warnings == ()
    np.testing.assert_allclose(series.affine, oblique, atol=1e-5)
    written = write_volume(path.with_name("map.nii.gz"), bolus[..., 0], series)
    assert nib.load(written).shape == (10, 12, 3)


@pytest.mark.parametrize(
    ("pixdim", "units", "seconds"),
    [(1.5, 2 | 8, 1.5), (1500, 2 | 16, 1.5), (2e6, 2 | 24, 2), (2, 2, 2), (1100, 2, 1.1)],
)
def test_frame_time_of_the_header_in_any_unit(bolus, save, pixdim, units, seconds):
    path = save(bolus, pixdim=[1, 2, 3, 4, pixdim, 0, 0, 0], xyzt_units=units)
    series = read_perfusion_series(path)
    assert series.frame_seconds == pytest.approx(seconds)
    assert not series.warnings


@pytest.mark.parametrize("pixdim", [0, np.nan, 0.001, 45])
def test_an_impossible_frame_time_falls_back_to_a_second(bolus, save, pixdim):
    path = save(bolus, pixdim=[1, 2, 3, 4, pixdim, 0, 0, 0], xyzt_units=2 | 8)
    series = read_perfusion_series(path)
    assert series.frame_seconds == 1.0
    assert "frame_seconds" in series.warnings[0]
    assert read_perfusion_series(path, frame_seconds=2.5).frame_seconds == 2.5
    with pytest.raises(ScanError, match="frame_seconds is 0"):
        read_perfusion_series(path, frame_seconds=0)


def test_the_voxel_size_behind_an_identity_sform_is_used(bolus, save):
    """The header trap of ISLES 2018."""
    path = save(bolus, np.eye(4), codes=(0, 2), pixdim=[1, 0.9, 0.9, 8, 1, 0, 0, 0], xyzt_units=2 | 8)
    assert read_perfusion_series(path).spacing == pytest.approx((0.9, 0.9, 8))


def test_a_singleton_axis_is_left_out(bolus, save):
    series = read_perfusion_series(save(bolus[:, :, :, None]))
    np.testing.assert_array_equal(series.data, bolus)
    assert "read as (10, 12, 3, 20)" in series.warnings[0]
    one_slice = read_perfusion_series(save(bolus[:, :, :1], name="slice.nii.gz"))
    np.testing.assert_array_equal(one_slice.data, bolus[:, :, :1])


def test_gaps_are_filled_in_time(bolus, save):
    damaged = bolus.copy()
    damaged[..., 5] = np.nan
    damaged[0, 0, 0] = np.nan
    damaged[4, 4, 1, 19] = np.inf
    series = read_perfusion_series(save(damaged))
    assert np.isfinite(series.data).all()
    np.testing.assert_allclose(series.data[3, 3, 1, 5], (bolus[3, 3, 1, 4] + bolus[3, 3, 1, 6]) / 2, rtol=1e-5)
    assert series.data[4, 4, 1, 19] == bolus[4, 4, 1, 18]
    assert (series.data[0, 0, 0] == 0).all()
    assert "NaN or Inf" in series.warnings[0]


def test_fill_gaps_by_hand():
    nan = np.nan
    curves = np.array([[nan, 2, nan, nan, 8, nan], [1, 2, 3, 4, 5, 6], [nan] * 6])
    expected = [[2, 2, 4, 6, 8, 8], [1, 2, 3, 4, 5, 6], [0] * 6]
    np.testing.assert_allclose(fill_gaps(curves), expected)


def test_ct_numbers_without_their_intercept_become_hu(bolus, save):
    series = read_perfusion_series(save((bolus.round() + 1024).clip(0).astype(np.uint16)))
    np.testing.assert_array_equal(series.data[2:8, 2:10], bolus[2:8, 2:10].round())
    assert "rescale intercept" in series.warnings[0]


def test_few_frames_are_read_with_a_warning(bolus, save):
    series = read_perfusion_series(save(bolus[..., 4:12]))
    assert "only 8 frames" in series.warnings[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[..., 0], "is one volume, not a series"),
        (lambda data: data[..., :1], "is one volume, not a series"),
        (lambda data: data[..., 7:10], "3 frames, but a first pass"),
        (lambda data: data.transpose(0, 1, 3, 2), r"time is the third axis .*numpy\.moveaxis\(data, 2, 3\)"),
        (lambda data: data.transpose(3, 0, 1, 2), r"time is the first axis .*numpy\.moveaxis\(data, 0, 3\)"),
        (lambda data: data.transpose(0, 3, 1, 2), r"time is the second axis .*numpy\.moveaxis\(data, 1, 3\)"),
        (lambda data: np.stack([data, data], -1), "several axes beside space"),
        (lambda data: data - 2000, "no voxel is above 0 HU"),
        (lambda data: np.repeat(data[..., :1], 20, -1), "all 20 frames are equal"),
        (lambda data: data * np.nan, "no voxel is finite in any frame"),
        (lambda data: data.astype(np.complex64), "complex numbers"),
    ],
)
def test_refused_by_name(bolus, save, change, message):
    path = save(change(bolus))
    with pytest.raises(ScanError, match=message) as error:
        read_perfusion_series(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_damaged_file_is_refused(bolus, save):
    path = save(bolus)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ScanError, match="truncated or damaged"):
        read_perfusion_series(path)
    with pytest.raises(ScanError, match="no such file"):
        read_perfusion_series(path.with_name("absent.nii.gz"))
