"""Decoders against sums written out by hand."""

import pytest
import torch
from torch.nn import functional as F

from hf_lesionseg.models.resnet_decoder import FCNDecoder, UNetDecoder

WIDTHS = (2, 3, 5, 7, 11)  # all different, so that a wrong order cannot go unnoticed


@pytest.fixture
def maps():
    torch.manual_seed(0)
    return [torch.randn(2, width, 32 >> level, 64 >> level, dtype=torch.float64) for level, width in enumerate(WIDTHS)]


def test_unet_levels_by_hand(maps):
    decoder = UNetDecoder(WIDTHS, (13, 6, 4, 8, 1)).double().eval()
    for name, buffer in decoder.named_buffers():
        if "running_mean" in name:
            buffer.uniform_(-0.2, 0.2)  # greater ones would leave nothing but zeros behind the ReLU
        elif "running_var" in name:
            buffer.uniform_(0.01, 0.1)
    levels = decoder(maps, return_levels=True)
    current = maps[4]
    for index, skip in enumerate([maps[3], maps[2], maps[1], maps[0], None]):
        current = current.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        if skip is not None:
            current = torch.cat([current, skip], dim=1)
        for conv, norm, _ in decoder.blocks[index].convs:
            assert conv.bias is None
            current = F.conv2d(F.pad(current, (1, 1, 1, 1)), conv.weight)
            mean, scale = norm.running_mean, norm.weight / (norm.running_var + 1e-5).sqrt()
            current = ((current - mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]).clamp(min=0)
        torch.testing.assert_close(levels[index], current)
        assert 0.2 < (current > 0).double().mean() < 0.8
    assert torch.equal(decoder(maps), levels[-1])
    assert levels[-1].shape == (2, 1, 64, 128)


def test_three_unet_blocks_lead_to_a_quarter(maps):
    decoder = UNetDecoder(WIDTHS, (13, 6, 4)).double()
    assert decoder(maps).shape == (2, 4, 16, 32)


def test_l_net_part_has_the_papers_parameters():
    """Encoder and three blocks: 14,274,880 (papers.md 2.1)."""
    decoder = UNetDecoder((64, 64, 128, 256, 512), (256, 128, 64))
    assert 11_176_512 + sum(parameter.numel() for parameter in decoder.parameters()) == 14_274_880


def bilinear_double(values):
    """Upsampling by 2 with aligned pixel corners: weights 3/4 and 1/4, the border repeated."""
    for dim in (2, 3):
        size = values.shape[dim]
        before = values.index_select(dim, torch.arange(size).sub(1).clamp(min=0))
        after = values.index_select(dim, torch.arange(size).add(1).clamp(max=size - 1))
        values = torch.stack([0.75 * values + 0.25 * before, 0.75 * values + 0.25 * after], dim=dim + 1)
        values = values.flatten(dim, dim + 1)
    return values


@pytest.mark.parametrize(("stride", "levels"), [(8, (2, 3, 4)), (4, (1, 2, 3, 4)), (32, (4,))])
def test_fcn_sum_by_hand(maps, stride, levels):
    decoder = FCNDecoder(WIDTHS, channels=3, stride=stride).double()
    scores = [
        torch.einsum("oc,nchw->nohw", score.weight[:, :, 0, 0], maps[level]) + score.bias[:, None, None]
        for score, level in zip(decoder.scores, levels, strict=True)
    ]
    total = scores.pop()
    while scores:
        total = bilinear_double(total) + scores.pop()
    torch.testing.assert_close(decoder(maps), total)
    assert decoder(maps).shape == (2, 3, 64 // stride, 128 // stride)


def test_impossible_decoders_are_refused():
    with pytest.raises(ValueError, match=r"decoder_widths is .* give 1 to 5"):
        UNetDecoder(WIDTHS, (8,) * 6)
    with pytest.raises(ValueError, match="1 or more"):
        UNetDecoder(WIDTHS, (8, 0))
    with pytest.raises(ValueError, match=r"stride is 5; use one of \[2, 4, 8, 16, 32\]"):
        FCNDecoder(WIDTHS, 1, stride=5)
