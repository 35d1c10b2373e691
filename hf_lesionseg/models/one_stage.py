"""What the one-stage networks share as transformers models; each adds its layers."""

import math

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import can_return_tuple

from .configuration_resnet_segmenter import ResNetSegmenterConfig
from .configuration_segmenter import SegmenterConfig
from .file_modes import ReadableWeights
from .layers import he_normal_, pad_to_stride
from .losses import check_labels, segmentation_loss
from .outputs import LesionSegmenterOutput
from .resnet_decoder import ScoreConv2d


class SegmenterPreTrainedModel(ReadableWeights, PreTrainedModel):
    """Base of the networks that segment slices: metadata and initialisation."""

    config: SegmenterConfig
    config_class = SegmenterConfig
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False  # a loss is the mean of its batch, whatever else a Trainer counts
    _no_split_modules = ["ResNetBasicLayer", "ResNetBottleNeckLayer", "UNetDecoderBlock"]

    @torch.no_grad()
    def _init_weights(self, module):
        """He normal, biases 0. Does not see the ResNet, which is a model of its own and initialises itself."""
        if isinstance(module, ScoreConv2d):
            module.init_weights()
        elif isinstance(module, nn.Conv2d):
            he_normal_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.ConvTranspose2d):
            # Of its kernel, each output pixel sees one tap in stride x stride.
            taps = math.prod(module.kernel_size) / math.prod(module.stride)
            init.normal_(module.weight, std=math.sqrt(2 / (module.in_channels * taps)))
            init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            super()._init_weights(module)

    def check_pixel_values(self, pixel_values):
        """Raise ``ValueError`` unless the shape is (batch, num_channels, height, width)."""
        if pixel_values.ndim != 4 or pixel_values.shape[1] != self.config.num_channels:
            raise ValueError(
                f"pixel_values have shape {tuple(pixel_values.shape)}, expected "
                f"(batch, {self.config.num_channels}, height, width); prepare them with the LesionImageProcessor "
                "(a grey slice for 3 channels: slice_stack='repeat')"
            )


class ResNetSegmenterPreTrainedModel(SegmenterPreTrainedModel):
    """Base of the networks that find regions first, on ResNet encoders."""

    config: ResNetSegmenterConfig
    config_class = ResNetSegmenterConfig


class OneStageSegmenter(SegmenterPreTrainedModel):
    """A network that segments the whole image at once: ``self.network`` gives logits and hidden states.

    Heights and widths that are no multiple of ``config.stride`` are padded inside with zeros, and the logits
    cropped back.

    Parameters
    ----------
    config : SegmenterConfig
    """

    def __init__(self, config):
        super().__init__(config)
        self.network = self.build_network(config)
        self.post_init()

    @staticmethod
    def build_network(config):
        """The layers, as a module that maps padded images to (logits, hidden states)."""
        raise NotImplementedError

    def loss_of(self, logits, targets):
        """``config.loss`` of (batch, num_logits, height, width) logits; ``targets``: (batch, height, width)."""
        return segmentation_loss(logits, targets, self.config)

    def auxiliary_loss(self, hidden_states, targets):
        """What training adds to the loss of the logits; nothing, but for networks with further heads."""
        return 0

    @can_return_tuple
    def forward(self, pixel_values, labels=None, output_hidden_states=None, **kwargs):
        """Segment a batch of slices.

        Parameters
        ----------
        pixel_values : torch.Tensor of shape (batch, num_channels, height, width)
            Intensities in [0, 1].
        labels : torch.Tensor of shape (batch, height, width), optional
            Integers: 1 in the foreground, 0 elsewhere.
        output_hidden_states : bool, optional
            Also return the maps of encoder and decoder, at their padded sizes.

        Returns
        -------
        LesionSegmenterOutput
            ``loss`` is :meth:`loss_of`, in training plus :meth:`auxiliary_loss`.

        Raises
        ------
        ValueError
            If ``pixel_values`` or ``labels`` have another shape or dtype, or labels other values than 0 and 1.
        """
        self.check_pixel_values(pixel_values)
        height, width = pixel_values.shape[-2:]
        logits, hidden_states = self.network(pad_to_stride(pixel_values, self.config.stride))
        logits = logits[..., :height, :width]
        loss = None
        if labels is not None:
            check_labels(labels, logits)
            loss = self.loss_of(logits, labels == 1)
            if self.training:
                loss = loss + self.auxiliary_loss(hidden_states, labels == 1)
        return LesionSegmenterOutput(
            loss=loss, logits=logits, hidden_states=hidden_states if output_hidden_states else None
        )
