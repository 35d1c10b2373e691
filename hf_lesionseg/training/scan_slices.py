"""Slices of a prepared case at full precision, from the scan itself: what ``segment`` shows to the network.

Prepared slices are kept in half precision. A network sees the rounding, and a voxel at the edge of a lesion may fall on
the other side of the threshold, which moves a Dice by some thousandths. So what a trained network is said to reach is
measured on the scans.
"""

from __future__ import annotations

import warnings

import numpy as np

from ..datasets.prepared.case_channels import read_channels
from ..datasets.prepared.reading import PreparedCase
from ..datasets.prepared.storage_precision import as_stored
from ..errors import LesionSegError
from ..models.image_processing_lesion import LesionImageProcessor
from ..models.slice_stack import stack_slices
from ..models.volume_geometry import VolumeError

__all__ = ["slices_of_scan"]


def slices_of_scan(case: PreparedCase, processor: LesionImageProcessor) -> np.ndarray | None:
    """Make the slices of a case again from its scans.

    Parameters
    ----------
    case : PreparedCase
    processor : LesionImageProcessor
        Processor of the data set, or of a network that was trained on it.

    Returns
    -------
    float32 array (num_slices, channels, height, width), or None
        None where the scans are gone, or give other slices than those that were prepared.
    """
    if not case.scans:
        return None
    try:
        values = _single_slices(case.scans, processor)
    except (LesionSegError, VolumeError, OSError):
        return None  # moved or changed since; the prepared slices are there
    if not np.array_equal(as_stored(values).astype(np.float32), case.planes()):
        return None
    return np.asarray(stack_slices(values, case.slice_stack, slice(None)), np.float32)


def _single_slices(files, processor):
    images = {name: scan.to_nibabel() for name, scan in read_channels(files, processor.channel_names).scans.items()}
    case = images if len(images) > 1 else images[processor.channel_names[0]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # all were told when the case was prepared
        batch = processor.preprocess(case, return_tensors="np", slice_stack="single")
    return np.asarray(batch["pixel_values"], np.float32)
