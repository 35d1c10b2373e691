"""EGS-Net against the paper: counts, wiring, every part of the loss by hand, ablations, training without DWI."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hf_lesionseg.models import modeling_egs_net
from hf_lesionseg.models.configuration_egs_net import EGSNetConfig
from hf_lesionseg.models.lesion_heat_map import lesion_heat_map
from hf_lesionseg.models.losses import generalized_dice
from hf_lesionseg.models.modeling_egs_net import EGSNetForSemanticSegmentation, PerceptualNetwork, weighted_distance
from hf_lesionseg.models.stage_unet import SqueezeExcitation, StageDoubleConv
from hf_lesionseg.models.switch_norm import SwitchNorm2d
from hf_lesionseg.reproduce.papers import find_table

ABLATION = {row.name: row.model for row in find_table("egs-net-1").rows}
SMALL = {"base_width": 4, "perceptual_widths": (2, 2, 2, 2, 4)}


def small(**settings):
    torch.manual_seed(0)
    return EGSNetForSemanticSegmentation(EGSNetConfig(**(SMALL | settings)))


@pytest.fixture(scope="module")
def paper():
    with torch.device("meta"):
        return EGSNetForSemanticSegmentation(EGSNetConfig())


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    labels = torch.zeros(3, 32, 48, dtype=torch.long)
    labels[0, 4:10, 5:15] = 1
    labels[1, 20:30, 30:33] = 1
    return {
        "pixel_values": torch.randn(3, 17, 32, 48, generator=generator),
        "labels": labels,
        "dwi": torch.randn(3, 1, 32, 48, generator=generator),
    }


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameters_of_the_paper(paper):
    assert count(paper.extractor) == 7_762_401
    assert count(paper.generator) == 31_034_049
    assert count(paper.segmentor) == 31_263_782
    assert count(paper.generated_features) == count(paper.true_features) == 1_568_000
    assert count(paper) == 7_762_401 + 31_034_049 + 31_263_782 + 2 * 1_568_000


def test_norms_and_excitations(paper):
    def parts(module, kind):
        return [part for part in module.modules() if isinstance(part, kind)]

    assert len(parts(paper.segmentor, SwitchNorm2d)) == 18
    assert len(parts(paper.segmentor, SqueezeExcitation)) == len(parts(paper.segmentor, StageDoubleConv)) == 9
    for stage, channels in ((paper.extractor, 11), (paper.generator, 7), (paper.segmentor, 1)):
        norms = parts(stage, nn.BatchNorm2d)
        assert [(norm.num_features, norm.affine) for norm in norms] == [(channels, False)]
    assert not parts(paper.extractor, SwitchNorm2d) + parts(paper.generator, SwitchNorm2d)


def test_features_of_the_perceptual_networks():
    """256x256 pixels are 8x8 before the pooling, by which 512 maps become 7 rows and 7 columns each."""
    network = PerceptualNetwork((2, 3, 4, 5, 6)).eval()
    images = torch.randn(2, 1, 256, 256)
    maps = network.layers(images)
    assert maps.shape == (2, 6, 8, 8)
    found = network(images)
    assert found.shape == (2, 6 * 14)
    # Of 8 rows pooled to 7, bin i covers rows i and i + 1.
    rows = maps.mean(dim=3)
    torch.testing.assert_close(found[:, :42].reshape(2, 6, 7), (rows[:, :, :-1] + rows[:, :, 1:]) / 2)
    columns = maps.mean(dim=2)
    torch.testing.assert_close(found[:, 42:].reshape(2, 6, 7), (columns[:, :, :-1] + columns[:, :, 1:]) / 2)


def test_squeeze_excitation_by_the_formula():
    torch.manual_seed(0)
    module = SqueezeExcitation(6, reduction=2).double()
    images = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    first, _, second, _ = module.gates
    w1, b1, w2, b2 = (p.detach().numpy() for p in (first.weight, first.bias, second.weight, second.bias))
    hidden = np.maximum(images.numpy().mean((2, 3)) @ w1.T + b1, 0)
    gates = 1 / (1 + np.exp(-(hidden @ w2.T + b2)))
    np.testing.assert_allclose(module(images).detach().numpy(), images.numpy() * gates[..., None, None])


def test_xavier_initialisation():
    """Uniform within sqrt(6 / (fan in + fan out)), biases 0."""
    model = small(base_width=16)
    conv, enlarge = model.generator.encoder[2].layers[0], model.segmentor.decoder[0].up
    linear = model.segmentor.bottleneck.layers[-1].gates[0]
    for layer, fans in ((conv, (32 + 64) * 9), (enlarge, (128 + 256) * 4), (linear, 256 + 16)):
        bound = (6 / fans) ** 0.5
        assert 0.98 * bound < layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
        assert not layer.bias.any()


def test_wiring(batch):
    """The extractor sees the frames, the generator its map before the sigmoid and the maps, the segmentor an image."""
    model = small().eval()
    inputs = {}
    for stage in ("extractor", "generator", "segmentor"):
        getattr(model, stage).register_forward_pre_hook(lambda _, args, stage=stage: inputs.update({stage: args[0]}))
    output = model(batch["pixel_values"])
    assert torch.equal(inputs["extractor"], batch["pixel_values"][:, :11])
    assert torch.equal(inputs["generator"][:, :1], output.extraction_logits)
    assert torch.equal(inputs["generator"][:, 1:], batch["pixel_values"][:, 11:])
    assert torch.equal(inputs["segmentor"], output.generated_dwi)
    assert output.extraction_loss is None


def test_weighted_distance_by_hand():
    """sqrt(1*9 + 4*4) = 5 and sqrt(2*8) = 4; equal images have the gradient 0."""
    images = torch.tensor([[3.0, 2.0], [0.0, 4.0]])
    others = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    weights = torch.tensor([[1.0, 4.0], [7.0, 1.0]])
    assert weighted_distance(images, others, weights).item() == pytest.approx(4.5)
    assert weighted_distance(images, others).item() == pytest.approx((13**0.5 + 4) / 2)
    equal = images.clone().requires_grad_()
    weighted_distance(equal, images, weights).backward()
    assert not equal.grad.any()


def test_generalized_dice_by_hand():
    """Two lesion pixels of p 0.5 and 1, six others of p 0 but one of 0.5; weights 1/4 and 1/36."""
    targets = torch.tensor([[[1, 1, 0, 0], [0, 0, 0, 0]]])
    probabilities = torch.tensor([[[0.5, 1.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0]]])
    above = 1.5 / 4 + 5.5 / 36
    below = (2 + 2) / 4 + (6 + 6) / 36
    assert generalized_dice(probabilities, targets).item() == pytest.approx(2 * above / below)


def test_generalized_dice_without_lesion():
    empty = torch.zeros(2, 8, 8, dtype=torch.long)
    assert generalized_dice(torch.zeros(2, 8, 8), empty).item() == 1
    probabilities = torch.full((2, 8, 8), 0.5, requires_grad=True)
    dice = generalized_dice(probabilities, empty)
    # Weights 1 for the lesion, which has no pixel, and 1/128^2.
    assert dice.item() == pytest.approx(2 * 64 / 128**2 / (64 + 192 / 128**2), rel=1e-5)
    (-dice.log()).backward()
    assert torch.isfinite(probabilities.grad).all()


@pytest.mark.parametrize("num_logits", [1, 2])
def test_every_part_of_the_loss(batch, num_logits):
    """In float64 numpy, from the maps that the network returns; lambdas 1, 0.002, 1.2, 1."""
    model = small(num_logits=num_logits).eval()
    output = model(**batch)
    y = batch["labels"].numpy().astype(float)
    weights = lesion_heat_map(batch["labels"]).double().numpy()

    e = output.extraction_logits[:, 0].detach().double().numpy()
    assert output.extraction_loss.item() == pytest.approx(np.abs(1 / (1 + np.exp(-e)) - y).mean(), rel=1e-5)

    difference = (output.generated_dwi - batch["dwi"])[:, 0].detach().double().numpy()
    norms = np.sqrt((weights * difference**2).sum((1, 2)))
    assert output.dwi_loss.item() == pytest.approx(0.002 * norms.mean(), rel=1e-5)

    with torch.no_grad():
        ours, true = model.generated_features(output.generated_dwi), model.true_features(batch["dwi"])
    assert output.feature_loss.item() == pytest.approx(1.2 * (ours - true).norm(dim=1).mean().item(), rel=1e-5)
    assert output.generated_feature_norm.item() == pytest.approx(ours.norm(dim=1).mean().item(), rel=1e-5)
    assert output.true_feature_norm.item() == pytest.approx(true.norm(dim=1).mean().item(), rel=1e-5)
    assert not output.true_feature_norm.requires_grad

    logits = output.logits.detach().double().numpy()
    scores = logits[:, 0] if num_logits == 1 else logits[:, 1] - logits[:, 0]
    p = 1 / (1 + np.exp(-scores))
    entropy = -(weights * (y * np.log(p) + (1 - y) * np.log(1 - p))).mean()
    above = (p * y).sum() / y.sum() ** 2 + ((1 - p) * (1 - y)).sum() / (1 - y).sum() ** 2
    below = (p + y).sum() / y.sum() ** 2 + (2 - p - y).sum() / (1 - y).sum() ** 2
    assert output.segmentation_loss.item() == pytest.approx(entropy - np.log(2 * above / below), rel=1e-5)

    parts = (output.extraction_loss, output.dwi_loss, output.feature_loss, output.segmentation_loss)
    assert output.loss.item() == pytest.approx(sum(part.item() for part in parts), rel=1e-6)


def test_balanced_extraction_is_half_of_the_lesion_and_half_of_the_background(batch):
    output = small(extraction_balanced=True).eval()(**batch)
    error = np.abs(
        1 / (1 + np.exp(-output.extraction_logits[:, 0].detach().double().numpy())) - batch["labels"].numpy()
    )
    lesion = batch["labels"].numpy() == 1
    assert output.extraction_loss.item() == pytest.approx((error[lesion].mean() + error[~lesion].mean()) / 2, rel=1e-5)
    empty = batch | {"labels": torch.zeros_like(batch["labels"])}
    output = small(extraction_balanced=True).eval()(**empty)
    assert output.extraction_loss.item() == pytest.approx(
        output.extraction_logits.sigmoid().mean().item() / 2, rel=1e-5
    )


def test_weights_of_the_parts(batch):
    names = ("extraction", "dwi", "feature", "segmentation")
    plain = small(**{f"{name}_weight": 1.0 for name in names}).eval()(**batch)
    for name in names:
        output = small(**{f"{other}_weight": 3.0 if other == name else 1.0 for other in names}).eval()(**batch)
        for other in names:
            factor = 3 if other == name else 1
            assert output[f"{other}_loss"].item() == pytest.approx(factor * plain[f"{other}_loss"].item(), rel=1e-5)


def test_rows_of_the_ablation_table(paper):
    assert list(ABLATION)[-3:] == ["+ E", "+ BN", "true DWI"]
    whole = EGSNetConfig(**ABLATION["+ BN"]).to_diff_dict()
    assert whole == EGSNetConfig().to_diff_dict()
    stages = {}
    for name, settings in ABLATION.items():
        with torch.device("meta"):
            model = EGSNetForSemanticSegmentation(EGSNetConfig(**settings))
        kinds = (model.extractor, model.generator, model.segmentor, model.generated_features)
        stages[name] = [None if stage is None else count(stage) for stage in kinds]
    unet = 31_030_658  # of one input map; each further one has 64 kernels of 9 weights
    batch_norm, excited, switched = 2 * 5_888, 221_240, 2 * 5_888 + 18 * 6
    assert stages["U-Net + CE"] == stages["+ GD"] == [None, None, unet + 3 * 576 + batch_norm, None]
    assert stages["AU-Net"] == [None, None, unet + 3 * 576 + batch_norm + excited, None]
    generator = 31_034_049 - 2 * 576
    assert stages["+ G"] == stages["+ SDF"] == [None, generator, unet + batch_norm + excited, None]
    assert stages["+ SN"] == [None, generator, unet + switched + excited, None]
    assert stages["+ E"] == [7_762_401 - 5 * 288, generator + 576, unet + switched + excited, None]
    assert stages["+ BN"] == [7_762_401, 31_034_049, 31_263_782, 1_568_000]
    assert stages["true DWI"] == [None, None, 31_263_782, None]


@pytest.mark.parametrize("row", ABLATION)
def test_every_row_trains(row, batch):
    model = small(**ABLATION[row]).train()
    if row == "true DWI":
        batch["pixel_values"] = batch["dwi"]
    output = model(**batch)
    output.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert (output.feature_loss is not None) == (row == "+ BN")
    if row == "U-Net + CE":
        p = output.logits.softmax(dim=1).detach().double()
        entropy = -p.gather(1, batch["labels"][:, None]).log().mean()
        assert output.loss.item() == pytest.approx(entropy.item(), rel=1e-5)


@pytest.mark.parametrize("perceptual", ["shared", "frozen"])
def test_one_perceptual_network(batch, perceptual):
    model = small(perceptual=perceptual).train()
    assert model.true_features is None
    output = model(**batch)
    output.loss.backward()
    moved = [parameter.grad is not None for parameter in model.generated_features.parameters()]
    assert set(moved) == {perceptual == "shared"}
    assert all(parameter.grad is not None for parameter in model.generator.parameters())
    assert output.generated_feature_norm > 0


def test_training_without_dwi_is_refused(batch):
    del batch["dwi"]
    model = small().train()
    with pytest.raises(ValueError, match="generator=False"):
        model(**batch)
    model.eval()
    output = model(**batch)
    assert output.dwi_loss is None
    assert output.loss.item() == pytest.approx((output.extraction_loss + output.segmentation_loss).item())
    with pytest.raises(ValueError, match="dwi has shape"):
        model(**batch, dwi=torch.zeros(3, 32, 48))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"generator": False}, "extractor + segmentor WITHOUT true DWI"),
        ({"dwi_loss": False}, "extractor + generator + segmentor WITHOUT true DWI"),
    ],
)
def test_documented_modes_without_dwi(batch, settings, said, caplog):
    del batch["dwi"]
    model = small(**settings).train()
    type(modeling_egs_net.logger).warning_once.cache_clear()
    model.eval()(**batch)
    assert not caplog.records  # of no interest to who only uses the network
    model.train()(**batch).loss.backward()
    assert said in caplog.text
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.generated_features is None


def test_features_of_twins_can_collapse_and_that_is_seen():
    """Both networks gain from small features: with nothing else to learn the reported norms fall."""
    torch.manual_seed(0)
    settings = {"extraction_weight": 0.0, "dwi_weight": 0.0, "segmentation_weight": 0.0}
    model = small(**settings).train()
    images, dwi = torch.randn(2, 17, 32, 32), torch.randn(2, 1, 32, 32)
    labels = torch.zeros(2, 32, 32, dtype=torch.long)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    norms = []
    for _ in range(15):
        output = model(images, labels=labels, dwi=dwi)
        norms.append(output.true_feature_norm.item())
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert norms[-1] < 0.2 * norms[0]


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("num_channels", {"num_channels": 18}),
        ("channel_names", {"channel_names": ("a",) * 17}),
        ("extractor_channels", {"extractor_channels": ("ctp_11",)}),
        ("extractor_channels", {"extractor_channels": ()}),
        ("map_channels", {"map_channels": ("cbf", "cbf")}),
        ("base_width", {"base_width": 1}),
        ("se_reduction", {"se_reduction": 0}),
        ("normalization", {"normalization": "instance"}),
        ("perceptual", {"perceptual": "vgg"}),
        ("perceptual_widths", {"perceptual_widths": ()}),
        ("heat_map_decay", {"heat_map_decay": 0}),
        ("feature_weight", {"feature_weight": -1}),
    ],
)
def test_impossible_settings(field, settings):
    with pytest.raises(Exception, match=field):
        EGSNetConfig(**settings)


def toy_strokes(seed, size=4):
    """Frames and maps that are dark in the lesion and noisy, a DWI that is bright in it; 32x32 pixels."""
    generator = torch.Generator().manual_seed(seed)
    anatomy = F.interpolate(torch.randn(size, 1, 8, 8, generator=generator), size=(32, 32), mode="bilinear")
    labels = torch.zeros(size, 32, 32, dtype=torch.long)
    for mask, (row, column) in zip(labels, torch.randint(2, 18, (size, 2), generator=generator).tolist(), strict=True):
        mask[row : row + 10, column : column + 12] = 1
    lesion = labels[:, None].float()
    noise = torch.randn(size, 17, 32, 32, generator=generator)
    return {"pixel_values": anatomy - 1.5 * lesion + 0.3 * noise, "labels": labels, "dwi": 2 * lesion - 0.5 * anatomy}


def test_every_stage_learns():
    """Each part of the loss falls on new slices, and the generated DWI is like the true one.

    The gradient of the generated image's norm has the length of its weight whatever the image's size, that of a mean
    over pixels one over the root of their number: on 32x32 pixels the paper's 0.002 would be drowned.
    """
    model = small(base_width=8, perceptual_widths=(4, 4, 8, 8, 16), dwi_weight=0.1)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    unseen = toy_strokes(1000, size=8)
    with torch.no_grad():
        before = model.eval()(**unseen)
    model.train()
    for step in range(30):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1, (step + 1) / 20)
        model(**toy_strokes(step)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        after = model.eval()(**unseen)
    for part in ("extraction_loss", "dwi_loss", "feature_loss", "segmentation_loss"):
        assert after[part] < before[part], part
    images = torch.stack([after.generated_dwi.flatten(), unseen["dwi"].flatten()])
    assert torch.corrcoef(images)[0, 1] > 0.7
