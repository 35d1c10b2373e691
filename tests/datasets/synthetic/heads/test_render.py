from dataclasses import replace

import numpy as np
import pytest
import torch

from hf_lesionseg.datasets.synthetic.heads.artefacts import add_artefacts, intensity_range
from hf_lesionseg.datasets.synthetic.heads.plan import draw_head
from hf_lesionseg.datasets.synthetic.heads.render import render_slices
from hf_lesionseg.datasets.synthetic.heads.slices import HeadSlices
from hf_lesionseg.datasets.synthetic.heads.strokes import MaskPlacement
from hf_lesionseg.datasets.synthetic.heads.tissues import Tissue
from hf_lesionseg.datasets.synthetic.heads.volumes import render_head
from hf_lesionseg.errors import UsageError

SHAPE, SPACING = (64, 48), (4.0, 4.0)


@pytest.fixture(scope="module")
def ill(catalogue):
    return draw_head(catalogue, "fit", np.random.default_rng(4), with_stroke=True, volume_ml=30, kinds=["labels"])


def lesion_heights(plan):
    heights = np.arange(-60, 70, 4.0)
    _, lesion, _ = render_slices(plan, heights, SHAPE, SPACING)
    found = heights[lesion.any((1, 2))]
    assert len(found)
    return found


def test_slices_of_a_slab_are_those_of_the_volume(ill):
    heights = [-20.0, 0.0, 13.0]
    together = render_slices(ill, heights, SHAPE, SPACING, thickness=5.0)
    for index, height in enumerate(heights):
        for one, all_of_them in zip(render_slices(ill, [height], SHAPE, SPACING, thickness=5.0), together, strict=True):
            np.testing.assert_array_equal(one[0], all_of_them[index])


def test_a_stroke_darkens_its_place_and_leaves_what_is_far_away(ill):
    still = replace(ill, stroke=replace(ill.stroke, pull=0.0, islands=0.0))
    heights = lesion_heights(still)
    values, lesion, _ = render_slices(still, heights, SHAPE, SPACING)
    healthy, none, _ = render_slices(replace(still, stroke=None), heights, SHAPE, SPACING)
    assert not none.any()
    assert values[lesion].mean() < 0.97 * healthy[lesion].mean()
    covered = values != healthy
    assert (covered & ~lesion).sum() <= 0.15 * covered.sum()  # CSF between gyri may change with what it lies in
    np.testing.assert_array_equal(values[~covered], healthy[~covered])


def test_the_label_never_covers_a_ventricle(ill):
    everything = MaskPlacement(
        np.ones((181, 217, 181), np.uint8), np.array((-90, -126, -72), np.float32), np.eye(3, dtype=np.float32),
        np.zeros(3, np.float32), np.zeros(3, np.float32), False, 0.0,
    )  # fmt: skip
    for widened in (0.0, 6.0):
        plan = replace(
            ill,
            stroke=replace(ill.stroke, placements=(everything,), kind="gliosis"),
            ageing=replace(ill.ageing, ventricles=widened, sulci=0.0),
            wander=0.0, matrix=np.eye(3, dtype=np.float32),
        )  # fmt: skip
        _, lesion, brain = render_slices(plan, [8.0], SHAPE, SPACING)
        anatomy = plan.inner
        rows = (np.arange(SHAPE[0]) - (SHAPE[0] - 1) / 2) * SPACING[0]
        columns = (np.arange(SHAPE[1]) - (SHAPE[1] - 1) / 2) * SPACING[1]
        y, x = np.meshgrid(rows, columns, indexing="ij")
        points = np.stack([x, y, np.full_like(x, 8.0)], axis=-1).astype(np.float32)
        tissue = anatomy.look_up(anatomy.tissue, anatomy.indices(points))
        ventricle = tissue == Tissue.VENTRICLE
        assert ventricle.sum() > 20
        assert not (lesion[0] & ventricle).any()
        assert lesion[0].sum() > 0.5 * brain.sum()


