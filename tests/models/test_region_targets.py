"""Targets, losses and geometry of L-SNet's regions against tables worked out by hand and PyTorch's own samplers."""

import math

import pytest
import torch
from torch.nn import functional as F

from hf_lesionseg.models.losses import batch_dice_loss, focal_dice_loss, focal_loss
from hf_lesionseg.models.region_losses import diou_loss
from hf_lesionseg.models.region_sampling import (
    boxes_around,
    draw_regions,
    find_regions,
    roi_paste,
    roi_sample,
    scale_gradient,
    whole_pixels,
    with_margin,
)
from hf_lesionseg.models.region_targets import cell_points, component_boxes, locating_targets


def test_components_touch_at_corners_and_small_ones_are_left_out():
    masks = torch.zeros(3, 8, 10, dtype=torch.long)
    masks[0, 1:3, 2:5] = 1
    masks[0, 3, 5] = 1  # touches by its corner
    masks[0, 7, 9] = 1  # one pixel in the image's corner
    masks[2, :, :] = 1
    boxes, indices = component_boxes(masks)
    assert boxes.tolist() == [[2, 1, 6, 4], [9, 7, 10, 8], [0, 0, 10, 8]]
    assert indices.tolist() == [0, 0, 2]
    assert component_boxes(masks, minimum_pixels=2)[1].tolist() == [0, 2]
    boxes, indices = component_boxes(torch.zeros(2, 4, 4, dtype=torch.bool))
    assert boxes.shape == (0, 4)
    assert indices.shape == (0,)


def test_cells_stand_for_their_centres():
    points = cell_points((2, 3), stride=4)
    assert points[0, 0].tolist() == [2, 2]
    assert points[1, 2].tolist() == [10, 6]


def test_heatmap_and_distances_by_hand():
    # One box of centre (10, 6) and one of centre (30, 26) in an image of 32 x 40, cells of 4 pixels.
    boxes = torch.tensor([[6.0, 2.0, 14.0, 10.0], [26.0, 20.0, 34.0, 32.0]])
    heatmap, distances = locating_targets(boxes, torch.tensor([1, 1]), 2, (8, 10), stride=4, sigma=2.0)
    assert heatmap.shape == (2, 8, 10)
    assert heatmap[0].max() == 0
    assert distances[0].abs().max() == 0
    assert heatmap[1, 1, 2] == 1  # the cell at (10, 6)
    assert heatmap[1, 1, 4] == pytest.approx(math.exp(-(8**2) / (2 * 8**2)), rel=1e-6)
    assert heatmap[1, 6, 7] == 1
    assert distances[1, :, 1, 2].tolist() == [4, 4, 4, 4]
    assert distances[1, :, 1, 4].tolist() == [12, 4, -4, 4]  # beside its box: the distance to the right is negative
    assert distances[1, :, 6, 7].tolist() == [4, 6, 4, 6]
    # Above one half lies a disc of 1.18 sigma (2.35 cells): 21 cells, of which 3 would be above the image.
    assert (heatmap[1, :4, :6] > 0.5).sum() == 18


def test_relative_sigma_follows_the_box():
    boxes = torch.tensor([[0.0, 8.0, 40.0, 24.0]])
    heatmap, _ = locating_targets(boxes, torch.tensor([0]), 1, (8, 10), stride=4, relative_sigma=0.1)
    # Centre (20, 16), standard deviations 4 and, as 1.6 is less than 3/4 of a cell, 3; the cell at (18, 14).
    assert heatmap[0, 3, 4] == pytest.approx(math.exp(-(2**2) / (2 * 4**2) - 2**2 / (2 * 3**2)), rel=1e-5)


@pytest.mark.parametrize("sigma", [{"sigma": 2.0}, {"sigma": 0.1}, {"relative_sigma": 0.1}])
def test_every_box_has_a_cell_that_learns_it(sigma):
    for offset in range(8):
        boxes = torch.tensor([[9.0 + offset / 2, 20.5 + offset, 13.0 + offset / 2, 24.0 + offset]])
        heatmap, _ = locating_targets(boxes, torch.tensor([0]), 1, (16, 16), stride=4, **sigma)
        assert heatmap.max() > 0.5


def test_focal_loss_by_hand_and_as_cross_entropy():
    logits, targets = torch.tensor([0.0, math.log(3)]), torch.tensor([1.0, 0.0])
    by_hand = (0.5**2 * math.log(2) + 0.75**2 * math.log(4)) / 2
    assert focal_loss(logits, targets).item() == pytest.approx(by_hand, rel=1e-6)
    weighted = (0.25 * 0.5**2 * math.log(2) + 0.75 * 0.75**2 * math.log(4)) / 2
    assert focal_loss(logits, targets, alpha=0.25).item() == pytest.approx(weighted, rel=1e-6)
    plain = F.binary_cross_entropy_with_logits(logits, targets)
    assert focal_loss(logits, targets, gamma=0).item() == pytest.approx(plain.item(), rel=1e-6)


