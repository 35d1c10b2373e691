"""The U-Nets on ATLAS against the papers: parameter counts, blocks, wiring."""

import pytest
import torch
from torch.nn import functional as F

from hf_lesionseg.models.configuration_res_unet import ResUNetConfig
from hf_lesionseg.models.configuration_unet_bn import UNetBNConfig
from hf_lesionseg.models.modeling_res_unet import ResidualBlock, ResUNetForSemanticSegmentation
from hf_lesionseg.models.modeling_unet_bn import UNetBNForSemanticSegmentation
from hf_lesionseg.models.unet_levels import NearestUp

BLOCKS = ("residual", "residual-full-resolution", "plain")


def res_unet(**settings):
    torch.manual_seed(0)
    return ResUNetForSemanticSegmentation(ResUNetConfig(**({"base_width": 4} | settings))).eval()


def unet_bn(**settings):
    torch.manual_seed(0)
    return UNetBNForSemanticSegmentation(UNetBNConfig(**({"base_width": 4} | settings))).eval()


def count(tensors):
    return sum(tensor.numel() for tensor in tensors)


@pytest.mark.parametrize(
    ("block", "parameters"),
    [("plain", 7_765_409), ("residual", 7_412_929), ("residual-full-resolution", 7_940_513)],
)
def test_res_unet_has_the_papers_parameters(block, parameters):
    with torch.device("meta"):
        model = ResUNetForSemanticSegmentation(ResUNetConfig(encoder_block=block))
    assert count(model.parameters()) == parameters


def by_arithmetic(encoder="plain", width=32):
    """Weights and biases layer by layer: 3x3 convolutions, batch norm, 2x2 transposed convolutions, a head."""

    def conv(taken, given, size=3):
        return size * size * taken * given + given

    def block(taken, given):
        return conv(taken, given) + conv(given, given) + 2 * 2 * given  # two of batch norm

    def residual(taken, given):
        return conv(taken, given) + conv(given, given) + conv(taken, given, size=1) + 2 * 2 * given

    widths = [width * 2**level for level in range(5)]
    taken = [1, *widths[:-1]]
    if encoder == "plain":
        down, skips = sum(map(block, taken, widths)), widths[:-1]
    elif encoder == "residual":  # four halve the size, then a plain one of the deepest width; skips are their inputs
        down = sum(map(residual, taken[:4], widths[:4])) + block(widths[3], widths[4])
        skips = taken[:4]
    else:
        down, skips = sum(map(residual, taken, widths)), widths[:-1]
    # From 512 maps at 1/16: each level halves the maps of what comes from below and takes in its skip.
    up = sum(
        conv(2 * given, given, size=2) + block(given + skip, given)
        for given, skip in zip(widths[:4], skips, strict=True)
    )
    return down + up + conv(width, 1, size=1)


@pytest.mark.parametrize("width", [32, 8])
@pytest.mark.parametrize("block", ["plain", "residual", "residual-full-resolution"])
def test_res_unet_layer_by_layer(block, width):
    with torch.device("meta"):
        model = ResUNetForSemanticSegmentation(ResUNetConfig(encoder_block=block, base_width=width))
    assert count(model.parameters()) == by_arithmetic(block, width)


def test_unet_bn_has_the_papers_parameters():
    with torch.device("meta"):
        model = UNetBNForSemanticSegmentation(UNetBNConfig())
    statistics = [buffer for name, buffer in model.named_buffers() if "running" in name]
    assert count(model.parameters()) == 7_765_409 == by_arithmetic()
    assert count(model.parameters()) + count(statistics) == 7_771_297


@pytest.mark.parametrize("stride", [1, 2])
def test_residual_block_by_the_formula(stride):
    """BN(relu(BN(conv(conv x))) + conv1x1 x), float64, with the padding of TensorFlow written out."""
    torch.manual_seed(0)
    block = ResidualBlock(3, 5, stride=stride, eps=1e-3, momentum=0.01).double().eval()
    for norm in (block.norm, block.second[1]):
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            torch.nn.init.uniform_(tensor, 0.5, 1.5)
    images = torch.randn(2, 3, 8, 6, dtype=torch.float64)

    def normalised(maps, norm):
        scale, shift, mean, variance = (
            tensor[:, None, None] for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        )
        return (maps - mean) / (variance + 1e-3).sqrt() * scale + shift

    around = (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1)  # left, right, above, below
    main = F.conv2d(F.pad(images, around), block.first.weight, block.first.bias, stride=stride)
    main = F.conv2d(main, block.second[0].weight, block.second[0].bias, padding=1)
    main = normalised(main, block.second[1]).clamp(min=0)
    shortcut = F.conv2d(images[..., ::stride, ::stride], block.shortcut.weight, block.shortcut.bias)
    torch.testing.assert_close(block(images), normalised(main + shortcut, block.norm))
    assert block(images).min() < 0  # no activation after the addition
    assert block.train().dropout.p == 0.5


