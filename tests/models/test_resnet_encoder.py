"""The ResNet encoder against transformers' own networks, and weights of such networks into it."""

import pytest
import torch
from transformers import ResNetConfig, ResNetForImageClassification, ResNetModel

from hf_lesionseg.models.resnet_encoder import ResNetEncoder, load_resnet_weights

# What config.json of the published networks says, but for the width.
PUBLISHED = {
    18: {"layer_type": "basic", "depths": [2, 2, 2, 2], "hidden_sizes": [1, 2, 4, 8]},
    34: {"layer_type": "basic", "depths": [3, 4, 6, 3], "hidden_sizes": [1, 2, 4, 8]},
    50: {"layer_type": "bottleneck", "depths": [3, 4, 6, 3], "hidden_sizes": [4, 8, 16, 32]},
}


def published_config(depth, base_width):
    settings = PUBLISHED[depth]
    widths = [base_width * multiple for multiple in settings["hidden_sizes"]]
    return ResNetConfig(**(settings | {"hidden_sizes": widths}), embedding_size=base_width, num_labels=10)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Folders as ``microsoft/resnet-<depth>`` would be, narrow, with random weights and statistics."""
    folders = {}
    for depth in PUBLISHED:
        torch.manual_seed(depth)
        model = ResNetForImageClassification(published_config(depth, base_width=4))
        for name, buffer in model.named_buffers():
            if "running_mean" in name:
                buffer.uniform_(-0.5, 0.5)  # around 0: means above all values would leave nothing after the ReLU
            elif "running_var" in name:
                buffer.uniform_(0.5, 1.5)
        folders[depth] = tmp_path_factory.mktemp(f"resnet-{depth}")
        model.save_pretrained(folders[depth])
    return folders


@pytest.mark.parametrize(
    ("depth", "parameters", "widths"),
    [
        (10, 4_905_792, (64, 64, 128, 256, 512)),
        (18, 11_176_512, (64, 64, 128, 256, 512)),
        (34, 21_284_672, (64, 64, 128, 256, 512)),
        (50, 23_508_032, (64, 256, 512, 1024, 2048)),
        (101, 42_500_160, (64, 256, 512, 1024, 2048)),
    ],
)
def test_full_size(depth, parameters, widths):
    with torch.device("meta"):
        encoder = ResNetEncoder(depth)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == parameters
    assert encoder.widths == widths


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_published_weights_give_the_features_of_their_own_network(published, depth):
    encoder = ResNetEncoder(depth, base_width=4).eval()
    load_resnet_weights(encoder, str(published[depth]))
    own = ResNetForImageClassification.from_pretrained(published[depth]).eval().resnet
    images = torch.rand(2, 3, 64, 96)
    maps = encoder(images)
    expected = own(images, output_hidden_states=True).hidden_states
    assert [tuple(found.shape[2:]) for found in maps] == [(64 >> step, 96 >> step) for step in range(1, 6)]
    assert tuple(found.shape[1] for found in maps) == encoder.widths
    assert torch.equal(maps[0], own.embedder.embedder(images))
    for found, hidden in zip(maps[1:], expected[1:], strict=True):
        assert torch.equal(found, hidden)
        assert found.std() > 0.1


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("output_stride", [16, 8])
def test_dilation_computes_the_same_between_more_pixels(published, depth, output_stride):
    """Every second pixel (fourth, of the last stage at stride 8) is what the network with strides has there."""
    strided, dilated = (
        ResNetEncoder(depth, base_width=4, output_stride=stride).eval() for stride in (32, output_stride)
    )
    for encoder in (strided, dilated):
        load_resnet_weights(encoder, str(published[depth]))
    images = torch.rand(2, 3, 64, 96)
    maps = dilated(images)
    for level, (found, expected) in enumerate(zip(maps, strided(images), strict=True)):
        step = max(1, 2 ** (level + 1) // output_stride)
        assert tuple(found.shape[2:]) == (64 // min(2 ** (level + 1), output_stride), found.shape[3])
        torch.testing.assert_close(found[..., ::step, ::step], expected, rtol=1e-4, atol=1e-5)
        assert expected.std() > 0.1


def test_another_output_stride_is_refused():
    with pytest.raises(ValueError, match="output_stride is 4; use one of 32, 16, 8"):
        ResNetEncoder(18, output_stride=4)


def test_weights_without_a_head_load_too(tmp_path):
    torch.manual_seed(0)
    model = ResNetModel(published_config(18, base_width=4))
    model.save_pretrained(tmp_path)
    encoder = ResNetEncoder(18, base_width=4)
    load_resnet_weights(encoder, str(tmp_path))
    assert all(torch.equal(value, encoder.resnet.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("channels", [1, 5])
def test_another_number_of_channels_shares_out_the_first_convolution(published, channels):
    """A grey image repeated into every channel has the same features, whatever the number of channels."""
    three, other = ResNetEncoder(18, base_width=4).eval(), ResNetEncoder(18, channels, base_width=4).eval()
    for encoder in (three, other):
        load_resnet_weights(encoder, str(published[18]))
    grey = torch.rand(1, 1, 64, 64)
    torch.testing.assert_close(other(grey.expand(-1, channels, -1, -1))[0], three(grey.expand(-1, 3, -1, -1))[0])


def test_weights_that_do_not_fit_are_refused(published, tmp_path):
    encoder = ResNetEncoder(18, base_width=4)
    before = encoder.state_dict()["resnet.embedder.embedder.convolution.weight"].clone()
    with pytest.raises(ValueError, match=r"depths .*ResNet-18.*microsoft/resnet-18"):
        load_resnet_weights(encoder, str(published[34]))
    with pytest.raises(ValueError, match="embedding_size"):
        load_resnet_weights(ResNetEncoder(18, base_width=8), str(published[18]))
    with pytest.raises(OSError, match="nowhere"):
        load_resnet_weights(encoder, str(tmp_path / "nowhere"))
    assert torch.equal(encoder.state_dict()["resnet.embedder.embedder.convolution.weight"], before)


def test_incomplete_weights_are_refused(published, tmp_path):
    model = ResNetForImageClassification.from_pretrained(published[18])
    weights = model.state_dict()
    weights.pop("resnet.encoder.stages.1.layers.0.layer.0.convolution.weight")
    model.save_pretrained(tmp_path, state_dict=weights)
    with pytest.raises(ValueError, match=r"misses 1 weights.*stages\.1"):
        load_resnet_weights(ResNetEncoder(18, base_width=4), str(tmp_path))


def test_another_depth_is_refused():
    with pytest.raises(ValueError, match="depth is 20; use one of 10, 18, 34, 50"):
        ResNetEncoder(20)