def test_wider_ventricles_are_darker_and_unlabelled(catalogue):
    plan = draw_head(catalogue, "fit", np.random.default_rng(1), with_stroke=False, kinds=["labels"])
    young = replace(plan, ageing=replace(plan.ageing, ventricles=0.0, sulci=0.0, caps=0.0, lacunes=np.zeros((0, 4))))
    old = replace(young, ageing=replace(young.ageing, ventricles=8.0))
    before, _, brain = render_slices(young, [5.0], SHAPE, SPACING)
    after, lesion, _ = render_slices(old, [5.0], SHAPE, SPACING)
    darker = after < before - 0.2
    assert 10 < darker.sum() < 0.4 * brain.sum()
    assert not lesion.any()


def test_a_mask_that_is_not_moved_covers_itself():
    rng = np.random.default_rng(0)
    mask = (rng.random((6, 7, 8)) > 0.5).astype(np.uint8)
    origin = np.array((3, -4, 5), np.float32)
    at_home = MaskPlacement(mask, origin, np.eye(3, dtype=np.float32), origin + 3, np.zeros(3, np.float32), False, 0.0)
    points = (np.argwhere(np.ones_like(mask)) + origin).astype(np.float32)
    np.testing.assert_array_equal(at_home.covers(points, np.zeros_like(points)), mask.ravel())
    mirrored = replace(at_home, mirrored=True)
    np.testing.assert_array_equal(mirrored.covers(points * (-1, 1, 1), np.zeros_like(points)), mask.ravel())
    assert not at_home.covers(points + 50, np.zeros_like(points)).any()


def test_some_point_lies_in_the_mask(ill):
    rng = np.random.default_rng(0)
    for placement in ill.stroke.placements:
        points = np.stack([placement.some_point(rng) for _ in range(50)])
        assert replace(placement, ragged=0.0).covers(points, np.zeros_like(points)).mean() > 0.9


def test_the_range_of_a_whole_scan_is_estimated_from_few_samples(catalogue):
    ratios = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        plan = draw_head(catalogue, "fit", rng, with_stroke=False)
        plain = replace(plan, scanning=replace(plan.scanning, blur=0.0, ringing=1.0, ghost=(0.0, 0.3)))
        heights = np.arange(*plan.heights, 6.0)
        values = add_artefacts(plain, render_slices(plan, heights, (63, 63), (4.0, 4.0))[0], (4.0, 4.0), rng)
        low, high = np.percentile(values[values > 0], (0.5, 99.5))
        found = intensity_range(plan, (0.5, 99.5), rng)
        assert found[0] == pytest.approx(low, abs=0.05 * high)
        ratios.append(found[1] / high)
    # thin, bright skin makes a heavy tail: one scan may be off, all together are not
    assert np.median(ratios) == pytest.approx(1, abs=0.1)
    assert min(ratios) > 0.6
    assert max(ratios) < 1.5


def test_splits_draw_from_their_own_people(catalogue):
    for split in ("fit", "choose", "report"):
        people = {anatomy.id for anatomy in catalogue.of(split)}
        for seed in range(12):
            plan = draw_head(catalogue, split, np.random.default_rng(seed), with_stroke=False)
            assert {plan.outer.id, plan.inner.id} <= people


def test_slices_depend_on_seed_epoch_and_index_alone(catalogue, processor):
    settings = {"length": 10, "epochs": 4, "seed": 3}
    first, second = HeadSlices(catalogue, processor, **settings), HeadSlices(catalogue, processor, **settings)
    first[7]  # what was rendered before does not matter
    for index in (2, 5):
        np.testing.assert_array_equal(first[index]["pixel_values"], second[index]["pixel_values"])
    assert not np.array_equal(first[2]["pixel_values"], first[3]["pixel_values"])
    second.set_epoch(1)
    assert not np.array_equal(first[2]["pixel_values"], second[2]["pixel_values"])
    other = HeadSlices(catalogue, processor, **{**settings, "seed": 4})
    assert not np.array_equal(first[2]["pixel_values"], other[2]["pixel_values"])


