"""The losses by name: values against float64 and MONAI, and what a configuration refuses."""

import math

import numpy as np
import pytest
import torch
from monai.losses import DiceLoss, FocalLoss, GeneralizedDiceLoss, TverskyLoss

from hf_lesionseg import CLCINetConfig, CLCINetForSemanticSegmentation
from hf_lesionseg.models import MODEL_REGISTRY
from hf_lesionseg.models.losses import LOSSES, bce_dice_loss, tversky_loss


def dice(y, p, smooth=1.0, power=2):
    return 1 - (2 * (y * p).sum() + smooth) / ((y**power).sum() + (p**power).sum() + smooth)


def entropy(y, p):
    return -(y * np.log(p) + (1 - y) * np.log(1 - p))


def tversky(y, p, alpha, beta, smooth):
    found, false, missed = (y * p).sum(), ((1 - y) * p).sum(), (y * (1 - p)).sum()
    return 1 - (found + smooth) / (found + alpha * false + beta * missed + smooth)


def generalized(y, p, smallest):
    above = below = 0
    for truth, found in ((y, p), (1 - y, 1 - p)):
        weight = 1 / max(truth.sum(), smallest) ** 2
        above, below = above + weight * (truth * found).sum(), below + weight * (truth + found).sum()
    return 2 * above / below


#: name -> (settings other than the defaults, the same in float64)
BY_FORMULA = {
    "dice": ({"smooth": 2.0}, lambda y, p: dice(y, p, 2)),
    "linear-dice": ({"smooth": 0.5, "bce_weight": 0.3}, lambda y, p: dice(y, p, 0.5, 1) + 0.3 * entropy(y, p).mean()),
    "tversky": ({"alpha": 0.2, "beta": 0.9, "smooth": 0.1}, lambda y, p: tversky(y, p, 0.2, 0.9, 0.1)),
    "bce": ({}, lambda y, p: entropy(y, p).mean()),
    "bce-dice": (
        {"bce_weight": 2.0, "smooth": 3.0},
        lambda y, p: 2 * entropy(y, p).mean() + (dice(y, p, 3) + np.mean(list(map(dice, y, p, [3] * len(y))))) / 2,
    ),
    "focal": (
        {"gamma": 1.5, "alpha": 0.25},
        lambda y, p: (abs(y - p) ** 1.5 * (0.25 * y + 0.75 * (1 - y)) * entropy(y, p)).mean(),
    ),
    "focal-dice": (
        {"gamma": 3.0, "dice_weight": 0.7, "smooth": 2.0},
        lambda y, p: (abs(y - p) ** 3 * entropy(y, p)).mean() + 0.7 * dice(y, p, 2),
    ),
    "generalized-dice-ce": (
        {"smallest_class": 4.0},
        lambda y, p: entropy(y, p).mean() - np.log(generalized(y, p, 4)),
    ),
}


def example(soft=False):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(3, 8, 6, generator=generator)
    drawn = torch.rand(3, 8, 6, generator=generator)
    return logits, drawn if soft else (drawn > 0.7).long()


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("soft", [False, True], ids=["mask", "heat map"])
def test_every_loss_by_its_formula_in_float64(name, soft):
    logits, targets = example(soft)
    settings, formula = BY_FORMULA[name]
    p = 1 / (1 + np.exp(-logits.double().numpy()))
    found = LOSSES[name](logits, targets, **settings)
    assert found.shape == ()
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(formula(targets.double().numpy(), p), rel=1e-5)


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("lesion", [0, 1])
def test_gradients_stay_finite_where_the_network_is_sure_and_classes_are_missing(name, lesion):
    logits = torch.tensor([[[-90.0, 90.0], [0.0, 40.0]]], requires_grad=True)
    LOSSES[name](logits, torch.full((1, 2, 2), lesion)).backward()
    assert torch.isfinite(logits.grad).all()


