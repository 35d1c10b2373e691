"""What the networks return."""

from dataclasses import dataclass, field

import torch
from transformers.utils import ModelOutput


@dataclass
class LesionSegmenterOutput(ModelOutput):
    """Output of a lesion-segmentation network.

    Parameters
    ----------
    loss : torch.Tensor of shape (), optional
        Training loss, present when ``labels`` were given.
    logits : torch.Tensor of shape (batch, num_logits, height, width)
        Scores before sigmoid (one logit) or softmax (two or more), at the resolution of ``pixel_values``.
    hidden_states : tuple of torch.Tensor, optional
        Feature maps of the encoder and decoder levels, finest encoder level first, when asked for.
    loss_inputs : dict of str to torch.Tensor, optional
        What the loss is computed from, in place of it, when asked for; the first axis of each is that of the images.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    loss_inputs: dict[str, torch.Tensor] | None = field(default=None, kw_only=True)


@dataclass
class RegionSegmenterOutput(LesionSegmenterOutput):
    """Output of a network that finds regions first and then segments each.

    Parameters
    ----------
    boxes : torch.Tensor of shape (regions, 4)
        x1, y1, x2, y2 in continuous pixels (pixel n covers [n, n + 1)), without margin; image by image.
    box_indices : torch.Tensor of shape (regions,)
        int64: the image of each region.
    scores : torch.Tensor of shape (regions,)
        How sure the first stage is of each region, in [0, 1].
    heatmap : torch.Tensor of shape (batch, map height, map width), optional
        Probability of a region's centre.
    locating_loss, segmentation_loss : torch.Tensor of shape (), optional
        The parts of ``loss``.
    """

    boxes: torch.FloatTensor | None = None
    box_indices: torch.LongTensor | None = None
    scores: torch.FloatTensor | None = None
    heatmap: torch.FloatTensor | None = None
    locating_loss: torch.FloatTensor | None = None
    segmentation_loss: torch.FloatTensor | None = None


@dataclass
class GeneratorSegmenterOutput(LesionSegmenterOutput):
    """Output of a network that generates another modality and segments on it.

    The parts of the loss carry their weights: ``loss`` is their sum. A part that the configuration leaves out is None,
    and so are those that need a true DWI where none was given.

    Parameters
    ----------
    generated_dwi : torch.Tensor of shape (batch, 1, height, width), optional
        On the scale of the DWI that it was trained on.
    extraction_logits : torch.Tensor of shape (batch, 1, height, width), optional
        What the extractor makes of the perfusion series; its sigmoid is regressed to the lesion.
    extraction_loss, dwi_loss, feature_loss, segmentation_loss : torch.Tensor of shape (), optional
        Losses of the extractor, the generated image, its features and the mask.
    generated_feature_norm, true_feature_norm : torch.Tensor of shape (), optional
        2-norm of the features of generated and of true DWI, mean over the batch, detached. Both networks that compute
        them gain from features that shrink to zero: watch them.
    """

    generated_dwi: torch.FloatTensor | None = None
    extraction_logits: torch.FloatTensor | None = None
    extraction_loss: torch.FloatTensor | None = None
    dwi_loss: torch.FloatTensor | None = None
    feature_loss: torch.FloatTensor | None = None
    segmentation_loss: torch.FloatTensor | None = None
    generated_feature_norm: torch.FloatTensor | None = None
    true_feature_norm: torch.FloatTensor | None = None


def lesion_probability(logits):
    """Turn logits into the probability of lesion.

    Parameters
    ----------
    logits : torch.Tensor of shape (batch, num_logits, height, width)

    Returns
    -------
    torch.Tensor of shape (batch, height, width)
        float32. Sigmoid of a single logit; otherwise the softmax probability of class 1.
    """
    logits = logits.float()
    if logits.shape[1] == 1:
        return logits[:, 0].sigmoid()
    return logits.softmax(dim=1)[:, 1]


def lesion_logit(logits):
    """Turn logits into the logit of the probability of lesion.

    Parameters
    ----------
    logits : torch.Tensor of shape (batch, num_logits, height, width)

    Returns
    -------
    torch.Tensor of shape (batch, height, width)
        float32; its sigmoid is :func:`lesion_probability`.
    """
    logits = logits.float()
    if logits.shape[1] == 1:
        return logits[:, 0]
    others = torch.cat([logits[:, :1], logits[:, 2:]], dim=1)
    return logits[:, 1] - others.logsumexp(dim=1)


def logits_of_regions(foreground, num_logits):
    """Logits whose sigmoid or softmax are pasted probabilities.

    Parameters
    ----------
    foreground : torch.Tensor of shape (batch, classes, height, width)
        Probability of each class but the background, 0 outside of all regions.
    num_logits : int
        1 for a sigmoid; ``classes + 1`` for a softmax.

    Returns
    -------
    torch.Tensor of shape (batch, num_logits, height, width)
        float32, finite: probabilities are kept 1e-6 away from 0 and 1.
    """
    tiny = 1e-6
    foreground = foreground.float()
    if num_logits == 1:
        return foreground.clamp(tiny, 1 - tiny).logit()
    background = 1 - foreground.sum(dim=1, keepdim=True)
    return torch.cat([background, foreground], dim=1).clamp(min=tiny).log()
