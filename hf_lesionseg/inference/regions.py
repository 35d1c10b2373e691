"""Regions of a network's first stage, brought from the slices that it saw to the voxels of the file."""

from __future__ import annotations

from collections.abc import Mapping

import nibabel as nib
import numpy as np

from ..models.volume_geometry import PLANE_AXES, SliceGeometry
from .slices import Region


def region_on_scan(region: Region, geometry: SliceGeometry) -> dict:
    """Tell where a region lies in the file, as ``record.json`` holds it.

    Parameters
    ----------
    region : Region
        In pixels of the window that the network saw.
    geometry : SliceGeometry
        Geometry of the case.

    Returns
    -------
    dict
        ``slice_axis``; ``score``; ``box_voxel``: ``start`` and ``stop`` (3,) along the file's axes in continuous voxels
        (voxel n covers [n, n + 1), so that whole numbers are those of ``lesions.json``), one voxel thick from slice to
        slice. It may reach beyond the scan, as the network may.
    """
    slices, rows, columns = PLANE_AXES[geometry.slice_axis]
    x1, y1, x2, y2 = region.box
    edges = np.empty((3, 2))
    edges[slices] = region.slice_index, region.slice_index + 1
    for axis, side, pair in ((rows, 0, (y1, y2)), (columns, 1, (x1, x2))):
        # Resampled and canonical plane cover the same field of view, edge to edge.
        scale = geometry.plane_shape[side] / geometry.resampled_shape[side]
        edges[axis] = scale * (np.array(pair) + geometry.window_start[side])
    orientation = nib.orientations.axcodes2ornt(geometry.orientation).astype(int)
    in_file = [
        _turned(edges[canonical], direction, length)
        for (canonical, direction), length in zip(orientation, geometry.shape, strict=True)
    ]
    start, stop = np.round(in_file, 3).T.tolist()
    return {
        "slice_axis": geometry.slice_axis,
        "score": round(region.score, 6),
        "box_voxel": {"start": start, "stop": stop},
    }


def canonical_edges(box: Mapping, orientation: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Edges of a ``box_voxel`` along the body's axes (RAS+): array (3, 2), low and high.

    Parameters
    ----------
    box : mapping
        ``start`` and ``stop`` along the file's axes.
    orientation : array (3, 2)
        Orientation of the file, as :func:`nibabel.io_orientation` gives it.
    shape : tuple of 3 int
        Shape of the file.
    """
    edges = np.empty((3, 2))
    for axis, (canonical, direction) in enumerate(orientation.astype(int)):
        edges[canonical] = _turned(np.array([box["start"][axis], box["stop"][axis]]), direction, shape[axis])
    return edges


def _turned(pair: np.ndarray, direction: int, length: int) -> np.ndarray:
    """Low and high edge on an axis of ``length`` voxels, counted from its other end where ``direction`` is -1."""
    return pair if direction > 0 else length - pair[::-1]
