"""Labels as networks take them, checked before a loss is computed from them."""

import torch


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
