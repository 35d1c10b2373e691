"""L-SNet: its parameters, its two losses and the gradient between them, its regions in inference."""

import math

import pytest
import torch
from torch.nn import functional as F

from hf_lesionseg.models.configuration_l_snet import LSNetConfig
from hf_lesionseg.models.losses import batch_dice_loss, focal_dice_loss
from hf_lesionseg.models.modeling_l_snet import LSNetForSemanticSegmentation
from hf_lesionseg.models.region_locator import KeypointConv2d
from hf_lesionseg.models.region_losses import diou_loss
from hf_lesionseg.models.region_targets import component_boxes, locating_targets


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def small(**settings):
    torch.manual_seed(0)
    return LSNetForSemanticSegmentation(LSNetConfig(base_width=4, **settings))


def batch_of(*boxes, size=(96, 64)):
    """One image per box, with a bright rectangle there, and its labels; ``None`` for an image without one."""
    images = torch.rand(len(boxes), 3, *size, generator=torch.Generator().manual_seed(0)) / 2
    labels = torch.zeros(len(boxes), *size, dtype=torch.long)
    for image, label, box in zip(images, labels, boxes, strict=True):
        if box is not None:
            x1, y1, x2, y2 = box
            image[:, y1:y2, x1:x2] += 0.5
            label[y1:y2, x1:x2] = 1
    return {"pixel_values": images, "labels": labels}


class Shown(torch.nn.Module):
    """A stand-in for L-Net that shows what a test wants to be found."""

    def __init__(self, heat_logits, distances):
        super().__init__()
        self.heat_logits, self.distances = heat_logits, distances

    def forward(self, images):
        return self.heat_logits, self.distances, ()


