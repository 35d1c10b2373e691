"""Grown infarcts against what was measured on 1449 real masks, and against anatomy."""

import numpy as np
import pytest
from scipy import ndimage

from hf_lesionseg.datasets.synthetic.strokes.presets import PRESETS, StrokePlan, draw_plan
from hf_lesionseg.datasets.synthetic.strokes.shapes import choose_seed, grow_stroke
from hf_lesionseg.datasets.synthetic.strokes.territories import TERRITORIES, find_territory, territory_index
from hf_lesionseg.errors import DataError

TOUCHING = np.ones((3, 3, 3))


def parts_of(mask):
    labels, _ = ndimage.label(mask, TOUCHING)
    return np.bincount(labels.ravel())[1:], labels


def box_fill(mask):
    """Share of its bounding box that the largest part fills."""
    sizes, labels = parts_of(mask)
    number = sizes.argmax() + 1
    return (labels[ndimage.find_objects(labels)[number - 1]] == number).mean()


def assert_ragged(masks):
    """Real lesions fill 16 / 26 / 41 % (p10, p50, p90) of their boxes."""
    low, middle, high = np.quantile([box_fill(mask) for mask in masks], (0.1, 0.5, 0.9))
    assert 0.10 < low < 0.24
    assert 0.20 < middle < 0.34
    assert 0.33 < high < 0.50


def ellipsoid(volume_voxels, rng):
    axes = np.exp(rng.normal(0, 0.3, 3))
    axes *= (volume_voxels / (4 / 3 * np.pi * axes.prod())) ** (1 / 3)
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    half = int(np.ceil(axes.max())) + 1
    grid = np.stack(np.meshgrid(*[np.arange(-half, half + 1)] * 3, indexing="ij"), axis=-1)
    return (((grid @ rotation) / axes) ** 2).sum(-1) <= 1


def test_lesions_are_as_ragged_as_real_ones(grown):
    # below 0.5 mL a lesion has too few voxels of 2 mm to be anything but a brick
    assert_ragged([stroke.mask for plan, _, stroke in grown if plan.volume_ml > 0.5])


def test_ellipsoids_would_be_seen(grown):
    rng = np.random.default_rng(0)
    balls = [ellipsoid(stroke.mask.sum(), rng) for plan, _, stroke in grown if plan.volume_ml > 0.5]
    assert 0.35 < np.median([box_fill(ball) for ball in balls]) < 0.55
    with pytest.raises(AssertionError):
        assert_ragged(balls)


def test_large_lesions_have_more_surface_than_balls(grown):
    """Measured on SOOP: surface over that of a cube of the volume, medians 1.76 (5-20 mL) and 1.88 (20-80 mL)."""
    ratios = []
    for plan, _, stroke in grown:
        if 5 < plan.volume_ml < 80:
            sizes, labels = parts_of(stroke.mask)
            part = np.pad(labels == sizes.argmax() + 1, 1).astype(np.int8)
            surface = sum(np.abs(np.diff(part, axis=axis)).sum() for axis in range(3))
            ratios.append(surface / (6 * sizes.max() ** (2 / 3)))
    assert 1.5 < np.median(ratios) < 2.2


def test_the_volume_is_met_to_the_voxel(grown):
    for plan, anatomy, stroke in grown:
        voxel_ml = anatomy.spacing**3 / 1000
        assert stroke.mask.sum() == max(1, round(plan.volume_ml / voxel_ml))
        if plan.volume_ml > 50 * voxel_ml:
            assert stroke.mask.sum() * voxel_ml == pytest.approx(plan.volume_ml, rel=0.02)


def test_parts_are_separate_and_as_many_as_planned(grown):
    for plan, _, stroke in grown:
        assert stroke.mask.sum() == sum(stroke.part_voxels)
        assert len(stroke.part_voxels) <= len(plan.part_volumes_ml)
    counts = np.array([len(parts_of(stroke.mask)[0]) for _, _, stroke in grown])
    grown_parts = np.array([len(stroke.part_voxels) for _, _, stroke in grown])
    assert (counts == grown_parts).mean() > 0.9
    assert 0.2 < (counts == 1).mean() < 0.6
    assert (counts > 5).mean() > 0.05


def test_lesions_stay_in_tissue_and_on_their_side_of_the_falx(grown):
    crossing = 0
    for plan, anatomy, stroke in grown:
        assert (anatomy.tissue[stroke.mask] > 0.5).all()
        x = anatomy.points[0][stroke.mask]
        assert (np.abs(x) > 1).all(), "the falx is nobody's"
        if not plan.bilateral:
            assert (np.sign(x) == plan.side).all()
        crossing += len(np.unique(np.sign(x))) > 1
    assert crossing > 3, "some are bilateral"


def grow_single(template, anatomy, name, volume_ml, seed):
    rng = np.random.default_rng(seed)
    side = 1 if seed[-1] % 2 else -1
    plan = StrokePlan(volume_ml, (volume_ml,), name, side, False)
    start = choose_seed(rng, template, find_territory(name), side)
    return grow_stroke(rng, anatomy, template, plan, start).mask


def test_infarcts_keep_to_their_territory_as_long_as_it_holds_them(template, grown):
    shares = []
    for number in range(16):
        anatomy = grown[number % 5][1]
        name, volume = (("mca_cortical", 90.0), ("aca", 30.0), ("pca_cortical", 30.0), ("pica_aica", 20.0))[number % 4]
        points = anatomy.points[:, grow_single(template, anatomy, name, volume, [13, number])].T
        shares.append((territory_index(points) == TERRITORIES.index(find_territory(name))).mean())
    assert np.median(shares) > 0.85
    assert np.quantile(shares, 0.1) > 0.45


def test_the_arrival_rises_from_the_seed_to_the_edge(grown):
    _, _, stroke = max(grown, key=lambda each: each[0].volume_ml)
    inside = stroke.arrival[stroke.mask]
    assert (stroke.arrival[~stroke.mask] == 1).all()
    assert 0 <= inside.min() < 0.1
    assert 0.9 < inside.max() <= 1
    depth = ndimage.distance_transform_edt(stroke.mask)[stroke.mask]
    assert np.corrcoef(depth, inside)[0, 1] < -0.2


def test_growth_is_the_same_for_the_same_seed(grown, template):
    plan, anatomy, stroke = grown[4]
    rng = np.random.default_rng([12, 4])
    assert draw_plan(rng, PRESETS["acute"]) == plan
    seed = choose_seed(rng, template, find_territory(plan.territory), plan.side)
    np.testing.assert_array_equal(grow_stroke(rng, anatomy, template, plan, seed).mask, stroke.mask)


def test_lenticulostriate_infarcts_are_long_and_upright(template, grown):
    """They follow their arteries from the base of the brain to the corona radiata."""
    lengths, upright = [], []
    for number in range(14):
        anatomy = grown[number % 5][1]
        mask = grow_single(template, anatomy, "lenticulostriate", 4.0, [9, number])
        values, axes = np.linalg.eigh(np.cov(anatomy.points[:, mask]))
        lengths.append(np.sqrt(values[2] / values[1]))
        upright.append(abs(axes[2, 2]))
    assert np.median(lengths) > 1.7
    assert np.median(upright) > 0.7


def test_more_than_a_hemisphere_is_refused(template, grown):
    plan = StrokePlan(1500.0, (1500.0,), "mca_cortical", 1, False)
    with pytest.raises(DataError, match="does not fit into one hemisphere"):
        grow_stroke(np.random.default_rng(0), grown[0][1], template, plan, np.array([40.0, 0.0, 20.0]))
