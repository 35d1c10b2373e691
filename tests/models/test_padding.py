"""CT treatment by the unit of the images, and constants outside the field of view."""

import numpy as np
import pytest

from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.models.intensity import CT_WINDOW, is_ct, measure_intensity, modality_settings
from hf_lesionseg.models.padding import padding_values, without_padding


def ct(padding=None, seed=0):
    """A head in HU in a round field of view: noise of air around it, soft tissue and bone; and where padding is."""
    rng = np.random.default_rng(seed)
    x, y, _ = np.indices((48, 48, 6)) - np.array([23.5, 23.5, 0]).reshape(3, 1, 1, 1)
    radius = np.hypot(x, y)
    volume = rng.normal(-995, 5, radius.shape)
    volume = np.where(radius < 18, rng.normal(900, 100, radius.shape), volume)
    volume = np.where(radius < 16, rng.normal(35, 6, radius.shape), volume).astype(np.float32)
    outside = radius >= 23.5
    if padding is not None:
        volume[outside] = padding
    return volume, outside


@pytest.mark.filterwarnings("ignore:.*look like CT")
@pytest.mark.parametrize("padding", [-1024.0, -2000.0, -3024.0, -32768.0, 63536.0])
@pytest.mark.parametrize("normalization", ["percentile", "z-score", "window", "fixed-range"])
def test_padding_changes_no_voxel_of_the_field_of_view(padding, normalization):
    """Exactly: their values are those beside zeros, which never counted; and padding itself is as dark as air."""
    processor = LesionImageProcessor(normalization=normalization, intensity_range=(0, 100))
    padded, outside = ct(padding)
    zeros, _ = ct(0)
    values, expected = (processor(each)["pixel_values"][:, 0].transpose(2, 1, 0) for each in (padded, zeros))
    np.testing.assert_allclose(values[~outside], expected[~outside], atol=1e-6)
    air = values[~outside & (zeros < -900)]
    assert values[outside].max() <= air.max()
    assert values[outside].min() >= air.min() - 0.1


def test_values_of_padding():
    assert padding_values(ct()[0]) == ()
    assert padding_values(ct(-2000)[0]) == (-2000.0,)
    both, outside = ct(-3024)
    both[(both < -900) & ~outside] = -1024  # air clipped, in a padded square
    assert padding_values(both) == (-3024.0, -1024.0)
    assert padding_values(ct(63536)[0]) == (63536.0,)
    stripped = np.where(ct()[1], 0, 300).astype(np.float32)
    assert padding_values(stripped) == ()
    scaled = np.random.default_rng(0).normal(0, 1, (20, 20, 20)).astype(np.float32).clip(-3)
    scaled[:5] = -4.5  # around a scaled MR scan
    assert padding_values(scaled) == (-4.5,)
    scaled[:5] = 500.0  # a bright block is none
    assert padding_values(scaled) == ()


def test_a_scan_of_one_value_beside_zero_is_tissue():
    volume = np.zeros((6, 5, 4), np.float32)
    volume[2:4, 2:4] = -7
    assert measure_intensity(volume, (0.5, 99.5))["low"] == -7


def test_without_padding_copies_only_where_there_is_some():
    volume, outside = ct(-2000)
    cleaned = without_padding(volume, (-2000.0,), -1000.0)
    assert (cleaned[outside] == -1000).all()
    np.testing.assert_array_equal(cleaned[~outside], volume[~outside])
    assert volume.min() == -2000
    assert without_padding(volume, (), -1000.0) is volume


@pytest.mark.parametrize("name", ["ct", "CT", "ncct", "cect", "cta", "ctp_00", "ct_venous", "ct1"])
def test_names_of_ct(name):
    assert is_ct(name)


@pytest.mark.parametrize("name", ["t1w", "flair", "dwi", "cbf", "p_ct_cbf", "ct_tmax", "act", "direct", "image"])
def test_names_of_what_is_no_ct(name):
    assert not is_ct(name)


def test_treatment_by_name_where_none_was_chosen():
    assert modality_settings(("t1w", "flair")) == {}
    one = LesionImageProcessor(channel_names="ct")
    assert (one.normalization, one.intensity_range) == ("window", CT_WINDOW)
    mixed = LesionImageProcessor(channel_names=("ct", "pet"))
    assert mixed.normalization == {"ct": "window", "pet": "percentile"}
    chosen = LesionImageProcessor(channel_names=("ct",), normalization="percentile")
    assert (chosen.normalization, chosen.intensity_range) == ("percentile", (0.0, 100.0))
    assert LesionImageProcessor(channel_names=("ct",), intensity_range=(0, 80)).normalization == "percentile"


def test_ct_that_is_spread_by_its_own_values_is_told():
    with pytest.warns(UserWarning, match=r"look like CT in Hounsfield units, and percentile leaves tissue"):
        LesionImageProcessor(channel_names=("image",))(ct()[0])
