"""The segmentation losses, by name: what ``loss`` and ``loss_settings`` of a network's configuration choose.

To add one, write a function of ``(logits, targets, *, ...)`` that returns a scalar, and give it a name in
:data:`LOSSES`. Its keyword-only arguments are its settings; their defaults are those of the configuration. A loss
refuses an impossible setting by a ``ValueError``: a configuration tries its loss once when it is made.

Each takes ``logits`` (batch, height, width), float32, whose sigmoid is the probability of lesion
(:func:`~hf_lesionseg.models.outputs.lesion_logit`), and ``targets`` of the same shape and any dtype: 1 in the lesion, 0
elsewhere, or in between, as in heat maps. Sums and means run over all pixels of the batch together.
"""

import inspect
import math

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


def dice_loss(logits, targets, *, smooth=1.0):
    """Dice loss of the batch with squared denominators, CLCI-Net's: :func:`batch_dice_loss`."""
    _check_numbers(smooth=smooth)
    return batch_dice_loss(logits.sigmoid(), targets, smooth=smooth)


def linear_dice_loss(logits, targets, *, smooth=1e-5, bce_weight=0.0):
    """Dice loss of the batch without squares, MS-DCNN's (eq. 4), plus ``bce_weight`` times binary cross-entropy.

    The paper's text speaks of a cross-entropy besides the Dice coefficient, which its equation does not have.
    """
    _check_numbers(above_zero=("smooth",), smooth=smooth, bce_weight=bce_weight)
    loss = batch_dice_loss(logits.sigmoid(), targets, smooth=smooth, squared=False)
    return loss + bce_weight * focal_loss(logits, targets, gamma=0) if bce_weight else loss


def tversky_loss(logits, targets, *, alpha=0.3, beta=0.7, smooth=1.0):
    """One minus the Tversky index of the batch (Salehi et al., MLMI 2017, arXiv:1706.05721).

    ``1 - (TP + s) / (TP + alpha FP + beta FN + s)`` with ``TP = sum(y p)``, ``FP = sum((1 - y) p)`` and
    ``FN = sum(y (1 - p))``. With ``beta`` above ``alpha`` a missed pixel costs more than a false one; both 0.5 give a
    Dice loss without squares. The defaults are the paper's for multiple sclerosis.
    """
    _check_numbers(above_zero=("smooth",), alpha=alpha, beta=beta, smooth=smooth)
    probabilities = logits.sigmoid()
    targets = targets.to(probabilities.dtype)
    found = (probabilities * targets).sum()
    false = (probabilities * (1 - targets)).sum()
    missed = ((1 - probabilities) * targets).sum()
    return 1 - (found + smooth) / (found + alpha * false + beta * missed + smooth)


def bce_loss(logits, targets, *, pixel_weights=None):
    """Binary cross-entropy, mean over pixels; of two logits it is the cross-entropy of their softmax.

    Parameters
    ----------
    pixel_weights : torch.Tensor of shape (batch, height, width), optional
        Comes from the network, not from the settings.
    """
    if pixel_weights is None:
        return focal_loss(logits, targets, gamma=0)
    return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), weight=pixel_weights)


def focal_loss(logits, targets, *, gamma=2.0, alpha=None):
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
    _check_numbers(gamma=gamma, alpha=0.5 if alpha is None else alpha)
    if alpha is not None and not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; it must be between 0 and 1, or null")
    logits = logits.float()
    targets = targets.to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    if gamma:
        # The clamp keeps the slope of a power below 1 finite where target and prediction meet.
        loss = loss * (targets - logits.sigmoid()).abs().clamp(min=1e-12) ** gamma
    if alpha is not None:
        loss = loss * (alpha * targets + (1 - alpha) * (1 - targets))
    return loss.mean()


def focal_dice_loss(logits, targets, *, gamma=2.0, alpha=None, dice_weight=0.2, smooth=1.0):
    """:func:`focal_loss` plus ``dice_weight`` times :func:`dice_loss`: of heat map and masks in L-SNet (eq. 5 and 6).

    The paper's 0.2 is read as the weight of Dice. Without squared denominators the Dice loss would not vanish at p = y
    for targets between 0 and 1.
    """
    _check_numbers(dice_weight=dice_weight)
    dice = dice_loss(logits.float(), targets, smooth=smooth)
    return focal_loss(logits, targets, gamma=gamma, alpha=alpha) + dice_weight * dice


