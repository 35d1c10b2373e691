"""Bilinear sampling of regions of interest, and pasting them back, in plain PyTorch.

Boxes have their sides along the axes, so the bilinear weights are separable: an RoI is ``Wy @ image @ Wx.T`` with two
matrices of at most two weights per row. Positions are computed in float64, weights and sums in float32 (float64 for
float64 images), under autocast too. Imports torch only; the fallback of :mod:`hf_lesionseg.ops` and the truth of its
tests. Unlike in the kernels, a pixel that is infinite or NaN spoils whole rows of an RoI: zero times infinity is NaN.
"""

import functools
from dataclasses import dataclass

import torch

_FLOATING_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_LONGEST_SIDE = 2**30


def roi_sample(images, boxes, batch_indices, output_size):
    """Resample boxes of images to one size; see :func:`hf_lesionseg.ops.roi_sample`."""
    boxes, batch_indices = check_roi_sample(images, boxes, batch_indices, output_size)
    return sample(images, boxes, batch_indices, *output_size)


def roi_paste(rois, boxes, batch_indices, image_size, batch_size):
    """Put RoIs back into their images, overlaps by maximum; see :func:`hf_lesionseg.ops.roi_paste`."""
    boxes, batch_indices = check_roi_paste(rois, boxes, batch_indices, image_size, batch_size)
    return paste(rois, boxes, batch_indices, *image_size, batch_size)


def check_roi_sample(images, boxes, batch_indices, output_size):
    """Refuse what :func:`roi_sample` has no meaning for; return boxes in the arithmetic's dtype, indices as int64."""
    if images.dim() != 4:
        raise ValueError(f"images have shape {tuple(images.shape)}; give (batch, channels, height, width)")
    return _check(images, "images", boxes, batch_indices, output_size, "output_size")


def check_roi_paste(rois, boxes, batch_indices, image_size, batch_size):
    """Refuse what :func:`roi_paste` has no meaning for; return boxes in the arithmetic's dtype, indices as int64."""
    if rois.dim() != 4:
        raise ValueError(f"rois have shape {tuple(rois.shape)}; give (rois, channels, height, width)")
    if min(rois.shape[2:]) < 1:
        raise ValueError(f"rois have shape {tuple(rois.shape)}; height and width must be at least 1")
    if batch_size < 0:
        raise ValueError(f"batch_size is {batch_size}; it must not be negative")
    boxes, batch_indices = _check(rois, "rois", boxes, batch_indices, image_size, "image_size")
    if boxes.shape[0] != rois.shape[0]:
        raise ValueError(f"there are {rois.shape[0]} rois and {boxes.shape[0]} boxes; give one box for each")
    return boxes, batch_indices


def _check(values, name, boxes, batch_indices, size, size_name):
    if values.dtype not in _FLOATING_DTYPES:
        raise TypeError(f"{name} are {values.dtype}; give float32, float64, bfloat16 or float16")
    if not boxes.dtype.is_floating_point:
        raise TypeError(f"boxes are {boxes.dtype}; give a floating dtype")
    if batch_indices.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"batch_indices are {batch_indices.dtype}; give int64 or int32")
    if boxes.dim() != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes have shape {tuple(boxes.shape)}; give (rois, 4): x1, y1, x2, y2")
    if batch_indices.shape != boxes.shape[:1]:
        raise ValueError(f"batch_indices have shape {tuple(batch_indices.shape)}; {boxes.shape[0]} boxes need as many")
    if len(size) != 2 or min(size) < 1 or max(size) >= _LONGEST_SIDE:
        raise ValueError(f"{size_name} is {tuple(size)}; give (height, width), both at least 1 and below 2^30")
    if max(values.shape[2:]) >= _LONGEST_SIDE:
        raise ValueError(f"{name} have shape {tuple(values.shape)}; sides must be below 2^30")
    for other, what in ((boxes, "boxes"), (batch_indices, "batch_indices")):
        if other.device != values.device:
            raise ValueError(f"{name} are on {values.device} and {what} are on {other.device}; move one of them")
    return boxes.to(arithmetic_dtype(values)), batch_indices.long()


def without_autocast(function):
    """Keep the arithmetic's dtype where autocast would take the matrix products to 16 bits."""

    @functools.wraps(function)
    def wrapped(*arguments):
        device_type = next(value.device.type for value in arguments if isinstance(value, torch.Tensor))
        if not torch.amp.is_autocast_available(device_type):
            return function(*arguments)
        with torch.autocast(device_type, enabled=False):
            return function(*arguments)

    return wrapped


