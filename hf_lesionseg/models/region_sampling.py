"""From heat map and distances to regions, and from regions to images of their own and back (L-SNet, eq. 2 to 4)."""

import numpy as np
import torch
from scipy import ndimage

from .reference_ops import roi_paste as _reference_roi_paste
from .reference_ops import roi_sample as _reference_roi_sample
from .region_targets import cell_points, refuse_export

try:  # the kernels of the package; published remote code runs on the reference
    from hf_lesionseg.ops import roi_paste, roi_sample
except ImportError:
    roi_paste, roi_sample = _reference_roi_paste, _reference_roi_sample

_EIGHT_NEIGHBOURS = np.ones((3, 3))


def scale_gradient(values, factor):
    """Return ``values`` as they are, whose gradient is multiplied by ``factor`` on its way back (0 cuts it off)."""
    if factor == 1:
        return values
    return factor * values + (1 - factor) * values.detach() if factor else values.detach()


def boxes_around(points, distances):
    """Boxes x1, y1, x2, y2 from points (regions, 2) and left, top, right, bottom distances (regions, 4)."""
    return torch.cat([points - distances[:, :2], points + distances[:, 2:]], dim=1)


def with_margin(boxes, margin):
    """Boxes that are wider by ``margin`` pixels on every side."""
    return boxes + boxes.new_tensor([-margin, -margin, margin, margin])


def whole_pixels(boxes, size):
    """The smallest boxes of whole pixels around ``boxes``, inside images of ``size`` (height, width), without gradient.

    A box beside the image becomes the pixel nearest to it.
    """
    height, width = size
    limits = boxes.new_tensor([width, height])
    first = boxes[:, :2].detach().floor().clamp(min=0).minimum(limits - 1)
    last = boxes[:, 2:].detach().ceil().minimum(limits)
    return torch.cat([first, last.maximum(first + 1)], dim=1)


@torch.compiler.disable
def find_regions(heatmap, distances, stride, *, threshold=0.5, keypoint="centre", fallback=False):
    """Find every region that a heat map shows: its 8-connected components above the threshold.

    Parameters
    ----------
    heatmap : torch.Tensor of shape (batch, height, width)
        Probabilities. Labelled on the CPU.
    distances : torch.Tensor of shape (batch, 4, height, width)
        Left, top, right, bottom in pixels.
    stride : int
        Pixels per cell.
    threshold : float
        Threshold for the heat map.
    keypoint : {"centre", "cell", "rounded"}
        Where the distances of a region are read and begin: at its component's centre, interpolated between cells; at
        the point of the cell nearest to it; or read at that cell but put around the centre, which moves the box by up
        to half a cell.
    fallback : bool
        Where an image has no component, take its greatest cell.

    Returns
    -------
    boxes : torch.Tensor of shape (regions, 4)
        float32 in pixels; image by image.
    indices : torch.Tensor of shape (regions,)
        int64: the image of each region.
    scores : torch.Tensor of shape (regions,)
        Greatest value of the heat map in the region.

    Raises
    ------
    NotImplementedError
        Under ``torch.export``, which cannot follow.
    """
    refuse_export()
    centres, indices, scores = [], [], []
    for index, values in enumerate(heatmap.detach().float().cpu().numpy()):
        labels, count = ndimage.label(values > threshold, structure=_EIGHT_NEIGHBOURS)
        if count:
            numbers = range(1, count + 1)
            found = ndimage.center_of_mass(labels > 0, labels, numbers)
            peaks = ndimage.maximum(values, labels, numbers)
        elif fallback:
            found, peaks = [np.unravel_index(values.argmax(), values.shape)], [values.max()]
        else:
            continue
        centres += found
        indices += [index] * len(found)
        scores += [float(peak) for peak in peaks]
    device = distances.device
    indices = torch.tensor(indices, dtype=torch.int64, device=device)
    centres = torch.tensor(np.array(centres).reshape(-1, 2), dtype=torch.float32, device=device)
    # Halves up: a component of two cells has its centre between them, whichever they are.
    cells = (centres + 0.5).floor()
    read_at, begin_at = {"centre": (centres, centres), "cell": (cells, cells), "rounded": (cells, centres)}[keypoint]
    points = (begin_at.flip(1) + 0.5) * stride
    sides = _read_between(distances, indices, read_at)
    return boxes_around(points, sides), indices, torch.tensor(scores, dtype=torch.float32, device=device)


def _read_between(maps, indices, places):
    """Values of maps (batch, channels, height, width) at rows and columns (places, 2), bilinearly between cells."""
    maps = maps.float()
    last = maps.new_tensor([maps.shape[2] - 1, maps.shape[3] - 1])
    low = places.floor().minimum(last)
    high = (low + 1).minimum(last)
    share = places - low
    total = 0
    for row, of_row in ((low[:, 0], 1 - share[:, 0]), (high[:, 0], share[:, 0])):
        for column, of_column in ((low[:, 1], 1 - share[:, 1]), (high[:, 1], share[:, 1])):
            total = total + (of_row * of_column)[:, None] * maps[indices, :, row.long(), column.long()]
    return total


def draw_regions(heatmap, distances, stride, candidates=3):
    """Draw one region for each image among the cells of greatest heat, as L-SNet's training does.

    Returns
    -------
    boxes : torch.Tensor of shape (batch, 4)
        In pixels, with the gradient of ``distances``.
    scores : torch.Tensor of shape (batch,)
        Scores of the heat map, without gradient.
    """
    batch, height, width = heatmap.shape
    scores, cells = heatmap.detach().float().reshape(batch, -1).topk(min(candidates, height * width), dim=1)
    choice = torch.randint(cells.shape[1], (batch, 1), device=cells.device)
    cells, scores = cells.gather(1, choice)[:, 0], scores.gather(1, choice)[:, 0]
    sides = distances.float().reshape(batch, 4, -1).gather(2, cells[:, None, None].expand(-1, 4, 1))[..., 0]
    points = cell_points((height, width), stride, cells.device).reshape(-1, 2)[cells]
    return boxes_around(points, sides), scores
