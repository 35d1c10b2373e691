"""Segmentation and localisation losses of the papers."""

import torch
from torch.nn import functional as F

from .outputs import lesion_logit


def batch_dice_loss(probabilities, targets, smooth=1.0, squared=True):
    """One minus the Dice coefficient of the whole batch.

    ``1 - (2 sum(y p) + s) / (sum(y^2) + sum(p^2) + s)``, the sums running over every pixel of every image of the batch
    (CLCI-Net, Section 3; V-Net's form of the Dice loss). Without ``squared`` the denominator is
    ``sum(y) + sum(p) + s`` (MS-DCNN, eq. 4).

    Parameters
    ----------
    probabilities : torch.Tensor of shape (batch, height, width)
        Probability of lesion, in [0, 1].
    targets : torch.Tensor of shape (batch, height, width)
        1 in the lesion, 0 elsewhere; any dtype.
    smooth : float
        Added above and below, so that a batch without lesion has a defined loss.
    squared : bool
        Square both terms of the denominator.

    Returns
    -------
    torch.Tensor of shape ()
        float32.
    """
    probabilities = probabilities.float()
    targets = targets.to(probabilities.dtype)
    overlap = (probabilities * targets).sum()
    power = 2 if squared else 1
    denominator = (targets**power).sum() + (probabilities**power).sum()
    return 1 - (2 * overlap + smooth) / (denominator + smooth)


def generalized_dice(probabilities, targets, smallest=1.0):
    """Generalised Dice coefficient of lesion and background over the whole batch (Sudre et al., DLMIA 2017).

    ``2 sum_l w_l sum(r p) / sum_l w_l sum(r + p)`` over the two classes l, with ``w_l = 1 / (sum r)^2``, the inner sums
    running over every pixel of every image of the batch.

    Parameters
    ----------
    probabilities : torch.Tensor of shape (batch, height, width)
        Probability of lesion, in [0, 1].
    targets : torch.Tensor of shape (batch, height, width)
        1 in the lesion, 0 elsewhere; any dtype.
    smallest : float
        Pixels that a class has at least in its weight: keeps that of a class without pixels, and with it minus the
        logarithm, finite.

    Returns
    -------
    torch.Tensor of shape ()
        float32, above 0 and up to 1, which a perfect prediction reaches also where a class has no pixel.
    """
    lesion = probabilities.float()
    truth = targets.to(lesion.dtype)
    overlap = sizes = 0.0
    for prediction, wanted in ((lesion, truth), (1 - lesion, 1 - truth)):
        weight = wanted.sum().clamp(min=smallest) ** -2
        overlap = overlap + weight * (wanted * prediction).sum()
        sizes = sizes + weight * (wanted + prediction).sum()
    return (2 * overlap / sizes).clamp(min=torch.finfo(torch.float32).tiny)


def focal_loss(logits, targets, gamma=2.0, alpha=None):
    """Mean of ``|y - p|^gamma BCE(p, y)`` with ``p = sigmoid(logits)``.

    For targets of 0 and 1 this is the focal loss of Lin et al. (ICCV 2017); for those in between, as in heat maps, it
    vanishes at p = y too (L-SNet, eq. 5 and 6).

    Parameters
    ----------
    logits : torch.Tensor
        Any shape; computed in float32.
    targets : torch.Tensor
        In [0, 1], of the same shape, any dtype.
    gamma : float
        0 gives binary cross-entropy.
    alpha : float, optional
        Weight of the foreground, ``1 - alpha`` being that of the background; without it both weigh 1.

    Returns
    -------
    torch.Tensor of shape ()
        float32.
    """
    logits = logits.float()
    targets = targets.to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    if gamma:
        # The clamp keeps the slope of a power below 1 finite where target and prediction meet.
        loss = loss * (targets - logits.sigmoid()).abs().clamp(min=1e-12) ** gamma
    if alpha is not None:
        loss = loss * (alpha * targets + (1 - alpha) * (1 - targets))
    return loss.mean()


