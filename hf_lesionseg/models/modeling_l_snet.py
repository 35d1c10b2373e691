"""L-SNet: find regions, bring each to one scale, segment it, with gradients through all of it.

Xie et al., ICIP 2021, arXiv:2102.05971. Its printed formulas are lost; those here follow from its text, and the
configuration has a field for every reading that the text leaves open.
"""

import math
from dataclasses import dataclass, fields

import torch
from transformers.utils import can_return_tuple

from .configuration_l_snet import LSNetConfig
from .label_check import check_labels
from .layers import pad_to_stride
from .one_stage import ResNetSegmenterPreTrainedModel
from .outputs import RegionSegmenterOutput, lesion_logit, logits_of_regions
from .region_locator import CELL, KeypointConv2d, RegionLocator
from .region_sampling import (
    draw_regions,
    find_regions,
    roi_paste,
    roi_sample,
    scale_gradient,
    whole_pixels,
    with_margin,
)
from .resnet_segmenters import ResNetFCN, ResNetUNet


@dataclass(frozen=True)
class Regions:
    """Boxes of regions, where S-Net samples them, the image of each, and how sure L-Net is of it."""

    boxes: torch.Tensor
    sampled: torch.Tensor
    indices: torch.Tensor
    scores: torch.Tensor

    def detach(self):
        return Regions(*(getattr(self, field.name).detach() for field in fields(self)))

    def __getitem__(self, some):
        return Regions(*(getattr(self, field.name)[some] for field in fields(self)))


#: The alternating steps of its training: L-Net on its own loss, then both networks on S-Net's.
PHASES = ("locate", "segment")


