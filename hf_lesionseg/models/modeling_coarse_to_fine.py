"""Coarse-to-fine segmentation: a first network finds the region, a second one segments its hard crop.

The baseline that L-SNet improves on; for the pancreas it goes back to Zhou et al., MICCAI 2017, arXiv:1612.08230.
"""

import torch
from transformers.utils import can_return_tuple

from .configuration_coarse_to_fine import CoarseToFineConfig
from .label_check import check_labels
from .layers import pad_to_stride
from .losses import segmentation_loss
from .one_stage import ResNetSegmenterPreTrainedModel
from .outputs import RegionSegmenterOutput, lesion_logit, lesion_probability, logits_of_regions
from .region_sampling import roi_paste, roi_sample, whole_pixels
from .region_targets import refuse_export
from .resnet_segmenters import ResNetFCN, ResNetUNet


@torch.compiler.disable
def foreground_boxes(masks):
    """The box around all foreground of each mask that has any.

    Parameters
    ----------
    masks : torch.Tensor of shape (batch, height, width)
        bool.

    Returns
    -------
    boxes : torch.Tensor of shape (boxes, 4)
        float32: x1, y1, x2, y2 in continuous pixels.
    indices : torch.Tensor of shape (boxes,)
        int64: the image of each box.
    """
    refuse_export()
    columns, rows = masks.any(dim=1), masks.any(dim=2)
    indices = torch.nonzero(rows.any(dim=1))[:, 0]
    sides = []
    for line in (columns[indices], rows[indices]):
        positions = torch.arange(line.shape[1], device=line.device)
        first = torch.where(line, positions, line.shape[1]).amin(dim=1)
        last = torch.where(line, positions + 1, 0).amax(dim=1)
        sides.append((first, last))
    (x1, x2), (y1, y2) = sides
    return torch.stack([x1, y1, x2, y2], dim=1).float(), indices


