"""CLCI-Net: cross-level fusion and context inference for chronic stroke on T1-weighted MRI.

Yang et al., MICCAI 2019, arXiv:1907.07008. Widths below are those of the paper (``base_width=32``).
"""

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from .configuration_clci_net import CLCINetConfig
from .layers import (
    ConvLSTM2d,
    ConvNormReLU,
    InputGateConv2d,
    RecurrentGateConv2d,
    UpConvNormReLU,
    image_context,
)
from .one_stage import OneStageSegmenter

LEVELS = 4  # levels of encoder and decoder beside the bottleneck


def _conv(config, in_channels, out_channels, kernel_size, kind=ConvNormReLU, **kwargs):
    return kind(
        in_channels,
        out_channels,
        kernel_size,
        eps=config.batch_norm_eps,
        momentum=config.batch_norm_momentum,
        **kwargs,
    )


def _double_conv(config, in_channels, out_channels):
    return nn.Sequential(
        _conv(config, in_channels, out_channels, 3),
        _conv(config, out_channels, out_channels, 3),
    )


def level_widths(config):
    """Feature maps of levels 1 to 4 and of the bottleneck: 32, 64, 128, 256, 512 in the paper."""
    return [config.base_width * 2**level for level in range(LEVELS + 1)]


class CLCINetEncoderLevel(GradientCheckpointingLayer):
    """Double convolution, 2x2 max pooling and, with CLF, the fusion of all finer levels.

    Parameters
    ----------
    level : int
        0 is the finest.
    """

    def __init__(self, config, level):
        super().__init__()
        widths = level_widths(config)
        width = widths[level]
        fused_before = config.clf and level > 0
        in_channels = config.num_channels if level == 0 else (4 * width if fused_before else widths[level - 1])
        self.double_conv = _double_conv(config, in_channels, width)
        self.pool = nn.MaxPool2d(2)
        if config.clf:
            # Latest level first, as the paper's network concatenates them.
            self.cross_level = nn.ModuleList(
                _conv(config, widths[source], width, 3, stride=2 ** (level - source + 1))
                for source in range(level, -1, -1)
            )
            self.fusion = _conv(config, (level + 2) * width, 4 * widths[level + 1], 1)

    def forward(self, images, *finer):
        """Return this level's double convolution and the input of the next level.

        ``finer`` holds the double convolutions of the levels above, nearest first.
        """
        features = self.double_conv(images)
        following = self.pool(features)
        if hasattr(self, "fusion"):
            sources = (features, *finer)
            fused = [conv(source) for conv, source in zip(self.cross_level, sources, strict=True)]
            following = self.fusion(torch.cat([*fused, following], dim=1))
        return features, following


class CLCINetPyramid(GradientCheckpointingLayer):
    """Atrous spatial pyramid pooling with cross-level fusion: nine scales at 1/16 resolution (five without CLF)."""

    def __init__(self, config):
        super().__init__()
        widths = level_widths(config)
        bottleneck, branch = widths[LEVELS], 8 * config.base_width
        if config.clf:
            self.cross_level = nn.ModuleList(
                _conv(config, widths[level], branch, 3, stride=2 ** (LEVELS - level)) for level in range(LEVELS)
            )
        self.point = _conv(config, bottleneck, branch, 1)
        self.dilated = nn.ModuleList(
            _conv(config, bottleneck, branch, 3, dilation=dilation) for dilation in config.aspp_dilations
        )
        self.image = _conv(config, bottleneck, branch, 1)
        scales = 2 + len(config.aspp_dilations) + (LEVELS if config.clf else 0)
        self.fusion = _conv(config, scales * branch, 32 * config.base_width, 1)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, bottleneck, *levels):
        """Fuse the bottleneck with the encoder's double convolutions, finest first."""
        scales = [conv(level) for conv, level in zip(self.cross_level, levels, strict=True)] if levels else []
        scales.append(self.point(bottleneck))
        scales += [conv(bottleneck) for conv in self.dilated]
        scales.append(image_context(self.image, bottleneck))
        return self.dropout(self.fusion(torch.cat(scales, dim=1)))


class CLCINetDecoderLevel(GradientCheckpointingLayer):
    """Up-convolution, 1x1 skip, context inference by ConvLSTM over [upsampled, skip], double convolution."""

    def __init__(self, config, in_channels, width):
        super().__init__()
        self.up = _conv(config, in_channels, width, 2, kind=UpConvNormReLU)
        self.skip = _conv(config, width, width, 1)
        if config.context_inference:
            self.context = ConvLSTM2d(width, width, gate_activation=config.gate_activation)
        self.double_conv = _double_conv(config, width if config.context_inference else 2 * width, width)

    def forward(self, features, skip):
        upsampled = self.up(features)
        skip = self.skip(skip)
        if hasattr(self, "context"):
            return self.double_conv(self.context(upsampled, skip))
        return self.double_conv(torch.cat([upsampled, skip], dim=1))


class CLCINetForSemanticSegmentation(OneStageSegmenter):
    """CLCI-Net with its segmentation head.

    Heights and widths that are not a multiple of 16 are padded inside with zeros, and the logits cropped back.

    Examples
    --------
    >>> import torch
    >>> model = CLCINetForSemanticSegmentation(CLCINetConfig(base_width=4)).eval()
    >>> model(torch.rand(1, 1, 50, 40)).logits.shape
    torch.Size([1, 1, 50, 40])
    """

    config: CLCINetConfig
    config_class = CLCINetConfig
    base_model_prefix = "clci_net"
    _no_split_modules = ["CLCINetEncoderLevel", "CLCINetPyramid", "CLCINetDecoderLevel"]

    def add_layers(self, config):
        widths = level_widths(config)
        self.encoder = nn.ModuleList(CLCINetEncoderLevel(config, level) for level in range(LEVELS))
        self.bottleneck = _double_conv(config, 4 * widths[LEVELS] if config.clf else widths[LEVELS - 1], widths[LEVELS])
        self.dropout = nn.Dropout(config.dropout)
        self.pyramid = CLCINetPyramid(config) if config.aspp else None
        decoder_in = [32 * config.base_width if config.aspp else widths[LEVELS], *widths[LEVELS - 1 : 0 : -1]]
        decoder_out = widths[LEVELS - 1 :: -1]
        self.decoder = nn.ModuleList(
            CLCINetDecoderLevel(config, in_channels, width)
            for in_channels, width in zip(decoder_in, decoder_out, strict=True)
        )
        self.head = nn.Conv2d(widths[0], config.num_logits, 1)

    @torch.no_grad()
    def _init_weights(self, module):
        if isinstance(module, (InputGateConv2d, RecurrentGateConv2d)):
            module.init_weights()
        else:
            super()._init_weights(module)

    def segment(self, images):
        """Map padded images to logits and to encoder levels, bottleneck and decoder levels."""
        levels, following = [], images
        for encoder_level in self.encoder:
            finer = reversed(levels) if self.config.clf else ()
            features, following = encoder_level(following, *finer)
            levels.append(features)
        features = self.dropout(self.bottleneck(following))
        hidden_states = [*levels, features]
        if self.pyramid is not None:
            features = self.pyramid(features, *(levels if self.config.clf else ()))
        for decoder_level, skip in zip(self.decoder, reversed(levels), strict=True):
            features = decoder_level(features, skip)
            hidden_states.append(features)
        return self.head(features), hidden_states


__all__ = ["CLCINetForSemanticSegmentation"]
