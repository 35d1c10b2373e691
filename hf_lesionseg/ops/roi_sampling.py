"""Bilinear RoI sampling and pasting: schemas, shapes, gradients and the public functions."""

import torch

from ..models import reference_roi
from .library import declare_op, ops, uses_kernel


def roi_sample(images, boxes, batch_indices, output_size):
    """Resample boxes of images to one size, bilinearly.

    Equals ``grid_sample(images[batch_indices], affine_grid(...))`` (bilinear, zeros outside, ``align_corners=False``;
    Jaderberg et al. 2015), with gradients to images and boxes, but copies no image and, since the sides of a box lie
    along the axes, interpolates rows and columns one after the other. Output pixel j of S along x lies at
    ``x1 + (j + 0.5) * (x2 - x1) / S``. A box whose sides are swapped gives a mirrored RoI, an empty one the same value
    S times.

    The backward pass gathers: every pixel's gradient is summed up by one thread in the order of the boxes, so it is the
    same from run to run and for any number of threads. Saved for it are the boxes and, where boxes need a gradient, the
    images. Where a position falls on a pixel centre the slope is the one to its right, as in ``grid_sample``. Second
    derivatives go through plain PyTorch. 16-bit images compute in float32; positions are computed in float64.

    Parameters
    ----------
    images : torch.Tensor
        (batch, channels, height, width); float32, float64, bfloat16 or float16. Any memory format; brought to
        contiguous.
    boxes : torch.Tensor
        (rois, 4): x1, y1, x2, y2 in continuous pixels, pixel n covers [n, n + 1). Converted to float32, or float64
        with float64 images.
    batch_indices : torch.Tensor
        (rois,), int64 or int32: the image of each box.
    output_size : tuple of int
        Height and width of the RoIs.

    Returns
    -------
    torch.Tensor
        (rois, channels, *output_size), contiguous, in the dtype of ``images``. The RoI of a box that is not finite, or
        whose batch index is not one of the images, is NaN and sends no gradient back, on every device.

    Raises
    ------
    TypeError
        For a dtype that is not one of those above.
    ValueError
        For shapes that do not fit, sizes below 1 or from 2^30 on, or tensors on two devices.

    Examples
    --------
    >>> image = torch.arange(4.0).reshape(1, 1, 1, 4)
    >>> roi_sample(image, torch.tensor([[1.0, 0.0, 3.0, 1.0]]), torch.tensor([0]), (1, 2))
    tensor([[[[1., 2.]]]])
    """
    boxes, batch_indices = reference_roi.check_roi_sample(images, boxes, batch_indices, output_size)
    if uses_kernel("roi_sample", images.device.type):
        return ops.roi_sample(images, boxes, batch_indices, *output_size)
    return reference_roi.sample(images, boxes, batch_indices, *output_size)


def roi_paste(rois, boxes, batch_indices, image_size, batch_size):
    """Put RoIs back into images of zeros: the inverse of :func:`roi_sample`, overlaps by maximum.

    The value of an image's pixel is the maximum over the RoIs of this image of ``grid_sample`` of the RoI at the pixel
    (bilinear, zeros outside, ``align_corners=False``), or zero in an image without RoIs. Of equal values the first RoI
    counts, and the gradient goes to it alone. Saved for the backward pass are the arguments; who won where is computed
    anew. Otherwise as in :func:`roi_sample`.

    Parameters
    ----------
    rois : torch.Tensor
        (rois, channels, roi height, roi width); float32, float64, bfloat16 or float16.
    boxes : torch.Tensor
        (rois, 4): x1, y1, x2, y2 in continuous pixels of the images.
    batch_indices : torch.Tensor
        (rois,), int64 or int32: the image of each RoI.
    image_size : tuple of int
        Height and width of the images.
    batch_size : int
        Number of images.

    Returns
    -------
    torch.Tensor
        (batch_size, channels, *image_size), contiguous, in the dtype of ``rois``. An RoI whose box is empty covers
        nothing. A NaN does not displace what an earlier RoI has put there. An RoI whose box is not finite, or whose
        batch index is not one of the images, is left out.

    Raises
    ------
    TypeError
        For a dtype that is not one of those above.
    ValueError
        For shapes that do not fit, sizes below 1 or from 2^30 on, or tensors on two devices.

    Examples
    --------
    >>> roi_paste(torch.ones(1, 1, 1, 2), torch.tensor([[1.0, 0.0, 3.0, 1.0]]), torch.tensor([0]), (1, 4), 1)
    tensor([[[[0., 1., 1., 0.]]]])
    """
    boxes, batch_indices = reference_roi.check_roi_paste(rois, boxes, batch_indices, image_size, batch_size)
    # A compiler takes the op in any case: plain PyTorch asks how many RoIs an image has, which a graph cannot.
    if torch.compiler.is_compiling() or uses_kernel("roi_paste", rois.device.type):
        return ops.roi_paste(rois, boxes, batch_indices, *image_size, batch_size)
    return reference_roi.paste(rois, boxes, batch_indices, *image_size, batch_size)


