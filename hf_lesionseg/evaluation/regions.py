"""How well the first stage of a network finds where to look: IoU of its boxes with those of the true components.

L-SNet's Table 3 and 4 give a mean IoU without saying over what. Here, for every slice with lesion in the truth: every
8-connected component of at least 10 pixels has a box; its IoU is that with the best predicted box of its slice, 0 where
the slice has none. The mean is over all components of all slices, so a component that is missed weighs as much as one
that is found; boxes where there is nothing are not counted (the Dice of the slices sees what comes of them).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from ..models.region_targets import component_boxes

MINIMUM_PIXELS = 10
"""Smaller components have no box: by default L-SNet is not trained on them either."""


def pairwise_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of each box with each other one: array (boxes, others); a box without area has 0."""
    boxes, others = (np.asarray(each, dtype=np.float64).reshape(-1, 4) for each in (boxes, others))
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(each[:, 2:] - each[:, :2], 0, None).prod(axis=1) for each in (boxes, others)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def region_ious(
    labels: np.ndarray, regions: Iterable[tuple], minimum_pixels: int = MINIMUM_PIXELS
) -> tuple[float, ...]:
    """Best IoU of each true component with a predicted box of its slice.

    Parameters
    ----------
    labels : array (slices, height, width)
        Non-zero is lesion.
    regions : iterable of (slice index, box, score)
        Boxes as x1, y1, x2, y2 in continuous pixels (pixel n covers [n, n + 1)), such as
        :attr:`hf_lesionseg.inference.slices.SlicePrediction.regions`.
    minimum_pixels : int
        Smaller components have no box.

    Returns
    -------
    tuple of float
        One per component, slice by slice.
    """
    regions = list(regions)
    predicted = np.array([box for _, box, _ in regions], dtype=np.float64).reshape(-1, 4)
    of_slice = np.array([index for index, _, _ in regions], dtype=np.int64)
    truth, slices = (found.numpy() for found in component_boxes(torch.as_tensor(labels), minimum_pixels))
    overlaps = pairwise_iou(truth, predicted) * (slices[:, None] == of_slice[None, :])
    return tuple(overlaps.max(axis=1, initial=0.0).tolist())