class CoarseToFineForSemanticSegmentation(ResNetSegmenterPreTrainedModel):
    """Two segmentation networks: the second sees the region that the first has found, enlarged to the image's size.

    The region is the box around all that the first stage takes for foreground. Its crop is hard: whole pixels, and no
    gradient from the second stage to the first. An image in which the first stage finds nothing has an empty mask.
    Heights and widths that are not a multiple of 32 are padded with zeros before the first stage; crops stay in the
    image.

    Examples
    --------
    >>> import torch
    >>> model = CoarseToFineForSemanticSegmentation(CoarseToFineConfig(base_width=4, second_stage_depth=18)).eval()
    >>> model(torch.rand(1, 3, 50, 40)).logits.shape
    torch.Size([1, 1, 50, 40])
    """

    config: CoarseToFineConfig
    config_class = CoarseToFineConfig
    base_model_prefix = "coarse_to_fine"

    #: Trained in one step on the sum of both losses, which share no weights.
    training_phases = ()

    def __init__(self, config):
        super().__init__(config)
        self.first_stage = _segmenter(config, config.first_stage_depth)
        self.second_stage = _segmenter(config, config.second_stage_depth)
        self.post_init()

    @can_return_tuple
    def forward(self, pixel_values, labels=None, output_hidden_states=None, keep_loss_inputs=False, **kwargs):
        """Segment a batch of slices.

        With ``labels``, the second stage's loss is that of crops around the truth, on the images that have foreground;
        in training mode their margins are jittered and ``logits`` are what it made of these crops.

        Parameters
        ----------
        pixel_values : torch.Tensor of shape (batch, num_channels, height, width)
            Intensities in [0, 1].
        labels : torch.Tensor of shape (batch, height, width), optional
            Integers: 1 in the foreground, 0 elsewhere.
        output_hidden_states : bool, optional
            Also return the maps of the first stage's encoder and decoder, at their padded sizes.
        keep_loss_inputs : bool
            With ``labels``, return what the losses are computed from, in place of them.

        Returns
        -------
        RegionSegmenterOutput
            ``boxes``, at most one for each image, are those of the first stage, in training too; ``scores`` its
            greatest probability there; ``locating_loss`` its loss and ``segmentation_loss`` the second stage's.

        Raises
        ------
        ValueError
            If ``pixel_values`` or ``labels`` have another shape or dtype, or labels other values than 0 and 1.
        """
        self.check_pixel_values(pixel_values)
        height, width = pixel_values.shape[-2:]
        if labels is not None:
            check_labels(labels, pixel_values)
        images = pad_to_stride(pixel_values, self.config.stride)
        coarse, hidden_states = self.first_stage(images)
        # What stands in the padding is not a region of the image.
        probability = lesion_probability(coarse.detach())[..., :height, :width]
        boxes, indices = foreground_boxes(probability > self.config.first_stage_threshold)
        scores = probability.amax(dim=(1, 2))[indices]

        losses = {}
        if labels is not None:
            masks = pad_to_stride((labels == 1)[:, None], self.config.stride)
            true_boxes, shown = foreground_boxes(masks[:, 0])
            crops = self._crop(true_boxes, (height, width), self._training_margins(true_boxes))
            fine = self._segment(images, crops, shown)
            inputs = {"logits": lesion_logit(coarse[..., :height, :width]), "targets": labels == 1}
            losses = self.losses(inputs | self._fine_inputs(fine, masks, crops, shown), keep_loss_inputs)
        if labels is None or not self.training:
            shown, crops = indices, self._crop(boxes, (height, width), self.config.margin)
            fine = self._segment(images, crops, shown)
        foreground = fine.float().sigmoid() if fine.shape[1] == 1 else fine.float().softmax(dim=1)[:, 1:]
        pasted = roi_paste(foreground, crops, shown, images.shape[2:], len(images))

        return RegionSegmenterOutput(
            logits=logits_of_regions(pasted, self.config.num_logits)[..., :height, :width],
            hidden_states=hidden_states if output_hidden_states else None,
            boxes=boxes,
            box_indices=indices,
            scores=scores,
            **losses,
        )

    def _training_margins(self, boxes):
        """Margins of crops around the truth, (boxes, 4): left, top, right, bottom."""
        margin, share = self.config.margin, self.config.jitter_probability
        margins = torch.full_like(boxes, margin)
        if not self.training or share == 0:
            return margins
        drawn = torch.randint(int(2 * margin) + 1, boxes.shape, device=boxes.device).to(boxes.dtype)
        return torch.where(torch.rand(len(boxes), 1, device=boxes.device) < share, drawn, margins)

    def _crop(self, boxes, size, margins):
        """Crops of whole pixels, with margins, inside images of ``size`` (height, width)."""
        outwards = boxes.new_tensor([-1, -1, 1, 1])
        return whole_pixels(boxes + margins * outwards, size)

    def _segment(self, images, crops, indices):
        """Logits of the second stage on the crops, (crops, num_logits, height, width)."""
        if len(crops) == 0:
            return images.new_zeros(0, self.config.num_logits, *images.shape[2:])
        return self.second_stage(roi_sample(images, crops, indices, images.shape[2:]))[0]

    def _fine_inputs(self, fine, masks, crops, indices):
        """Second stage's logits and truth of each image's crop, and which images have one."""
        has_crop = torch.zeros(len(masks), dtype=torch.bool, device=masks.device)
        has_crop[indices] = True
        logits = fine.new_zeros(len(masks), *masks.shape[2:], dtype=torch.float32)
        targets = torch.zeros_like(masks[:, 0])
        if len(crops):
            logits = logits.index_copy(0, indices, lesion_logit(fine))
            targets[indices] = roi_sample(masks.float(), crops, indices, masks.shape[2:])[:, 0] > 0.5
        else:
            # Zero, but a function of the weights: every process of a distributed run then has their gradients.
            logits = logits + 0.0 * sum(parameter.float().sum() for parameter in self.second_stage.parameters())
        return {"fine_logits": logits, "fine_targets": targets, "has_crop": has_crop}

    def loss_of(self, inputs):
        """The sum of both stages' losses, the second's on the images that have a crop, and each."""
        first, some = super().loss_of(inputs)["loss"], inputs["has_crop"]
        fine, targets = inputs["fine_logits"][some], inputs["fine_targets"][some]
        second = segmentation_loss(fine[:, None], targets, self.config) if len(fine) else fine.sum()
        return {"loss": first + second, "locating_loss": first, "segmentation_loss": second}


def _segmenter(config, depth):
    settings = (depth, config.num_channels, config.num_logits, config.base_width)
    return ResNetFCN(*settings) if config.architecture == "fcn" else ResNetUNet(*settings, config.decoder_widths)


__all__ = ["CoarseToFineForSemanticSegmentation"]
