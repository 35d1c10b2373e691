"""What the locating network of L-SNet learns: boxes of connected components, their heat map and side distances.

Boxes are x1, y1, x2, y2 in continuous pixels: pixel n covers [n, n + 1), so x2 is the last column plus one. Cell (i, j)
of a map of stride s stands for the point ((j + 1/2) s, (i + 1/2) s) of the image.
"""

import numpy as np
import torch
from scipy import ndimage

_EIGHT_NEIGHBOURS = np.ones((3, 3))
_SMALLEST_SPREAD = 0.75  # cells; with less, a centre between four cells would lift none of them above one half
_SMALLEST_PEAK = 1e-12  # a heat map's value under which no gradient or threshold could tell it from zero


@torch.compiler.disable
def component_boxes(masks, minimum_pixels=1):
    """Boxes of the 8-connected components of 2-D masks.

    Parameters
    ----------
    masks : torch.Tensor of shape (batch, height, width)
        Foreground where not zero. Labelled on the CPU.
    minimum_pixels : int
        Smaller components are left out.

    Returns
    -------
    boxes : torch.Tensor of shape (components, 4)
        float32, on the device of ``masks``; image by image.
    indices : torch.Tensor of shape (components,)
        int64: the image of each box.

    Raises
    ------
    NotImplementedError
        Under ``torch.export``, which cannot follow.
    """
    refuse_export()
    boxes, indices = [], []
    for index, mask in enumerate(masks.detach().ne(0).cpu().numpy()):
        labels, count = ndimage.label(mask, structure=_EIGHT_NEIGHBOURS)
        pixels = np.bincount(labels.ravel(), minlength=count + 1)
        for label, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
            if pixels[label] >= minimum_pixels:
                boxes.append((columns.start, rows.start, columns.stop, rows.stop))
                indices.append(index)
    device = masks.device
    return (
        torch.tensor(boxes, dtype=torch.float32, device=device).reshape(-1, 4),
        torch.tensor(indices, dtype=torch.int64, device=device),
    )


def refuse_export():
    """Raise ``NotImplementedError`` under ``torch.export``: how many regions there are depends on the values."""
    if torch.compiler.is_exporting():
        raise NotImplementedError(
            "a network that finds regions cannot be exported as a whole, since their number depends on the image; "
            "export its networks one by one"
        )


def cell_points(size, stride, device=None):
    """The points that the cells of a map stand for.

    Returns
    -------
    torch.Tensor of shape (height, width, 2)
        x and y in pixels, float32.
    """
    rows, columns = ((torch.arange(count, device=device, dtype=torch.float32) + 0.5) * stride for count in size)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y], dim=-1)


def centre_cells(boxes, indices, shape, stride):
    """Cells that hold the centre of a box.

    Parameters
    ----------
    boxes, indices : torch.Tensor of shapes (boxes, 4) and (boxes,)
        Result of :func:`component_boxes`, inside their images.
    shape : (batch, height, width) of the map, in cells
    stride : int
        Pixels per cell.

    Returns
    -------
    torch.Tensor of shape (batch, height, width)
        bool.
    """
    centres = ((boxes[:, :2] + boxes[:, 2:]) / 2 / stride).long()
    cells = torch.zeros(tuple(shape), dtype=torch.bool, device=boxes.device)
    cells[indices, centres[:, 1].clamp(max=shape[1] - 1), centres[:, 0].clamp(max=shape[2] - 1)] = True
    return cells


def locating_targets(boxes, indices, batch_size, size, stride, sigma=2.0, relative_sigma=None):
    """Heat map of box centres and, for every cell, the distances to the sides of the box that it belongs to.

    ``Y = max_c exp(-(p_x - c_x)^2 / (2 s_x^2) - (p_y - c_y)^2 / (2 s_y^2))`` over the centres c of an image's boxes
    (L-SNet, eq. 1). A cell belongs to the box whose term is greatest.

    Parameters
    ----------
    boxes, indices : torch.Tensor of shapes (boxes, 4) and (boxes,)
        Result of :func:`component_boxes`.
    batch_size : int
    size : (height, width) of the map, in cells
    stride : int
        Pixels per cell.
    sigma : float
        Standard deviation in cells, the same for every box.
    relative_sigma : float, optional
        Take this share of each box's width and height instead, but no less than 3/4 of a cell.

    Returns
    -------
    heatmap : torch.Tensor of shape (batch, height, width)
        float32, in [0, 1]; zero for an image without boxes.
    distances : torch.Tensor of shape (batch, 4, height, width)
        Left, top, right, bottom in pixels; negative where a point lies beside its box. Zero without boxes.
    """
    points = cell_points(size, stride, boxes.device)
    heatmap = torch.zeros(batch_size, *size, device=boxes.device)
    distances = torch.zeros(batch_size, 4, *size, device=boxes.device)
    for index in range(batch_size):
        own = boxes[indices == index]
        if len(own) == 0:
            continue
        centres, extents = (own[:, :2] + own[:, 2:]) / 2, own[:, 2:] - own[:, :2]
        spread = torch.full_like(extents, sigma * stride) if relative_sigma is None else relative_sigma * extents
        spread = spread.clamp(min=_SMALLEST_SPREAD * stride)
        offsets = (points - centres[:, None, None]) / spread[:, None, None]
        terms = torch.exp(-offsets.square().sum(-1) / 2)  # (boxes, height, width)
        # Far from all centres the terms are 0 alike; the nearest centre then decides.
        heatmap[index] = terms.max(dim=0).values
        nearest = own[offsets.square().sum(-1).argmin(dim=0)]  # (height, width, 4)
        sides = torch.cat([points - nearest[..., :2], nearest[..., 2:] - points], dim=-1)
        distances[index] = sides.permute(2, 0, 1)
    heatmap[heatmap < _SMALLEST_PEAK] = 0
    return heatmap, distances