def test_the_share_without_lesion_grows_until_the_middle(catalogue, processor):
    slices = HeadSlices(catalogue, processor, length=60, epochs=4, without_lesion=(0.0, 1.0), difficulty=(0, 0))
    with_lesion = []
    for epoch in (0, 2, 3):
        slices.set_epoch(epoch)
        with_lesion.append(np.mean([bool(slices[index]["labels"].any()) for index in range(20)]))
    assert with_lesion[0] > 0.6  # some slices hold too little of their lesion
    assert with_lesion[1] <= 0.4  # heads with a stroke elsewhere
    assert with_lesion[2] <= 0.4


def test_hard_negatives_come_back(catalogue, processor, monkeypatch):
    found = HeadSlices(catalogue, processor, length=1, epochs=1).render_healthy(5, 17)
    assert not found[1].any()
    monkeypatch.setitem(catalogue.__dict__, "hard_negatives", {"seed": 5, "indices": [17]})
    slices = HeadSlices(
        catalogue, processor, length=8, epochs=1, without_lesion=(1, 1), hard_negatives=1.0, difficulty=(1, 1)
    )
    for index in (0, 5):
        np.testing.assert_array_equal(slices[index]["pixel_values"], found[0])
    plain = HeadSlices(catalogue, processor, length=8, epochs=1, without_lesion=(1, 1), hard_negatives=0.0)
    assert not np.array_equal(plain[0]["pixel_values"], found[0])


def test_slices_are_shown_again_mirrored(catalogue, processor):
    settings = {"length": 6, "epochs": 6, "seed": 3, "without_lesion": (0, 0), "shown": 3}
    slices, resumed = HeadSlices(catalogue, processor, **settings), HeadSlices(catalogue, processor, **settings)
    epochs = []
    for epoch in range(4):
        slices.set_epoch(epoch)
        epochs.append([slices[index] for index in range(6)])
    for index, (first, second, third, other) in enumerate(zip(*epochs, strict=True)):
        assert torch.equal(second["labels"], first["labels"].flip(-1)), index
        assert torch.equal(third["labels"], first["labels"])
        # one power of brightness for the whole slice
        seen = (first["pixel_values"] > 0.2) & (first["pixel_values"] < 0.9)
        powers = third["pixel_values"][seen].log() / first["pixel_values"][seen].log()
        assert powers.std() < 1e-3
        assert 0.5 < powers.mean() < 2
        assert not torch.equal(other["pixel_values"], first["pixel_values"])
    # a run that goes on in the midst of them, and in another order
    for epoch, index in ((2, 5), (1, 0), (3, 4), (1, 5)):
        resumed.set_epoch(epoch)
        assert torch.equal(resumed[index]["pixel_values"], epochs[epoch][index]["pixel_values"])


def test_slices_fit_the_processor(catalogue, processor):
    item = HeadSlices(catalogue, processor, length=3, epochs=1)[0]
    assert item["pixel_values"].shape == (3, 64, 48)
    assert item["labels"].shape == (64, 48)
    assert 0 <= item["pixel_values"].min() < item["pixel_values"].max() <= 1
    with pytest.raises(UsageError, match="slice_axis axial"):
        HeadSlices(catalogue, type(processor)(), length=1, epochs=1)


def test_whole_heads_alternate_with_healthy_ones(catalogue):
    for index, expected in ((0, False), (1, True)):
        scan, truth, affine, record = render_head(catalogue, "choose", 0, index, spacing=(3.0, 4.0))
        np.testing.assert_allclose(np.diag(affine), (3, 3, 4, 1))
        assert scan.shape == truth.shape
        assert bool(truth.any()) == expected
        voxel = abs(np.linalg.det(affine[:3, :3])) / 1000
        assert record["lesion_ml"] == pytest.approx(truth.sum() * voxel, abs=1e-3)
        assert scan.max() > 500
    again = render_head(catalogue, "choose", 0, 1, spacing=(3.0, 4.0))
    np.testing.assert_array_equal(scan, again[0])
