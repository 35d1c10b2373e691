"""Losses of heat maps and boxes, by which a network learns where regions are."""

import torch
from torch.nn import functional as F


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
