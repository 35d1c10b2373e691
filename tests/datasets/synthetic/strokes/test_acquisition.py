"""The scanner: noise of the promised kind everywhere in the head, and nothing in the air."""

import numpy as np
import pytest

from hf_lesionseg.datasets.synthetic.strokes.acquisition import acquire
from hf_lesionseg.datasets.synthetic.strokes.anatomy import draw_anatomy


@pytest.fixture(scope="module")
def scans(template):
    """Twelve scans of a brain that is grey 0.7 throughout, and its anatomy."""
    anatomy = draw_anatomy(np.random.default_rng(0), template)
    flat = np.where(anatomy.t1 > 0, np.float32(0.7), np.float32(0))
    return anatomy, [acquire(np.random.default_rng([4, number]), template, anatomy, flat) for number in range(12)]


def deep(anatomy):
    return anatomy.surface_distance < -12


def noise_of(scan, anatomy):
    """Standard deviation of the white part of the noise: second differences see no bias field."""
    values = scan[anatomy.box]
    second = values[1:-1] - (values[:-2] + values[2:]) / 2
    return second[deep(anatomy)[1:-1]].std() / np.sqrt(1.5)


def test_noise_is_there_and_differs_from_scan_to_scan(scans):
    anatomy, all_scans = scans
    levels = [noise_of(scan, anatomy) for scan in all_scans]
    assert min(levels) > 0.7
    assert max(levels) < 3.4
    assert max(levels) > 1.3 * min(levels)


def test_white_matter_is_scaled_and_the_field_is_biased(scans):
    anatomy, all_scans = scans
    for scan in all_scans:
        values = scan[anatomy.box][deep(anatomy)]
        assert 60 < np.median(values) < 95
        smooth = scan[anatomy.box][::4, ::4, ::4][deep(anatomy)[::4, ::4, ::4]]
        assert smooth.std() > noise_of(scan, anatomy), "the bias field comes on top of the noise"


def test_air_is_zero_and_some_heads_are_shown(scans):
    anatomy, all_scans = scans
    far = anatomy.surface_distance > 18
    heads = 0
    for scan in all_scans:
        inside = scan[anatomy.box]
        assert (inside[far] == 0).all()
        outside = np.ones(scan.shape, bool)
        outside[anatomy.box] = False
        assert (scan[outside] == 0).all()
        around = (anatomy.surface_distance > 6) & (anatomy.surface_distance < 9)
        heads += (inside[around] > 0).mean() > 0.5
        assert (inside[deep(anatomy)] > 20).all()
    assert 1 <= heads <= 7
