"""Any BIDS data set: scans in ``sub-*/[ses-*/]``, lesion masks in ``derivatives/`` or beside their scans.

Scans and masks go by the names that BIDS gives them: ``sub-01_ses-1_acq-MPRAGE_T1w.nii.gz`` and
``derivatives/NAME/sub-01/ses-1/anat/sub-01_ses-1_..._label-lesion_mask.nii.gz``.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from ...errors import DataError, UsageError
from ..prepared.records import CaseRecord, Origin, RejectedCase
from .bids_names import BidsName, near_misses, parse_bids_name, suffixes_found
from .bids_pairing import pair_session
from .file_search import NIFTI, read_description, rejection, walk_files
from .lesion_masks import LabelTables, is_mask
from .reader import Found, Option, Reader

__all__ = ["BIDS"]

_ABSENT = "none"  # asked for as a value: files without the entity
_REMEDY = "give the folder that holds sub-01, sub-02 and so on, with lesion masks in its derivatives/"


def _entities(given: Mapping | Sequence[str] | None) -> dict[str, list[str]]:
    """Values by entity, of ``KEY=VALUE`` as the command line has them."""
    entities: dict[str, list[str]] = {}
    for each in given or ():
        key, _, value = each.partition("=")
        if not (key and value):
            raise UsageError(f"--entity {key!r} is not KEY=VALUE, such as run=1 or space=MNI152NLin2009aSym")
        entities.setdefault(key, []).append(value)
    return entities


def _suffixes(given: str) -> tuple[str, ...]:
    """Channels, of suffixes with commas."""
    names = tuple(name.strip().lower() for name in given.split(",") if name.strip())
    if not names:
        raise UsageError("--channels names none; give suffixes such as t1w,flair")
    return names


@dataclass(frozen=True, kw_only=True)
class BIDS(Reader):
    """Any BIDS data set. A case is one session of one person (or the person, without sessions).

    `lesion_masks` says which of its masks are the lesion, and `bids_pairing` which scans lie on their grid.

    Attributes
    ----------
    entities : of the scans and masks to take where a session has several, such as ``{"acq": "MPRAGE", "run": "1"}``;
        several values by a sequence, "none" for files without it. It chooses among scans only where some scan has this
        value, and among masks only where some mask has. "suffix" is one, too, and "on" the scan a mask was drawn on.
    masks : folder to take the masks from, in the data set's folder or by a path of its own; all of it by default
    channels : suffixes of the scans in lower case: "t1w", "flair", "dwi", ...
    """

    command = "bids"
    title = "BIDS"
    help = """Prepare your own BIDS data set: scans with lesion masks in derivatives/ or beside them.

    The command finds a mask by its name (..._label-lesion_mask.nii.gz and the like), or takes the only mask of a
    session. If a session leaves a choice, the command skips it and names the options that choose. It also names a case
    that it cannot read, and prepares the others; the exit status is then 1.

    `lesionseg prepare bids my-study -o prepared --channels t1w,flair`

    `lesionseg prepare bids my-study -o prepared --entity run=1 --masks derivatives/manual`
    """
    source_help = "Folder that holds sub-01, sub-02, ... and derivatives."
    unit = "sessions"
    recipe_help = (
        "scans between the percentiles of their non-zero voxels, CT from -100 to 240 HU, 60 % of the people for "
        "training"
    )

    entities: Annotated[
        Mapping[str, str | Sequence[str]],
        Option(
            "Entity of the files to take if a session has several, such as run=1, desc=lesion or run=none. It chooses "
            "among scans if any scan has it, and among masks if any mask has it. Repeat the option for more entities.",
            metavar="KEY=VALUE",
            flag="--entity",
            given_as=list[str] | None,
            parse=_entities,
        ),
    ] = field(default_factory=dict)
    masks: Annotated[
        Path | None,
        Option(
            "Folder to take the masks from, inside SOURCE or elsewhere, such as derivatives/manual. Default: all of "
            "SOURCE.",
            metavar="DIR",
        ),
    ] = None
    channels: Annotated[
        tuple[str, ...],
        Option(
            "Suffixes of the scans, with commas. A recipe's own channels go before these.",
            metavar="NAMES",
            given_as=str,
            default="t1w",
            parse=_suffixes,
        ),
    ] = ("t1w",)

    def find(self, source: str | Path, channels: Sequence[str] | None = None) -> Found:
        """Collect the sessions; ``notes`` of a record say under "mask_choice" where a mask was taken of several.

        Rejected are sessions without a mask or a channel, or with a choice that is the user's, each with the remedy.
        """
        channels = tuple(channels or self.channels)
        source = Path(source)
        if not source.is_dir():
            raise DataError(f"{source}: is not a folder; {_REMEDY}")
        files = list(walk_files(source, NIFTI))
        names = [name for path in files if (name := parse_bids_name(path, source))]
        scans = [name for name in names if name.suffix in channels and not name.middle]
        if not scans:
            raise DataError(_no_scan(source, channels, names, near_misses(files, names, source)))
        drawn = [name for name in names if name.suffix not in channels and is_mask(name)]
        if self.masks is not None:
            folder = _folder_of_masks(source, Path(self.masks))
            root = source if folder.is_relative_to(source) else folder
            found = (parse_bids_name(path, root) for path in walk_files(folder, NIFTI))
            drawn = [name for name in found if name is not None and is_mask(name)]
        asked = {key: (value,) if isinstance(value, str) else tuple(value) for key, value in self.entities.items()}
        _check_asked(source, asked, scans, drawn)
        scans = [each for channel in channels for each in _restrict([s for s in scans if s.suffix == channel], asked)]
        drawn = _restrict(drawn, asked, lenient=True)
        usable = [
            name for name in names if name.suffix in channels or is_mask(name) or "lesion" not in name.path.name.lower()
        ]
        return _records(source, channels, _by_session(scans, drawn), asked, near_misses(files, usable, source))

    def describe(self, source: Path, records: Sequence[CaseRecord]) -> Origin:
        """Name and licence as ``dataset_description.json`` has them."""
        description = read_description(source / "dataset_description.json")
        name = str(description.get("Name") or source.resolve().name)
        return Origin(name, synthetic=False, licence=str(description.get("License") or "unknown"), source=source)


def _records(
    source: Path, channels: Sequence[str], sessions: Mapping[tuple, tuple[list, list]], asked: Mapping, odd: list[Path]
) -> tuple[list[CaseRecord], list[RejectedCase]]:
    tables = LabelTables(source)
    records, rejected = [], []
    for (person, time), (scans, masks) in sorted(sessions.items(), key=lambda item: tuple(map(str, item[0]))):
        if not scans:
            rejected += [rejection(source, mask.path, "mask without a scan of these channels") for mask in masks]
            continue
        by_channel = {channel: [scan for scan in scans if scan.suffix == channel] for channel in channels}
        try:
            images, lesion = pair_session(by_channel, masks, channels, tables, asked)
        except LookupError as error:
            meant = [path.name for path in odd if f"sub-{person}" in path.as_posix()] if not masks else []
            hint = f"; {', '.join(meant[:3])} is not a BIDS name for a mask" if meant else ""
            if any("_probseg." in name for name in meant):
                hint += ", but for probabilities: cut them at a threshold and save them as ..._mask.nii.gz"
            rejected.append(rejection(source, scans[0].path, f"{error.args[0]}{hint}"))
            continue
        case = f"sub-{person}" + (f"_ses-{time}" if time else "")
        notes = {"mask_choice": lesion.note} if lesion.note else {}
        files = tuple(mask.path for mask in lesion.masks)
        records.append(CaseRecord(case, f"sub-{person}", images, files, lesion.values, notes))
    return records, rejected


def _by_session(scans: Iterable[BidsName], masks: Iterable[BidsName]) -> dict[tuple, tuple[list, list]]:
    """Scans and masks by person and session; where only one side of a person names its one session, they are joined."""
    sessions: dict[tuple, tuple[list, list]] = defaultdict(lambda: ([], []))
    for number, names in enumerate((scans, masks)):
        for name in names:
            sessions[name.session][number].append(name)
    for person in {person for person, time in sessions if time is None}:
        timeless = sessions[person, None]
        others = [key for key in sessions if key[0] == person and key[1] is not None]
        if len(others) == 1 and not all(timeless) and not all(sessions[others[0]]):
            here, there = timeless, sessions[others[0]]
            if bool(here[0]) != bool(there[0]):  # the scans of one, the masks of the other
                for number in (0, 1):
                    there[number].extend(here[number])
                del sessions[person, None]
    return dict(sessions)


def _check_asked(source: Path, asked: Mapping, scans: Sequence[BidsName], masks: Sequence[BidsName]) -> None:
    """Refuse a value that neither scan nor mask has, and list those that there are."""
    for key, values in asked.items():
        known = {name.get(key) for name in (*scans, *masks)}
        for value in values:
            if value.lower() != _ABSENT and value not in known:
                there = ", ".join(sorted(f"{key}={each}" for each in known if each)) or f"no {key} at all"
                raise DataError(f"{source}: no scan or mask has {key}={value}; found: {there}")


def _restrict(names: Sequence[BidsName], asked: Mapping, lenient: bool = False) -> list[BidsName]:
    """Those with the entities that were asked for, as far as any of these files has such a value.

    A mask (``lenient``) need not repeat the entities of its scan, but its space.
    """
    for key, values in asked.items():
        wanted = {None if value.lower() == _ABSENT else value for value in values}
        wanted &= {name.get(key) for name in names}
        if not wanted:
            continue
        having = {name.session for name in names if name.get(key) in wanted}
        names = [
            name
            for name in names
            if name.get(key) in wanted
            or (lenient and key != "space" and name.get(key) is None and name.session not in having)
        ]
    return list(names)


def _folder_of_masks(source: Path, masks: Path) -> Path:
    for folder in (source / masks, masks):
        if folder.is_dir():
            return folder
    raise DataError(
        f"{masks}: is not a folder of masks, neither in {source} nor on its own; give derivatives/lesions, for example"
    )


def _no_scan(source: Path, channels: Sequence[str], names: Sequence[BidsName], odd: Sequence[Path]) -> str:
    """The message of a folder without a scan of these channels: what there is instead, and what is nearly BIDS."""
    wanted = ", ".join(f"*_{channel}.nii.gz" for channel in channels)
    text = f"{source}: holds no BIDS scan named like sub-01_{wanted[2:]}"
    others = [name for name in names if not is_mask(name)]
    if split := [name.path for name in others if name.suffix in channels]:  # sub-A_1_T1w: a person's name has no _
        odd = [*split, *odd]
    elif others:
        text += f", but {suffixes_found(others)}: choose with --channels {others[0].suffix}"
    if odd:
        more = f" and {len(odd) - 1} more do" if len(odd) > 1 else " does"
        text += f"; {odd[0].relative_to(source).as_posix()}{more} not follow BIDS (sub-01_ses-1_T1w.nii.gz)"
    return f"{text}; {_REMEDY}"
