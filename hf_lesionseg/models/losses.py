"""Segmentation losses of the papers."""


def batch_dice_loss(probabilities, targets, smooth=1.0):
    """One minus the Dice coefficient of the whole batch, with a squared denominator.

    ``1 - (2 sum(y p) + s) / (sum(y^2) + sum(p^2) + s)``, the sums running over every pixel of every image of the batch
    (CLCI-Net, Section 3; V-Net's form of the Dice loss).

    Parameters
    ----------
    probabilities : torch.Tensor of shape (batch, height, width)
        Probability of lesion, in [0, 1].
    targets : torch.Tensor of shape (batch, height, width)
        1 in the lesion, 0 elsewhere; any dtype.
    smooth : float
        Added above and below, so that a batch without lesion has a defined loss.

    Returns
    -------
    torch.Tensor of shape ()
        float32.
    """
    probabilities = probabilities.float()
    targets = targets.to(probabilities.dtype)
    overlap = (probabilities * targets).sum()
    denominator = targets.square().sum() + probabilities.square().sum()
    return 1 - (2 * overlap + smooth) / (denominator + smooth)


def check_labels(labels, logits):
    """Raise ``ValueError`` unless ``labels`` is an integer tensor (batch, height, width) that fits ``logits``."""
    expected = (logits.shape[0], *logits.shape[2:])
    if tuple(labels.shape) != expected:
        hint = "; squeeze its channel axis" if tuple(labels.shape) == (expected[0], 1, *expected[1:]) else ""
        raise ValueError(f"labels have shape {tuple(labels.shape)}, expected (batch, height, width) = {expected}{hint}")
    if labels.dtype.is_floating_point or labels.dtype.is_complex:
        raise ValueError(f"labels have dtype {labels.dtype}, expected an integer or bool tensor; use labels.long()")
