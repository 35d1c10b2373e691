"""Which masks of a session are its lesion: the one rule by which names decide it.

A mask is a lesion where its label, description, suffix or folder says so. A mask that names something else (brain, grey
matter, an organ) never is, be it the only one. A segmentation of several labels (suffix ``dseg`` or ``seg``) is only
where it names the lesion, or its table of labels (``..._dseg.tsv``) does: then those labels are the lesion. A mask that
names nothing is taken where it is the only one of its session. Several are united where they are parts of one lesion,
left and right or numbered; any other choice is the user's.
"""

import csv
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .bids_names import BidsName, is_modality, one_form
from .file_search import NIFTI

__all__ = [
    "LabelTables",
    "LesionChoice",
    "describe",
    "how_to_choose",
    "is_mask",
    "lesion_masks",
    "shows_something_else",
    "unite",
]

_MASKS, _SEGMENTATIONS = ("mask", "roi"), ("dseg", "seg")
_NAMING = ("label", "desc", "seg", "roi", "atlas")  # entities that say what a mask shows, or who made it

_LESION = re.compile(r"lesion|stroke|infarct", re.IGNORECASE)
_OTHER_LESION = re.compile(
    r"wmh|hyperintens|tumou?r|ha?emorrhag|ha?ematoma|bleed|o?edema|necro|penumbra|gliom|metasta|plaque|abscess|cavit|"
    r"resection|^core$|^ich$|^cmb$",
    re.IGNORECASE,
)
_NOT_LESION = re.compile(
    r"(?<!ab)normal|healthy|unaffected|"
    r"(?:non|no|not|without|minus|excl\w*|peri|contra|mirror\w*|outside|around|surround\w*)[-_ ]?(?:the)?[-_ ]?"
    r"(?:lesion|stroke|infarct)|"
    r"inv(?:ert|erse)?(?:ed)?[-_ ]?(?:the)?(?:lesion|stroke|infarct)|"
    r"(?:lesion|stroke|infarct)s?[-_ ]?(?:free|fill|mask(?:ed|out)|remov|exclu|out|mirror|flip|heal|inv|"
    r"brain|territor)",
    re.IGNORECASE,
)
_BRAIN_FOLDER = re.compile(
    r"brain[-_]?(?:mask|extract)|skull|tissue|freesurfer|fastsurfer|[fs]mriprep|qsiprep|synthstrip|robex|(?:^|hd-?|opti|deep)bet\d?$",
    re.IGNORECASE,
)
#: Words that name no thing, only who made a mask, how, or which side it is on.
_OF_MAKERS = frozenset((
    "manual", "hand", "rater", "reader", "expert", "annotator", "observer", "annotation", "annotated", "consensus",
    "majority", "vote", "staple", "final", "gt", "ground", "truth", "true", "seg", "segmentation", "segmented",
    "mask", "binary", "bin", "bw", "edited", "corrected", "checked", "reviewed", "qc", "drawn", "traced", "tracing",
    "delineation", "resampled", "registered", "coreg", "native", "orig", "original", "roi", "label", "labels", "v",
    "version", "union", "left", "right", "l", "r", "lh", "rh",
))  # fmt: skip
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NUMBERED = re.compile(r"(lesion|stroke|infarct|wmh|tumou?r|ha?emorrhage|metastasis|plaque)(s?)\d+$", re.IGNORECASE)
_SIDES = re.compile(r"(?i:left|right)|(?<![A-Za-z])[LR](?![A-Za-z])|(?<=[a-z])[LR](?![A-Za-z])")


@dataclass(frozen=True)
class LesionChoice:
    """The files that are the lesion of a session.

    Attributes
    ----------
    masks : united
    values : labels that count as lesion; None for all above 0
    note : what was chosen among which, where something was left aside; else ""
    """

    masks: tuple[BidsName, ...]
    values: tuple[int, ...] | None = None
    note: str = ""


class LabelTables:
    """Tables of labels of the segmentations of one data set, found by BIDS' inheritance; each is read once."""

    def __init__(self, source: Path):
        self.source = source
        self._tables: dict[Path, dict[int, str]] = {}
        self._in_folder: dict[Path, list[Path]] = {}

    def find(self, mask: BidsName) -> dict[int, str] | None:
        """Names by value of a segmentation, of the table nearest to it; None where there is none.

        Raises
        ------
        LookupError
            Where the table has no columns "index" and "name".
        """
        own = mask.path.with_name(re.sub(NIFTI, "", mask.path.name) + ".tsv")
        if own.is_file():
            return self._read(own)
        root = self.source if mask.path.is_relative_to(self.source) else mask.path.parent
        for folder in mask.path.parents:
            for path in self._tables_of(folder):
                # of a table "acq-x_dseg.tsv" as of "sub-01_acq-x_dseg.tsv": all that it names, the mask has
                *entities, suffix = path.stem.split("_")
                named = {tuple(each.split("-", 1)) for each in entities}
                if suffix == mask.suffix and named <= set(mask.entities.items()):
                    return self._read(path)
            if folder == root:
                break
        return None

    def _tables_of(self, folder: Path) -> list[Path]:
        if folder not in self._in_folder:
            self._in_folder[folder] = sorted(folder.glob("*seg.tsv"), key=lambda path: (-len(path.name), path.name))
        return self._in_folder[folder]

    def _read(self, path: Path) -> dict[int, str]:
        if path not in self._tables:
            try:
                rows = list(csv.DictReader(path.read_text("utf-8-sig").splitlines(), delimiter="\t"))
                self._tables[path] = {int(row["index"]): str(row["name"]) for row in rows}
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise LookupError(f"the table {path.name} has no columns index and name that can be read") from error
        return self._tables[path]