@pytest.mark.parametrize("block", BLOCKS)
def test_skips_are_where_the_paper_has_them(block):
    """The literal reading hands each residual block's input on, so at last the image; the others each output."""
    network = res_unet(encoder_block=block).network
    inputs, outputs, skips = [], [], []

    def keep(_, given, found):
        inputs.append(given[0])
        outputs.append(found)

    for level in network.encoder:
        level.register_forward_hook(keep)
    for level in network.decoder:
        level.register_forward_pre_hook(lambda _, given: skips.append(given[1]))
    images = torch.rand(1, 1, 32, 48)
    network(images)
    wanted = inputs if block == "residual" else outputs
    assert all(skip is kept for skip, kept in zip(skips, reversed(wanted), strict=True))
    assert [tuple(skip.shape[2:]) for skip in skips] == [(4, 6), (8, 12), (16, 24), (32, 48)]
    if block == "residual":
        assert skips[-1] is images
        assert [tuple(found.shape[1:]) for found in outputs] == [(4, 16, 24), (8, 8, 12), (16, 4, 6), (32, 2, 3)]


def test_unet_bn_by_hand():
    """Level by level from the module's own weights: pooling, [skip, up], nearest neighbours and a 2x2 convolution."""
    model = unet_bn()
    network, images = model.network, torch.rand(2, 1, 32, 48)
    levels, following = [], images
    for block in network.encoder:
        levels.append(block(following))
        following = F.max_pool2d(levels[-1], 2)
    features = network.bottleneck(following)
    for level, skip in zip(network.decoder, reversed(levels), strict=True):
        finer = features.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        up = F.conv2d(F.pad(finer, (0, 1, 0, 1)), level.up.conv.weight, level.up.conv.bias).relu()
        features = level.double_conv.convs(torch.cat([skip, up], dim=1))
    logits = F.conv2d(features, network.head.weight, network.head.bias)
    torch.testing.assert_close(model(images).logits, logits)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in NearestUp(4, 2).modules())


def test_unet_bn_drops_after_the_two_deepest_levels():
    network = unet_bn().network
    assert [block.dropout.p for block in network.encoder] == [0, 0, 0, 0.3]
    assert network.bottleneck.dropout.p == 0.3
    assert [level.double_conv.dropout.p for level in network.decoder] == [0] * 4


@pytest.mark.parametrize("kernel_size", [2, 3, 4])
@pytest.mark.parametrize("block", BLOCKS)
def test_any_kernel_doubles_the_resolution(block, kernel_size):
    model = res_unet(encoder_block=block, up_kernel_size=kernel_size)
    assert model(torch.rand(1, 1, 40, 16)).logits.shape == (1, 1, 40, 16)


def test_transposed_convolutions_keep_the_spread():
    """He normal for the taps that one output pixel sees, so that deep decoders neither fade nor blow up."""
    up = res_unet(base_width=32).network.decoder[0].up
    assert up.weight.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.02)
    assert up.bias.abs().max() == 0


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (ResUNetConfig, {"encoder_block": "dense"}, "encoder_block is 'dense'; use one of 'residual'"),
        (ResUNetConfig, {"up_kernel_size": 5}, "up_kernel_size is 5"),
        (ResUNetConfig, {"dropout": 1}, "dropout is 1"),
        (UNetBNConfig, {"dropout": -0.1}, "dropout is -0.1"),
        (UNetBNConfig, {"loss": "mse"}, "loss is 'mse'"),
    ],
)
def test_impossible_settings_are_refused(config, settings, message):
    with pytest.raises(Exception, match=message):
        config(**settings)
