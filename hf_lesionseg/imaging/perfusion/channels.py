"""From one raw CT perfusion file to what the networks take: the frames of the first pass, their maxima and the maps."""

from dataclasses import dataclass

import numpy as np

from hf_lesionseg.errors import ScanError

from .brain_curve import find_brain_curve
from .deconvolution import PerfusionMaps, perfusion_maps
from .first_pass import (
    NUM_FRAMES,
    FirstPass,
    pwi_max,
    sample_first_pass,
)

__all__ = [
    "FIRST_PASS_NAMES",
    "MAP_NAMES",
    "SERIES",
    "SeriesChannels",
    "check_map",
    "first_pass_channels",
    "make_channels",
    "map_channels",
    "perfusion_channels",
]

#: name of the 4-D series among the files of a case
SERIES = "ctp"
#: in the order of MS-DCNN
MAP_NAMES = ("tmax", "cbf", "cbv", "mtt")
FIRST_PASS_NAMES = (*(f"ctp_{number:02d}" for number in range(NUM_FRAMES)), "pwimax_o", "pwimax_p")


@dataclass(frozen=True, eq=False)
class SeriesChannels:
    """Channels made from a series, and how.

    Attributes
    ----------
    channels : dict of str to float32 array of shape ``series.shape``
    first_pass : FirstPass or None
        Where frames of it or their maxima were asked for.
    maps : PerfusionMaps or None
        Where maps were asked for.
    warnings : tuple of str
        What in the series makes them less sure.
    """

    channels: dict[str, np.ndarray]
    first_pass: FirstPass | None
    maps: PerfusionMaps | None
    warnings: tuple[str, ...] = ()

    def describe(self, series):
        """How the channels were made, for a run record: JSON-able, times in s, voxels by index in the file."""
        told = {"channels": list(self.channels), "frames": series.num_frames, "frame_seconds": series.frame_seconds}
        if self.first_pass is not None:
            told["first_pass"] = self.first_pass.to_dict()
        if self.maps is not None:
            told["arterial_input"] = self.maps.vascular_input.describe(series)
        return told


def check_map(scan, name):
    """Raise for a map of perfusion without a value above 0, which no brain has: its scaling or sign is lost.

    Parameters
    ----------
    scan : Scan
    name : str
        Channel; other ones than :data:`MAP_NAMES` pass.

    Raises
    ------
    ScanError
    """
    if name in MAP_NAMES and not (scan.data > 0).any():
        raise ScanError(
            f"{scan.path}: no value of {name} is above 0 (highest {scan.data.max():g}), as flow, volume and time are; "
            "check the slope and intercept of its header and export it again"
        )


def make_channels(series, names, options=None, mask=None):
    """Make the channels of these names, and nothing else: without maps there is no deconvolution.

    Parameters
    ----------
    series : PerfusionSeries
    names : sequence of str
        Some of :data:`MAP_NAMES` and :data:`FIRST_PASS_NAMES`.
    options : PerfusionOptions, optional
    mask : bool array of shape ``series.shape``, optional
        The brain; found in the frames before contrast where not given.

    Returns
    -------
    SeriesChannels

    Raises
    ------
    ScanError
        For a series without a first pass, and for maps where no brain or no artery is found.
    """
    found, first_pass, maps, warnings = {}, None, None, []
    brain_curve = find_brain_curve(series, mask)
    if any(name in FIRST_PASS_NAMES for name in names):
        first_pass = brain_curve.first_pass
        found |= _first_pass_channels(series, first_pass)
        if brain_curve.is_cut:
            warnings.append(
                f"{series.path}: ends before the first pass of contrast does, so that its {NUM_FRAMES} frames do not "
                "show how contrast leaves the brain; scan for longer"
            )
    if any(name in MAP_NAMES for name in names):
        maps = perfusion_maps(series, options, brain_curve=brain_curve)
        found |= {name: getattr(maps, name) for name in MAP_NAMES}
        warnings += maps.warnings
    return SeriesChannels({name: found[name] for name in names}, first_pass, maps, tuple(warnings))


def map_channels(series, options=None):
    """Maps of a series by channel name.

    Parameters
    ----------
    series : PerfusionSeries
    options : PerfusionOptions, optional

    Returns
    -------
    dict of str to float32 array of shape ``series.shape``
        ``tmax`` (s), ``cbf`` (mL/100 g/min), ``cbv`` (mL/100 g), ``mtt`` (s).
    """
    return make_channels(series, MAP_NAMES, options).channels


def first_pass_channels(series):
    """Frames of the first pass and the maxima over time, by channel name.

    The curve that finds the first pass is the brain's where a brain is found, else the whole slab's.

    Parameters
    ----------
    series : PerfusionSeries

    Returns
    -------
    dict of str to float32 array of shape ``series.shape``
        ``ctp_00`` to ``ctp_10``, ``pwimax_o`` (over all frames) and ``pwimax_p`` (over these eleven), HU.

    Raises
    ------
    ScanError
        For a curve without a first pass.
    """
    return make_channels(series, FIRST_PASS_NAMES).channels


def perfusion_channels(series, options=None):
    """All channels that can be made from a series: the maps, the frames and the maxima; see the two functions above."""
    return make_channels(series, (*MAP_NAMES, *FIRST_PASS_NAMES), options).channels


def _first_pass_channels(series, first_pass):
    frames = sample_first_pass(series.data, first_pass)
    channels = {f"ctp_{number:02d}": frames[..., number] for number in range(NUM_FRAMES)}
    return {**channels, "pwimax_o": pwi_max(series.data), "pwimax_p": pwi_max(frames)}
