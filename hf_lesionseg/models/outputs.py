"""What the networks return."""

from dataclasses import dataclass

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
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None


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