def test_focal_loss_of_a_soft_target_vanishes_there_only():
    logits = torch.linspace(-4, 4, 81, requires_grad=True)
    targets = torch.full((81,), torch.sigmoid(torch.tensor(1.0)).item())
    losses = torch.stack([focal_loss(logit[None], target[None]) for logit, target in zip(logits, targets, strict=True)])
    assert losses.argmin() == 50  # the logit 1.0
    assert losses[50] < 1e-9
    losses.sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_focal_dice_is_the_sum():
    logits, targets = torch.randn(2, 5, 6), (torch.rand(2, 5, 6) > 0.7).float()
    expected = focal_loss(logits, targets) + 0.2 * batch_dice_loss(logits.sigmoid(), targets)
    torch.testing.assert_close(focal_dice_loss(logits, targets), expected)


def test_diou_by_absolute_boxes():
    """The same quantity from corner coordinates, as its paper defines it."""
    generator = torch.Generator().manual_seed(0)
    predicted = torch.rand(200, 4, generator=generator, dtype=torch.float64) * 20
    wanted = torch.rand(200, 4, generator=generator, dtype=torch.float64) * 30 - 5
    wanted[:, 2:] = wanted[:, 2:].maximum(1 - wanted[:, :2])  # sides of 1 and more

    def corners(distances):
        return torch.cat([-distances[:, :2], distances[:, 2:]], 1)

    a, b = corners(predicted), corners(wanted)
    meet = (a[:, 2:].minimum(b[:, 2:]) - a[:, :2].maximum(b[:, :2])).clamp(min=0).prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - meet
    around = (a[:, 2:].maximum(b[:, 2:]) - a[:, :2].minimum(b[:, :2])).square().sum(1)
    centres = ((a[:, :2] + a[:, 2:]) / 2 - (b[:, :2] + b[:, 2:]) / 2).square().sum(1)
    expected = 1 - meet / union + centres / around
    torch.testing.assert_close(diou_loss(predicted, wanted).double(), expected, rtol=1e-5, atol=1e-6)
    assert diou_loss(torch.tensor([[3.0, 4, 5, 6]]), torch.tensor([[3.0, 4, 5, 6]])).item() == 0
    assert torch.isfinite(diou_loss(torch.zeros(1, 4), torch.zeros(1, 4))).all()


