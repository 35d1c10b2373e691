"""Smooth fields: their moments, their correlation length, and the interpolation they rest on."""

import numpy as np
import pytest

from hf_lesionseg.datasets.synthetic.random_fields import lattice_shape, smooth_field, upsample


@pytest.mark.parametrize("length", [2.0, 3.5, 6.0])
def test_mean_0_and_standard_deviation_1(length):
    field = smooth_field(np.random.default_rng(0), (72, 60, 66), length)
    assert field.dtype == np.float32
    assert abs(field.mean()) < 0.05
    assert field.std() == pytest.approx(1, abs=0.05)


def test_neighbours_within_the_length_agree_and_far_voxels_do_not():
    field = smooth_field(np.random.default_rng(1), (80, 80, 80), 8.0)

    def correlation(shift):
        return np.corrcoef(field[shift:].ravel(), field[:-shift].ravel())[0, 1]

    assert correlation(2) > 0.9
    assert 0.2 < correlation(8) < 0.7
    assert abs(correlation(40)) < 0.15


def test_straight_lines_come_through_exactly():
    """Cubic B-splines reproduce linear functions: an affine warp survives the lattice."""
    shape, step = (23, 17, 30), 3.0
    axes = [(np.arange(n) - 1) * step for n in lattice_shape(shape, step)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    found = upsample(2 * x - 3 * y + 0.5 * z + 7, shape, step)
    x, y, z = np.indices(shape)
    np.testing.assert_allclose(found, 2 * x - 3 * y + 0.5 * z + 7, atol=1e-3)


def test_a_lattice_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="this volume needs"):
        upsample(np.zeros((3, 3, 3)), (20, 20, 20), 4.0)
