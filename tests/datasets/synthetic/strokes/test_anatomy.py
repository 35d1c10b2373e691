"""Deformed brains: different people, no folds, ventricles that widen where they should."""

import itertools

import numpy as np
import pytest

from hf_lesionseg.datasets.synthetic.strokes.anatomy import ExVacuo, draw_anatomy


@pytest.fixture(scope="module")
def people(template):
    return [draw_anatomy(np.random.default_rng([3, number]), template) for number in range(4)]


def test_people_differ_and_are_the_same_for_the_same_seed(people, template):
    again = draw_anatomy(np.random.default_rng([3, 0]), template)
    np.testing.assert_array_equal(again.t1, people[0].t1)
    np.testing.assert_array_equal(again.points, people[0].points)
    for one, other in itertools.pairwise(people):
        assert np.corrcoef(one.t1.ravel(), other.t1.ravel())[0, 1] < 0.97
        volumes = [(person.tissue.sum() * template.spacing**3) for person in (one, other)]
        assert volumes[0] != pytest.approx(volumes[1], rel=1e-3)
        assert all(1.1e6 < volume < 2.4e6 for volume in volumes)


def test_the_warp_does_not_fold(people):
    """The Jacobian of voxel -> template is positive within the brain, but for a few voxels of the ventricles."""
    for person in people:
        rows = [np.stack(np.gradient(axis, person.spacing), axis=-1) for axis in person.points]
        determinant = np.linalg.det(np.stack(rows, axis=-2))
        inside = person.tissue > 0.5
        assert np.quantile(determinant[inside], 0.001) > 0.05
        assert 0.6 < np.median(determinant[inside]) < 1.6


def test_the_maps_follow_the_warp(people, template):
    """A voxel shows what the template has at the point that it says it shows."""
    person = people[1]
    voxels = np.argwhere(person.tissue > 0.9)[::997]
    points = np.stack([axis[tuple(voxels.T)] for axis in person.points], axis=1)
    index = np.round((points - template.affine[:3, 3]) / template.spacing).astype(int)
    assert np.corrcoef(template.t1[tuple(index.T)], person.t1[tuple(voxels.T)])[0, 1] > 0.8
    for point, voxel in list(zip(points, voxels, strict=True))[:20]:
        assert person.voxel_of(point) == tuple(voxel)


def test_the_near_ventricle_widens_beside_an_old_lesion(template):
    def ventricle_ml(side, ex_vacuo):
        person = draw_anatomy(np.random.default_rng(8), template, ex_vacuo)
        inside = (person.ventricle_distance < 0) & (person.points[0] * side > 0)
        return inside.sum() * template.spacing**3 / 1000

    lesion = ExVacuo(np.array([-35.0, -5.0, 20.0]), 5.0)
    left, right = (ventricle_ml(side, None) for side in (-1, 1))
    # the walls move outward: voxels show template points nearer to the ventricle's axis
    wide_left, wide_right = (ventricle_ml(side, lesion) for side in (-1, 1))
    assert wide_left > 1.3 * left
    assert wide_right < 1.25 * right
