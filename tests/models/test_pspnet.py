"""PSPNet against its paper: layer by layer parameters, the pyramid, both heads, weights of a published ResNet."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import ResNetConfig, ResNetForImageClassification

from hf_lesionseg.models.configuration_pspnet import PSPNetConfig
from hf_lesionseg.models.context_pooling import PyramidPooling
from hf_lesionseg.models.modeling_pspnet import PSPNetForSemanticSegmentation
from hf_lesionseg.models.resnet_encoder import load_resnet_weights


def pspnet(**settings):
    torch.manual_seed(0)
    return PSPNetForSemanticSegmentation(PSPNetConfig(**({"depth": 10, "base_width": 4} | settings)))


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def normalised(inputs, outputs, kernel):
    """Convolution without bias, batch norm."""
    return inputs * outputs * kernel**2 + 2 * outputs


def resnet(channels, layers):
    total, inputs = normalised(channels, 64, 7), 64
    for number, width in zip(layers, (64, 128, 256, 512), strict=True):
        total += normalised(inputs, 4 * width, 1)  # the shortcut of the stage's first block
        for _ in range(number):
            total += normalised(inputs, width, 1) + normalised(width, width, 3) + normalised(width, 4 * width, 1)
            inputs = 4 * width
    return total


@pytest.mark.parametrize(("depth", "layers"), [(50, (3, 4, 6, 3)), (101, (3, 4, 23, 3))])
def test_parameters_layer_by_layer(depth, layers):
    pyramid = 4 * normalised(2048, 512, 1) + normalised(2048 + 4 * 512, 512, 3)
    head, auxiliary = 512 + 1, normalised(1024, 256, 3) + 256 + 1
    with torch.device("meta"):
        model, without = (
            PSPNetForSemanticSegmentation(PSPNetConfig(depth=depth, auxiliary_weight=weight)) for weight in (0.4, 0)
        )
    assert count(model) == resnet(1, layers) + pyramid + head + auxiliary
    assert count(model) - count(without) == auxiliary == 2_360_065
    if depth == 50:
        assert count(model) == 48_936_130


def test_pyramid_by_hand():
    """Averages of whole blocks, each through its 1x1 convolution, in the order of the bins behind the map itself."""
    torch.manual_seed(0)
    pyramid = PyramidPooling(8, 5).double().eval()
    for branch in pyramid.branches:
        torch.nn.init.uniform_(branch[1].running_mean, -0.2, 0.2)
    features = torch.randn(2, 8, 12, 6, dtype=torch.float64)
    scales = [features]
    for side, branch in zip((1, 2, 3, 6), pyramid.branches, strict=True):
        blocks = features.numpy().reshape(2, 8, side, 12 // side, side, 6 // side).mean((3, 5))
        pooled = np.einsum("oi,bihw->bohw", branch[0].weight.detach().numpy()[:, :, 0, 0], blocks)
        mean, variance = branch[1].running_mean.numpy(), branch[1].running_var.numpy()
        pooled = (pooled - mean[:, None, None]) / np.sqrt(variance + 1e-5)[:, None, None]
        scales.append(F.interpolate(torch.from_numpy(pooled.clip(0)), size=(12, 6), mode="bilinear"))
    fusion = pyramid.fusion
    expected = fusion[1](F.conv2d(torch.cat(scales, 1), fusion[0].weight, padding=1)).relu()
    torch.testing.assert_close(pyramid(features), expected)


def test_loss_has_the_auxiliary_head_in_training_only():
    model = pspnet(dropout=0.0, auxiliary_weight=0.4).train()
    images, labels = torch.rand(2, 1, 48, 32), torch.randint(2, (2, 48, 32))

    def dice_loss(logits):
        p, y = logits.sigmoid()[:, 0], labels
        return 1 - (2 * (y * p).sum() + 1) / ((y * y).sum() + (p * p).sum() + 1)

    output = model(images, labels=labels, output_hidden_states=True)
    third = output.hidden_states[3]
    assert third.shape == (2, 16, 6, 4)  # 1/8, where without dilation it would be 1/16
    auxiliary = F.interpolate(model.network.auxiliary(third), scale_factor=8, mode="bilinear")
    torch.testing.assert_close(output.loss, dice_loss(output.logits) + 0.4 * dice_loss(auxiliary))
    output = model.eval()(images, labels=labels)
    torch.testing.assert_close(output.loss, dice_loss(output.logits))


def test_starts_from_a_published_resnet(tmp_path):
    config = ResNetConfig(
        embedding_size=4, hidden_sizes=[16, 32, 64, 128], depths=[3, 4, 6, 3], layer_type="bottleneck"
    )
    published = ResNetForImageClassification(config)
    published.save_pretrained(tmp_path)
    model = pspnet(depth=50)
    load_resnet_weights(model.network.encoder, str(tmp_path))
    own = model.network.encoder.resnet.state_dict()
    name = "encoder.stages.3.layers.2.layer.1.convolution.weight"
    assert torch.equal(own[name], published.resnet.state_dict()[name])
    assert [layer.layer[1].convolution.dilation for layer in model.network.encoder.resnet.encoder.stages[3].layers] == [
        (2, 2), (4, 4), (4, 4),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 19}, "depth is 19"),
        ({"bins": []}, "bins is"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"auxiliary_weight": -1}, "auxiliary_weight is -1"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(Exception, match=message):
        PSPNetConfig(**settings)
