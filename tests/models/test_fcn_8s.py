"""The FCN-8s on VGG16 against its papers: layer by layer parameters, wiring."""

import pytest
import torch
from torch.nn import functional as F

from hf_lesionseg.models.configuration_fcn_8s import FCN8sConfig
from hf_lesionseg.models.fully_convolutional import VGG16Encoder
from hf_lesionseg.models.modeling_fcn_8s import FCN8sForSemanticSegmentation


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def conv(inputs, outputs, kernel):
    return inputs * outputs * kernel**2 + outputs


@pytest.mark.parametrize(("channels", "parameters"), [(1, 134_264_259), (3, 134_265_411)])
def test_parameters_layer_by_layer(channels, parameters):
    """VGG16's published 138,357,544 are its 13 convolutions, fc6, fc7 and fc8 of 1000 classes."""
    widths = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
    convolutions = sum(conv(*pair, 3) for pair in zip((channels, *widths), widths, strict=False))
    classifier = conv(512, 4096, 7) + conv(4096, 4096, 1)
    scores = sum(conv(width, 1, 1) for width in (256, 512, 4096))
    with torch.device("meta"):
        model = FCN8sForSemanticSegmentation(FCN8sConfig(num_channels=channels))
    assert count(model) == convolutions + classifier + scores == parameters
    if channels == 3:
        assert count(model.network.encoder) + conv(4096, 1000, 1) == 138_357_544


def test_batch_norm_adds_its_parameters():
    with torch.device("meta"):
        plain, normalised = (FCN8sForSemanticSegmentation(FCN8sConfig(batch_norm=choice)) for choice in (False, True))
    assert count(normalised) - count(plain) == 2 * (2 * 64 + 2 * 128 + 3 * 256 + 6 * 512)


def test_encoder_by_hand():
    """Convolutions and ReLU in stages of 2, 2, 3, 3, 3, pooled after each; fc6 sees 7x7 of the last, fc7 one pixel."""
    torch.manual_seed(0)
    encoder = VGG16Encoder(num_channels=1, base_width=2).eval()
    images = torch.rand(2, 1, 64, 96)
    maps, weights = [], [module for module in encoder.modules() if isinstance(module, torch.nn.Conv2d)]
    features = images
    for stage in (2, 2, 3, 3, 3):
        for _ in range(stage):
            layer = weights.pop(0)
            features = F.conv2d(features, layer.weight, layer.bias, padding=1).relu()
        features = F.max_pool2d(features, 2)
        maps.append(features)
    fc6, fc7 = weights
    assert (fc6.kernel_size, fc7.kernel_size) == ((7, 7), (1, 1))
    maps[-1] = F.conv2d(F.conv2d(maps[-1], fc6.weight, fc6.bias, padding=3).relu(), fc7.weight, fc7.bias).relu()
    found = encoder(images)
    assert [tuple(level.shape[1:]) for level in found] == [
        (2, 32, 48), (4, 16, 24), (8, 8, 12), (16, 4, 6), (128, 2, 3),
    ]  # fmt: skip
    for level, expected in zip(found, maps, strict=True):
        torch.testing.assert_close(level, expected)


def test_scores_of_pool3_pool4_and_fc7_are_summed():
    torch.manual_seed(0)
    model = FCN8sForSemanticSegmentation(FCN8sConfig(base_width=2)).eval()
    network, images = model.network, torch.rand(1, 1, 64, 96)
    total = None
    for score, level in reversed(list(zip(network.decoder.scores, network.encoder(images)[2:], strict=True))):
        here = F.conv2d(level, score.weight, score.bias)
        total = here if total is None else F.interpolate(total, scale_factor=2, mode="bilinear") + here
    torch.testing.assert_close(model(images).logits, F.interpolate(total, scale_factor=8, mode="bilinear"))


def test_both_layers_of_the_classifier_drop():
    encoder = VGG16Encoder(base_width=2, dropout=0.5).train()
    torch.nn.init.ones_(encoder.classifier.fc7.bias)
    torch.nn.init.zeros_(encoder.classifier.fc7.weight)
    fc7 = encoder(torch.rand(1, 3, 64, 64))[-1]
    assert set(fc7.unique().tolist()) == {0.0, 2.0}
