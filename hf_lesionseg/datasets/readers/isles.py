"""What the readers of ISLES 2018, 2022 and 2024 share: from the volumes of a case to records, and options."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from ...errors import DataError, UsageError
from ..prepared.case_channels import SERIES, file_of, lacking_channels, with_maps_of_series
from ..prepared.records import CaseRecord, RejectedCase
from .file_search import NIFTI, rejection, walk_files
from .reader import Option, Reader
from .target_channels import settle_targets

__all__ = [
    "ISLES",
    "NO_MASK",
    "PERFUSION_MAPS",
    "FoundCase",
    "PerfusionReader",
    "build_records",
    "challenge_of",
    "find_volumes",
    "foreign_error",
    "keep_volume",
    "named_as",
]

PERFUSION_MAPS = ("tmax", "cbf", "cbv", "mtt")
"""Maps of CT perfusion in the order in which MS-DCNN takes them."""

NO_MASK = "no lesion mask"
"""Reason of a case without a truth, such as those of a challenge's test set: left out, but no failure."""

_PERSON = re.compile(r"^sub-[A-Za-z0-9]+")

# By what a file's name says, the most telling first: 2024 has dwi and adc as 2022 does.
_CHALLENGES = (
    ("ISLES 2018", "isles2018", r"^SMIR\."),
    ("ISLES 2015 to 2017", None, r"^VSD\."),
    (
        "ISLES 2024",
        "isles2024",
        r"^sub-.*_(?:lesion-msk|space-ncct_[a-z]+|ncct|cta|ctp|tmax|mtt|cbf|cbv)" + NIFTI,
    ),
    ("ISLES 2022", "isles2022", r"^sub-.*_(?:msk|dwi|adc|flair)" + NIFTI),
    ("ATLAS", "atlas", r"(?:_T1w|_t1w(?:_deface)?_stx|_LesionSmooth(?:_\d+)?_stx|_desc-T1lesion_mask)" + NIFTI),
)


@dataclass
class FoundCase:
    """The volumes of one case, by their names.

    Attributes
    ----------
    id, person : str
    place : folder, or file, by which the case is named where it is refused
    images : file of each channel that there is
    mask : file of the truth, or None
    notes : as of `CaseRecord`
    problem : why the case cannot be used, where its names tell
    ranks : how well each file that was kept fits; see `keep_volume`
    """

    id: str
    person: str
    place: Path
    images: dict[str, Path] = field(default_factory=dict)
    mask: Path | None = None
    notes: dict = field(default_factory=dict)
    problem: str | None = None
    ranks: dict[str, tuple] = field(default_factory=dict)


def challenge_of(name: str) -> tuple[str, str | None] | None:
    """Title and subcommand of the data set that names its files so, or None.

    Examples
    --------
    >>> challenge_of("sub-stroke0014_ses-02_lesion-msk.nii.gz"), challenge_of("VSD.Brain.XX.O.MR_ADC.128027.nii")
    (('ISLES 2024', 'isles2024'), ('ISLES 2015 to 2017', None))
    """
    for title, command, pattern in _CHALLENGES:
        if re.search(pattern, name, re.IGNORECASE):
            return title, command
    return None


def foreign_error(source: Path, title: str, remedy: str) -> DataError:
    """The error of a folder without a single case of data set ``title``; names the data set that it looks like."""
    if not source.is_dir():
        return DataError(f"{source}: is not a folder; {remedy}")
    for path in walk_files(source, NIFTI):
        other = challenge_of(path.name)
        if other is not None and other[0] != title:
            return DataError(f"{source}: holds no case of {title}; {path.name} is {named_as(*other)}")
    return DataError(f"{source}: holds no case of {title}; {remedy}")


def named_as(title: str, command: str | None) -> str:
    """Say whose names these are and what reads them."""
    return f"named as in {title}" + (f": use `lesionseg prepare {command}`" if command else ", which no reader knows")


def keep_volume(case: FoundCase, kind: str, path: Path, source: Path, rank: tuple = ()) -> RejectedCase | None:
    """Put a volume into its case: the lowest rank stays, and of equal ones the first.

    Parameters
    ----------
    kind : channel, or "mask"
    rank : compared among the files of one kind

    Returns
    -------
    RejectedCase or None
        For a second file of equal rank.
    """
    if kind in case.ranks and rank == case.ranks[kind]:
        first = case.mask if kind == "mask" else case.images[kind]
        return rejection(source, path, f"second copy of {first.relative_to(source)}")
    if kind not in case.ranks or rank < case.ranks[kind]:
        case.ranks[kind] = rank
        if kind == "mask":
            case.mask = path
        else:
            case.images[kind] = path
    return None