def test_what_monai_computes_alike():
    logits, targets = example()
    shown, truth = logits[:, None], targets[:, None].float()
    same = {"smooth_nr": 1.0, "smooth_dr": 1.0, "batch": True}
    theirs = {
        "dice": DiceLoss(sigmoid=True, squared_pred=True, **same)(shown, truth),
        "tversky": TverskyLoss(sigmoid=True, alpha=0.3, beta=0.7, **same)(shown, truth),
        "focal": FocalLoss()(shown, truth),
    }
    for name, expected in theirs.items():
        torch.testing.assert_close(LOSSES[name](logits, targets), expected, msg=name)
    classes = torch.cat([torch.zeros_like(shown), shown], dim=1)
    monai = GeneralizedDiceLoss(softmax=True, batch=True, smooth_nr=0.0, smooth_dr=0.0)
    dice_loss = monai(classes, torch.cat([1 - truth, truth], dim=1))
    cross_entropy = torch.nn.functional.cross_entropy(classes, targets)
    torch.testing.assert_close(LOSSES["generalized-dice-ce"](logits, targets), cross_entropy - (1 - dice_loss).log())


def test_tversky_by_hand():
    """p 1/2, 1/2, 0 and 1/2 of truths 1, 1, 1 and 0: TP 1, FN 2, FP 1/2."""
    logits = torch.tensor([[[0.0, 0.0], [-99.0, 0.0]]])
    targets = torch.tensor([[[1, 1], [1, 0]]])
    found = tversky_loss(logits, targets, alpha=0.5, beta=0.25, smooth=1)
    assert found.item() == pytest.approx(1 - 2 / (1 + 0.25 + 0.5 + 1))
    assert tversky_loss(logits, targets, beta=0.9) > tversky_loss(logits, targets, beta=0.7)


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


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_clci_net_takes_its_loss_from_the_configuration(loss):
    torch.manual_seed(0)
    settings = BY_FORMULA[loss][0]
    model = CLCINetForSemanticSegmentation(CLCINetConfig(base_width=2, loss=loss, loss_settings=settings)).eval()
    images, labels = torch.rand(2, 1, 32, 32), (torch.rand(2, 32, 32) > 0.8).long()
    output = model(images, labels=labels)
    torch.testing.assert_close(output.loss, LOSSES[loss](output.logits[:, 0], labels, **settings))


@pytest.mark.parametrize(
    ("model_type", "config_class"), [(name, network.config_class()) for name, network in MODEL_REGISTRY.items()]
)
def test_every_network_takes_every_loss_and_names_its_settings(model_type, config_class, tmp_path):
    for name, (settings, _) in BY_FORMULA.items():
        config = config_class(loss=name, loss_settings=settings)
        assert settings.items() <= config.loss_settings.items()
    config.save_pretrained(tmp_path)
    assert config_class.from_pretrained(tmp_path).loss_settings == config.loss_settings
    assert (
        config_class.from_pretrained(tmp_path, loss="tversky").loss_settings
        == config_class(loss="tversky").loss_settings
    )
    assert config_class().loss in LOSSES
    assert config_class().loss_settings == config_class(loss_settings={}).loss_settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "hinge"}, "loss is 'hinge'; use one of dice, "),
        ({"loss_settings": {"alpha": 1}}, "has 'alpha', which the loss 'dice' does not take; give smooth, or {} for"),
        ({"loss": "bce", "loss_settings": {"smooth": 1}}, "the loss 'bce' does not take; it takes none: give {}"),
        ({"loss": "bce", "loss_settings": {"pixel_weights": 1}}, "has 'pixel_weights', which the loss 'bce'"),
        ({"loss": "tversky", "loss_settings": {"beta": -1}}, "loss_settings of 'tversky': beta is -1; it must be 0 or"),
        ({"loss": "tversky", "loss_settings": {"smooth": 0}}, "smooth is 0; it must be above 0"),
        ({"loss": "tversky", "loss_settings": {"alpha": "high"}}, "alpha is 'high'; it must be a number"),
        ({"loss": "focal", "loss_settings": {"gamma": math.nan}}, "gamma is nan; it must be a number"),
        ({"loss": "focal", "loss_settings": {"alpha": 1}}, "alpha is 1; it must be between 0 and 1, or null"),
    ],
)
def test_what_a_loss_does_not_take_is_refused_when_the_configuration_is_made(settings, message, tmp_path):
    with pytest.raises(Exception, match=message):
        CLCINetConfig(**settings)
    CLCINetConfig().save_pretrained(tmp_path)
    with pytest.raises(Exception, match=message):
        CLCINetConfig.from_pretrained(tmp_path, **settings)
