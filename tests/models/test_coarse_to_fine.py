"""The coarse-to-fine network: boxes, crops, pasting, and what each stage learns from."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from hf_lesionseg.models.configuration_coarse_to_fine import CoarseToFineConfig
from hf_lesionseg.models.losses import segmentation_loss
from hf_lesionseg.models.modeling_coarse_to_fine import CoarseToFineForSemanticSegmentation, foreground_boxes

NOTHING = math.log(1e-6 / (1 - 1e-6))  # the logit of what is outside of all regions


def small(**settings):
    torch.manual_seed(0)
    depths = {"first_stage_depth": 10, "second_stage_depth": 10}
    return CoarseToFineForSemanticSegmentation(CoarseToFineConfig(base_width=4, **(depths | settings)))


class FirstStage(torch.nn.Module):
    """A stand-in that takes the pixels of the first channel above 0.9 for foreground, with probability 0.95."""

    def forward(self, images):
        shown = images[:, :1] > 0.9
        return torch.where(shown, math.log(19), -9.0) + 0 * images[:, :1], ()


class SecondStage(torch.nn.Module):
    """A stand-in that remembers what it saw and takes its second channel for logits."""

    def forward(self, images):
        self.seen = images
        return images[:, 1:2] * 10 - 5, ()


def standing_in(**settings):
    model = small(**settings)
    model.first_stage, model.second_stage = FirstStage(), SecondStage()
    return model.eval()


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("architecture", "first", "second"),
    [("unet", 14_328_209, 24_436_369), ("fcn", 11_176_512 + 899, 21_284_672 + 899)],
)
def test_parameters_of_the_paper(architecture, first, second):
    with torch.device("meta"):
        model = CoarseToFineForSemanticSegmentation(CoarseToFineConfig(architecture=architecture))
    assert (count(model.first_stage), count(model.second_stage)) == (first, second)


def test_boxes_by_hand():
    masks = torch.zeros(4, 6, 8, dtype=torch.bool)
    masks[0, 2, 3] = True  # one pixel
    masks[2, 0, 7] = masks[2, 5, 1] = True  # two components, on the border: one box around both
    masks[3] = True
    boxes, indices = foreground_boxes(masks)
    assert indices.tolist() == [0, 2, 3]
    assert boxes.tolist() == [[3, 2, 4, 3], [1, 0, 8, 6], [0, 0, 8, 6]]
    boxes, indices = foreground_boxes(masks[1:2])
    assert boxes.shape == (0, 4)
    assert indices.shape == (0,)


def bilinear(image, x1, y1, x2, y2, size):
    """Sample a box of a 2-D array in numpy: pixel centres are at n + 1/2, zeros outside."""
    rows = y1 + (np.arange(size[0]) + 0.5) * (y2 - y1) / size[0] - 0.5
    columns = x1 + (np.arange(size[1]) + 0.5) * (x2 - x1) / size[1] - 0.5
    where = np.meshgrid(rows, columns, indexing="ij")
    return map_coordinates(image.astype(np.float64), where, order=1, mode="grid-constant")


def test_region_is_cropped_with_its_margin_enlarged_and_put_back():
    model = standing_in(margin=5)
    images = torch.rand(3, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 0.8
    images[0, 0, 20:30, 40:60] = 1  # inside
    images[2, 0, 2:10, 90:96] = 1  # cut by the border: the margin ends there
    output = model(images)
    assert output.boxes.tolist() == [[40, 20, 60, 30], [90, 2, 96, 10]]
    assert output.box_indices.tolist() == [0, 2]
    torch.testing.assert_close(output.scores, torch.tensor([0.95, 0.95]))
    crops = [(35, 15, 65, 35), (85, 0, 96, 15)]
    assert model.second_stage.seen.shape == (2, 3, 64, 96)
    for index, image, box in ((0, 0, crops[0]), (1, 2, crops[1])):
        for channel in range(3):
            expected = bilinear(images[image, channel].numpy(), *box, (64, 96))
            np.testing.assert_allclose(model.second_stage.seen[index, channel].numpy(), expected, atol=1e-5)
        x1, y1, x2, y2 = box
        probability = 1 / (1 + np.exp(5 - 10 * model.second_stage.seen[index, 1].double().numpy()))
        # Back on the image's grid: sampled where each pixel of the crop lies in the enlarged one.
        expected = bilinear(probability, 0, 0, 96, 64, (y2 - y1, x2 - x1))
        found = output.logits[image, 0].sigmoid().detach().double().numpy()
        np.testing.assert_allclose(found[y1:y2, x1:x2], expected, atol=1e-5)
        outside = np.ones((64, 96), bool)
        outside[y1:y2, x1:x2] = False
        np.testing.assert_allclose(found[outside], 1e-6, rtol=1e-3)


def test_nothing_found_is_an_empty_mask():
    output = standing_in()(torch.zeros(2, 3, 50, 41))
    assert output.boxes.shape == (0, 4)
    assert output.box_indices.dtype == torch.int64
    assert output.scores.shape == (0,)
    torch.testing.assert_close(output.logits, torch.full((2, 1, 50, 41), NOTHING))


@pytest.mark.parametrize("num_logits", [1, 3])
def test_nothing_found_by_a_real_network(num_logits):
    model = small(num_logits=num_logits, first_stage_threshold=0.999999).eval()
    output = model(torch.rand(2, 3, 33, 64))
    assert len(output.boxes) == 0
    assert output.logits.shape == (2, num_logits, 33, 64)
    assert not (output.logits.argmax(1) if num_logits > 1 else output.logits > 0).any()


def test_foreground_in_the_padding_is_no_region():
    model = standing_in()
    model.first_stage = FirstStage()
    model.first_stage.forward = lambda images: (
        torch.full_like(images[:, :1], -9.0).index_fill(3, torch.tensor([60]), 9.0),
        (),
    )
    assert len(model(torch.rand(1, 3, 64, 50)).boxes) == 0
    assert model(torch.rand(1, 3, 64, 61)).boxes.tolist() == [[60, 0, 61, 64]]


@pytest.fixture
def batch():
    """Three images of which the middle one has no foreground."""
    labels = torch.zeros(3, 64, 64, dtype=torch.long)
    labels[0, 10:30, 20:44] = 1
    labels[2, 50:64, 0:9] = 1
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return {"pixel_values": images + 0.5 * labels[:, None], "labels": labels}


def test_losses_of_both_stages(batch):
    """The second stage learns on exact crops around the truth in evaluation; an empty slice is left out."""
    model = small(margin=4).eval()
    output = model(**batch)
    coarse = model.first_stage(batch["pixel_values"])[0]
    first = segmentation_loss(coarse, batch["labels"], model.config)
    rois, targets = [], []
    for image, box in ((0, (16, 6, 48, 34)), (2, (0, 46, 13, 64))):
        rois.append(np.stack([bilinear(channel.numpy(), *box, (64, 64)) for channel in batch["pixel_values"][image]]))
        targets.append(bilinear(batch["labels"][image].numpy(), *box, (64, 64)) > 0.5)
    fine = model.second_stage(torch.from_numpy(np.stack(rois)).float())[0]
    second = segmentation_loss(fine, torch.from_numpy(np.stack(targets)), model.config)
    torch.testing.assert_close(output.locating_loss, first)
    torch.testing.assert_close(output.segmentation_loss, second, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.loss, first + second, rtol=1e-4, atol=1e-5)


def test_the_crop_passes_no_gradient_to_the_first_stage(batch):
    model = small().train()
    model(**batch).segmentation_loss.backward()
    assert all(parameter.grad is None for parameter in model.first_stage.parameters())
    assert all(parameter.grad is not None for parameter in model.second_stage.parameters())


def test_a_batch_without_foreground_has_a_loss_and_every_gradient(batch):
    model = small().train()
    output = model(batch["pixel_values"], labels=torch.zeros_like(batch["labels"]))
    assert output.segmentation_loss.item() == 0
    output.loss.backward()
    assert all(parameter.grad.count_nonzero() == 0 for parameter in model.second_stage.parameters())
    assert any(parameter.grad.count_nonzero() > 0 for parameter in model.first_stage.parameters())
    torch.testing.assert_close(output.logits, torch.full((3, 1, 64, 64), NOTHING))


def test_margins_are_jittered_in_training_alone():
    model = small(margin=15, jitter_probability=0.5)
    boxes = torch.zeros(4000, 4)
    assert (model.eval()._training_margins(boxes) == 15).all()
    torch.manual_seed(0)
    margins = model.train()._training_margins(boxes)
    exact = (margins == 15).all(dim=1)
    assert exact.float().mean().item() == pytest.approx(0.5, abs=0.03)
    drawn = margins[~exact]
    assert (drawn == drawn.round()).all()
    assert (drawn.min().item(), drawn.max().item()) == (0, 30)
    assert drawn.mean(dim=0).tolist() == pytest.approx([15] * 4, abs=0.8)  # every side for itself
    assert (drawn[:, 0] != drawn[:, 2]).float().mean() > 0.9


def test_training_shows_what_the_second_stage_made_of_the_crops(batch):
    model = small(margin=3, jitter_probability=0).train()
    logits = model(**batch).logits
    inside = torch.zeros(3, 64, 64, dtype=torch.bool)
    inside[0, 7:33, 17:47] = inside[2, 47:64, 0:12] = True
    assert (logits[:, 0][~inside] == logits[1, 0, 0, 0]).all()
    assert (logits[:, 0][inside] > NOTHING + 1).any()


@pytest.mark.slow
def test_it_learns(batch):
    model = small(loss="bce", decoder_widths=[16] * 5, jitter_probability=0).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    output = model.eval()(batch["pixel_values"])
    found, truth = output.logits[:, 0] > 0, batch["labels"] == 1
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.9
    assert output.box_indices.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "vit"}, "architecture is 'vit'; use one of 'unet', 'fcn'"),
        ({"second_stage_depth": 20}, "second_stage_depth is 20"),
        ({"margin": -1}, "margin is -1"),
        ({"first_stage_threshold": 1}, "first_stage_threshold is 1"),
        ({"jitter_probability": 1.5}, "jitter_probability is 1.5"),
        ({"architecture": "fcn", "decoder_widths": [1] * 5}, "decoder_widths"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(Exception, match=message):
        CoarseToFineConfig(**settings)
