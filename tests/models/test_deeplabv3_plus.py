"""DeepLabv3+ against its paper: layer by layer parameters, the pyramid's reach, the decoder."""

import pytest
import torch
from torch.nn import functional as F

from hf_lesionseg.models.configuration_deeplabv3_plus import DeepLabV3PlusConfig
from hf_lesionseg.models.context_pooling import AtrousPyramid
from hf_lesionseg.models.modeling_deeplabv3_plus import DeepLabV3PlusForSemanticSegmentation


def deeplab(**settings):
    torch.manual_seed(0)
    return DeepLabV3PlusForSemanticSegmentation(
        DeepLabV3PlusConfig(**({"depth": 10, "base_width": 4} | settings))
    ).eval()


def normalised(inputs, outputs, kernel):
    """Convolution without bias, batch norm."""
    return inputs * outputs * kernel**2 + 2 * outputs


def test_parameters_layer_by_layer():
    """ResNet-101: stages of 3, 4, 23 and 3 bottlenecks, the first of each with a 1x1 shortcut."""
    encoder, inputs = normalised(1, 64, 7), 64
    for blocks, width in ((3, 64), (4, 128), (23, 256), (3, 512)):
        encoder += normalised(inputs, 4 * width, 1)
        for _ in range(blocks):
            encoder += normalised(inputs, width, 1) + normalised(width, width, 3) + normalised(width, 4 * width, 1)
            inputs = 4 * width
    pyramid = 2 * normalised(2048, 256, 1) + 3 * normalised(2048, 256, 3) + normalised(5 * 256, 256, 1)
    decoder = normalised(256, 48, 1) + normalised(256 + 48, 256, 3) + normalised(256, 256, 3)
    with torch.device("meta"):
        model = DeepLabV3PlusForSemanticSegmentation(DeepLabV3PlusConfig())
    found = sum(parameter.numel() for parameter in model.parameters())
    assert found == encoder + pyramid + decoder + 256 + 1 == 59_332_897


def test_pyramid_reads_as_far_as_its_dilations():
    """One bright pixel reaches, through the 3x3 branches, just the pixels 6, 12 and 18 away in rows and columns."""
    pyramid = AtrousPyramid(1, 1).eval()
    pixel = torch.zeros(1, 1, 41, 41)
    pixel[0, 0, 20, 20] = 1
    for branch, rate in zip(pyramid.dilated, (6, 12, 18), strict=True):
        torch.nn.init.ones_(branch[0].weight)
        reached = branch(pixel)[0, 0].nonzero() - 20
        assert set(map(tuple, reached.tolist())) == {
            (row, column) for row in (-rate, 0, rate) for column in (-rate, 0, rate)
        }
    torch.nn.init.ones_(pyramid.image[0].weight)
    image = pyramid.image[0](pixel.mean((2, 3), keepdim=True))
    assert image.item() == pytest.approx(1 / 41**2)


def test_pyramid_concatenates_point_dilated_and_image():
    torch.manual_seed(0)
    pyramid, features = AtrousPyramid(6, 4).eval(), torch.rand(2, 6, 9, 7)
    norm = 1 / (1 + 1e-5) ** 0.5  # fresh batch norm
    scales = [F.conv2d(features, pyramid.point[0].weight)]
    scales += [
        F.conv2d(features, branch[0].weight, padding=rate, dilation=rate)
        for branch, rate in zip(pyramid.dilated, (6, 12, 18), strict=True)
    ]
    scales.append(F.conv2d(features.mean((2, 3), keepdim=True), pyramid.image[0].weight).expand(-1, -1, 9, 7))
    fused = F.conv2d(torch.cat([norm * scale.relu() for scale in scales], 1), pyramid.fusion[0].weight)
    torch.testing.assert_close(pyramid(features), norm * fused.relu())


@pytest.mark.parametrize("output_stride", [16, 8])
def test_decoder_joins_the_quarter_resolution(output_stride):
    model = deeplab(output_stride=output_stride)
    images = torch.rand(2, 1, 64, 96)
    output = model(images, output_hidden_states=True)
    *maps, pooled, decoded = output.hidden_states
    assert pooled.shape == (2, 16, 64 // output_stride, 96 // output_stride)
    assert maps[1].shape == (2, 4, 16, 24)
    decoder, norm = model.network.decoder, 1 / (1 + 1e-5) ** 0.5
    skip = norm * F.conv2d(maps[1], decoder.reduce[0].weight).relu()
    assert skip.shape[1] == 3  # 48 of 64
    expected = torch.cat([F.interpolate(pooled, size=(16, 24), mode="bilinear"), skip], 1)
    for conv, _, _ in decoder.fuse:
        expected = norm * F.conv2d(expected, conv.weight, padding=1).relu()
    torch.testing.assert_close(decoded, expected)
    logits = F.interpolate(model.network.head(expected), scale_factor=4, mode="bilinear")
    torch.testing.assert_close(output.logits, logits)


def test_half_the_output_stride_doubles_the_dilations():
    rates = [
        [branch[0].dilation[0] for branch in deeplab(output_stride=stride).network.pyramid.dilated]
        for stride in (16, 8)
    ]
    assert rates == [[6, 12, 18], [12, 24, 36]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 19}, "depth is 19"),
        ({"output_stride": 32}, "output_stride is 32; use one of 16, 8"),
        ({"aspp_dilations": [0]}, "aspp_dilations is"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(Exception, match=message):
        DeepLabV3PlusConfig(**settings)
