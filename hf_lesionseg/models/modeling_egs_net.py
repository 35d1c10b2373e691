"""EGS-Net: extractor, generator and segmentor for acute ischemic stroke on CT perfusion.

Song and Huang, BrainLes 2018, doi:10.1007/978-3-030-11723-8_31; first in ISLES 2018.

The extractor reads the lesion off the frames of the perfusion series, the generator makes a diffusion-weighted image
(DWI) of that and the perfusion maps, the segmentor marks the lesion on the generated image. All are trained together.

Training takes the true DWI as ``forward(pixel_values, labels, dwi)``: a batch with an entry ``dwi`` beside
``pixel_values`` and ``labels`` is all that a training loop has to hand over. Prepared data hold it as a channel named
"dwi", which belongs to no network's ``pixel_values``, since nobody has it where the network is used.
"""

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import can_return_tuple, logging

from .configuration_egs_net import EGSNetConfig
from .label_check import check_labels
from .layers import BatchNorm2d, crop_to, pad_to_stride
from .lesion_heat_map import lesion_heat_map
from .losses import segmentation_loss
from .one_stage import SegmenterPreTrainedModel
from .outputs import GeneratorSegmenterOutput, lesion_logit
from .stage_unet import StageUNet
from .switch_norm import SwitchNorm2d

logger = logging.get_logger(__name__)


class PerceptualNetwork(GradientCheckpointingLayer):
    """Features of an image: 3x3 convolutions of stride 2 with ReLU, pooled to 7x1 and to 1x7.

    Parameters
    ----------
    widths : sequence of int
        Maps of the convolutions: five in the paper, so that 256x256 pixels are 8x8 before the pooling.
    """

    def __init__(self, widths):
        super().__init__()
        layers = []
        for channels, width in zip((1, *widths[:-1]), widths, strict=True):
            layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images):
        """Map (batch, 1, height, width) to (batch, 14 * widths[-1])."""
        features = self.layers(images)
        pooled = [F.adaptive_avg_pool2d(features, size).flatten(1) for size in ((7, 1), (1, 7))]
        return torch.cat(pooled, dim=1)