def bce_dice_loss(logits, targets, *, bce_weight=1.0, smooth=1.0):
    """``bce_weight`` times binary cross-entropy plus the mean of two Dice losses: of the batch, and of each image.

    The Dice loss of the batch (:func:`batch_dice_loss`) is led by large lesions; that of each image makes small ones
    count, and weighs false positives where an image has no lesion. Of our own; the packaged network is trained by it.
    """
    _check_numbers(bce_weight=bce_weight, smooth=smooth)
    probabilities = logits.float().sigmoid()
    targets = targets.to(probabilities.dtype)
    of_batch = batch_dice_loss(probabilities, targets, smooth=smooth)
    overlap = (probabilities * targets).sum(dim=(1, 2))
    sizes = (targets.square() + probabilities.square()).sum(dim=(1, 2))
    of_images = (1 - (2 * overlap + smooth) / (sizes + smooth)).mean()
    return bce_weight * focal_loss(logits, targets, gamma=0) + (of_batch + of_images) / 2


def generalized_dice_ce_loss(logits, targets, *, smallest_class=1.0, pixel_weights=None):
    """Cross-entropy minus the logarithm of :func:`generalized_dice`: of the segmentor in EGS-Net (Section 2.3).

    Parameters
    ----------
    smallest_class : float
        Pixels that a class has at least in its weight in the generalised Dice coefficient [assumed].
    pixel_weights : torch.Tensor of shape (batch, height, width), optional
        Weights of the cross-entropy's pixels; they come from the network, not from the settings.
    """
    _check_numbers(above_zero=("smallest_class",), smallest_class=smallest_class)
    truth = targets.to(logits.dtype)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, truth, weight=pixel_weights)
    return cross_entropy - generalized_dice(logits.sigmoid(), truth, smallest=smallest_class).log()


#: Name in a configuration's ``loss`` -> the function that computes it.
LOSSES = {
    "dice": dice_loss,
    "linear-dice": linear_dice_loss,
    "tversky": tversky_loss,
    "bce": bce_loss,
    "bce-dice": bce_dice_loss,
    "focal": focal_loss,
    "focal-dice": focal_dice_loss,
    "generalized-dice-ce": generalized_dice_ce_loss,
}
_FROM_THE_NETWORK = "pixel_weights"


def complete_settings(name, given=None):
    """The settings of the loss of that name, those that are not ``given`` at their defaults; a new dict."""
    needed = inspect.Parameter.empty  # stands for the default of a setting that has none
    return {key: value for key, value in _settings(name).items() if value is not needed} | dict(given or {})


def _settings(name):
    """``{setting: default}`` of the loss of that name."""
    arguments = inspect.signature(LOSSES[name]).parameters.values()
    return {
        argument.name: argument.default
        for argument in arguments
        if argument.kind is argument.KEYWORD_ONLY and argument.name != _FROM_THE_NETWORK
    }


def check_loss(name, settings):
    """Raise ``ValueError`` unless there is such a loss and it takes these settings."""
    if name not in LOSSES:
        raise ValueError(f"loss is {name!r}; use one of {', '.join(LOSSES)}")
    known = _settings(name)
    for setting in settings:
        if setting not in known:
            remedy = f"give {', '.join(known)}, or {{}} for its defaults" if known else "it takes none: give {}"
            raise ValueError(f"loss_settings has {setting!r}, which the loss {name!r} does not take; {remedy}")
    plane = torch.zeros(1, 2, 2, dtype=torch.float32, device="cpu")
    try:
        LOSSES[name](plane, plane, **settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"loss_settings of {name!r}: {error}") from error


def segmentation_loss(logits, targets, config, pixel_weights=None):
    """The loss that a configuration names, of masks or heat maps.

    Parameters
    ----------
    logits : torch.Tensor of shape (batch, num_logits, height, width)
    targets : torch.Tensor of shape (batch, height, width)
        1 in the foreground, 0 elsewhere, or in between; any dtype.
    config : SegmenterConfig
        With ``loss``, a name in :data:`LOSSES`, and ``loss_settings``.
    pixel_weights : torch.Tensor of shape (batch, height, width), optional
        What each pixel counts, in losses that take such weights: "bce" and "generalized-dice-ce".

    Returns
    -------
    torch.Tensor of shape ()
        float32.
    """
    loss, settings = LOSSES[config.loss], dict(config.loss_settings)
    if pixel_weights is not None and _FROM_THE_NETWORK in inspect.signature(loss).parameters:
        settings[_FROM_THE_NETWORK] = pixel_weights
    return loss(lesion_logit(logits), targets, **settings)


def _check_numbers(above_zero=(), **settings):
    """Raise ``ValueError`` unless each setting is a number of 0 or more, or above 0 where it is named so."""
    for name, value in settings.items():
        positive = name in above_zero
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{name} is {value!r}; it must be a number")
        if value < 0 or (positive and value == 0):
            raise ValueError(f"{name} is {value}; it must be {'above 0' if positive else '0 or more'}")