def is_mask(name: BidsName) -> bool:
    """Whether a file is a mask or a segmentation by its suffix."""
    return name.suffix in (*_MASKS, *_SEGMENTATIONS) or _tells_lesion(name.suffix) > 0


def lesion_masks(
    masks: Sequence[BidsName], tables: LabelTables, asked: Mapping[str, Collection[str]] | None = None
) -> list[tuple[BidsName, tuple[int, ...] | None]]:
    """The masks of a session that are its lesion, each with the labels that count (None: all above 0).

    Parameters
    ----------
    masks : of one session
    tables : of the data set
    asked : entities that the user chose by; a mask that has one which names it is taken, whatever it shows

    Raises
    ------
    LookupError
        Where there is none; the message lists what was found, and how to choose.
    """
    ranked: dict[int, list] = {}
    remarks = []
    for mask in masks:
        try:
            rank, values = _rank(mask, tables, asked or {})
        except LookupError as error:
            remarks.append(str(error))
            continue
        if rank is not None:
            ranked.setdefault(rank, []).append((mask, values))
    for rank in sorted(ranked):
        if rank < _NAMELESS or len(masks) == 1:
            return ranked[rank]
    reason = "no lesion mask in its session (..._label-lesion_mask.nii.gz)"
    if remarks:
        reason += f"; {'; '.join(dict.fromkeys(remarks))}"
    elif masks:
        reason += f"; found: {describe(masks)} (if one is the lesion, choose it with {_own_choices(masks)})"
    raise LookupError(reason)


def unite(group: Sequence[tuple[BidsName, tuple[int, ...] | None]]) -> LesionChoice:
    """The masks of one drawing as one lesion: parts are united, and a whole goes before its parts.

    Raises
    ------
    LookupError
        Where they are not parts of one lesion; the message says how to choose.
    """
    values_of = dict(group)
    masks = tuple(one_form(values_of))
    values = {values_of[mask] for mask in masks}
    if len(values) == 1 and _are_parts(masks):
        return LesionChoice(masks, values.pop())
    if whole := _whole(masks):
        others = how_to_choose([mask for mask in masks if mask != whole])
        note = f"took {_short(whole, masks)} of {describe(masks)}; choose another with {others}"
        return LesionChoice((whole,), values_of[whole], note)
    raise LookupError(
        f"has {len(masks)} lesion masks that are not parts of one lesion, {describe(masks)} (choose with "
        f"{how_to_choose(masks)})"
    )


def shows_something_else(mask: BidsName) -> bool:
    """Whether a mask's name, or its folder's, says that it is not a lesion: the brain, grey matter, an organ."""
    return _rank_of_name(mask) is None


def describe(names: Sequence[BidsName]) -> str:
    """Files of one session by what tells them apart, for messages that do not name the person: "desc-brain_mask"."""
    return ", ".join(dict.fromkeys(_short(name, names) for name in names))


def how_to_choose(names: Sequence[BidsName]) -> str:
    """Options of the command line that tell these files apart."""
    keys = dict.fromkeys(key for name in names for key in name.entities if key not in ("sub", "ses"))
    for key in sorted(keys, key=lambda each: each not in ("desc", "label", "space")):
        values = dict.fromkeys(name.get(key) or "none" for name in names)
        if len(values) == len(names):
            return " or ".join(f"--entity {key}={value}" for value in values)
    folders = dict.fromkeys("/".join(name.folder) for name in names)
    if len(folders) == len(names) > 1:
        return f"--masks FOLDER, one of {', '.join(each or '.' for each in folders)}"
    for key in ("on", "suffix"):
        values = dict.fromkeys(name.get(key) or "none" for name in names)
        if len(values) > 1 or len(names) == 1:
            return " or ".join(f"--entity {key}={value}" for value in values)
    several = [key for key in keys if len({name.get(key) for name in names}) > 1]
    return " and ".join(f"--entity {key}=..." for key in several) or "--masks FOLDER"


def _own_choices(masks: Sequence[BidsName]) -> str:
    """For each of some masks the option that makes it the lesion, whatever it shows."""
    keys = [(mask, next((key for key in _NAMING if key in mask.entities), "suffix")) for mask in masks]
    return " or ".join(dict.fromkeys(f"--entity {key}={mask.get(key)}" for mask, key in keys))