class LSNetForSemanticSegmentation(ResNetSegmenterPreTrainedModel):
    """L-SNet: L-Net locates regions, the recalibration samples each to the image's size, S-Net segments it.

    Each region's probabilities are pasted back where it came from; where regions overlap the greatest counts, or their
    mean. Heights and widths that are not a multiple of 32 are padded inside with zeros, and the results cropped back.

    Examples
    --------
    >>> import torch
    >>> model = LSNetForSemanticSegmentation(LSNetConfig(base_width=4, no_region="best-cell")).eval()
    >>> output = model(torch.rand(2, 3, 50, 40))
    >>> output.logits.shape, output.boxes.shape[1], output.heatmap.shape
    (torch.Size([2, 1, 50, 40]), 4, torch.Size([2, 13, 10]))
    """

    config: LSNetConfig
    config_class = LSNetConfig
    base_model_prefix = "l_snet"

    #: What the trainer steps through for every batch: ``forward(..., phase=...)`` gives the loss of each.
    training_phases = PHASES

    def __init__(self, config):
        super().__init__(config)
        segmenter = {"unet": ResNetUNet, "fcn": ResNetFCN}[config.architecture]
        self.locator = RegionLocator(config)
        self.segmenter = segmenter(config.segmenter_depth, config.num_channels, config.num_logits, config.base_width)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module):
        if isinstance(module, KeypointConv2d):
            module.init_weights()
        else:
            super()._init_weights(module)

    @can_return_tuple
    def forward(
        self, pixel_values, labels=None, phase=None, output_hidden_states=None, keep_loss_inputs=False, **kwargs
    ):
        """Find and segment the regions of a batch of slices.

        In training, with ``labels``, S-Net sees one region for each image, drawn among the cells of greatest heat, and
        ``logits`` come from these regions. Otherwise it sees every region that the heat map shows.

        Parameters
        ----------
        pixel_values : torch.Tensor of shape (batch, num_channels, height, width)
            Intensities in [0, 1].
        labels : torch.Tensor of shape (batch, height, width), optional
            Integers: 1 in the foreground, 0 elsewhere.
        phase : {"locate", "segment"}, optional
            Compute the loss of this step of the alternating training alone, and nothing that it does not need.
        output_hidden_states : bool, optional
            Also return the maps of L-Net's encoder and decoder, at their padded sizes; not in a phase.
        keep_loss_inputs : bool
            With ``labels``, return what the losses are computed from, in place of them.

        Returns
        -------
        RegionSegmenterOutput
            ``loss`` is the sum of ``locating_loss`` (eq. 5) and ``segmentation_loss`` (eq. 6).

        Raises
        ------
        ValueError
            If ``pixel_values`` or ``labels`` have another shape or dtype, labels other values than 0 and 1,
            ``phase`` is unknown or has no labels.
        """
        self.check_pixel_values(pixel_values)
        if phase is not None and (phase not in PHASES or labels is None):
            raise ValueError(f"phase is {phase!r}; use one of {', '.join(PHASES)}, together with labels")
        height, width = pixel_values.shape[-2:]
        masks = None
        if labels is not None:
            check_labels(labels, pixel_values)
            masks = pad_to_stride((labels == 1)[:, None], self.config.stride)
        images = pad_to_stride(pixel_values, self.config.stride)
        heat_logits, distances, hidden_states = self.locator(images)
        # Cells that stand for padding alone are none of the image's.
        cells = (Ellipsis, slice(math.ceil(height / CELL)), slice(math.ceil(width / CELL)))
        heat_logits, distances = heat_logits[cells], distances[cells]
        heatmap = heat_logits.float().sigmoid()

        logits = regions = None
        inputs = {}
        if masks is not None and phase != "segment":
            inputs |= {"heat_logits": heat_logits, "distances": distances, "masks": masks[:, 0]}
        if masks is not None and phase != "locate":
            regions = self._draw(heatmap, distances, (height, width))
            region_logits = self._segment(images, regions)
            targets = roi_sample(masks.float(), regions.sampled.detach(), regions.indices, images.shape[2:]) > 0.5
            inputs |= {"logits": lesion_logit(region_logits), "targets": targets[:, 0]}
        if phase is None:
            if masks is not None and self.training:
                pasted = self._paste(region_logits, regions, images)
            else:
                regions = self._find(heatmap, distances, (height, width))
                pasted = self._segment_and_paste(images, regions)
            logits = logits_of_regions(pasted, self.config.num_logits)[..., :height, :width]
        if phase is not None:  # in a step of its own a loss alone may lead back to the weights
            heatmap, hidden_states = heatmap.detach(), None
            regions = regions and regions.detach()
        return RegionSegmenterOutput(
            logits=logits,
            hidden_states=hidden_states if output_hidden_states else None,
            boxes=regions.boxes if regions else None,
            box_indices=regions.indices if regions else None,
            scores=regions.scores if regions else None,
            heatmap=heatmap,
            **(self.losses(inputs, keep_loss_inputs) if inputs else {}),
        )

    def loss_of(self, inputs):
        """The sum of the losses of regions and of masks, those of them that there are ``inputs`` of, and each."""
        parts = {}
        if "masks" in inputs:
            located = inputs["heat_logits"], inputs["distances"], inputs["masks"]
            parts["locating_loss"] = self.locator.loss(*located)
        if "targets" in inputs:
            parts["segmentation_loss"] = super().loss_of(inputs)["loss"]
        return {"loss": sum(parts.values())} | parts

    def _draw(self, heatmap, distances, size):
        """One region for each image, as training takes them; in evaluation that of the greatest cell."""
        boxes, scores = draw_regions(
            heatmap,
            scale_gradient(distances, self.config.gradient_decay),
            CELL,
            candidates=self.config.candidate_cells if self.training else 1,
        )
        return self._regions(boxes, torch.arange(len(boxes), device=boxes.device), scores, size)

    def _find(self, heatmap, distances, size):
        """Every region that the heat map shows."""
        found = find_regions(
            heatmap,
            distances,
            CELL,
            threshold=self.config.heatmap_threshold,
            keypoint=self.config.keypoint,
            fallback=self.config.no_region == "best-cell",
        )
        return self._regions(*found, size)

    def _regions(self, boxes, indices, scores, size):
        sampled = with_margin(boxes, self.config.margin)
        if self.config.recalibration == "crop":
            sampled = whole_pixels(sampled, size)
        return Regions(boxes, sampled, indices, scores)

    def _segment(self, images, regions):
        """S-Net's logits of regions, at the size of the padded images."""
        return self.segmenter(roi_sample(images, regions.sampled, regions.indices, images.shape[2:]))[0]

    def _paste(self, region_logits, regions, images):
        """Probability of each class but the background in the padded images: the greatest over their regions."""
        foreground = _foreground(region_logits)
        return roi_paste(foreground, regions.sampled, regions.indices, images.shape[2:], len(images))

    def _paste_sums(self, region_logits, regions, images):
        """Sum over the regions of these probabilities, and in a last channel of the regions' shares of each pixel."""
        foreground = _foreground(region_logits)
        values = torch.cat([foreground, torch.ones_like(foreground[:, :1])], dim=1)
        own = torch.arange(len(values), device=values.device)
        layers = roi_paste(values, regions.sampled, own, images.shape[2:], len(values))
        return layers.new_zeros(len(images), *layers.shape[1:]).index_add(0, regions.indices, layers)

    def _segment_and_paste(self, images, regions):
        """Segment all regions and join them, so few at a time that memory does not grow with their number."""
        averaged = self.config.overlap == "mean"
        channels = max(1, self.config.num_logits - 1) + averaged
        pasted = images.new_zeros(len(images), channels, *images.shape[2:], dtype=torch.float32)
        for first in range(0, len(regions.indices), self.config.regions_per_pass):
            some = regions[first : first + self.config.regions_per_pass]
            region_logits = self._segment(images, some)
            if averaged:
                pasted = pasted + self._paste_sums(region_logits, some, images)
            else:
                pasted = torch.maximum(pasted, self._paste(region_logits, some, images))
        # At the border of a region its share of a pixel is below one; alone there, it counts as it does by maximum.
        return pasted[:, :-1] / pasted[:, -1:].clamp(min=1) if averaged else pasted


def _foreground(region_logits):
    """Probability of each class but the background."""
    values = region_logits.float()
    return values.sigmoid() if values.shape[1] == 1 else values.softmax(dim=1)[:, 1:]


__all__ = ["LSNetForSemanticSegmentation"]