def test_recalibration_is_the_paper_s_affine_grid():
    """Equation 3: theta from a keypoint, distances and the margin, sampled by PyTorch."""
    height, width, margin = 24, 32, 3
    images = torch.rand(2, 3, height, width)
    points, distances = torch.tensor([[14.0, 10.0], [22.0, 14.0]]), torch.tensor([[5.0, 4, 6, 3], [7.5, 6, 2, 5]])
    theta = torch.zeros(2, 2, 3)
    (k_x, k_y), (left, top, right, bottom) = points.T, distances.T
    theta[:, 0, 0] = (left + right + 2 * margin) / width
    theta[:, 1, 1] = (top + bottom + 2 * margin) / height
    theta[:, 0, 2] = (2 * k_x + right - left) / width - 1
    theta[:, 1, 2] = (2 * k_y + bottom - top) / height - 1
    grid = F.affine_grid(theta, images.shape, align_corners=False)
    expected = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    boxes = with_margin(boxes_around(points, distances), margin)
    sampled = roi_sample(images, boxes, torch.arange(2), (height, width))
    torch.testing.assert_close(sampled, expected, rtol=1e-4, atol=1e-5)

    # Equation 4, the inverse; without overlaps pasting is one grid_sample.
    inverse = torch.zeros(2, 2, 3)
    inverse[:, 0, 0], inverse[:, 1, 1] = 1 / theta[:, 0, 0], 1 / theta[:, 1, 1]
    inverse[:, 0, 2], inverse[:, 1, 2] = -theta[:, 0, 2] / theta[:, 0, 0], -theta[:, 1, 2] / theta[:, 1, 1]
    grid = F.affine_grid(inverse, images.shape, align_corners=False)
    expected = F.grid_sample(sampled, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    pasted = roi_paste(sampled, boxes, torch.arange(2), (height, width), 2)
    torch.testing.assert_close(pasted, expected, rtol=1e-4, atol=1e-5)


def test_round_trip_of_masks():
    """IoU of at least 0.99 on boxes of more than 16 pixels inside the image, filled by ellipses or wholly."""
    generator = torch.Generator().manual_seed(0)
    size, worst = (192, 256), 1.0
    for draw in range(40):
        extent = 17 + torch.rand(2, generator=generator) * 100
        corner = torch.rand(2, generator=generator) * (torch.tensor([256.0, 192.0]) - extent)
        box = torch.cat([corner, corner + extent])[None]
        x, y = (cell_points(size, 1) - (corner + extent / 2)).unbind(-1)
        ellipse = ((2 * x / extent[0]) ** 2 + (2 * y / extent[1]) ** 2 < 0.9).float()[None, None]
        inside = box[0].round().int().tolist()
        whole = torch.zeros(1, 1, *size)
        whole[..., inside[1] : inside[3], inside[0] : inside[2]] = 1
        mask = ellipse if draw % 2 else whole
        box = box if draw % 2 else box.round()
        roi = roi_sample(mask, box, torch.zeros(1, dtype=torch.long), size)
        back = roi_paste(roi, box, torch.zeros(1, dtype=torch.long), size, 1) > 0.5
        worst = min(worst, ((back & (mask > 0)).sum() / (back | (mask > 0)).sum()).item())
    assert worst >= 0.99


def test_scaled_gradient():
    values = torch.tensor([3.0], requires_grad=True)
    for factor in (0, 0.1, 1):
        values.grad = None
        scaled = scale_gradient(values, factor)
        assert scaled.item() == pytest.approx(3)
        if factor:
            (2 * scaled).backward()
            assert values.grad.item() == pytest.approx(2 * factor)
        else:
            assert not scaled.requires_grad


def test_whole_pixels_stay_inside():
    boxes = torch.tensor([[1.2, 2.9, 5.1, 6.0], [-7.0, -3.0, 4.5, 50.0], [40.0, 40.0, 44.0, 60.0]])
    assert whole_pixels(boxes, (20, 30)).tolist() == [[1, 2, 6, 6], [0, 0, 5, 20], [29, 19, 30, 20]]


def test_regions_are_found_at_the_centres_of_components():
    heatmap, distances = torch.zeros(3, 6, 8), torch.zeros(3, 4, 6, 8)
    heatmap[0, 1, 2:4] = torch.tensor([0.6, 0.9])
    heatmap[0, 4, 6] = 0.7
    heatmap[1, 5, 7] = 0.4
    heatmap[2, 2, 2] = 0.3
    for row, column in ((1, 3), (4, 6), (5, 7), (2, 2)):
        distances[:, :, row, column] = torch.tensor([4.0, 3.0, 6.0, 5.0])
    boxes, indices, scores = find_regions(heatmap, distances, 4)
    # Centre of the cells (1, 2) and (1, 3): column 2.5, at 12 pixels, where the distances are half of those of (1, 3).
    assert boxes.tolist() == [[10, 4.5, 15, 8.5], [22, 15, 32, 23]]
    assert indices.tolist() == [0, 0]
    torch.testing.assert_close(scores, torch.tensor([0.9, 0.7]))
    boxes, _, _ = find_regions(heatmap, distances, 4, keypoint="cell")
    assert boxes[0].tolist() == [10, 3, 20, 11]
    boxes, _, _ = find_regions(heatmap, distances, 4, keypoint="rounded")
    assert boxes[0].tolist() == [8, 3, 18, 11]
    boxes, indices, scores = find_regions(heatmap, distances, 4, fallback=True)
    assert indices.tolist() == [0, 0, 1, 2]
    torch.testing.assert_close(scores[2:], torch.tensor([0.4, 0.3]))


@pytest.mark.parametrize("keypoint", ["centre", "cell"])
def test_a_perfect_first_stage_gives_the_true_boxes(keypoint):
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        extent = 6 + torch.rand(2, generator=generator) * 40
        corner = 12 + torch.rand(2, generator=generator) * 30
        box = torch.cat([corner, corner + extent])[None]
        heatmap, distances = locating_targets(box, torch.tensor([0]), 1, (32, 32), stride=4)
        found, _, _ = find_regions(heatmap, distances, 4, keypoint=keypoint)
        torch.testing.assert_close(found, box, rtol=0, atol=1e-3)


def test_training_draws_among_the_hottest_cells():
    torch.manual_seed(0)
    heatmap, distances = torch.zeros(1, 4, 5), torch.rand(1, 4, 4, 5, requires_grad=True)
    for value, (row, column) in enumerate([(0, 0), (1, 2), (3, 4), (2, 1)], start=1):
        heatmap[0, row, column] = value / 10
    seen = {round(draw_regions(heatmap, distances, 4)[1].item(), 1) for _ in range(60)}
    assert seen == {0.2, 0.3, 0.4}
    boxes, _ = draw_regions(heatmap, distances, 4, candidates=1)
    centre = torch.tensor([6.0, 10.0])
    expected = torch.cat([centre - distances[0, :2, 2, 1], centre + distances[0, 2:, 2, 1]])
    torch.testing.assert_close(boxes[0], expected)
    boxes.sum().backward()
    assert (distances.grad != 0).sum() == 4
