"""Things that look like a lesion and are none: they must really be there."""

import numpy as np
import pytest

from hf_lesionseg.datasets.synthetic.strokes import distractors
from hf_lesionseg.datasets.synthetic.strokes.anatomy import draw_anatomy

FLUID = 0.28


@pytest.fixture(scope="module")
def painted(template):
    """(anatomy, intensities before, intensities after) of eight people."""
    people = []
    for number in range(8):
        anatomy = draw_anatomy(np.random.default_rng([1, number]), template)
        t1 = anatomy.t1.copy()
        distractors.paint_distractors(np.random.default_rng([2, number]), anatomy, t1, FLUID)
        people.append((anatomy, anatomy.t1, t1))
    return people


def darkening(before, after, where):
    return 1 - after[where] / before[where]


def test_nothing_is_painted_outside_the_brain(painted):
    for _, before, after in painted:
        assert (after[before == 0] == 0).all()
        assert (after[before > 0] > 0).all()


def test_sulci_are_darker_than_in_the_average_brain_and_not_on_both_sides_alike(painted):
    tilts = []
    for anatomy, before, after in painted:
        sulci = (before > 0) & (anatomy.tissue < 0.6) & (anatomy.surface_distance < -2)
        sulci &= anatomy.ventricle_distance > 8
        dark = darkening(before, after, sulci)
        left = anatomy.points[0][sulci] < 0
        tilts.append(dark[left].mean() - dark[~left].mean())
        assert dark.mean() > 0.05
    assert np.max(np.abs(tilts)) > 0.03


def test_white_matter_has_lesions_around_the_ventricles_in_some_people(painted):
    shares = []
    for anatomy, before, after in painted:
        white = anatomy.white > 0.95
        near = white & (anatomy.ventricle_distance > 0) & (anatomy.ventricle_distance < 6)
        far = white & (anatomy.ventricle_distance > 30)
        dark_near, dark_far = (darkening(before, after, where) for where in (near, far))
        shares.append((dark_near > 0.1).mean())
        assert (dark_far > 0.12).mean() < 0.03
    assert max(shares) > 0.15
    assert min(shares) < 0.1


def test_perivascular_spaces_are_small_dark_spots(template):
    anatomy = draw_anatomy(np.random.default_rng(0), template)
    counts = []
    for number in range(5):
        t1 = anatomy.t1.copy()
        distractors._perivascular_spaces(np.random.default_rng(number), anatomy, t1, FLUID)
        spots = darkening(anatomy.t1, t1, anatomy.t1 > 0) > 0.1
        counts.append(spots.sum() * template.spacing**3)
    assert max(counts) > 100
    assert max(counts) < 20000, "cubic millimetres: small spaces, not a lesion"


def test_all_tissue_is_mottled(painted):
    """Texture alone must not give the lesion away: white matter far from everything varies too."""
    for anatomy, before, after in painted:
        calm = (anatomy.white > 0.97) & (anatomy.ventricle_distance > 30)
        assert 0.01 < (after[calm] / before[calm]).std() < 0.1