def penalty_reduced_focal_loss(logits, targets, centres, alpha=2.0, beta=4.0):
    """CornerNet's focal loss of heat maps, divided by the number of objects (Law and Deng, ECCV 2018, eq. 1).

    ``-(1 - p)^alpha log p`` at the objects' centres and ``-(1 - y)^beta p^alpha log(1 - p)`` elsewhere, with
    ``p = sigmoid(logits)``: the nearer a cell is to a centre, the less it costs to take it for one.

    Parameters
    ----------
    logits, targets : torch.Tensor of the same shape
        ``targets`` y in [0, 1].
    centres : torch.Tensor
        bool, of the same shape.
    alpha, beta : float

    Returns
    -------
    torch.Tensor of shape ()
        float32; of a batch without objects the sum over all cells.
    """
    logits = logits.float()
    probability = logits.sigmoid()
    at_centres = (1 - probability) ** alpha * F.softplus(-logits)
    elsewhere = (1 - targets.to(logits.dtype)) ** beta * probability**alpha * F.softplus(logits)
    return torch.where(centres, at_centres, elsewhere).sum() / centres.sum().clamp(min=1)


def focal_dice_loss(logits, targets, gamma=2.0, alpha=None, dice_weight=0.2, smooth=1.0):
    """Focal loss plus ``dice_weight`` times the Dice loss of the batch: the loss of heat map and mask in L-SNet.

    The Dice loss has squared denominators (:func:`batch_dice_loss`), without which it would not vanish at p = y for
    targets between 0 and 1.

    Parameters
    ----------
    logits, targets : torch.Tensor of the same shape
    gamma, alpha : see :func:`focal_loss`
    dice_weight : float
        0.2 in the paper, read as the weight of Dice.
    smooth : float
        See :func:`batch_dice_loss`.
    """
    dice = batch_dice_loss(logits.float().sigmoid(), targets, smooth=smooth)
    return focal_loss(logits, targets, gamma=gamma, alpha=alpha) + dice_weight * dice


def bce_dice_loss(logits, targets, bce_weight=1.0, smooth=1.0):
    """Binary cross-entropy plus the mean of two Dice losses: of the whole batch, and of each image by itself.

    The Dice loss of the batch (:func:`batch_dice_loss`) is led by large lesions; that of each image makes small ones
    count, and weighs false positives where an image has no lesion.

    Parameters
    ----------
    logits, targets : torch.Tensor of shape (batch, height, width)
    bce_weight : float
        Weight of the cross-entropy, a mean over pixels.
    smooth : float
        See :func:`batch_dice_loss`.

    Returns
    -------
    torch.Tensor of shape ()
        float32.
    """
    probabilities = logits.float().sigmoid()
    targets = targets.to(probabilities.dtype)
    of_batch = batch_dice_loss(probabilities, targets, smooth=smooth)
    overlap = (probabilities * targets).sum(dim=(1, 2))
    sizes = (targets.square() + probabilities.square()).sum(dim=(1, 2))
    of_images = (1 - (2 * overlap + smooth) / (sizes + smooth)).mean()
    return bce_weight * focal_loss(logits, targets, gamma=0) + (of_batch + of_images) / 2


