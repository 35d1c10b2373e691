import math

import pytest
import torch

from hf_lesionseg import CLCINetConfig, CLCINetForSemanticSegmentation
from hf_lesionseg.models.losses import batch_dice_loss, bce_dice_loss


def test_bce_dice_by_hand():
    # two images of two pixels: probabilities 1/2 everywhere, one lesion pixel in the first image
    logits = torch.zeros(2, 1, 2)
    targets = torch.tensor([[[1, 0]], [[0, 0]]])
    bce = math.log(2)
    batch = 1 - (2 * 0.5 + 1) / (1 + 4 * 0.25 + 1)
    first, second = 1 - (2 * 0.5 + 1) / (1 + 2 * 0.25 + 1), 1 - 1 / (2 * 0.25 + 1)
    expected = 3 * bce + (batch + (first + second) / 2) / 2
    assert bce_dice_loss(logits, targets, bce_weight=3).item() == pytest.approx(expected, rel=1e-6)


def test_a_false_positive_costs_more_where_there_is_nothing():
    targets = torch.zeros(2, 8, 8)
    targets[0, :6, :6] = 1
    right = torch.where(targets > 0, 8.0, -8.0)
    beside, elsewhere = right.clone(), right.clone()
    beside[0, 7, 7], elsewhere[1, 7, 7] = 8.0, 8.0
    assert bce_dice_loss(elsewhere, targets) > bce_dice_loss(beside, targets) > bce_dice_loss(right, targets)


@pytest.mark.parametrize("loss", ["dice", "bce", "bce-dice", "focal-dice"])
def test_clci_net_takes_its_loss_from_the_configuration(loss):
    torch.manual_seed(0)
    model = CLCINetForSemanticSegmentation(CLCINetConfig(base_width=2, loss=loss)).eval()
    images, labels = torch.rand(2, 1, 32, 32), (torch.rand(2, 32, 32) > 0.8).long()
    output = model(images, labels=labels)
    if loss == "dice":
        expected = batch_dice_loss(output.logits[:, 0].sigmoid(), labels)
    elif loss == "bce-dice":
        expected = bce_dice_loss(output.logits[:, 0], labels)
    elif loss == "bce":
        expected = torch.nn.functional.binary_cross_entropy_with_logits(output.logits[:, 0], labels.float())
    else:
        return
    torch.testing.assert_close(output.loss, expected)


def test_an_unknown_loss_is_refused_by_name():
    with pytest.raises(Exception, match="loss is 'hinge'; use one of"):
        CLCINetConfig(loss="hinge")