def showing(cells, size, batch=1, background=-9.0, **settings):
    """An L-SNet whose L-Net shows ``cells``: (image, row, column, left, top, right, bottom)."""
    height, width = (-(-side // 32) * 8 for side in size)
    heat, distances = torch.full((batch, height, width), background), torch.ones(batch, 4, height, width)
    for image, row, column, *sides in cells:
        heat[image, row, column] = 3.0
        distances[image, :, row, column] = torch.tensor(sides, dtype=torch.float32)
    model = small(**settings).eval()
    model.locator = Shown(heat, distances)
    return model


def test_parameters_of_the_paper():
    with torch.device("meta"):
        model = LSNetForSemanticSegmentation(LSNetConfig())
    assert count(model.locator) == 14_502_853  # Table 3: 14.50 M
    assert count(model.locator.encoder) + count(model.locator.decoder) == 14_274_880
    assert count(model.locator.box_head) == 117_124
    assert count(model.segmenter) == 24_436_369


def test_fcn_form():
    with torch.device("meta"):
        model = LSNetForSemanticSegmentation(LSNetConfig(architecture="fcn"))
    lateral = 64 * (512 + 256 + 128 + 64) + 4 * 64
    assert count(model.locator.decoder) == lateral
    assert count(model.segmenter.decoder) == 512 + 256 + 128 + 3
    output = small(architecture="fcn")(**batch_of((8, 8, 30, 40)))
    assert output.logits.shape == (1, 1, 96, 64)


def test_untrained_heat_is_low_everywhere():
    model = LSNetForSemanticSegmentation(LSNetConfig(base_width=16)).eval()
    (last,) = (module for module in model.modules() if isinstance(module, KeypointConv2d))
    assert last.bias.item() == pytest.approx(-2.19, abs=0.01)
    # Of many networks: how far the untrained convolutions go up and down around the bias is chance.
    torch.manual_seed(0)
    medians = []
    for _ in range(9):
        model = LSNetForSemanticSegmentation(LSNetConfig(base_width=8, segmenter_depth=10)).eval()
        medians.append(model(torch.rand(1, 3, 64, 64)).heatmap.median())
    assert torch.stack(medians).median() < 0.35


def test_locating_loss_by_hand():
    model, batch = small(), batch_of((8, 8, 30, 40), None)
    output = model(**batch, phase="locate")
    heat_logits, distances, _ = model.locator(batch["pixel_values"])
    boxes, indices = component_boxes(batch["labels"], 10)
    heatmap, targets = locating_targets(boxes, indices, 2, (24, 16), 4)
    rows, columns = torch.nonzero(heatmap[0] > 0.5, as_tuple=True)
    by_cell = diou_loss(distances[0, :, rows, columns].T, targets[0, :, rows, columns].T)
    expected = focal_dice_loss(heat_logits, heatmap) + by_cell.mean()
    torch.testing.assert_close(output.loss, expected)
    assert output.logits is None
    assert output.segmentation_loss is None


def test_segmentation_loss_by_hand():
    """S-Net sees the drawn region of image and truth alike: against PyTorch's own affine sampling."""
    model = small(candidate_cells=1).eval()
    batch = batch_of((8, 8, 30, 40))
    output = model(**batch, phase="segment")
    x1, y1, x2, y2 = output.boxes[0].detach() + torch.tensor([-15.0, -15, 15, 15])
    theta = torch.tensor([[[(x2 - x1) / 64, 0, (x1 + x2) / 64 - 1], [0, (y2 - y1) / 96, (y1 + y2) / 96 - 1]]])
    grid = F.affine_grid(theta, (1, 3, 96, 64), align_corners=False)
    seen = F.grid_sample(batch["pixel_values"], grid, align_corners=False)
    truth = F.grid_sample(batch["labels"][:, None].float(), grid, align_corners=False) > 0.5
    expected = focal_dice_loss(model.segmenter(seen)[0][:, 0], truth[:, 0])
    torch.testing.assert_close(output.loss, expected, rtol=1e-4, atol=1e-5)


def test_the_whole_loss_is_the_sum():
    model, batch = small(), batch_of((8, 8, 30, 40), (20, 50, 60, 90))
    output = model(**batch)
    torch.testing.assert_close(output.loss, output.locating_loss + output.segmentation_loss)


def gradient_norm(factor):
    """Norm of the gradient that S-Net's loss sends into the parameters of L-Net."""
    model = small(gradient_decay=factor, candidate_cells=1).eval()  # batch statistics would couple the images
    model(**batch_of((8, 8, 30, 40), (20, 50, 60, 90)), phase="segment").loss.backward()
    gradients = [parameter.grad for parameter in model.locator.parameters() if parameter.grad is not None]
    return torch.stack([gradient.norm() for gradient in gradients]).norm().item() if gradients else 0.0


def test_gradient_decay_scales_what_reaches_l_net():
    whole = gradient_norm(1)
    assert whole > 0
    assert gradient_norm(0) == 0
    assert gradient_norm(0.1) == pytest.approx(0.1 * whole, rel=1e-4)
    assert gradient_norm(0.01) == pytest.approx(0.01 * whole, rel=1e-4)


def test_gradient_enters_through_the_distances_alone():
    model = small()
    model(**batch_of((8, 8, 30, 40)), phase="segment").loss.backward()
    assert all(parameter.grad is None for parameter in model.locator.keypoint_head.parameters())
    assert all(parameter.grad.abs().max() > 0 for parameter in model.locator.box_head.parameters())


def test_phases_reach_the_networks_they_train():
    model, batch = small(), batch_of((8, 8, 30, 40))
    model(**batch, phase="locate").loss.backward()
    assert all(parameter.grad is None for parameter in model.segmenter.parameters())
    assert all(parameter.grad is not None for parameter in model.locator.parameters())
    for phase in model.training_phases:
        output = model(**batch, phase=phase, output_hidden_states=True)
        attached = [name for name, value in output.items() if name.find("loss") < 0 and value.requires_grad]
        assert attached == []  # several processes would wait for gradients that never come
    with pytest.raises(ValueError, match="phase is 'find'; use one of locate, segment"):
        model(**batch, phase="find")
    with pytest.raises(ValueError, match="together with labels"):
        model(batch["pixel_values"], phase="locate")


def test_batch_without_foreground():
    model = small()
    output = model(**batch_of(None, None))
    output.loss.backward()
    assert torch.isfinite(output.loss)
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.parametrize("box", [(0, 0, 64, 96), (50, 70, 64, 96), (0, 40, 3, 44), (30, 95, 34, 96)])
def test_objects_at_the_border(box):
    model = small(minimum_component_pixels=1)
    output = model(**batch_of(box))
    output.loss.backward()
    assert torch.isfinite(output.loss)
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_boxes_larger_than_the_image():
    model = showing([(0, 6, 5, 400, 500, 300, 200)], (64, 64))
    output = model(torch.rand(1, 3, 64, 64))
    assert torch.isfinite(output.logits).all()
    assert output.boxes.tolist() == [[22 - 400, 26 - 500, 22 + 300, 26 + 200]]


def test_several_regions_are_pasted_where_they_came_from():
    size = (96, 128)
    model = showing([(0, 4, 5, 8, 8, 8, 8), (0, 16, 24, 8, 6, 4, 10), (1, 10, 10, 12, 12, 12, 12)], size, batch=3)
    model.segmenter = torch.nn.Module()
    model.segmenter.forward = lambda seen: (seen[:, :1] * 20 - 10, ())  # foreground is what is bright
    images = torch.zeros(3, 3, *size)
    images[0, :, 10:26, 14:30] = 1  # at the first region
    images[0, :, 60:76, 90:102] = 1  # at the second
    images[1, :, 30:54, 30:54] = 1
    images[2, :, 30:54, 30:54] = 1  # where nobody looks
    output = model(images)
    assert output.box_indices.tolist() == [0, 0, 1]
    assert output.boxes[0].tolist() == [14, 10, 30, 26]
    mask = output.logits[:, 0] > 0
    for index in (0, 1):
        truth = images[index, 0] > 0
        assert (mask[index] & truth).sum() / (mask[index] | truth).sum() > 0.95
    assert not mask[2].any()
    torch.testing.assert_close(output.scores, torch.full((3,), 3.0).sigmoid())


def test_in_passes_of_few_regions():
    cells = [(0, row, column, 8, 8, 8, 8) for row in (3, 9, 15) for column in (3, 9)]
    images = torch.rand(1, 3, 96, 64)
    whole = showing(cells, (96, 64))(images).logits
    torch.testing.assert_close(showing(cells, (96, 64), regions_per_pass=4)(images).logits, whole)


def overlapping(**settings):
    """Logits where one region is dark, one bright and half of each lies in the other."""
    model = showing([(0, 8, 5, 10.5, 12.5, 10, 12), (0, 8, 8, 10, 12, 10, 12)], (64, 64), margin=0, **settings)
    outputs = iter([0.0, 2.0] if settings.get("regions_per_pass") == 1 else [torch.tensor([0.0, 2.0])])

    def segment(seen):
        values = torch.as_tensor(next(outputs)).reshape(-1, 1, 1, 1)
        return values.expand(len(seen), 1, *seen.shape[2:]), ()

    model.segmenter = torch.nn.Module()
    model.segmenter.forward = segment
    return model(torch.rand(1, 3, 64, 64)).logits[0, 0].detach()


@pytest.mark.parametrize("regions_per_pass", [1, 16])
def test_where_regions_overlap(regions_per_pass):
    """Boxes from 11.5 to 32 and 24 to 44: the greatest or the mean of both probabilities between 24 and 32."""
    greatest = overlapping(regions_per_pass=regions_per_pass)
    mean = overlapping(overlap="mean", regions_per_pass=regions_per_pass)
    dark, bright = 0.5, 1 / (1 + math.exp(-2))
    for logits, both in ((greatest, bright), (mean, (dark + bright) / 2)):
        found = logits.sigmoid()[34, [16, 28, 40]]
        torch.testing.assert_close(found, torch.tensor([dark, both, bright]))
    alone = torch.ones(64, dtype=torch.bool)
    alone[23:33] = False
    torch.testing.assert_close(mean[:, alone], greatest[:, alone])  # at their borders too


def test_the_fcn_locator_adds_maps_down_to_the_stride_asked_for():
    coarse, fine = (small(architecture="fcn", fcn_lateral_stride=stride) for stride in (8, 4))
    assert count(fine.locator) - count(coarse.locator) == 4 * 4 + 4  # the 1x1 convolution of the finest map
    heat_logits, distances, _ = coarse.locator(torch.rand(1, 3, 64, 96))
    assert heat_logits.shape == (1, 16, 24)
    assert distances.shape == (1, 4, 16, 24)


def test_cells_beside_a_narrow_box_can_be_left_out():
    """Of a box 6 pixels wide, whose heat reaches 9 pixels from its centre, one column of cells lies inside."""
    batch = batch_of((28, 20, 34, 60))
    narrow = small(positive_cells="inside")
    output = narrow(**batch, phase="locate")
    heat_logits, distances, _ = narrow.locator(batch["pixel_values"])
    boxes, indices = component_boxes(batch["labels"])
    heatmap, targets = locating_targets(boxes, indices, 1, (24, 16), 4)
    rows, columns = torch.nonzero((heatmap[0] > 0.5), as_tuple=True)
    inside = (4 * columns + 2 > 28) & (4 * columns + 2 < 34)  # no row with this heat lies above or below the box
    assert 0 < inside.sum() < len(inside)
    rows, columns = rows[inside], columns[inside]
    by_cell = diou_loss(distances[0, :, rows, columns].T, targets[0, :, rows, columns].T)
    torch.testing.assert_close(output.loss, focal_dice_loss(heat_logits, heatmap) + by_cell.mean())


def test_penalty_reduced_heat():
    """Against CornerNet's formula, written out cell by cell in float64."""
    model, batch = small(heatmap_focal="penalty-reduced"), batch_of((8, 8, 30, 40), None)
    output = model(**batch, phase="locate")
    heat_logits, distances, _ = model.locator(batch["pixel_values"])
    boxes, indices = component_boxes(batch["labels"], 10)
    heatmap, targets = locating_targets(boxes, indices, 2, (24, 16), 4)
    total = 0.0
    for place, (y, logit) in enumerate(zip(heatmap.flatten().tolist(), heat_logits.flatten().tolist(), strict=True)):
        p = 1 / (1 + math.exp(-logit))
        if place == 6 * 16 + 4:  # the centre (19, 24) lies in row 6, column 4 of the first image
            total -= (1 - p) ** 2 * math.log(p)
        else:
            total -= (1 - y) ** 4 * p**2 * math.log(1 - p)
    dice = batch_dice_loss(heat_logits.sigmoid(), heatmap)
    rows, columns = torch.nonzero(heatmap[0] > 0.5, as_tuple=True)
    by_cell = diou_loss(distances[0, :, rows, columns].T, targets[0, :, rows, columns].T)
    assert output.loss.item() == pytest.approx(total + 0.2 * dice.item() + by_cell.mean().item(), rel=1e-5)
    model(**batch_of(None, None), phase="locate").loss.backward()  # no object: finite


def test_nothing_is_found_in_the_padding():
    model = showing([(0, 6, 5, 8, 8, 8, 8), (0, 15, 15, 8, 8, 8, 8)], (50, 40))  # the second at (62, 62)
    output = model(torch.rand(1, 3, 50, 40))
    assert output.boxes.tolist() == [[14, 18, 30, 34]]
    assert output.heatmap.shape == (1, 13, 10)


def test_without_a_region():
    images = torch.rand(2, 3, 96, 64)
    output = showing([], (96, 64), batch=2)(images)
    assert output.boxes.shape == (0, 4)
    assert (output.logits.sigmoid() < 1e-5).all()
    output = showing([], (96, 64), batch=2, no_region="best-cell")(images)
    assert output.box_indices.tolist() == [0, 1]
    assert (output.logits.sigmoid() > 1e-4).any()


def test_its_networks_export():
    model = small().eval()
    images = torch.rand(2, 3, 64, 96)
    for network, result in ((model.locator, 0), (model.segmenter, 0)):
        program = torch.export.export(network, (images,))
        torch.testing.assert_close(program.module()(images)[result], network(images)[result])


def test_crop_takes_whole_pixels_and_sends_no_gradient():
    model = small(recalibration="crop", gradient_decay=1.0)
    model(**batch_of((8, 8, 30, 40)), phase="segment").loss.backward()
    assert all(parameter.grad is None for parameter in model.locator.parameters())
    seen = []
    model = showing([(0, 6, 5, 8.5, 8, 8, 8)], (96, 64), recalibration="crop", margin=2)
    model.segmenter = torch.nn.Module()
    model.segmenter.forward = lambda region: (seen.append(region) or region[:, :1], ())
    images = torch.rand(1, 3, 96, 64)
    model(images)
    crop = images[..., 16:36, 11:32]  # x: 22 - 8.5 - 2 = 11.5 to 32, y: 26 - 10 to 36
    expected = F.interpolate(crop, size=(96, 64), mode="bilinear", align_corners=False)
    inside = (slice(None), slice(None), slice(8, -8), slice(8, -8))  # zeros beside the image, not beside the crop
    torch.testing.assert_close(seen[0][inside], expected[inside], rtol=1e-4, atol=1e-5)


def test_two_classes_beside_the_background():
    model = showing([(0, 6, 5, 8, 8, 8, 8)], (64, 64), num_logits=3)
    probabilities = model(torch.rand(1, 3, 64, 64)).logits.softmax(dim=1)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(1, 64, 64))
    assert probabilities[0, 0, 60, 60] > 0.99


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "vnet"}, "architecture is 'vnet'"),
        ({"heatmap_prior": 0.0}, "heatmap_prior is 0.0"),
        ({"locator_depth": 20}, "locator_depth is 20"),
        ({"margin": -1}, "margin is -1"),
        ({"gradient_decay": float("nan")}, "gradient_decay is nan"),
        ({"heatmap_sigma": 0}, "heatmap_sigma is 0"),
        ({"candidate_cells": 0}, "candidate_cells is 0"),
        ({"heatmap_threshold": 1.0}, "heatmap_threshold is 1.0"),
        ({"overlap": "sum"}, "overlap is 'sum'"),
        ({"fcn_lateral_stride": 16}, "fcn_lateral_stride is 16"),
        ({"positive_cells": "none"}, "positive_cells is 'none'"),
        ({"heatmap_focal": "penalty-reduced", "loss": "bce"}, "'bce' has no focal part"),
        ({"keypoint": "corner"}, "keypoint is 'corner'"),
        ({"no_region": "guess"}, "no_region is 'guess'"),
    ],
)
def test_configuration_refuses(settings, message):
    with pytest.raises(Exception, match=message):
        LSNetConfig(**settings)