def find_volumes(
    source: Path,
    title: str,
    pattern: re.Pattern,
    *,
    case: str,
    rank: Callable[[re.Match, Path], tuple] = lambda match, path: (),
) -> tuple[list[FoundCase], list[RejectedCase]]:
    """Gather the volumes of a data set with BIDS names by case; no volume is opened.

    Parameters
    ----------
    source : folder, searched in depth; hidden files and folders are skipped
    title : of the data set, as `challenge_of` gives it
    pattern : of the names, with the groups ``person`` and ``kind``; a kind that ends in "msk" is the truth
    case : the group that tells the cases apart
    rank : of a file among those of its kind, from its match and its path below ``source``; see `keep_volume`

    Returns
    -------
    cases : without a truth, and with files of another data set, they have that as their problem: images of the same
        names are in many data sets
    rejected : second copies
    """
    cases: dict[str, FoundCase] = {}
    rejected, foreign = [], {}
    for path in walk_files(source, NIFTI):
        match = pattern.match(path.name)
        if match is None:
            other, person = challenge_of(path.name), _PERSON.match(path.name)
            if other is not None and person is not None and other[0] != title:
                foreign.setdefault(person.group(), f"{path.name} is {named_as(*other)}")
            continue
        kind = match["kind"].lower()
        copy = keep_volume(
            cases.setdefault(match[case], FoundCase(match[case], match["person"], path)),
            "mask" if kind.endswith("msk") else kind,
            path,
            source,
            rank(match, path.relative_to(source)),
        )
        if copy is not None:
            rejected.append(copy)
    for each in cases.values():
        each.problem = None if each.mask else foreign.get(each.person)
    return list(cases.values()), rejected


def build_records(
    source: Path, cases: Iterable[FoundCase], channels: Sequence[str], *, known: Sequence[str]
) -> tuple[list[CaseRecord], list[RejectedCase]]:
    """Turn complete cases into records, and refuse the others by name.

    Where no case with a truth has a map of perfusion, the maps that are asked for are those of the cases' series, to be
    made when they are read. Where one has, they are not: maps of different software do not mix.

    Parameters
    ----------
    source : folder of the data set
    cases : what was found
    channels : maps that the processor asks for
    known : channels that this data set can have

    Raises
    ------
    DataError
        For a channel that the data set never has.
    """
    unknown = [channel for channel in channels if file_of(channel) not in known]
    if unknown:
        raise DataError(f"{source}: has no channel {unknown[0]!r}; choose among {', '.join(known)}")
    records, rejected = [], []
    cases = list(cases)
    without_maps = not any(name in case.images for case in cases if case.mask for name in PERFUSION_MAPS)
    for case in sorted(cases, key=lambda each: (each.mask is None, each.id, str(each.place))):
        images = with_maps_of_series(case.images, channels) if without_maps else case.images
        missing = lacking_channels(images, channels)
        if case.problem is not None:
            rejected.append(rejection(source, case.place, case.problem))
        elif case.mask is None:
            rejected.append(rejection(source, case.place, NO_MASK))
        elif missing:
            reason = f"has no {' and no '.join(missing)}; the processor asks for {', '.join(channels)}"
            if SERIES in images and not images.keys() & set(PERFUSION_MAPS) and set(missing) <= set(PERFUSION_MAPS):
                reason += ", and maps are made of series only where no case has any: do not mix those of two programs"
            rejected.append(rejection(source, case.place, reason))
        elif any(case.id == record.id for record in records):
            rejected.append(rejection(source, case.place, f"second case named {case.id}"))
        else:
            records.append(CaseRecord(case.id, case.person, images, (case.mask,), notes=case.notes))
    return records, rejected


@dataclass(frozen=True, kw_only=True)
class ISLES(Reader):
    """What the readers of the ISLES challenges have in common: only a case that never had a truth is not a failure."""

    source_help = "Folder of the training cases, unpacked."

    def advice(self, rejected: Sequence[RejectedCase]) -> str:
        """Say which folder to give in place of a test set."""
        return "give a folder of training cases with their lesion masks" if rejected[0].reason == NO_MASK else ""

    def is_failure(self, rejected: RejectedCase) -> bool:
        """All but the cases of a test set."""
        return rejected.reason != NO_MASK


@dataclass(frozen=True, kw_only=True)
class PerfusionReader(ISLES):
    """A challenge with maps of CT perfusion, of which a network may learn to make the DWI.

    Attributes
    ----------
    dwi : folder with the DWI of each case, in files named by case; goes before those of the data set
    resample_dwi : bring a DWI that lies on another grid onto that of its case
    """

    channels = PERFUSION_MAPS
    recipe_help = "tmax, cbf, cbv and mtt between their percentiles"
    takes_targets = True

    dwi: Annotated[
        Path | None,
        Option(
            "Folder with a DWI of each case, for a recipe that learns from it, such as egs-net-isles2018. Name the "
            "files by case: case_7.nii.gz, case_7_dwi.nii.gz or case_7/dwi.nii.gz.",
            metavar="DIR",
            must_exist=True,
        ),
    ] = None
    resample_dwi: Annotated[
        bool,
        Option("Bring a DWI on another grid onto the grid of its case, by both affines. Default: refuse it."),
    ] = False

    def settle_targets(
        self, records: Sequence[CaseRecord], targets: Sequence[str], name: str
    ) -> tuple[list[CaseRecord], list[RejectedCase], tuple[str, ...]]:
        """Give the records the images to learn from, of the folder where there is one."""
        if self.dwi is not None and not targets:
            raise UsageError(
                f"a folder of DWI is given ({self.dwi}), but nothing asks for it; use a recipe with target_channels: "
                "[dwi], such as egs-net-isles2018"
            )
        return settle_targets(records, targets, name=name, folder=self.dwi)
