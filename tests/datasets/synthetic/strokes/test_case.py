"""Whole cases: intensities of the lesion, what is not a lesion, noise, and the same bytes for the same seed."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from hf_lesionseg.datasets.synthetic.strokes.anatomy import draw_anatomy
from hf_lesionseg.datasets.synthetic.strokes.case import generate_case
from hf_lesionseg.datasets.synthetic.strokes.distractors import paint_distractors
from hf_lesionseg.datasets.synthetic.strokes.presets import PRESETS


def mirrored(case, template):
    """Intensities of the lesion's voxels and of tissue at their mirror places."""
    lesion = np.argwhere(case.mask)
    world = lesion * template.spacing + template.affine[:3, 3]
    other = np.round((world * (-1, 1, 1) - template.affine[:3, 3]) / template.spacing).astype(int)
    other = other[(other < template.shape).all(1)]
    other = other[case.mask[tuple(other.T)] == 0]
    values = case.scan[tuple(other.T)]
    return case.scan[case.mask > 0], values[values > 8]


def test_chronic_lesions_are_dark_but_not_one_constant(chronic_cases, template):
    """Real chronic case: median 0.53 of the mirror side, quartiles 0.54 to 1.7 of the lesion's own median."""
    ratios, spread = [], []
    for case in chronic_cases:
        lesion, mirror = mirrored(case, template)
        ratios.append(np.median(lesion) / np.median(mirror))
        low, middle, high = np.quantile(lesion, (0.25, 0.5, 0.75))
        spread.append((high - low) / middle)
    assert 0.42 < np.median(ratios) < 0.80
    assert np.mean(np.array(ratios) < 0.9) > 0.7, "large chronic lesions can be seen"
    assert np.min(spread) > 0.15
    assert 0.25 < np.median(spread) < 1.2


def test_a_lesion_has_the_noise_of_its_surroundings(chronic_cases):
    """Neighbour differences within the lesion: neither noise-free nor a texture that gives it away."""
    for case in chronic_cases:
        rough = np.abs(np.diff(case.scan, axis=2))
        lesion = ndimage.binary_erosion(case.mask, iterations=1)[:, :, 1:] & (case.mask[:, :, :-1] > 0)
        healthy = (case.scan[:, :, 1:] > 45) & (case.scan[:, :, :-1] > 45) & (case.mask[:, :, 1:] == 0)
        assert np.median(rough[lesion]) > 0.4 * np.median(rough[healthy])
        assert np.median(rough[lesion]) < 6 * np.median(rough[healthy])


def test_the_boundary_is_no_step(chronic_cases):
    """Values just inside and just outside of the mask overlap widely: a threshold cannot trace it."""
    for case in chronic_cases:
        mask = case.mask > 0
        brain = case.scan > 8
        inside = case.scan[mask & ~ndimage.binary_erosion(mask)]
        outside = case.scan[ndimage.binary_dilation(mask) & ~mask & brain]
        assert np.quantile(inside, 0.9) > np.quantile(outside, 0.25)


def test_dark_is_not_lesion(chronic_cases):
    """Ventricles, sulci and other distractors: most dark voxels of the brain carry no label."""
    for case in chronic_cases:
        level = np.median(case.scan[case.mask > 0])
        dark = (case.scan > 3) & (case.scan < level)
        assert case.mask[dark].mean() < 0.6


def test_the_scan_shows_its_distractors(template):
    """Drawn again from the case's own random numbers, they are what modulates the scan outside of the lesion."""
    case = generate_case(template, PRESETS["atlas"], 21, 3, 0.3, 1.0)
    anatomy = draw_anatomy(np.random.default_rng([21, 3, 1]), template)
    painted = anatomy.t1.copy()
    paint_distractors(np.random.default_rng([21, 3, 2]), anatomy, painted, 0.28)
    where = (anatomy.surface_distance < -6) & (case.mask[anatomy.box] == 0)
    drawn = painted[where] / anatomy.t1[where]
    shown = case.scan[anatomy.box][where] / anatomy.t1[where]
    assert np.corrcoef(drawn, shown)[0, 1] > 0.5


def test_small_lesions_may_be_nearly_iso_intense(template):
    cases = [generate_case(template, PRESETS["atlas"], 21, number, 0.3, 1.0) for number in range(10)]
    ratios = []
    for case in cases:
        lesion, mirror = mirrored(case, template)
        if len(mirror):
            ratios.append(np.median(lesion) / np.median(mirror))
    assert max(ratios) > 0.85
    assert min(ratios) < 0.75
    assert {case.record["stage"] for case in cases} == {"cavity", "subacute"}


def test_acute_lesions_are_never_cavities(template):
    stages = {generate_case(template, PRESETS["acute"], 2, number, 1, 30).record["stage"] for number in range(4)}
    assert stages == {"subacute"}


def test_scans_lie_between_0_and_100_with_air_at_0(chronic_cases):
    for case in chronic_cases:
        assert case.scan.dtype == np.float32
        assert case.scan.min() == 0
        assert 80 < case.scan.max() <= 100
        assert (case.scan == 0).mean() > 0.4
        white = np.quantile(case.scan[case.scan > 8], 0.6)
        assert 35 < white < 90


def test_people_differ(chronic_cases):
    for one, other in itertools.pairwise(chronic_cases):
        assert np.corrcoef(one.scan[::2, ::2, ::2].ravel(), other.scan[::2, ::2, ::2].ravel())[0, 1] < 0.97


def test_some_heads_keep_their_scalp(chronic_cases, template):
    """The share of voxels that show something: a brain alone, or a brain in its head."""
    shown = np.array([(case.scan > 0).sum() for case in chronic_cases]) * template.spacing**3 / 1e6
    assert shown.min() < 2.3
    assert shown.max() > 2.4


@pytest.mark.parametrize("index", [0, 7])
def test_a_case_depends_on_its_seed_and_index_only(template, index):
    one = generate_case(template, PRESETS["atlas"], 5, index, minimum_ml=10)
    generate_case(template, PRESETS["acute"], 1, 1, maximum_ml=5)
    again = generate_case(template, PRESETS["atlas"], 5, index, minimum_ml=10)
    assert one.scan.tobytes() == again.scan.tobytes()
    assert one.mask.tobytes() == again.mask.tobytes()
    assert one.record == again.record
    other = generate_case(template, PRESETS["atlas"], 6, index, minimum_ml=10)
    assert one.scan.tobytes() != other.scan.tobytes()
