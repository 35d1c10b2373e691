"""One INPUT of the command line is one case: a file, a folder, or channels by name."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ScanError, UsageError
from ..imaging.perfusion.channels import FIRST_PASS_NAMES, MAP_NAMES, SERIES
from ..imaging.scan_search import scans_below
from ..models.file_diagnosis import describe_address, dicom_files_in, is_file, is_folder, what_is, why_not_there
from ..models.nifti_volume import read_shape
from ..models.scan_formats import endings_in_words, scan_stem
from ..models.volume_geometry import VolumeError

#: Name beside the network's channels and SERIES, a raw CT perfusion series: a mask of the brain to make maps in.
BRAIN = "brain"
_SERIES_WORDS = (SERIES, "4dpwi")  # as ISLES 2024 and 2018 name it
_SPACE = re.compile(r"_space-[A-Za-z0-9]+(?=_|$)", re.IGNORECASE)
_CHANNEL = re.compile(r"[A-Za-z][A-Za-z0-9_-]*=")


@dataclass(frozen=True)
class CaseInput:
    """One case as the user named it.

    Attributes
    ----------
    text : str
        As given.
    stem : str
        Start of the names of its outputs.
    path : Path or None
        File or folder, where one was given.
    channels : dict of str to Path
        Files by channel name, where they were given as ``name=file,...``; else empty.
    """

    text: str
    stem: str
    path: Path | None = None
    channels: Mapping[str, Path] = field(default_factory=dict)

    def check_names(self, channel_names: Sequence[str]) -> None:
        """Refuse channels that the network does not have.

        Raises
        ------
        UsageError
            A name is none of ``channel_names``.
        """
        known = (*channel_names, SERIES, BRAIN) if _from_series(channel_names) else channel_names
        unknown = [name for name in self.channels if name not in known]
        if unknown:
            raise UsageError(
                f"{self.text}: {unknown[0]!r} is not a channel of this network, which has {', '.join(channel_names)}; "
                "name those, or give the network of these scans with --model"
            )

    def look(self) -> None:
        """Read the headers of the files that were given, and see whether a folder holds scans.

        Raises
        ------
        ScanError
            A file is missing or a folder without scans, whatever the network.
        VolumeError
            A header cannot be read.
        """
        for path in self.channels.values() or [self.path]:
            if self.path is not None and is_folder(path):
                if not scans_below(path):
                    raise ScanError(f"{path}: {_instead_of_scans(path)}")
                continue
            _require_file(path)
            read_shape(path)

    def files(self, channel_names: Sequence[str]) -> dict[str, Path]:
        """Return the file of every channel, in the network's order.

        Perfusion maps and frames without a file are made from a 4-D series, whose file is then returned as ``"ctp"``,
        with ``"brain"`` where one was given; a file of a channel itself always takes precedence.

        Parameters
        ----------
        channel_names : sequence of str
            The processor's ``channel_names``.

        Raises
        ------
        ScanError
            A file or a channel is missing, or a folder leaves a choice.
        """
        self.check_names(channel_names)
        made = _from_series(channel_names)
        if self.channels:
            found = dict(self.channels)
        elif is_folder(self.path):
            found = _find_channels(self.path, channel_names)
        elif len(made) == len(channel_names) and is_file(self.path) and _is_series(self.path):
            found = {SERIES: self.path}
        elif len(channel_names) == 1:
            found = {channel_names[0]: self.path}
        else:
            wanted = ",".join(f"{name}=FILE" for name in channel_names)
            series = ", or a 4-D perfusion series" if len(made) == len(channel_names) else ""
            raise ScanError(
                f"{self.text}: this network needs {len(channel_names)} channels; give a folder or {wanted}{series}"
            )
        lacking = [name for name in channel_names if name not in found]
        if SERIES in found:
            lacking = [name for name in lacking if name not in made]
        if lacking:
            raise ScanError(self._of_missing(lacking[0], channel_names, made))
        extra = [name for name in (SERIES, BRAIN) if name in found and any(each not in found for each in channel_names)]
        files = {name: found[name] for name in (*channel_names, *extra) if name in found}
        for path in files.values():
            _require_file(path)
        return files

    def _of_missing(self, channel: str, channel_names: Sequence[str], made: Sequence[str]) -> str:
        text = f"{self.text}: channel {channel} is missing; this network needs {', '.join(channel_names)}"
        if channel in made:
            text += f", or a raw perfusion series as {SERIES}=FILE"
        if self.path is not None:
            from ..datasets.readers.isles import challenge_of

            others = {challenge_of(path.name) for path in scans_below(self.path)} - {None}
            if len(others) == 1:
                text += f"; these files are named as in {others.pop()[0]}"
        return text


def parse_case(text: str | os.PathLike | Mapping[str, str | os.PathLike]) -> CaseInput:
    """Read one INPUT: a file, a folder of channels, or ``tmax=a.nii.gz,cbf=b.nii.gz`` (or a dict of the same).

    Nothing is opened, and no channel name is checked yet.

    Raises
    ------
    UsageError
        It is empty, or a channel is named twice or has no file.
    """
    if isinstance(text, Mapping):
        channels = {name: Path(path) for name, path in text.items()}
        if not channels:
            raise UsageError("an input without channels; give name=file for each channel")
        return CaseInput(",".join(f"{k}={v}" for k, v in channels.items()), _common_stem(channels), channels=channels)
    text = os.fspath(text)
    if not text:
        raise UsageError("an empty input; give a scan, a folder of channels, or name=file,name=file")
    # A path that exists is a path, whatever signs are in it.
    if _exists(text) or not _CHANNEL.match(text):
        path = Path(text)
        return CaseInput(text, scan_stem(path.resolve() if is_folder(path) else path), path=path)
    channels = {}
    for part in re.split(rf",(?={_CHANNEL.pattern})", text):
        name, file = part.split("=", 1)
        if name in channels or not file:
            raise UsageError(f"{text}: channel {name} {'is given twice' if name in channels else 'has no file'}")
        channels[name] = Path(file)
    return CaseInput(text, _common_stem(channels), channels=channels)


def _require_file(path: Path) -> None:
    if not is_file(path):
        reason = why_not_there(path) or "is not a file; give a scan"
        raise ScanError(describe_address(path) or f"{path}: {reason}")


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except OSError:  # many channels are longer than a file's name may be
        return False


def parse_cases(inputs: Iterable) -> list[CaseInput]:
    """Read all INPUTs and make sure that no two would write the same output files.

    Raises
    ------
    UsageError
        There is none, one cannot be read (see :func:`parse_case`), or two share their stem.
    """
    cases = [parse_case(text) for text in inputs]
    if not cases:
        raise UsageError("no input; give at least one scan")
    first = {}
    for case in cases:
        # Folded, since a disk that ignores case would let one result overwrite the other.
        other = first.setdefault(case.stem.casefold(), case)
        if other is not case:
            raise UsageError(
                f"{other.text} and {case.text} would both write {case.stem}_mask.nii.gz; "
                "run them one by one into different folders, or rename one"
            )
    return cases


def _common_stem(channels: Mapping[str, Path]) -> str:
    """Name a case of several files: what their names share up to a separator, else their folder, else the first."""
    stems = [scan_stem(path) for path in channels.values()]
    alike = itertools.takewhile(lambda signs: len(set(signs)) == 1, zip(*stems, strict=False))
    shared = "".join(signs[0] for signs in alike)
    if any(stem != shared for stem in stems):
        shared = re.sub(r"[^_.\-\s]*$", "", shared)
    shared = shared.strip("_.- ")
    folders = {path.resolve().parent for path in channels.values()}
    if not shared and len(folders) == 1:
        shared = folders.pop().name
    return shared or stems[0]


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]


def _is_named(path: Path, channel: str) -> bool:
    """True if a file is this channel by its name.

    A name of ISLES tells one channel. Of others the words of ``channel`` must stand in it: whole words, so that dwi is
    not found in 4DPWI, and not those of the space that an image lies in.
    """
    from ..datasets.readers import isles2018, isles2024

    known = isles2018.channel_of(path.name) or isles2024.channel_of(path.name)
    if known is not None:
        return known == channel
    words, wanted = _words(_SPACE.sub("_", scan_stem(path))), _words(channel)
    return any(words[i : i + len(wanted)] == wanted for i in range(len(words) - len(wanted) + 1))


def _from_series(channel_names: Sequence[str]) -> list[str]:
    """Those of the channels that a perfusion series can give."""
    return [name for name in channel_names if name in MAP_NAMES or name in FIRST_PASS_NAMES]


def _is_series(path: Path) -> bool:
    """True unless the header says that this is one volume: what cannot be read is refused, by name, when it is."""
    try:
        return math.prod(read_shape(path)[3:]) > 1
    except VolumeError:
        return True


def _find_channels(folder: Path, channel_names: Sequence[str]) -> dict[str, Path]:
    scans = scans_below(folder)
    if not scans:
        raise ScanError(f"{folder}: {_instead_of_scans(folder)}")
    scans = _without_masks(scans, channel_names)
    found = {}
    for channel in channel_names:
        named = [path for path in scans if _is_named(path, channel)]
        # "ct" stands in p_ct_cbf, too, which ends with the name of another image
        others = {*channel_names, *MAP_NAMES} - {channel}
        named = [path for path in named if _words(scan_stem(path))[-1] not in others] or named
        if not named and len(channel_names) == 1 and len(scans) == 1:
            named = scans
        if named:
            found[channel] = _the_only(named, channel, folder)
    if any(name not in found for name in _from_series(channel_names)):
        others = [path for path in scans if path not in found.values()]
        named = [path for path in others if any(_is_named(path, word) for word in _SERIES_WORDS) and _is_series(path)]
        if series := named or [path for path in others if _is_series(path)]:
            found[SERIES] = _the_only(series, SERIES, folder)
    if not found and len(channel_names) == 1:
        raise ScanError(
            f"{folder}: {len(scans)} scans and none is named {channel_names[0]}; "
            "one input is one case: give the scans themselves"
        )
    return found


def _without_masks(scans: Sequence[Path], channel_names: Sequence[str]) -> Sequence[Path]:
    """The scans of a case without the masks beside them, which bear their names: sub-01_T1w_label-lesion_roi."""
    from ..datasets.readers.case_names import says_mask

    if any(says_mask(f"x_{name}") for name in channel_names):
        return scans
    return [path for path in scans if not says_mask(path)] or scans


def _instead_of_scans(folder: Path) -> str:
    if reason := why_not_there(folder):
        return reason
    slices = dicom_files_in(folder)
    if slices:
        return (
            f"holds DICOM files ({slices[0].relative_to(folder)}), which are read after conversion: "
            f"dcm2niix -z y -o OUT {folder}; then give the .nii.gz file"
        )
    others = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    found = next((f"; {path.name} {reason}" for path in others[:20] if (reason := what_is(path))), "")
    return f"no scan in this folder; expected {endings_in_words()} files{found}"


def _the_only(named: Sequence[Path], channel: str, folder: Path) -> Path:
    if len(named) > 1:
        names = " and ".join(str(path.relative_to(folder)) for path in named[:2])
        raise ScanError(
            f"{folder}: {names} could both be channel {channel}; one input is one case: "
            f"give {channel}=FILE, or each scan as an input of its own"
        )
    return named[0]
