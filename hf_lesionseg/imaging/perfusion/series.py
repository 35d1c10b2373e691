"""CT perfusion series read from 4-D files, checked: frames over time of one grid, in Hounsfield units."""

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from hf_lesionseg.errors import ScanError
from hf_lesionseg.models.header_grid import units_of
from hf_lesionseg.models.nifti_volume import read_nifti_series
from hf_lesionseg.models.volume_geometry import VolumeError

from ..scan import Scan
from .time_axis import find_time_axis

__all__ = ["FALLBACK_FRAME_SECONDS", "FEWEST_FRAMES", "PerfusionSeries", "fill_gaps", "read_perfusion_series"]

#: a baseline, a rise, a peak and a fall cannot be told apart with less
FEWEST_FRAMES = 6
#: ISLES 2018 is resampled to one frame a second; some of its headers do not say so
FALLBACK_FRAME_SECONDS = 1.0
_PLAUSIBLE_FRAME_SECONDS = (0.1, 10.0)
_SECONDS_PER_UNIT = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
_CT_NUMBER_OFFSET = 1024.0
_SOFT_TISSUE_SHARE = 0.08  # of a slab at 1024 + 35; as HU this would be dense bone, and no head is made of that


@dataclass(frozen=True, eq=False)
class PerfusionSeries:
    """One CT perfusion series, along the axes of its file. Can be given as ``like`` to :func:`write_volume`.

    Parameters
    ----------
    path : pathlib.Path
    data : numpy.ndarray of shape (X, Y, Z, T)
        float32 and finite, HU.
    affine : numpy.ndarray of shape (4, 4)
        Voxel indices to world mm.
    header : nibabel.Nifti1Header or nibabel.Nifti2Header
        As the file has it, to the byte.
    frame_seconds : float
        From one frame to the next, s.
    warnings : tuple of str
        What was odd in the file and how it was read.
    order_is_sure : bool
        The frames are in the order of time, whatever their curve looks like.
    """

    path: Path
    data: np.ndarray
    affine: np.ndarray
    header: nib.Nifti1Header
    frame_seconds: float
    warnings: tuple[str, ...] = ()
    order_is_sure: bool = False

    @property
    def shape(self):
        """Voxels along the file's axes, without time."""
        return self.data.shape[:3]

    @property
    def num_frames(self):
        """Frames of the series, T."""
        return self.data.shape[3]

    @property
    def spacing(self):
        """Voxel size along the file's axes in mm."""
        return tuple(float(size) for size in nib.affines.voxel_sizes(self.affine))

    @property
    def slice_axis(self):
        """Axis of the file from slice to slice: the third, unless voxels are clearly longer along another one."""
        longest = int(np.argmax(self.spacing))
        return longest if self.spacing[longest] > 1.2 * self.spacing[2] else 2

    def volume(self, data):
        """Return a volume (X, Y, Z) on this grid, such as a map made from the series, as a :class:`Scan`."""
        return Scan(self.path, np.asarray(data, np.float32), self.affine, self.header)


def read_perfusion_series(path, frame_seconds=None, order_is_sure=False):
    """Read a CT perfusion series and refuse what no curve can be taken from.

    Accepted, with an entry in ``warnings``: an axis of length 1 beside time; a header without a usable frame time;
    NaN and Inf (single frames are interpolated from their neighbours in time, voxels without any value read as 0);
    CT numbers stored without their rescale intercept (1024 is subtracted); fewer than 11 frames.

    Parameters
    ----------
    path : str or os.PathLike
        4-D NIfTI file, (X, Y, Z, T).
    frame_seconds : float, optional
        Time from frame to frame, s; overrules the header, whose own falls back to 1 s where it is not plausible.
    order_is_sure : bool
        Do not doubt the order of the frames, even if their curve does not look like a bolus.

    Returns
    -------
    PerfusionSeries

    Raises
    ------
    ScanError
        For a missing or damaged file, one volume, time along another axis than the fourth (see
        :mod:`~hf_lesionseg.imaging.perfusion.time_axis`), fewer than 6 frames, two axes beside space, no voxel above
        0 HU, frames that are all equal, or a ``frame_seconds`` that is not a time. One line, with the remedy.
    """
    path = Path(path)
    try:
        volume = read_nifti_series(path)
    except VolumeError as error:
        raise ScanError(str(error)) from error
    data, warnings = volume.data, list(volume.warnings)
    if volume.replaced:
        data = fill_gaps(data)
        warnings.append(f"{path}: {volume.replaced} NaN or Inf values filled from the frames before and after, or 0")
    _check_time_axis(data, path)
    frames = data.shape[3]
    if frames < 11:
        warnings.append(f"{path}: only {frames} frames; what a network sees of the first pass is interpolated")
    seconds = _frame_seconds(volume.header, frame_seconds, path, warnings)
    _check_frames(data, path)
    data = _to_hounsfield(data, path, warnings)
    return PerfusionSeries(path, data, volume.affine, volume.header, seconds, tuple(warnings), order_is_sure)


