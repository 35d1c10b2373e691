"""The DenseUNet-167 against its paper and its authors' network: layers, parameters, dense connections, summed skips."""

import pytest
import torch
from torch.nn import functional as F

from hf_lesionseg.models.configuration_dense_unet import DenseUNetConfig
from hf_lesionseg.models.dense_blocks import DenseBlock, DenseNetEncoder
from hf_lesionseg.models.modeling_dense_unet import DenseUNetForSemanticSegmentation


def dense_unet(**settings):
    torch.manual_seed(0)
    small = {"base_width": 6, "growth_rate": 2, "block_layers": (1, 2, 3, 1)}
    return DenseUNetForSemanticSegmentation(DenseUNetConfig(**(small | settings))).eval()


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def encoder_parameters(channels):
    """(batch norm, convolution without bias) of DenseNet-161 in the order of its layers; with its widths."""
    total, width, widths = channels * 96 * 49 + 2 * 96, 96, [96]
    for block, layers in enumerate((6, 12, 36, 24)):
        if block:
            total += 2 * width + width * (width // 2)
            width //= 2
        for _ in range(layers):
            total += 2 * width + width * 192 + 2 * 192 + 192 * 48 * 9
            width += 48
        widths.append(width)
    return total + 2 * width, widths


def test_parameters_layer_by_layer():
    encoder, widths = encoder_parameters(1)
    assert widths == [96, 384, 768, 2112, 2208]
    decoder = 2112 * 2208 + 2208  # the first skip's 1x1 convolution
    for inputs, outputs in ((2208, 768), (768, 384), (384, 96), (96, 96), (96, 64)):
        decoder += inputs * outputs * 9 + outputs + 2 * outputs
    with torch.device("meta"):
        model = DenseUNetForSemanticSegmentation(DenseUNetConfig())
    assert count(model) == encoder + decoder + 64 + 1 == 49_518_305
    assert model.network.encoder.widths == tuple(widths)


def test_it_has_167_convolutions():
    with torch.device("meta"):
        model = DenseUNetForSemanticSegmentation(DenseUNetConfig())
    assert sum(isinstance(module, torch.nn.Conv2d) for module in model.modules()) == 167


def test_encoder_is_densenet_161():
    """The published DenseNet-161 has 28,681,000 parameters, 2208 x 1000 + 1000 of them in its classifier."""
    with torch.device("meta"):
        encoder = DenseNetEncoder(num_channels=3)
    assert count(encoder) == encoder_parameters(3)[0] == 28_681_000 - 2_209_000


def test_dense_block_by_hand():
    """Each layer: BN, ReLU, 1x1, BN, ReLU, 3x3, on its input and the maps of all layers before, in this order."""
    torch.manual_seed(0)
    block = DenseBlock(3, layers=3, growth_rate=2).double().eval()
    for module in block.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.3, 0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    features = torch.randn(2, 3, 5, 4, dtype=torch.float64)

    def normalised(maps, norm):
        mean, variance = norm.running_mean[:, None, None], norm.running_var[:, None, None]
        return ((maps - mean) / (variance + 1e-5).sqrt()).clamp(min=0)

    expected = features
    for layer in block.layers:
        first, _, reduce, second, _, grow, _ = layer.layers
        maps = F.conv2d(normalised(expected, first), reduce.weight)
        maps = F.conv2d(normalised(maps, second), grow.weight, padding=1)
        expected = torch.cat([expected, maps], dim=1)
    assert block.out_channels == expected.shape[1] == 9
    torch.testing.assert_close(block(features), expected)


def test_decoder_adds_the_blocks_maps():
    """Each level sees twice its input plus the skip: first through a 1x1 convolution, last without one."""
    model = dense_unet()
    images = torch.rand(2, 1, 64, 96)
    output = model(images, output_hidden_states=True)
    maps, levels = output.hidden_states[:5], output.hidden_states[5:]
    seen = []
    for level in model.network.decoder:
        level.layers[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model(images)
    skips = [model.network.decoder[0].line(maps[3]), maps[2], maps[1], maps[0], 0]
    for below, skip, given in zip((maps[4], *levels), skips, seen, strict=False):
        upsampled = below.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        torch.testing.assert_close(given, upsampled + skip)
    assert [tuple(level.shape[1:]) for level in levels] == [
        (8, 4, 6), (8, 8, 12), (6, 16, 24), (6, 32, 48), (4, 64, 96),
    ]  # fmt: skip
    torch.testing.assert_close(output.logits, model.network.head(levels[-1]))


def test_encoder_hands_on_blocks_before_their_transition():
    encoder, images = dense_unet().network.encoder, torch.rand(1, 1, 64, 64)
    maps = encoder(images)
    features = F.max_pool2d(F.pad(maps[0], (1, 1, 1, 1)), 3, stride=2)  # behind a ReLU zeros are a padding of nothing
    for index in range(3):
        torch.testing.assert_close(maps[index + 1], encoder.blocks[index](features))
        norm, _, conv, _ = encoder.transitions[index].layers
        features = F.avg_pool2d(F.conv2d(norm(maps[index + 1]).relu(), conv.weight), 2)
        assert conv.out_channels == conv.in_channels // 2
    torch.testing.assert_close(maps[4], encoder.norm[0](encoder.blocks[3](features)).relu())


def test_only_the_last_level_drops():
    assert [level.layers[1].p for level in dense_unet().network.decoder] == [0, 0, 0, 0, 0.3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"growth_rate": 0}, "growth_rate is 0"),
        ({"block_layers": (6, 12, 24)}, "layers of four blocks"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(Exception, match=message):
        DenseUNetConfig(**settings)
