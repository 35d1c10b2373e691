"""The channels of a case: images with a file each, and frames of the first pass made of one CT perfusion series."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..imaging import Scan, read_scan
from ..imaging.perfusion_channels import FIRST_PASS_NAMES, SERIES

__all__ = ["FIRST_PASS_NAMES", "SERIES", "file_of", "lacking_channels", "read_channels"]


def file_of(channel: str) -> str:
    """Name of the image that a channel is read from.

    Only what is made of the first pass comes from the series. Maps do not: where a data set has some, those that a case
    lacks would come from other software than all others.
    """
    return SERIES if channel in FIRST_PASS_NAMES else channel


def lacking_channels(images: Mapping[str, Path], channels: Sequence[str]) -> list[str]:
    """Names of the images that a case lacks for these channels, each once.

    Examples
    --------
    >>> lacking_channels({"cbf": Path("cbf.nii")}, ("ctp_00", "ctp_01", "cbf", "mtt"))
    ['ctp', 'mtt']
    """
    return [name for name in dict.fromkeys(map(file_of, channels)) if name not in images]


def read_channels(images: Mapping[str, Path], channels: Sequence[str]) -> dict[str, Scan]:
    """Read the channels of a case, in their order.

    Parameters
    ----------
    images : file of each image, by name; those that a case has besides are not opened
    channels : names of images, and of :data:`~hf_lesionseg.imaging.perfusion_channels.FIRST_PASS_NAMES`

    Raises
    ------
    ScanError
        For a file that cannot be used, such as a series without a first pass.
    """
    made, series = {}, None
    if any(channel in FIRST_PASS_NAMES for channel in channels):
        from ..imaging.perfusion_channels import first_pass_channels
        from ..imaging.perfusion_series import read_perfusion_series

        series = read_perfusion_series(images[SERIES])
        made = first_pass_channels(series)
    return {
        channel: series.volume(made[channel]) if channel in made else read_scan(images[channel]) for channel in channels
    }