def fill_gaps(data):
    """Fill NaN by linear interpolation along the last axis; ends repeat, curves without any value become 0.

    Parameters
    ----------
    data : numpy.ndarray of shape (..., T)

    Returns
    -------
    numpy.ndarray
        A copy, finite.
    """
    data = np.array(data, order="K")
    damaged = np.isnan(data).any(axis=-1)
    curves = data[damaged]
    frames = np.arange(data.shape[-1])
    known = ~np.isnan(curves)
    before = np.maximum.accumulate(np.where(known, frames, -1), axis=1)
    after = np.minimum.accumulate(np.where(known, frames, len(frames))[:, ::-1], axis=1)[:, ::-1]
    before, after = np.where(before < 0, after, before), np.where(after == len(frames), before, after)
    empty = ~known.any(axis=1)
    before[empty] = after[empty] = 0
    span = after - before
    weight = np.where(span > 0, (frames - before) / np.maximum(span, 1), 0)
    left, right = (np.take_along_axis(curves, each, axis=1) for each in (before, after))
    curves = left * (1 - weight) + right * weight
    curves[empty] = 0
    data[damaged] = curves
    return data


def _check_time_axis(data, path):
    axis = find_time_axis(data)
    if axis < 3:
        raise ScanError(
            f"{path}: of shape {data.shape}, time is the {('first', 'second', 'third')[axis]} axis and not the fourth; "
            f"move it to the end (numpy.moveaxis(data, {axis}, 3)) and store the voxel size of the other three"
        )
    if data.shape[3] < FEWEST_FRAMES:
        raise ScanError(
            f"{path}: {data.shape[3]} frames, but a first pass of contrast needs {FEWEST_FRAMES} at least; give the "
            "whole series, time as its fourth axis"
        )


def _frame_seconds(header, given, path, warnings):
    if given is not None:
        if not (np.isfinite(given) and given > 0):
            raise ScanError(f"{path}: frame_seconds is {given}; give the seconds from one frame to the next")
        return float(given)
    low, high = _PLAUSIBLE_FRAME_SECONDS
    unit = units_of(header)[1]
    time_axis = 4 + int(np.argmax(np.asarray(header["dim"][4:8]) > 1))
    for axis in dict.fromkeys((time_axis, 4)):  # with an axis of length 1 before time, either may hold it
        stored = float(header["pixdim"][axis])
        seconds = abs(stored) * _SECONDS_PER_UNIT.get(unit, 1.0)
        if unit not in _SECONDS_PER_UNIT and seconds >= 100:
            seconds *= 1e-3  # no unit, and far beyond any frame time in seconds: milliseconds
        if low <= seconds <= high:
            return seconds
    warnings.append(
        f"{path}: the header's frame time is {stored:g} {unit}; taken as {FALLBACK_FRAME_SECONDS:g} s, give "
        "frame_seconds if that is not so"
    )
    return FALLBACK_FRAME_SECONDS


def _check_frames(data, path):
    first = data[..., :1]
    if all(np.array_equal(data[..., frame], first[..., 0]) for frame in range(1, data.shape[-1])):
        raise ScanError(f"{path}: all {data.shape[-1]} frames are equal, no contrast passes; export the series again")


def _to_hounsfield(data, path, warnings):
    """Return the series in HU: CT numbers lose their offset, and what cannot be HU is refused."""
    middle = np.median(data[..., :: max(1, data.shape[-1] // 5)], axis=-1)
    if middle.max() <= 0:
        raise ScanError(
            f"{path}: no voxel is above 0 HU (highest {middle.max():g}); tissue is 20 to 50 HU, so apply the rescale "
            "intercept of the DICOM files and export the series again"
        )
    soft_tissue = np.mean((middle > _CT_NUMBER_OFFSET - 50) & (middle < _CT_NUMBER_OFFSET + 130))
    if middle.min() >= 0 and soft_tissue > _SOFT_TISSUE_SHARE:
        warnings.append(
            f"{path}: values are CT numbers without their rescale intercept; {_CT_NUMBER_OFFSET:g} taken off"
        )
        return data - np.float32(_CT_NUMBER_OFFSET)
    return data