def segmentation_loss(logits, targets, config):
    """The loss that a configuration names, of masks or heat maps.

    Parameters
    ----------
    logits : torch.Tensor of shape (batch, num_logits, height, width)
    targets : torch.Tensor of shape (batch, height, width)
        1 in the foreground, 0 elsewhere, or in between; any dtype.
    config
        With ``loss``: "focal-dice" (:func:`focal_dice_loss`), "dice" (:func:`batch_dice_loss`), "bce" (binary
        cross-entropy) or "bce-dice" (:func:`bce_dice_loss`), and ``focal_gamma``, ``focal_alpha``, ``dice_weight``,
        ``dice_smooth``, ``bce_weight``.

    Returns
    -------
    torch.Tensor of shape ()
        float32.
    """
    foreground = lesion_logit(logits)
    if config.loss == "dice":
        return batch_dice_loss(foreground.sigmoid(), targets, smooth=config.dice_smooth)
    if config.loss == "bce":
        return focal_loss(foreground, targets, gamma=0)
    if config.loss == "bce-dice":
        return bce_dice_loss(foreground, targets, bce_weight=config.bce_weight, smooth=config.dice_smooth)
    return focal_dice_loss(
        foreground,
        targets,
        gamma=config.focal_gamma,
        alpha=config.focal_alpha,
        dice_weight=config.dice_weight,
        smooth=config.dice_smooth,
    )


def diou_loss(distances, targets):
    """One minus the Distance-IoU of boxes that are given by their distances from one point each.

    ``1 - IoU + rho^2 / c^2`` (Zheng et al., AAAI 2020) with rho the distance of the centres and c the diagonal of the
    smallest box around both, written for a common point: the intersection is made of pairwise minima of the distances,
    the surrounding box of pairwise maxima.

    Parameters
    ----------
    distances, targets : torch.Tensor of shape (boxes, 4)
        Left, top, right, bottom from the point to the sides, in one unit. A target may be negative where its point lies
        beside the box.

    Returns
    -------
    torch.Tensor of shape (boxes,)
        float32, from 0 to below 2.
    """
    predicted, wanted = distances.float(), targets.float()
    lower, upper = torch.minimum(predicted, wanted), torch.maximum(predicted, wanted)

    def sides(box):
        return box[:, 0] + box[:, 2], box[:, 1] + box[:, 3]

    def area(box):
        width, height = sides(box)
        return width.clamp(min=0) * height.clamp(min=0)

    intersection = area(lower)
    union = area(predicted) + area(wanted) - intersection
    apart = (wanted[:, 2:] - wanted[:, :2]) - (predicted[:, 2:] - predicted[:, :2])
    diagonal = sum(side.square() for side in sides(upper))
    tiny = torch.finfo(torch.float32).eps
    return 1 - intersection / union.clamp(min=tiny) + apart.square().sum(1) / 4 / diagonal.clamp(min=tiny)


def check_labels(labels, logits):
    """Raise ``ValueError`` unless ``labels`` are those of a lesion and fit ``logits``.

    Networks learn where a label is 1: any other one would be taken for background, 255 of a mask and -100 or 255 of
    pixels to be ignored as well.

    Parameters
    ----------
    labels : torch.Tensor of shape (batch, height, width)
        Integers or bool: 0 and 1. Their values are looked at once a batch, for which a GPU is waited for; in a
        compiled network PyTorch's own assertion does that, which cannot name the value.
    logits : torch.Tensor of shape (batch, channels, height, width)
    """
    expected = (logits.shape[0], *logits.shape[2:])
    if tuple(labels.shape) != expected:
        hint = "; squeeze its channel axis" if tuple(labels.shape) == (expected[0], 1, *expected[1:]) else ""
        raise ValueError(f"labels have shape {tuple(labels.shape)}, expected (batch, height, width) = {expected}{hint}")
    if labels.dtype.is_floating_point or labels.dtype.is_complex:
        raise ValueError(f"labels have dtype {labels.dtype}, expected an integer or bool tensor; use labels.long()")
    if labels.dtype == torch.bool or labels.is_meta:
        return
    known = (labels == 0) | (labels == 1)
    if torch.compiler.is_compiling():
        torch._assert_async(known.all(), "labels hold another value than 0 (background) and 1 (lesion)")
    elif not known.all():
        others = labels[~known]
        listed = ", ".join(str(value) for value in others.unique()[:6].tolist())
        raise ValueError(
            f"labels hold {listed} ({others.numel()} pixels), which would train as background; networks take 0 "
            "(background) and 1 (lesion): choose the lesion first, for example (labels > 0).long()"
        )
