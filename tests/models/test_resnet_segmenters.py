"""The one-stage networks on ResNet encoders against the papers: parameter counts, gates, wiring, losses."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hf_lesionseg.models.configuration_attention_unet import AttentionUNetConfig
from hf_lesionseg.models.configuration_resnet_fcn import ResNetFCNConfig
from hf_lesionseg.models.configuration_resnet_unet import ResNetUNetConfig
from hf_lesionseg.models.modeling_attention_unet import AttentionUNetForSemanticSegmentation
from hf_lesionseg.models.modeling_resnet_fcn import ResNetFCNForSemanticSegmentation
from hf_lesionseg.models.modeling_resnet_unet import ResNetUNetForSemanticSegmentation
from hf_lesionseg.models.resnet_segmenters import AttentionGate, AttentionUNetDecoder, ResNetUNet


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def on_meta(model_class, config):
    with torch.device("meta"):
        return model_class(config)


@pytest.mark.parametrize(("depth", "parameters"), [(18, 14_328_209), (34, 24_436_369)])
def test_unet_has_the_papers_parameters(depth, parameters):
    """Table 3 of L-SNet: 14.33 M with ResNet-18; one-stage U-Net and S-Net with ResNet-34 (papers.md 2.1)."""
    model = on_meta(ResNetUNetForSemanticSegmentation, ResNetUNetConfig(depth=depth))
    assert count(model) == parameters
    assert count(model.network.decoder) == parameters - count(model.network.encoder) - (16 * 9 + 1)
    assert ResNetUNetConfig().depth == 34


def test_fcn_parameters():
    """ResNet-34 and three 1x1 convolutions with bias, from 512, 256 and 128 maps."""
    assert count(on_meta(ResNetFCNForSemanticSegmentation, ResNetFCNConfig())) == 21_284_672 + 512 + 256 + 128 + 3


def test_attention_gates_parameters():
    """On the U-Net's: for x of c maps and g of d, 4 c c/2 (2x2, no bias) + d c/2 + c/2 + c/2 + 1."""
    gates = sum(4 * c * (c // 2) + d * (c // 2) + c + 1 for c, d in ((256, 512), (128, 256), (64, 128)))
    assert count(on_meta(AttentionUNetForSemanticSegmentation, AttentionUNetConfig())) == 24_436_369 + gates


def test_attention_gate_by_the_formula():
    """alpha = sigmoid(psi(relu(W_x x + W_g g + b_g)) + b_psi), in numpy, pixel by pixel of the coarse grid."""
    torch.manual_seed(0)
    gate = AttentionGate(4, 3).double()
    skip, gating = torch.randn(1, 4, 4, 6, dtype=torch.float64), torch.randn(1, 3, 2, 3, dtype=torch.float64)
    to_skip, to_gating, psi = (conv.weight.detach().numpy() for conv in (gate.skip_conv, gate.gating_conv, gate.psi))
    bias, psi_bias = gate.gating_conv.bias.detach().numpy(), gate.psi.bias.item()
    assert gate.skip_conv.bias is None
    coarse = np.empty((2, 3))
    for row in range(2):
        for column in range(3):
            x = skip[0, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].numpy()
            joined = (to_skip * x).sum((1, 2, 3)) + to_gating[:, :, 0, 0] @ gating[0, :, row, column].numpy() + bias
            coarse[row, column] = 1 / (1 + np.exp(-(psi[0, :, 0, 0] @ np.maximum(joined, 0) + psi_bias)))
    found = gate.coefficients(skip, gating)
    assert found.shape == (1, 1, 4, 6)
    # Bilinear upsampling leaves the corners as they are and mixes 9, 3, 3 and 1 sixteenths of four inside.
    assert found[0, 0, 0, 0].item() == pytest.approx(coarse[0, 0], abs=1e-12)
    mixed = (9 * coarse[0, 0] + 3 * coarse[0, 1] + 3 * coarse[1, 0] + coarse[1, 1]) / 16
    assert found[0, 0, 1, 1].item() == pytest.approx(mixed, abs=1e-12)
    torch.testing.assert_close(gate(skip, gating), skip * found)


def test_attention_gates_sit_on_all_skips_but_the_finest():
    """Gates that let nothing through equal a U-Net whose three coarser skips are zero; the level below gates."""
    torch.manual_seed(0)
    model = ResNetUNet(10, base_width=4, decoder=AttentionUNetDecoder).eval()
    seen = []
    for gate in model.decoder.gates:
        gate.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
        torch.nn.init.constant_(gate.psi.bias, -1e9)
    maps = model.encoder(torch.rand(1, 3, 64, 64))
    levels = model.decoder(maps, return_levels=True)
    expected = maps[4]
    for index, (block, skip) in enumerate(
        zip(model.decoder.blocks, [maps[3] * 0, maps[2] * 0, maps[1] * 0, maps[0], None], strict=True)
    ):
        expected = block(expected, skip)
        torch.testing.assert_close(levels[index], expected)
    assert [skip is level for (skip, _), level in zip(seen, maps[3:0:-1], strict=True)] == [True] * 3
    assert [below is level for (_, below), level in zip(seen, [maps[4], *levels], strict=False)] == [True] * 3


def test_fcn_logits_are_the_upsampled_sum():
    torch.manual_seed(0)
    model = ResNetFCNForSemanticSegmentation(ResNetFCNConfig(depth=10, base_width=4)).eval()
    network, images = model.network, torch.rand(2, 3, 64, 96)
    maps = network.encoder(images)
    total = 0
    for score, level in reversed(list(zip(network.decoder.scores, maps[2:], strict=True))):
        if torch.is_tensor(total):
            total = F.interpolate(total, scale_factor=2, mode="bilinear")
        total = total + F.conv2d(level, score.weight, score.bias)
    torch.testing.assert_close(model(images).logits, F.interpolate(total, scale_factor=8, mode="bilinear"))


@pytest.mark.parametrize("num_logits", [1, 3])
@pytest.mark.parametrize("loss", ["focal-dice", "dice", "bce"])
def test_losses_by_hand(loss, num_logits):
    torch.manual_seed(0)
    settings = {"alpha": 0.25} if loss == "focal-dice" else {}
    config = ResNetUNetConfig(depth=10, base_width=4, loss=loss, num_logits=num_logits, loss_settings=settings)
    model = ResNetUNetForSemanticSegmentation(config).eval()
    images, labels = torch.rand(2, 3, 32, 64), torch.randint(2, (2, 32, 64))
    output = model(images, labels=labels)
    logits = output.logits.detach().double()
    p = (logits.sigmoid()[:, 0] if num_logits == 1 else logits.softmax(1)[:, 1]).numpy()
    y = labels.numpy()
    cross_entropy = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    dice = 1 - (2 * (y * p).sum() + 1) / ((y * y).sum() + (p * p).sum() + 1)
    focal = (np.where(y == 1, 0.25, 0.75) * (y - p) ** 2 * cross_entropy).mean()
    expected = {"focal-dice": focal + 0.2 * dice, "dice": dice, "bce": cross_entropy.mean()}[loss]
    assert output.loss.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 19}, "depth is 19; use one of 10, 18, 34, 50"),
        ({"loss": "mse"}, "loss is 'mse'; use one of dice, "),
        ({"decoder_widths": [8, 4]}, "give five widths"),
        ({"loss_settings": {"alpha": 1.5}}, "loss_settings of 'focal-dice': alpha is 1.5"),
        ({"loss_settings": {"dice_weight": -1}}, "dice_weight is -1"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(Exception, match=message):
        ResNetUNetConfig(**settings)


def test_decoder_widths_can_be_chosen():
    model = ResNetUNetForSemanticSegmentation(ResNetUNetConfig(depth=10, base_width=4, decoder_widths=[9, 7, 5, 3, 2]))
    assert [block.convs[1][1].num_features for block in model.network.decoder.blocks] == [9, 7, 5, 3, 2]
    assert model.network.head.in_channels == 2
