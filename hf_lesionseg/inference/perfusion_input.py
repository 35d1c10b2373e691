"""The channels of one case: files as they are, and what a raw CT perfusion series gives where there is no file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..imaging import Scan, read_mask, read_perfusion_series, read_scan
from ..imaging.perfusion.channels import MAP_NAMES, SERIES, check_map, make_channels
from .case_input import BRAIN


@dataclass(frozen=True, eq=False)
class CaseScans:
    """What a network takes of one case.

    Attributes
    ----------
    scans : dict of str to Scan
        By channel, in the network's order.
    sources : dict of str to tuple of int
        Shape of each file that was read, by the channel it holds, ``"ctp"`` of a series.
    perfusion : dict or None
        How channels were made from a series, for the run record; None where all are files.
    warnings : tuple of str
        Warnings of the series; those of a file are in its Scan.
    """

    scans: dict[str, Scan]
    sources: dict[str, tuple[int, ...]]
    perfusion: dict | None = None
    warnings: tuple[str, ...] = ()


def read_case(
    files: Mapping[str, Path],
    channel_names: Sequence[str],
    frame_seconds: float | None = None,
    trust_frame_order: bool = False,
) -> CaseScans:
    """Read the channels of a case; those without a file are made from its series.

    Parameters
    ----------
    files : dict of str to Path
        Result of :meth:`CaseInput.files`: channels; if files are missing, ``"ctp"``, a 4-D series; and ``"brain"``, a
        mask of the brain, if there is one.
    channel_names : sequence of str
        Channels of the network.
    frame_seconds : float, optional
        Between two frames of a series, s; overrules its header.
    trust_frame_order : bool
        Take the frames of a series as they are, even if their curve does not look like a bolus.

    Raises
    ------
    ScanError
        A file cannot be used, such as a series without a first pass or an artery, or a map without a value above 0.
    GridMismatchError
        The mask of the brain is not on the grid of the series.
    """
    given = {name: read_scan(files[name]) for name in channel_names if name in files}
    for name, scan in given.items():
        check_map(scan, name)
    sources = {name: scan.shape for name, scan in given.items()}
    lacking = [name for name in channel_names if name not in given]
    if not lacking:
        return CaseScans(given, sources)
    series = read_perfusion_series(files[SERIES], frame_seconds, trust_frame_order)
    sources[SERIES] = series.data.shape
    mask, odd_mask = None, ()
    if BRAIN in files:
        brain = read_mask(files[BRAIN], like=series.volume(series.data[..., 0]))
        sources[BRAIN] = brain.shape
        mask, odd_mask = brain.data > 0, brain.warnings
    made = make_channels(series, lacking, mask=mask)
    scans = {name: given[name] if name in given else series.volume(made.channels[name]) for name in channel_names}
    told = [*series.warnings, *odd_mask, *made.warnings, *_mixed_maps(series.path, given, lacking)]
    return CaseScans(scans, sources, made.describe(series), tuple(told))


def _mixed_maps(path: Path, given: Mapping[str, Scan], lacking: Sequence[str]) -> list[str]:
    """Warn of maps of two kinds of software in one case."""
    made = [name for name in lacking if name in MAP_NAMES]
    others = [name for name in given if name in MAP_NAMES]
    if not (made and others):
        return []
    return [
        f"{path}: {', '.join(made)} made from this series, {', '.join(others)} given: maps of different software may "
        "not fit together"
    ]
