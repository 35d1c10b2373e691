"""RoI sampling and pasting as torch users write them, with affine_grid and grid_sample."""

import torch
from torch.nn import functional as F


def grid_sampled(images, boxes, batch_indices, size):
    """As ``roi_sample``, for finite boxes and images that exist."""
    height, width = images.shape[2:]
    x1, y1, x2, y2 = boxes.unbind(1)
    grid = _grid((x2 - x1) / width, (x1 + x2) / width - 1, (y2 - y1) / height, (y1 + y2) / height - 1, images, size)
    return F.grid_sample(images[batch_indices], grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def grid_pasted(rois, boxes, batch_indices, size, batch_size):
    """As ``roi_paste``, for finite boxes that are not empty and images that exist."""
    height, width = size
    x1, y1, x2, y2 = boxes.unbind(1)
    across, down = x2 - x1, y2 - y1
    grid = _grid(width / across, (width - 2 * x1) / across - 1, height / down, (height - 2 * y1) / down - 1, rois, size)
    maps = F.grid_sample(rois, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    canvas = [maps[batch_indices == n] for n in range(batch_size)]
    return torch.stack([m.amax(0) if len(m) else maps.new_zeros(maps.shape[1:]) for m in canvas])


def _grid(scale_x, shift_x, scale_y, shift_y, values, size):
    zero = torch.zeros_like(scale_x)
    rows = torch.stack([scale_x, zero, shift_x], 1), torch.stack([zero, scale_y, shift_y], 1)
    return F.affine_grid(torch.stack(rows, 1), [len(scale_x), values.shape[1], *size], align_corners=False)
