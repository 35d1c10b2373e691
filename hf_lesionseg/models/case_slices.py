"""One case as the slices that a network sees: its channels normalised and cut, its labels likewise."""

import os
import warnings
from dataclasses import replace

import numpy as np

from .case_volumes import load_channels, load_volume
from .grid_storage import bring_onto_grid
from .intensity import apply_normalization, measure_intensity, normalization_of, plan_normalization, tissue_range
from .label_values import read_labels
from .padding import without_padding
from .plane_window import centre_window, stretch_notes, tissue_footprint
from .slice_planes import mask_to_planes, to_planes
from .volume_geometry import VolumeError, plan_slices, with_window


def slice_case(case, affine, name, processor):
    """Return ``pixel_values`` of one case and its geometry, by the settings of an image processor.

    Parameters
    ----------
    case : path, nibabel image or array, or dict of channel to one of these
    affine : array (4, 4) or None
        Affine of a case that is an array.
    name : str
        Name of the case, for messages.
    processor : LesionImageProcessor

    Returns
    -------
    pixel_values : float32 array (num_slices, channels, height, width)
    geometry : SliceGeometry

    Raises
    ------
    VolumeError
        For a scan that cannot be used, a missing channel, or channels on different grids.
    """
    channels = load_channels(case, processor.channel_names, affine, name)
    reference_name, reference = channels[processor.channel_names[0]]
    geometry = plan_slices(
        reference.data.shape,
        reference.affine,
        slice_axis=processor.slice_axis,
        training_spacing=processor.training_spacing,
        training_shape=(processor.size["height"], processor.size["width"]) if processor.resize else None,
    )
    notes = [warning for _, volume in channels.values() for warning in volume.warnings]
    tissue, records = [], []
    for channel, (channel_name, volume) in list(channels.items()):
        measured = measure_intensity(volume.data, processor.percentiles)
        method = normalization_of(processor.normalization, channel)
        record, odd = plan_normalization(measured, method, processor.intensity_range, channel_name)
        tissue.append(tissue_range(measured, record))
        records.append({"channel": channel, **record})
        if method != "none":
            data = without_padding(volume.data, measured["padding"], tissue[-1][0])
            channels[channel] = channel_name, replace(volume, data=data)
        notes.extend(odd)
    if processor.size is not None and not processor.resize:
        geometry, odd = _place_window(geometry, channels, tissue, processor)
        notes.extend(odd)
    if processor.resize:
        notes.extend(stretch_notes(geometry, reference_name))
    geometry = replace(geometry, normalization=tuple(records), warnings=tuple(notes))
    for note in notes:
        warnings.warn(note, stacklevel=4)

    values = np.empty((geometry.num_slices, len(channels), *geometry.window_shape), np.float32)
    for c, (_, volume) in enumerate(channels.values()):
        to_planes(volume.data, geometry, fill=tissue[c][0], out=values[:, c])
        apply_normalization(values[:, c], records[c])
    return values, geometry


def slice_labels(lesion_map, geometry, name):
    """Return ``labels`` int64 (num_slices, height, width), 0 and 1, of the segmentation map of a case.

    Raises
    ------
    VolumeError
        For an image or probabilities in the place of a map, NaN or Inf, or a map on another grid than the scan's.
    """
    own_grid = isinstance(lesion_map, str | os.PathLike) or hasattr(lesion_map, "dataobj")
    name, volume = load_volume(lesion_map, None if own_grid else np.asarray(geometry.affine), name)
    if volume.replaced:
        raise VolumeError(f"{name}: {volume.replaced} NaN or Inf voxels in a mask; set them to 0 or 1")
    data = bring_onto_grid(volume.data, volume.affine, geometry.shape, geometry.affine)
    if data is None:
        raise VolumeError(
            f"{name}: shape {volume.data.shape} and grid are not those of its scan with {geometry.shape}; resample it "
            "onto the scan (order=0), or copy the scan's header onto it where only a header was moved and no voxel"
        )
    reading = read_labels(data, name)
    for note in (*reading.warnings, *reading.notes):
        warnings.warn(note, stacklevel=4)
    return mask_to_planes(reading.mask, geometry, dtype=np.int64)


def _place_window(geometry, channels, tissue, processor):
    """Choose the crop or pad window; returns the geometry and warnings."""
    size = (processor.size["height"], processor.size["width"])
    if geometry.resampled_shape == processor.training_plane:
        return with_window(geometry, processor.crop_offset, size), ()
    shown = np.zeros(geometry.plane_shape, bool)
    for (_, volume), (air, bright) in zip(channels.values(), tissue, strict=True):
        shown |= tissue_footprint(volume.data, geometry, air, bright)
    geometry = centre_window(geometry, shown, size)
    if geometry.window_shape == size:
        return geometry, ()
    name, _ = channels[processor.channel_names[0]]
    height, width = geometry.window_shape
    return geometry, (f"{name}: tissue does not fit into {size[0]} x {size[1]}; slices are {height} x {width}",)
