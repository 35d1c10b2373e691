"""CLCI-Net against the paper: counts of every part, padding, gates, initialisation."""

import math

import numpy as np
import pytest
import torch

from hf_lesionseg.models.configuration_clci_net import CLCINetConfig
from hf_lesionseg.models.layers import ConvLSTM2d, SameConv2d
from hf_lesionseg.models.losses import batch_dice_loss
from hf_lesionseg.models.modeling_clci_net import CLCINetForSemanticSegmentation


@pytest.fixture(scope="module")
def paper():
    torch.manual_seed(0)
    return CLCINetForSemanticSegmentation(CLCINetConfig())


def count(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def test_totals(paper):
    assert count(paper) == 36_813_025
    statistics = sum(buffer.numel() for name, buffer in paper.named_buffers() if "running" in name)
    assert statistics == 25_280


ENCODER = [9_696, 184_704, 738_048, 2_950_656]
CROSS_LEVEL = [9_312, 55_680, 259_200, 1_108_992]
FUSION = [17_152, 99_840, 527_360, 2_627_584]
UP = [1_049_344, 131_456, 32_960, 8_288]
SKIP = [66_304, 16_768, 4_288, 1_120]
CONVLSTM = [4_719_616, 1_180_160, 295_168, 73_856]
DECODER = [1_181_184, 295_680, 74_112, 18_624]


def test_every_part(paper):
    assert [count(level.double_conv) for level in paper.encoder] == ENCODER
    assert [count(level.cross_level) for level in paper.encoder] == CROSS_LEVEL
    assert [count(level.fusion) for level in paper.encoder] == FUSION
    assert count(paper.bottleneck) == 11_799_552
    assert count(paper.pyramid.point, paper.pyramid.dilated, paper.pyramid.image) == 3_804_928
    assert count(paper.pyramid.cross_level) == 1_108_992
    assert count(paper.pyramid.fusion) == 2_362_368
    assert [count(level.up) for level in paper.decoder] == UP
    assert [count(level.skip) for level in paper.decoder] == SKIP
    assert [count(level.context) for level in paper.decoder] == CONVLSTM
    assert [count(level.double_conv) for level in paper.decoder] == DECODER
    assert count(paper.head) == 33


@pytest.mark.parametrize(
    ("flags", "parameters"),
    [
        ("", 7_854_849),
        ("aspp", 13_497_857),
        ("clf", 23_527_009),
        ("context_inference", 13_340_289),
        ("aspp clf", 31_327_585),
        ("aspp context_inference", 18_983_297),
        ("clf context_inference", 29_012_449),
    ],
)
def test_ablations(flags, parameters):
    chosen = {name: name in flags.split() for name in ("aspp", "clf", "context_inference")}
    with torch.device("meta"):
        model = CLCINetForSemanticSegmentation(CLCINetConfig(**chosen))
    assert count(model) == parameters


@pytest.mark.parametrize("flags", [{"aspp": False}, {"clf": False}, {"context_inference": False}])
def test_ablations_run(flags):
    model = CLCINetForSemanticSegmentation(CLCINetConfig(base_width=2, **flags))
    output = model(torch.rand(2, 1, 32, 32), labels=torch.ones(2, 32, 32, dtype=torch.long))
    output.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def tensorflow_same(image, kernel, stride):
    """Direct sum over TensorFlow's padded image, one output channel, in float64."""
    size, out = kernel.shape[-1], math.ceil(image.shape[0] / stride)
    total = max((out - 1) * stride + size - image.shape[0], 0)
    padded = np.pad(image, (total // 2, total - total // 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size))[::stride, ::stride]
    return (windows * kernel).sum(axis=(-2, -1))


@pytest.mark.parametrize("kernel_size", [2, 3])
@pytest.mark.parametrize("stride", [1, 2, 4, 8, 16])
def test_same_padding(kernel_size, stride):
    conv = SameConv2d(1, 1, kernel_size, stride=stride, bias=False).double()
    image = torch.randn(32, 32, dtype=torch.float64)
    expected = tensorflow_same(image.numpy(), conv.weight[0, 0].detach().numpy(), stride)
    np.testing.assert_allclose(conv(image[None, None])[0, 0].detach().numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gate_activation", ["hard_sigmoid", "sigmoid"])
def test_convlstm_against_the_equations(gate_activation):
    """Two steps in float64 numpy, with 1x1 feature maps so that the convolutions are matrix products."""
    filters, channels = 3, 2
    layer = ConvLSTM2d(channels, filters, gate_activation=gate_activation).double()
    steps = torch.randn(2, 1, channels, 1, 1, dtype=torch.float64) * 2
    weight = layer.input_conv.weight[:, :, 1, 1].detach().numpy()
    recurrent = layer.recurrent_conv.weight[:, :, 1, 1].detach().numpy()
    bias = layer.input_conv.bias.detach().numpy()

    def gate(x):
        return np.clip(0.2 * x + 0.5, 0, 1) if gate_activation == "hard_sigmoid" else 1 / (1 + np.exp(-x))

    hidden, cell = np.zeros(filters), np.zeros(filters)
    for step in steps[:, 0, :, 0, 0].numpy():
        i, f, c, o = np.split(weight @ step + bias + recurrent @ hidden, 4)
        cell = gate(f) * cell + gate(i) * np.tanh(c)
        hidden = gate(o) * np.tanh(cell)
    np.testing.assert_allclose(layer(*steps)[0, :, 0, 0].detach().numpy(), hidden, rtol=1e-10)


def test_context_runs_over_upsampled_then_skip():
    model = CLCINetForSemanticSegmentation(CLCINetConfig(base_width=2)).eval()
    level, seen = model.decoder[0], []
    level.context.register_forward_pre_hook(lambda _, steps: seen.extend(steps))
    features, skip = torch.rand(1, 64, 2, 2), torch.rand(1, 16, 4, 4)
    level(features, skip)
    upsampled = torch.nn.functional.interpolate(features, scale_factor=2)
    torch.testing.assert_close(seen[0], torch.nn.Sequential.forward(level.up, upsampled))
    torch.testing.assert_close(seen[1], level.skip(skip))


def test_strided_cross_level_convolutions_read_the_top_left_corner(paper):
    """Stride 16 on the finest level: pixels outside the 3x3 corner of each 16x16 cell change nothing."""
    conv = paper.encoder[3].cross_level[3][0]
    assert conv.stride == (16, 16)
    image = torch.rand(1, 32, 32, 32)
    other = torch.rand(1, 32, 32, 32)
    for row in (0, 16):
        for column in (0, 16):
            other[..., row : row + 3, column : column + 3] = image[..., row : row + 3, column : column + 3]
    assert torch.equal(conv(image), conv(other))


def test_fusion_order_is_latest_first_and_pooling_last(paper):
    """Silencing all but one source moves only its own input channels of the fusion convolution."""
    level, width = paper.encoder[1], 64
    seen = []
    hook = level.fusion.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    features, following = level.eval()(torch.rand(1, 256, 16, 16), torch.rand(1, 32, 32, 32))
    hook.remove()
    assert seen[0].shape[1] == 3 * width
    torch.testing.assert_close(seen[0][:, :width], level.cross_level[0](features))
    torch.testing.assert_close(seen[0][:, 2 * width :], level.pool(features))
    assert following.shape == (1, 512, 8, 8)


def test_initialisation(paper):
    conv = paper.bottleneck[1][0].weight  # 512 -> 512, 3x3
    std = math.sqrt(2 / (9 * 512))
    assert conv.std().item() == pytest.approx(std, rel=0.01)
    assert conv.abs().max() <= 2 * std / 0.8796 * 1.001  # truncated at two standard deviations of the parent normal
    context = paper.decoder[1].context
    rows = context.recurrent_conv.weight.flatten(1).double()  # 4 F rows of length 9 F
    torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows), dtype=torch.float64), rtol=0, atol=1e-5)
    filters = 128
    expected = torch.zeros(4 * filters)
    expected[filters : 2 * filters] = 1
    assert torch.equal(context.input_conv.bias, expected)
    norm = paper.encoder[0].double_conv[0][1]
    assert (norm.eps, norm.momentum) == (1e-3, 0.01)


def test_batch_dice_by_hand():
    probabilities = torch.tensor([[[0.5, 1.0]], [[0.0, 0.25]]])
    targets = torch.tensor([[[1, 1]], [[0, 1]]])
    # 2 * 1.75 + 1 = 4.5; 3 + (0.25 + 1 + 0 + 0.0625) + 1 = 5.3125
    assert batch_dice_loss(probabilities, targets).item() == pytest.approx(1 - 4.5 / 5.3125, abs=1e-7)
    # Over the whole batch, not the mean over images: that would be another number.
    assert batch_dice_loss(torch.zeros(2, 1, 2), torch.zeros(2, 1, 2)).item() == 0
