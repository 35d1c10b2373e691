"""A moving average of the weights: what is validated, kept and published in place of the last step's."""

import torch
from torch.optim.swa_utils import AveragedModel

__all__ = ["averaged_model"]


def averaged_model(model, decay):
    """Average the weights and batch-norm statistics of a network exponentially over the steps.

    At step n the decay is ``min(decay, (1 + n) / (10 + n))``, so that the first, bad weights are soon forgotten.

    Parameters
    ----------
    model : PreTrainedModel
        Unwrapped; the average begins with a copy of it.
    decay : float
        Share of the average that a step keeps, such as 0.999.

    Returns
    -------
    torch.optim.swa_utils.AveragedModel
        ``module`` is the averaged network; call ``update_parameters(model)`` after each step.
    """

    def average(averaged, present, steps):
        if not averaged[0].dtype.is_floating_point:  # counters of batches
            for old, new in zip(averaged, present, strict=True):
                old.copy_(new)
            return
        kept = min(decay, (1 + steps.item()) / (10 + steps.item()))
        with torch.no_grad():
            torch._foreach_lerp_(averaged, present, 1 - kept)

    averaged = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
    averaged.requires_grad_(False)
    return averaged
