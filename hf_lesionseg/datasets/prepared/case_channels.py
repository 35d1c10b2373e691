"""The channels of a case: images with a file each, and frames or maps made of one CT perfusion series."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...imaging import Scan, read_scan
from ...imaging.perfusion.channels import FIRST_PASS_NAMES, MAP_NAMES, SERIES, check_map

__all__ = [
    "FIRST_PASS_NAMES",
    "SERIES",
    "CaseChannels",
    "file_of",
    "lacking_channels",
    "read_channels",
    "with_maps_of_series",
]


def file_of(channel: str) -> str:
    """Name of the image that a channel is read from.

    Only what is made of the first pass always comes from the series. Maps do where no case of a data set has any:
    beside some, those that are missing would come from other software than all others.
    """
    return SERIES if channel in FIRST_PASS_NAMES else channel


def lacking_channels(images: Mapping[str, Path], channels: Sequence[str]) -> list[str]:
    """Names of the images that are missing in a case for these channels, each once.

    Examples
    --------
    >>> lacking_channels({"cbf": Path("cbf.nii")}, ("ctp_00", "ctp_01", "cbf", "mtt"))
    ['ctp', 'mtt']
    """
    return [name for name in dict.fromkeys(map(file_of, channels)) if name not in images]


@dataclass(frozen=True, eq=False)
class CaseChannels:
    """What was read of a case.

    Attributes
    ----------
    scans : by channel, in the order asked for
    made : names of those that were made from the series
    warnings : of the files and of the series, each once
    """

    scans: dict[str, Scan]
    made: tuple[str, ...]
    warnings: tuple[str, ...]


def read_channels(images: Mapping[str, Path], channels: Sequence[str]) -> CaseChannels:
    """Read the channels of a case, in their order; frames of the first pass are made from its series.

    Parameters
    ----------
    images : file of each image, by name; those that a case has besides are not opened. A map whose file is that of the
        series is made from it.
    channels : names of images, and of :data:`~hf_lesionseg.imaging.perfusion.channels.FIRST_PASS_NAMES`

    Raises
    ------
    ScanError
        For a file that cannot be used, such as a series without a first pass.
    """
    names = [name for name in channels if name in FIRST_PASS_NAMES or _is_from_series(name, images)]
    made, warnings = {}, []
    if names:
        from ...imaging.perfusion.channels import make_channels
        from ...imaging.perfusion.series import read_perfusion_series

        series = read_perfusion_series(images[SERIES])
        found = make_channels(series, names)
        made = {name: series.volume(data) for name, data in found.channels.items()}
        warnings = [*series.warnings, *found.warnings]
    scans = {name: made[name] if name in made else read_scan(images[name]) for name in channels}
    for name, scan in scans.items():
        check_map(scan, name)
    warnings += [warning for scan in scans.values() for warning in scan.warnings]
    return CaseChannels(scans, tuple(names), tuple(dict.fromkeys(warnings)))


def with_maps_of_series(images: Mapping[str, Path], channels: Sequence[str]) -> dict[str, Path]:
    """Give the maps among these channels the file of the case's series, which :func:`read_channels` makes them from."""
    return {**images, **{name: images[SERIES] for name in channels if name in MAP_NAMES and SERIES in images}}


def _is_from_series(channel: str, images: Mapping[str, Path]) -> bool:
    return channel in MAP_NAMES and SERIES in images and images.get(channel) == images[SERIES]
