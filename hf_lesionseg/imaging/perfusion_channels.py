"""From one raw CT perfusion file to what the networks take: the frames of the first pass, their maxima and the maps."""

from .arterial_input import brain_mask
from .deconvolution import perfusion_maps
from .first_pass import NUM_FRAMES, find_first_pass, pwi_max, sample_first_pass, time_intensity_curve

__all__ = ["MAP_NAMES", "first_pass_channels", "map_channels", "perfusion_channels"]

#: in the order of MS-DCNN
MAP_NAMES = ("tmax", "cbf", "cbv", "mtt")


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
    maps = perfusion_maps(series, options)
    return {name: getattr(maps, name) for name in MAP_NAMES}


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
    first_pass = find_first_pass(time_intensity_curve(series.data), series.path)
    baseline = series.data[..., : max(1, first_pass.onset)].mean(axis=-1)
    brain = brain_mask(baseline.swapaxes(series.slice_axis, 2)).swapaxes(series.slice_axis, 2)
    if brain.any():
        first_pass = find_first_pass(time_intensity_curve(series.data, brain), series.path)
    frames = sample_first_pass(series.data, first_pass)
    channels = {f"ctp_{number:02d}": frames[..., number] for number in range(NUM_FRAMES)}
    return {**channels, "pwimax_o": pwi_max(series.data), "pwimax_p": pwi_max(frames)}


def perfusion_channels(series, options=None):
    """All channels that can be made from a series: the maps, the frames and the maxima; see the two functions above."""
    return {**map_channels(series, options), **first_pass_channels(series)}
