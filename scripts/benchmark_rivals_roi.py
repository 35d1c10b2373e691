"""RoI sampling and pasting as torch users write them: what ``benchmark_kernels.py`` times beside ours.

The tests take :func:`grid_sampled` and :func:`grid_pasted` for a second opinion.
"""

import torch
from torch.nn import functional as F

from hf_lesionseg.models import reference_ops

#: Images (batch, channels, height, width), number of boxes, side of the square RoIs.
SIZES = [
    ((4, 1, 224, 176), 4, 128),
    ((4, 32, 224, 176), 4, 112),
    ((8, 64, 112, 88), 32, 28),
    ((32, 16, 224, 176), 32, 96),
    ((2, 256, 56, 44), 64, 14),
    ((1, 32, 224, 176), 16, 64),
]


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
    canvas = maps.new_zeros(batch_size, *maps.shape[1:])
    index = batch_indices.reshape(-1, 1, 1, 1).expand_as(maps)
    return canvas.scatter_reduce(0, index, maps, "amax", include_self=False)


def _grid(scale_x, shift_x, scale_y, shift_y, values, size):
    zero = torch.zeros_like(scale_x)
    rows = torch.stack([scale_x, zero, shift_x], 1), torch.stack([zero, scale_y, shift_y], 1)
    return F.affine_grid(torch.stack(rows, 1), [len(scale_x), values.shape[1], *size], align_corners=False)


def sampling_rivals():
    """What to time beside ``roi_sample``, by name; ask anew for each size."""
    torch._dynamo.reset()
    rivals = {
        "grid_sample": grid_sampled,
        "torch.compile": torch.compile(grid_sampled, fullgraph=True, dynamic=False),
        "two matmuls": reference_ops.roi_sample,
    }
    align = _roi_align()
    return rivals | ({"roi_align": align} if align else {})


def pasting_rivals():
    """What to time beside ``roi_paste``, by name; ask anew for each size."""
    torch._dynamo.reset()
    return {
        "grid_sample": grid_pasted,
        "torch.compile": torch.compile(grid_pasted, fullgraph=True, dynamic=False),
        "matmuls": reference_ops.roi_paste,
    }


def _roi_align():
    """torchvision's, with one sample to a pixel and no gradient to boxes, where it can be imported."""
    try:
        from torchvision.ops import roi_align
    except (ImportError, RuntimeError):
        return None

    def sample(images, boxes, batch_indices, size):
        rois = torch.cat([batch_indices[:, None].to(boxes.dtype), boxes], dim=1)
        return roi_align(images, rois.detach(), size, sampling_ratio=1, aligned=True)

    return sample


def inputs(size, *, paste=False, dtype=torch.float32, device="cpu", seed=0):
    """Random arguments; boxes have sides of 20 to 60 % of the image, boxes are dealt out to images in turn.

    Returns
    -------
    arguments : tuple
        (images, boxes, batch_indices, roi size) or, with ``paste``, (rois of one channel, boxes, batch_indices,
        image size, batch); values and boxes with gradients.
    grad : torch.Tensor
        A gradient to the result.
    """
    (batch, channels, height, width), count, side = size
    generator = torch.Generator().manual_seed(seed)
    sides = torch.tensor([width, height])
    centres = (0.2 + 0.6 * torch.rand(count, 2, generator=generator)) * sides
    extents = (0.2 + 0.4 * torch.rand(count, 2, generator=generator)) * sides
    boxes = torch.cat([centres - extents / 2, centres + extents / 2], 1).to(device).requires_grad_()
    indices = (torch.arange(count) % batch).to(device)
    rois, images = (count, 1 if paste else channels, side, side), (batch, 1 if paste else channels, height, width)
    drawn = [torch.rand(shape, generator=generator).to(dtype).to(device) for shape in (rois, images)]
    values, grad = drawn if paste else drawn[::-1]
    rest = ((height, width), batch) if paste else ((side, side),)
    return (values.requires_grad_(), boxes, indices, *rest), grad
