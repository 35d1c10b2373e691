"""Single slices made into several channels: for encoders that were trained on colours, and to show the neighbours."""

import numpy as np

#: setting ``slice_stack`` -> offset, in slices, of each plane of a stack
STACK_OFFSETS = {"single": (0,), "repeat": (0, 0, 0), "neighbours": (-1, 0, 1)}


def stacked_channels(num_channels, slice_stack):
    """Number of channels of ``pixel_values`` made of ``num_channels`` images."""
    return num_channels * len(STACK_OFFSETS[slice_stack])


def _repeated(planes, times):
    *before, channels, height, width = planes.shape
    if channels == 1:
        return np.broadcast_to(planes, (*before, times, height, width))
    return np.repeat(planes, times, axis=-3)


def stack_slices(planes, slice_stack, index=slice(None)):
    """Put the planes of each slice's stack side by side.

    Parameters
    ----------
    planes : array_like of shape (num_slices, channels, height, width)
        All slices of one volume in their order; may be mapped, only what is asked for is read.
    slice_stack : {"single", "repeat", "neighbours"}
        Each slice by itself; three times; or the slice below, itself and the slice above, where the first and the
        last slice of a volume stand in for their missing neighbour.
    index : int, slice or array of int
        Slices that are wanted.

    Returns
    -------
    array_like of shape (..., channels * planes of a stack, height, width)
        Channel by channel, each with the planes of its stack. Where a single channel is repeated it is a view that
        cannot be written to, and takes no memory of its own.
    """
    offsets = STACK_OFFSETS[slice_stack]
    if len(offsets) == 1:
        return planes[index]
    if slice_stack == "repeat":
        return _repeated(planes[index], len(offsets))
    wanted = np.arange(len(planes))[index]
    numbers = np.clip(np.add.outer(wanted, offsets), 0, len(planes) - 1)
    stacked = np.moveaxis(planes[numbers], -4, -3)  # (..., channels, stack, height, width)
    return stacked.reshape(*stacked.shape[:-4], -1, *stacked.shape[-2:])