def _save_for_sample(ctx, inputs, output):
    images, boxes, batch_indices, _, _ = inputs
    ctx.image_shape = (images.shape[0], images.shape[2], images.shape[3])
    ctx.save_for_backward(images if ctx.needs_input_grad[1] else None, boxes, batch_indices)


def _sample_backward(ctx, grad):
    images, boxes, batch_indices = ctx.saved_tensors
    grad_images, grad_boxes = ops.roi_sample_backward(
        grad, images, boxes, batch_indices, *ctx.image_shape, ctx.needs_input_grad[0]
    )
    return _where(ctx.needs_input_grad[0], grad_images), _where(images is not None, grad_boxes), None, None, None


def _save_for_paste(ctx, inputs, output):
    ctx.save_for_backward(*inputs[:3])


def _paste_backward(ctx, grad):
    to_rois, to_boxes = ctx.needs_input_grad[:2]
    grad_rois, grad_boxes = ops.roi_paste_backward(grad, *ctx.saved_tensors, to_rois, to_boxes)
    return _where(to_rois, grad_rois), _where(to_boxes, grad_boxes), None, None, None, None


def _where(wanted, gradient):
    return gradient if wanted else None


def _fake_sample(images, boxes, batch_indices, height, width):
    return images.new_empty(boxes.shape[0], images.shape[1], height, width)


def _fake_sample_backward(grad, images, boxes, batch_indices, batch, height, width, to_images):
    grad_images = grad.new_empty((batch, grad.shape[1], height, width) if to_images else 0)
    return grad_images, boxes.new_empty(boxes.shape if images is not None else 0)


def _fake_paste(rois, boxes, batch_indices, height, width, batch):
    return rois.new_empty(batch, rois.shape[1], height, width)


def _fake_paste_backward(grad, rois, boxes, batch_indices, to_rois, to_boxes):
    return rois.new_empty(rois.shape if to_rois else 0), boxes.new_empty(boxes.shape if to_boxes else 0)


def _differentiate(formula):
    """Setup and backward of a backward op, from its differentiable formula: the source of second derivatives."""

    def save(ctx, inputs, output):
        ctx.is_tensor = [isinstance(value, torch.Tensor) for value in inputs]
        ctx.others = [value for value in inputs if not isinstance(value, torch.Tensor)]
        ctx.save_for_backward(*(value for value in inputs if isinstance(value, torch.Tensor)))

    def backward(ctx, *grads):
        others = iter(ctx.others)
        with torch.enable_grad():
            # Aliases give the gradient to each argument alone, though one may have been computed from another.
            tensors = [t.view_as(t) for t in ctx.saved_tensors]
            floating = [t.requires_grad_() for t in tensors if t.is_floating_point()]
            pending = iter(tensors)
            outputs = formula(*(next(pending) if tensor else next(others) for tensor in ctx.is_tensor))
        reached = [
            (output, grad)
            for output, grad in zip(outputs, grads)
            if output.requires_grad and output.numel() and grad is not None
        ]
        if not reached:
            return (None,) * len(ctx.is_tensor)
        outputs, grads = zip(*reached)
        found = torch.autograd.grad(outputs, floating, grads, create_graph=torch.is_grad_enabled(), allow_unused=True)
        found = dict(zip(map(id, floating), found))
        pending = iter(tensors)
        return tuple(found.get(id(next(pending))) if tensor else None for tensor in ctx.is_tensor)

    return {"setup_context": save, "backward": reference_roi.without_autocast(backward)}


declare_op(
    "roi_sample",
    "(Tensor images, Tensor boxes, Tensor batch_indices, SymInt height, SymInt width) -> Tensor",
    reference=reference_roi.sample,
    fake=_fake_sample,
    setup_context=_save_for_sample,
    backward=_sample_backward,
)
declare_op(
    "roi_sample_backward",
    "(Tensor grad, Tensor? images, Tensor boxes, Tensor batch_indices, SymInt batch, SymInt height, SymInt width,"
    " bool to_images) -> (Tensor, Tensor)",
    reference=reference_roi.sample_backward,
    fake=_fake_sample_backward,
    **_differentiate(reference_roi.sample_backward),
)
declare_op(
    "roi_paste",
    "(Tensor rois, Tensor boxes, Tensor batch_indices, SymInt height, SymInt width, SymInt batch) -> Tensor",
    reference=reference_roi.paste,
    fake=_fake_paste,
    setup_context=_save_for_paste,
    backward=_paste_backward,
)
declare_op(
    "roi_paste_backward",
    "(Tensor grad, Tensor rois, Tensor boxes, Tensor batch_indices, bool to_rois, bool to_boxes) -> (Tensor, Tensor)",
    reference=reference_roi.paste_backward,
    fake=_fake_paste_backward,
    **_differentiate(reference_roi.paste_backward),
)