_NAMED, _IN_NAMED_FOLDER, _OTHERWISE_NAMED, _NAMELESS = range(4)


def _rank(
    mask: BidsName, tables: LabelTables, asked: Mapping[str, Collection[str]]
) -> tuple[int | None, tuple[int, ...] | None]:
    """How surely a mask is the lesion (None: not at all), and the labels that are."""
    chosen = any(mask.get(key) in values for key, values in asked.items() if key in (*_NAMING, "suffix"))
    rank = _rank_of_name(mask)
    if mask.suffix not in _SEGMENTATIONS:
        return (_NAMED if chosen else rank), None
    table = tables.find(mask)
    if table is None:
        return (_NAMED if chosen else rank if rank != _NAMELESS else None), None
    for tier in (2, 1):
        named = tuple(sorted(value for value, name in table.items() if value and _tells_lesion(name) == tier))
        if named:
            best = _NAMED if chosen or tier == 2 or rank == _NAMED else _OTHERWISE_NAMED
            everything = all(value in named for value in table if value)
            return best, None if everything else named
    if rank not in (None, _NAMELESS) and not chosen:
        return rank, None  # the file is the lesion, its labels are parts of it
    raise LookupError(f"the table of {_short(mask, [mask])} names {', '.join(table.values())} and no lesion")


def _rank_of_name(mask: BidsName) -> int | None:
    """Rank by the words of its name and, where they name nothing, of its folder."""
    values = [mask.entities[key] for key in _NAMING if key in mask.entities]
    values += [word for word in mask.middle if not is_modality(word)]
    if mask.suffix not in (*_MASKS, *_SEGMENTATIONS):
        values.append(mask.suffix)
    tiers = [_tells_lesion(value) for value in values]
    label = mask.get("label")
    if label in ("L", "R"):  # BIDS' abbreviation of a lesion, as ATLAS has it; R by those who read it as "left"
        tiers.append(2)
    elif label is not None and not _tells_lesion(label) and not _says_nothing(label):
        return None
    if max(tiers, default=0):
        return _NAMED if 2 in tiers else _OTHERWISE_NAMED
    if not all(map(_says_nothing, values)):
        return None
    places = [part for part in mask.folder if part not in ("derivatives", "rawdata")]
    if any(_tells_lesion(part) == 2 for part in places):
        return _IN_NAMED_FOLDER
    return None if any(_BRAIN_FOLDER.search(part) for part in places) else _NAMELESS


def _tells_lesion(text: str) -> int:
    """2 for a lesion, stroke or infarct, 1 for other pathology, 0 for anything else, "non-lesion" included."""
    if _NOT_LESION.search(text):
        return 0
    return 2 if _LESION.search(text) else 1 if _OTHER_LESION.search(text) else 0


def _says_nothing(text: str) -> bool:
    return all(word.lower() in _OF_MAKERS or word.isdigit() for word in _WORDS.findall(text))


def _are_parts(masks: Sequence[BidsName]) -> bool:
    """Whether masks differ by a side or by the number of a lesion only."""
    if len({re.sub(NIFTI, "", mask.path.name) for mask in masks}) < len(masks):
        return False  # one name in two folders: two opinions of one lesion
    return len({_without_parts(mask) for mask in masks}) == 1


def _without_parts(mask: BidsName) -> tuple:
    described = []
    for key, value in sorted(mask.entities.items()):
        if key == "hemi" or (key == "label" and value in ("L", "R")):
            continue
        if key in _NAMING:
            value = _NUMBERED.sub(r"\1\2", _SIDES.sub("", value))
        described.append((key, value.lower()))
    words = tuple(_NUMBERED.sub(r"\1\2", word) for word in (*mask.middle, mask.suffix))
    return tuple(described), words, mask.folder


def _whole(masks: Sequence[BidsName]) -> BidsName | None:
    """The mask whose description all others only add to: lesion beside lesionAcute and lesionChronic."""
    if len({mask.folder for mask in masks}) > 1:
        return None
    for key in ("desc", "label"):
        rest = {tuple(sorted((k, v) for k, v in mask.entities.items() if k != key)) for mask in masks}
        values = [mask.get(key) or "" for mask in masks]
        shortest = min(values, key=len)
        add_to_it = all(re.match(rf"{re.escape(shortest)}(?:[A-Z]|$)", value) for value in values)
        if len(rest) == 1 and len(set(values)) == len(masks) and _tells_lesion(shortest) == 2 and add_to_it:
            return masks[values.index(shortest)]
    return None


def _short(name: BidsName, among: Sequence[BidsName]) -> str:
    """A file's name without person and session, nor what it shares with all the others but its suffix."""
    stem = re.sub(NIFTI, "", name.path.name).split("_")
    parts = [part for part in stem if part.partition("-")[0] not in ("sub", "ses")]
    if len({each.folder for each in among}) > 1:
        return "/".join((*name.folder, "_".join(parts)))
    return "_".join(parts)