def arithmetic_dtype(values):
    """float64 for float64, else float32."""
    return torch.float64 if values.dtype == torch.float64 else torch.float32


@without_autocast
def sample(images, boxes, batch_indices, height, width):
    """:func:`roi_sample` of arguments that were checked."""
    region = Region.of_sampling(images.shape, boxes, batch_indices, height, width)
    rois = region.interpolate(region.take(images).to(arithmetic_dtype(images)))
    nothing = torch.full_like(rois, float("nan"))
    return torch.where(region.exists[:, None, None, None], rois, nothing).to(images.dtype)


@without_autocast
def sample_backward(grad, images, boxes, batch_indices, batch, height, width, to_images):
    """Gradients of :func:`sample` to images of (batch, channels, height, width) and, if images are given, to boxes.

    Differentiable itself. What is not asked for is an empty tensor.
    """
    region = Region.of_sampling((batch, 0, height, width), boxes, batch_indices, *grad.shape[2:])
    grad_rois = region.only_existing(grad.to(boxes.dtype))
    grad_images, grad_boxes = grad.new_empty(0), boxes.new_empty(0)
    if to_images:
        grad_images = boxes.new_zeros(batch, grad.shape[1], height, width)
        if batch:
            grad_images = grad_images.index_add(0, region.image, region.transposed(grad_rois))
        grad_images = grad_images.to(grad.dtype)
    if images is not None:
        grad_boxes = region.box_gradient(region.take(images).to(boxes.dtype), grad_rois)
    return grad_images, grad_boxes


@without_autocast
def paste(rois, boxes, batch_indices, height, width, batch_size):
    """:func:`roi_paste` of arguments that were checked."""
    return _paste(rois, boxes, batch_indices, height, width, batch_size)[0].to(rois.dtype)


@without_autocast
def paste_backward(grad, rois, boxes, batch_indices, to_rois, to_boxes):
    """Gradients of :func:`paste` to rois and boxes; differentiable itself. Not asked for: an empty tensor."""
    batch, _, height, width = grad.shape
    _, winner, region = _paste(rois, boxes, batch_indices, height, width, batch)
    grad_rois, grad_boxes = rois.new_empty(0), boxes.new_empty(0)
    won = region.take(winner) == torch.arange(rois.shape[0], device=rois.device)[:, None, None, None]
    grads = region.only_existing(region.take(grad).to(boxes.dtype) * won)
    if to_rois:
        grad_rois = region.transposed(grads).to(rois.dtype)
    if to_boxes:
        grad_boxes = region.box_gradient(rois.to(boxes.dtype), grads)
    return grad_rois, grad_boxes


def _paste(rois, boxes, batch_indices, height, width, batch_size):
    """Canvas, number of the RoI that each pixel comes from, and the region."""
    region = Region.of_pasting(rois.shape, boxes, batch_indices, height, width, batch_size)
    canvas = boxes.new_zeros(batch_size, rois.shape[1], height, width)
    winner = torch.full(canvas.shape, -1, device=rois.device)
    maps = region.interpolate(rois.to(boxes.dtype))
    # Image by image the first RoI, then the second, ...: of equal values the first one stays.
    rank = region.rank_in_image()
    for turn in range(int(rank.max()) + 1 if rank.numel() else 0):
        chosen = torch.nonzero(rank == turn).flatten()
        image = region.image[chosen]
        current = canvas[image]
        better = torch.ones_like(current, dtype=torch.bool) if turn == 0 else maps[chosen] > current
        canvas = canvas.index_copy(0, image, torch.where(better, maps[chosen], current))
        winner[image] = torch.where(better, chosen[:, None, None, None], winner[image])
    canvas = canvas + maps[:0].sum()  # zero: a function of RoIs and boxes also where none of them is pasted
    return canvas, winner, region