class EGSNetForSemanticSegmentation(SegmenterPreTrainedModel):
    """EGS-Net with its joint loss.

    Heights and widths that are not a multiple of 16 are padded inside with zeros, and all maps cropped back.

    Examples
    --------
    >>> import torch
    >>> model = EGSNetForSemanticSegmentation(EGSNetConfig(base_width=4)).eval()
    >>> output = model(torch.rand(1, 17, 50, 40))
    >>> output.logits.shape, output.generated_dwi.shape
    (torch.Size([1, 2, 50, 40]), torch.Size([1, 1, 50, 40]))
    """

    config: EGSNetConfig
    config_class = EGSNetConfig
    base_model_prefix = "egs_net"
    _no_split_modules = ["StageDoubleConv", "UNetLevel", "PerceptualNetwork"]

    #: What training logs beside the loss.
    watched_outputs = (
        "extraction_loss",
        "dwi_loss",
        "feature_loss",
        "segmentation_loss",
        "generated_feature_norm",
        "true_feature_norm",
    )

    def __init__(self, config):
        super().__init__(config)
        width, input_norm = config.base_width, config.input_norm
        self.extractor = self.generator = self.generated_features = self.true_features = None
        maps = len(config.map_channels)
        if config.extractor:
            self.extractor = StageUNet(len(config.extractor_channels), 1, width // 2, input_norm=input_norm)
            maps += 1
        if config.generator:
            self.generator = StageUNet(maps, 1, width, input_norm=input_norm)
            maps = 1
        self.segmentor = StageUNet(
            maps,
            config.num_logits,
            width,
            input_norm=input_norm,
            norm=SwitchNorm2d if config.normalization == "switch" else BatchNorm2d,
            reduction=config.se_reduction if config.squeeze_excitation else None,
        )
        if config.compares_features:
            self.generated_features = PerceptualNetwork(config.perceptual_widths)
            if config.perceptual == "twin":
                self.true_features = PerceptualNetwork(config.perceptual_widths)
            elif config.perceptual == "frozen":
                self.generated_features.requires_grad_(False)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module):
        """Xavier initialisation, biases 0, as in the paper."""
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            init.xavier_uniform_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, SwitchNorm2d):
            module.init_weights()
        elif isinstance(module, BatchNorm2d):
            super()._init_weights(module)

    @can_return_tuple
    def forward(self, pixel_values, labels=None, dwi=None, output_hidden_states=None, keep_loss_inputs=False, **kwargs):
        """Segment a batch of slices.

        Parameters
        ----------
        pixel_values : torch.Tensor of shape (batch, num_channels, height, width)
            Frames and maps by ``config.channel_names``.
        labels : torch.Tensor of shape (batch, height, width), optional
            Integers: 1 in the lesion, 0 elsewhere.
        dwi : torch.Tensor of shape (batch, 1, height, width), optional
            The true DWI, normalised for each volume: the loss compares it with the generated one. Needed in training
            where ``config.needs_dwi``; without ``labels`` it is not looked at.
        output_hidden_states : bool, optional
            Also return the maps of the segmentor's levels, at their padded sizes.
        keep_loss_inputs : bool
            With ``labels``, return what the losses are computed from, in place of them.

        Returns
        -------
        GeneratorSegmenterOutput
            ``loss`` is the sum of its parts.

        Raises
        ------
        ValueError
            If ``pixel_values``, ``labels`` or ``dwi`` have another shape or dtype, labels other values than 0 and 1, or
            training has no DWI.
        """
        config = self.config
        if pixel_values.ndim != 4 or pixel_values.shape[1] != config.num_channels:
            raise ValueError(
                f"pixel_values have shape {tuple(pixel_values.shape)}, expected (batch, {config.num_channels}, height, "
                f"width): {', '.join(config.channel_names)}; prepare them with the LesionImageProcessor"
            )
        if labels is not None:
            check_labels(labels, pixel_values)
            self._check_dwi(dwi, pixel_values)
        height, width = pixel_values.shape[-2:]
        images = pad_to_stride(pixel_values, config.stride)
        extracted = generated = None
        current = images[:, config.channels_of(config.map_channels)]
        if self.extractor is not None:
            extracted, _ = self.extractor(images[:, config.channels_of(config.extractor_channels)])
            current = torch.cat([extracted, current], dim=1)
            extracted = crop_to(extracted, height, width)
        if self.generator is not None:
            current, _ = self.generator(current)
            generated = crop_to(current, height, width)
        logits, levels = self.segmentor(current)
        logits = crop_to(logits, height, width)
        losses = {}
        if labels is not None:
            inputs = {"logits": lesion_logit(logits), "targets": labels == 1}
            if extracted is not None:
                inputs["extracted"] = extracted[:, 0].float()
            if dwi is not None and config.needs_dwi:
                inputs |= self._compared(generated, dwi)
            losses = self.losses(inputs, keep_loss_inputs)
        return GeneratorSegmenterOutput(
            logits=logits,
            hidden_states=tuple(levels) if output_hidden_states else None,
            generated_dwi=generated,
            extraction_logits=extracted,
            **losses,
        )

    def _check_dwi(self, dwi, pixel_values):
        """Refuse to train a generator without DWI, unless the configuration says so; then say it loudly."""
        if dwi is not None:
            expected = (len(pixel_values), 1, *pixel_values.shape[2:])
            if tuple(dwi.shape) != expected:
                raise ValueError(f"dwi has shape {tuple(dwi.shape)}, expected (batch, 1, height, width) = {expected}")
        elif self.training and self.config.needs_dwi:
            raise ValueError(
                "EGS-Net learns its generator from the true DWI, and none was given: prepare the data with a channel "
                'named "dwi" from a folder of DWI of your own, or train without it by the setting generator=False '
                "(extractor + segmentor) or dwi_loss=False (the generator learns from the segmentation alone)"
            )
        if self.training and not self.config.needs_dwi and not torch.compiler.is_compiling():
            logger.warning_once(f"EGS-Net trains {self.config.describe_training()}")

    def _compared(self, generated, dwi):
        """Generated and true DWI, (batch, height, width), and their features, (batch, features)."""
        images = {"generated": generated[:, 0].float(), "dwi": dwi[:, 0].float()}
        if not self.config.compares_features:
            return images
        true_network = self.generated_features if self.true_features is None else self.true_features
        return images | {
            "generated_features": self.generated_features(generated).float(),
            "true_features": true_network(dwi.to(generated.dtype)).float(),
        }

    def loss_of(self, inputs):
        """The sum of the losses, each of them, and the norms of the features."""
        config = self.config
        truth = inputs["targets"].float()
        weights = None
        if config.heat_map:
            weights = lesion_heat_map(inputs["targets"], peak=config.heat_map_peak, decay=config.heat_map_decay)
        parts, norms = {}, {}
        if "extracted" in inputs:
            error = (inputs["extracted"].sigmoid() - truth).abs()
            if config.extraction_balanced:
                kinds = (truth, 1 - truth)
                error = torch.stack([(error * kind).sum() / kind.sum().clamp(min=1) for kind in kinds])
            parts["extraction_loss"] = config.extraction_weight * error.mean()
        if "dwi" in inputs:
            parts["dwi_loss"] = config.dwi_weight * weighted_distance(inputs["generated"], inputs["dwi"], weights)
        if "true_features" in inputs:
            features = inputs["generated_features"], inputs["true_features"]
            parts["feature_loss"] = config.feature_weight * weighted_distance(*features)
            for name, vectors in zip(("generated_feature_norm", "true_feature_norm"), features, strict=True):
                norms[name] = torch.linalg.vector_norm(vectors.detach(), dim=1).mean()
        loss = segmentation_loss(inputs["logits"][:, None], truth, config, pixel_weights=weights)
        parts["segmentation_loss"] = config.segmentation_weight * loss
        return {"loss": sum(parts.values())} | parts | norms


def weighted_distance(images, others, weights=None):
    """``sqrt(sum(w (x - y)^2))`` of each sample, mean over the batch.

    Parameters
    ----------
    images, others : torch.Tensor of shape (batch, ...)
    weights : torch.Tensor of that shape, optional

    Returns
    -------
    torch.Tensor of shape ()
        float32. Where both are equal the gradient is zero, not NaN.
    """
    difference = (images.float() - others.float()).flatten(1)
    if weights is not None:
        difference = difference * weights.flatten(1).sqrt()
    return torch.linalg.vector_norm(difference, dim=1).mean()


__all__ = ["EGSNetForSemanticSegmentation"]
