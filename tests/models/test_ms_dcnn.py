"""MS-DCNN against the paper: layers, parameters, paths, dropout, loss."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hf_lesionseg.models.configuration_ms_dcnn import MSDCNNConfig
from hf_lesionseg.models.dense_blocks import DenseBlock
from hf_lesionseg.models.losses import batch_dice_loss
from hf_lesionseg.models.modeling_ms_dcnn import (
    MSDCNNForSemanticSegmentation,
    MSDCNNTransition,
)

SMALL = {"base_width": 4, "growth_rate": 2, "block_layers": (1, 2, 1, 1), "up_widths": (8, 4, 4, 4)}


def on_meta(**settings):
    with torch.device("meta"):
        return MSDCNNForSemanticSegmentation(MSDCNNConfig(**settings))


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def convolutions(module):
    return sum(isinstance(part, nn.Conv2d) for part in module.modules())


def small(**settings):
    torch.manual_seed(0)
    return MSDCNNForSemanticSegmentation(MSDCNNConfig(**(SMALL | settings)))


def test_layers_and_parameters_of_the_paper():
    """123 layers along either path (papers.md 4.1)."""
    model = on_meta()
    assert [convolutions(path) for path in model.network.paths] == [121, 121]
    assert convolutions(model) == 244
    assert convolutions(model) - convolutions(model.network.paths) == 2
    assert count(model) == 37_125_889
    assert [count(path) for path in model.network.paths] == [18_530_432, 18_521_600]
    with_bias = [name for name, part in model.named_modules() if isinstance(part, nn.Conv2d) and part.bias is not None]
    assert with_bias == ["network.merge.0", "network.head"]


@pytest.mark.parametrize(
    ("settings", "parameters", "along_a_path"),
    [
        ({"compression": 0.5}, 25_778_433, 126),
        ({"bottleneck": False}, None, 65),
        ({"kernel_layout": "both-in-each-path"}, 37_125_889 - 3 * 32 * 40 + 1 * 32 * 40, 124),
    ],
)
def test_options(settings, parameters, along_a_path):
    """Half of each stem's 64 kernels change their area: 40 pixels less in the path of 3 channels, more in the other."""
    model = on_meta(**settings)
    assert convolutions(model.network.paths[0]) + 2 == along_a_path
    if parameters is not None:
        assert count(model) == parameters


@pytest.mark.parametrize(
    "settings", [{"compression": 0.5}, {"bottleneck": False}, {"kernel_layout": "both-in-each-path", "base_width": 5}]
)
def test_options_run(settings):
    model = small(**settings).train()
    output = model(torch.rand(2, 4, 32, 32), labels=torch.ones(2, 32, 32, dtype=torch.long))
    output.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_sizes_along_a_path():
    model = on_meta(kernel_sizes=(7, 3)).eval()
    assert [conv.kernel_size for path in model.network.paths for conv in path.stem.convs] == [(7, 7), (3, 3)]
    with torch.device("meta"):
        levels = model.network.paths[0](torch.empty(1, 3, 160, 160))
    shapes = [(level.shape[1], level.shape[2]) for level in levels]
    down = [(64, 160), (256, 80), (640, 40), (1408, 20), (1920, 10)]
    assert shapes == [*down, (256, 20), (128, 40), (64, 80), (64, 160)]


def test_each_path_sees_its_own_maps():
    """Tmax, CBF and CBV in the first path, MTT alone in the second."""
    model = small().eval()
    images = torch.rand(1, 4, 32, 32, requires_grad=True)
    for path in (0, 1):
        hidden = model(images, output_hidden_states=True).hidden_states
        (gradient,) = torch.autograd.grad(hidden[len(hidden) // 2 * path].sum(), images)
        reached = gradient.abs().sum(dim=(0, 2, 3)) > 0
        assert reached.tolist() == ([True, True, True, False] if path == 0 else [False, False, False, True])


def test_dropout_of_each_path():
    model = small(block_layers=(6, 12, 24, 16))
    for path, share in zip(model.network.paths, (0.01, 0.5), strict=True):
        shares = [part.p for part in path.modules() if isinstance(part, nn.Dropout)]
        assert shares == [share] * (6 + 12 + 24 + 16 + 3)
    assert MSDCNNConfig(dropout=0.2).path_dropout == (0.2, 0.2)


def test_transition_is_norm_relu_and_average():
    """In evaluation with the statistics of a new network: the mean of relu(x) over 2x2 pixels, in numpy."""
    images = torch.randn(2, 3, 4, 6)
    expected = np.maximum(images.numpy(), 0).reshape(2, 3, 2, 2, 3, 2).mean(axis=(3, 5)) / np.sqrt(1 + 1e-5)
    found = MSDCNNTransition(3, None, dropout=0.5).eval()(images)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_dense_block_concatenates_all_before():
    torch.manual_seed(0)
    block = DenseBlock(3, layers=2, growth_rate=2, bottleneck=False).eval()
    images = torch.randn(1, 3, 5, 5)
    scale = (1 + 1e-5) ** -0.5
    first = F.conv2d(torch.relu(images * scale), block.layers[0].layers[2].weight, padding=1)
    joined = torch.cat([images, first], dim=1)
    second = F.conv2d(torch.relu(joined * scale), block.layers[1].layers[2].weight, padding=1)
    torch.testing.assert_close(block(images), torch.cat([images, first, second], dim=1))
    assert block.out_channels == 7


def test_loss_by_hand():
    """Eq. 4: overlap 0.5 + 0.25, sums 2 and 1.25."""
    probabilities = torch.tensor([[[0.5, 0.25], [0.5, 0.0]]])
    targets = torch.tensor([[[1, 1], [0, 0]]])
    found = batch_dice_loss(probabilities, targets, smooth=0.0, squared=False)
    assert found.item() == pytest.approx(1 - 1.5 / 3.25)
    with_smooth = batch_dice_loss(probabilities, targets, smooth=1e-5, squared=False)
    assert with_smooth.item() == pytest.approx(1 - 1.50001 / 3.25001)


@pytest.mark.parametrize("bce_weight", [0, 1])
def test_loss_of_the_network(bce_weight):
    model = small(loss_settings={"bce_weight": bce_weight}).eval()
    labels = torch.zeros(2, 20, 24, dtype=torch.long)
    labels[0, 3:9, 5:11] = 1
    output = model(torch.rand(2, 4, 20, 24), labels=labels)
    logits, truth = output.logits[:, 0].detach().double().numpy(), labels.numpy()
    p = 1 / (1 + np.exp(-logits))
    expected = 1 - (2 * (p * truth).sum() + 1e-5) / (p.sum() + truth.sum() + 1e-5)
    if bce_weight:
        expected -= (truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean()
    assert output.loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("first_path_channels", 4),
        ("block_layers", ()),
        ("up_widths", (8, 4)),
        ("compression", 1.5),
        ("kernel_sizes", (7, 4)),
        ("kernel_layout", "dual"),
        ("dropout", (0.1, 1.0)),
        ("dropout", (0.1,)),
        ("loss", "dice-bce"),
        ("loss_settings", {"smooth": 0}),
    ],
)
def test_impossible_settings(field, value):
    with pytest.raises(Exception, match=field):
        MSDCNNConfig(**{field: value})