@dataclass
class Axis:
    """Linear interpolation along one axis of every box: ``weights`` (rois, outputs, inputs)."""

    weights: torch.Tensor
    slopes: torch.Tensor  # of the weights, by the position
    to_low: torch.Tensor  # slope of the position by the box's lower side, (rois, outputs)
    to_high: torch.Tensor

    @classmethod
    def at(cls, positions, to_low, to_high, inputs, dtype):
        """From positions in pixels, pixel centres at 0, 1, ...; outside of the pixels lie zeros."""
        lower = torch.floor(positions.detach())
        fraction = (positions - lower).unsqueeze(-1)
        pixels = torch.arange(inputs, device=positions.device, dtype=positions.dtype)
        below = (pixels == lower.unsqueeze(-1)).to(positions.dtype)
        above = (pixels == lower.unsqueeze(-1) + 1).to(positions.dtype)
        weights = below * (1 - fraction) + above * fraction
        return cls(weights.to(dtype), (above - below).to(dtype), to_low.to(dtype), to_high.to(dtype))

    @classmethod
    def of_sampling(cls, low, high, inputs, outputs, dtype):
        share = (torch.arange(outputs, device=low.device, dtype=low.dtype) + 0.5) / outputs
        low, high = low[:, None], high[:, None]
        positions = low + share * (high - low) - 0.5
        return cls.at(positions, (1 - share).expand_as(positions), share.expand_as(positions), inputs, dtype)

    @classmethod
    def of_pasting(cls, low, high, inputs, outputs, dtype):
        centres = torch.arange(outputs, device=low.device, dtype=low.dtype) + 0.5
        low, high = low[:, None], high[:, None]
        empty = low == high
        extent = torch.where(empty, 1.0, high - low)
        positions = torch.where(empty, -2.0, (centres - low) * inputs / extent - 0.5)  # -2: beside the RoI
        to_low = (centres - high) * inputs / extent**2
        to_high = (low - centres) * inputs / extent**2
        return cls.at(positions, to_low, to_high, inputs, dtype)


@dataclass
class Region:
    """Both axes of every box, and the image that each belongs to."""

    y: Axis
    x: Axis
    image: torch.Tensor  # of each box, 0 where there is none
    exists: torch.Tensor  # the box is finite and its image is there

    @classmethod
    def of_sampling(cls, images_shape, boxes, batch_indices, height, width):
        return cls._of(Axis.of_sampling, images_shape[2:], (height, width), boxes, batch_indices, images_shape[0])

    @classmethod
    def of_pasting(cls, rois_shape, boxes, batch_indices, height, width, batch_size):
        return cls._of(Axis.of_pasting, rois_shape[2:], (height, width), boxes, batch_indices, batch_size)

    @classmethod
    def _of(cls, axis, inputs, outputs, boxes, batch_indices, batch_size):
        extents = boxes[:, 2:].double() - boxes[:, :2].double()  # too large for float64 they are infinite
        exists = torch.isfinite(boxes).all(dim=1) & torch.isfinite(extents).all(dim=1)
        exists = exists & (batch_indices >= 0) & (batch_indices < batch_size)
        known = torch.where(exists[:, None], boxes, 0.0).double()
        x1, y1, x2, y2 = known.unbind(dim=1)
        return cls(
            axis(y1, y2, inputs[0], outputs[0], boxes.dtype),
            axis(x1, x2, inputs[1], outputs[1], boxes.dtype),
            torch.where(exists, batch_indices, 0),
            exists,
        )

    def take(self, images):
        """The image of each box; zeros where there are no images at all."""
        if images.shape[0] == 0:
            return images.new_zeros(self.image.shape[0], *images.shape[1:]) + images.sum()
        return images[self.image]

    def interpolate(self, values):
        """(rois, channels, inputs) to (rois, channels, outputs)."""
        return self.y.weights[:, None] @ values @ self.x.weights[:, None].mT

    def transposed(self, grads):
        """The transpose of :meth:`interpolate`."""
        return self.y.weights[:, None].mT @ grads @ self.x.weights[:, None]

    def box_gradient(self, values, grads):
        """Gradient to boxes (rois, 4) where ``interpolate(values)`` has the gradient ``grads``."""
        to_y = (grads * (self.y.slopes[:, None] @ values @ self.x.weights[:, None].mT)).sum(dim=(1, 3))
        to_x = (grads * (self.y.weights[:, None] @ values @ self.x.slopes[:, None].mT)).sum(dim=(1, 2))
        sides = (to_x * self.x.to_low, to_y * self.y.to_low, to_x * self.x.to_high, to_y * self.y.to_high)
        return torch.stack([side.sum(dim=1) for side in sides], dim=1)

    def only_existing(self, grads):
        return torch.where(self.exists[:, None, None, None], grads, 0.0)

    def rank_in_image(self):
        """How many boxes of the same image come before each box; -1 for boxes without an image."""
        same = (self.image[:, None] == self.image[None, :]) & self.exists[None, :]
        before = torch.tril(same, diagonal=-1).sum(dim=1)
        return torch.where(self.exists, before, -1)
