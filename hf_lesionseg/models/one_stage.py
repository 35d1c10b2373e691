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
from .label_check import check_labels
from .layers import crop_to, he_normal_, pad_to_stride
from .losses import segmentation_loss
from .outputs import LesionSegmenterOutput, lesion_logit
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

    def loss_of(self, inputs):
        """The loss of a batch, or of many that are joined.

        Looks at no weights, so that it can be computed where ``inputs`` are, on another device than the network.

        Parameters
        ----------
        inputs : dict of str to torch.Tensor
            As ``forward`` collects them: here "logits" and "targets", (batch, height, width).

        Returns
        -------
        dict of str to torch.Tensor
            "loss", and of networks with several losses each of them by its name in the output.
        """
        return {"loss": segmentation_loss(inputs["logits"][:, None], inputs["targets"], self.config)}

    def losses(self, inputs, keep_loss_inputs):
        """Fields of the output: what :meth:`loss_of` gives, or ``inputs`` for a caller who joins them first."""
        return {"loss_inputs": inputs} if keep_loss_inputs else self.loss_of(inputs)


class ResNetSegmenterPreTrainedModel(SegmenterPreTrainedModel):
    """Base of the networks that find regions first, on ResNet encoders."""

    config: ResNetSegmenterConfig
    config_class = ResNetSegmenterConfig


class OneStageSegmenter(SegmenterPreTrainedModel):
    """A network that segments the whole image at once: ``self.network`` gives logits and hidden states.

    A network whose layers lie elsewhere overrides :meth:`add_layers` and :meth:`segment`.

    Heights and widths that are not a multiple of ``config.stride`` are padded inside with zeros, and the logits
    cropped back.

    Parameters
    ----------
    config : SegmenterConfig
    """

    def __init__(self, config):
        super().__init__(config)
        self.add_layers(config)
        self.post_init()

    def add_layers(self, config):
        """Make the layers, as attributes of the network."""
        self.network = self.build_network(config)

    @staticmethod
    def build_network(config):
        """The layers, as a module that maps padded images to (logits, hidden states)."""
        raise NotImplementedError

    def segment(self, images):
        """Map padded images to logits and hidden states."""
        return self.network(images)

    def auxiliary_loss(self, hidden_states, targets):
        """What training adds to the loss of the logits; nothing, but for networks with further heads."""
        return 0

    @can_return_tuple
    def forward(self, pixel_values, labels=None, output_hidden_states=None, keep_loss_inputs=False, **kwargs):
        """Segment a batch of slices.

        Parameters
        ----------
        pixel_values : torch.Tensor of shape (batch, num_channels, height, width)
            Intensities in [0, 1].
        labels : torch.Tensor of shape (batch, height, width), optional
            Integers: 1 in the foreground, 0 elsewhere.
        output_hidden_states : bool, optional
            Also return the maps of encoder and decoder, at their padded sizes.
        keep_loss_inputs : bool
            With ``labels``, return what the loss is computed from, in place of the loss.

        Returns
        -------
        LesionSegmenterOutput
            ``loss`` is ``config.loss`` (:data:`~hf_lesionseg.models.losses.LOSSES`), in training plus
            :meth:`auxiliary_loss`.

        Raises
        ------
        ValueError
            If ``pixel_values`` or ``labels`` have another shape or dtype, or labels other values than 0 and 1.
        """
        self.check_pixel_values(pixel_values)
        height, width = pixel_values.shape[-2:]
        logits, hidden_states = self.segment(pad_to_stride(pixel_values, self.config.stride))
        logits = crop_to(logits, height, width)
        losses = {}
        if labels is not None:
            check_labels(labels, logits)
            losses = self.losses({"logits": lesion_logit(logits), "targets": labels == 1}, keep_loss_inputs)
            if self.training and not keep_loss_inputs:
                losses["loss"] = losses["loss"] + self.auxiliary_loss(hidden_states, labels == 1)
        return LesionSegmenterOutput(
            logits=logits, hidden_states=tuple(hidden_states) if output_hidden_states else None, **losses
        )
