"""Names of BIDS: ``sub-01_ses-1_acq-MPRAGE_T1w.nii.gz`` is entities (``key-value``) and, last, a suffix.

Masks are named more freely than scans: ``sub-01_T2w_desc-lesion_mask.nii.gz`` and
``sub-01_T1w_label-lesion_roi.nii.gz`` keep the suffix of the scan that they were drawn on in mid-name. Names that only
look like BIDS are near misses, to be reported and not to be guessed at.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .file_search import NIFTI

__all__ = ["IDENTITY", "BidsName", "index_of", "is_modality", "near_misses", "one_form", "parse_bids_name",
           "suffixes_found"]  # fmt: skip

IDENTITY = ("sample", "task", "acq", "ce", "trc", "stain", "rec", "dir", "run", "mod", "echo", "flip", "inv", "part",
            "res", "den")  # fmt: skip
"""Entities besides person and session that tell one acquisition, or one grid, from another; the rest describes a file.
"""

_PERSON = re.compile(r"sub-[A-Za-z0-9]+")
_ENTITY = re.compile(r"(?P<key>[A-Za-z]+)-(?P<value>[A-Za-z0-9.+]+)")
_WORD = re.compile(r"[A-Za-z0-9]+")
_MODALITY = re.compile(
    r"t[12]\w*|pdt?[12]?w?|flair|dwi|adc|b0|trace|swi?|ncct|cta?|ctp|cbf|cbv|mtt|tmax|bold|asl|mp2?rage|unit1|megre|gre",
    re.IGNORECASE,
)
_LOOKS_LIKE_A_PERSON = re.compile(r"sub(?:ject)?[-_ ]?\d|sub[-_ ]", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class BidsName:
    """A file by what its name says.

    Attributes
    ----------
    path : of the file
    entities : value of each key, "sub" and, where there is one, "ses" among them
    suffix : the last word, in lower case ("t1w", "mask")
    middle : words between the entities, as they are written ("T2w")
    folder : parts of the path between the data set's folder and that of the person, ("derivatives", "lesions")
    """

    path: Path
    entities: Mapping[str, str]
    suffix: str
    middle: tuple[str, ...] = ()
    folder: tuple[str, ...] = ()

    def get(self, key: str) -> str | None:
        """Value of an entity, None without it; also of "suffix", and of "on", the scan that a mask was drawn on."""
        if key == "suffix":
            return self.suffix
        return self.drawn_on if key == "on" else self.entities.get(key)

    @property
    def session(self) -> tuple[str, str | None]:
        return self.entities["sub"], self.entities.get("ses")

    @property
    def drawn_on(self) -> str | None:
        """Suffix of the scan that a mask was drawn on, in lower case, where its name keeps it."""
        return next((word.lower() for word in self.middle if is_modality(word)), None)

    @property
    def identity(self) -> dict[str, str]:
        """Entities that tell one acquisition, or one grid, of a session from another."""
        return {key: value for key, value in self.entities.items() if key in IDENTITY}


def is_modality(word: str) -> bool:
    """Whether a word is the suffix of a scan, such as T1w, FLAIR or dwi."""
    return _MODALITY.fullmatch(word) is not None


def index_of(value: str) -> str | int:
    """An entity's value to compare by: run 01 is run 1."""
    return int(value) if value.isdigit() else value


def parse_bids_name(path: Path, source: Path | None = None) -> BidsName | None:
    """Read a file's name by the rules of BIDS, in any order of the entities; None where it breaks them.

    Parameters
    ----------
    path : NIfTI file
    source : folder of the data set; without it `BidsName.folder` stays empty

    Examples
    --------
    >>> name = parse_bids_name(Path("sub-01_acq-spc_run-4_T2w_desc-lesion_mask.nii.gz"))
    >>> name.entities, name.suffix, name.drawn_on
    ({'sub': '01', 'acq': 'spc', 'run': '4', 'desc': 'lesion'}, 'mask', 't2w')
    >>> parse_bids_name(Path("sub-01_T1w_label-lesion.nii.gz"))  # no suffix at its end
    """
    stem = re.sub(NIFTI, "", path.name)
    first, *parts = stem.split("_")
    if stem == path.name or not parts or not _PERSON.fullmatch(first) or not _WORD.fullmatch(parts[-1]):
        return None
    entities, middle = {"sub": first[4:]}, []
    for part in parts[:-1]:
        if entity := _ENTITY.fullmatch(part):
            entities[entity["key"]] = entity["value"]
        elif _WORD.fullmatch(part):
            middle.append(part)
        else:
            return None
    folder = () if source is None else path.relative_to(source).parts[:-1]
    above = next((number for number, part in enumerate(folder) if part.startswith("sub-")), len(folder))
    return BidsName(path, entities, parts[-1].lower(), tuple(middle), folder[:above])


def near_misses(paths: Iterable[Path], known: Iterable[BidsName], source: Path) -> list[Path]:
    """Files below ``source`` that look as if they were meant to be BIDS, but are not.

    ``sub_01_T1w``, ``sub-01_T1w_label-lesion``, ``sub-01/anat/T1w``.
    """
    read = {name.path for name in known}
    return [
        path
        for path in paths
        if path not in read and any(map(_LOOKS_LIKE_A_PERSON.match, path.relative_to(source).parts))
    ]


def one_form(names: Iterable[BidsName]) -> list[BidsName]:
    """Drop ``NAME.nii`` beside ``NAME.nii.gz``, which is the same file, unpacked; in the order of the paths."""
    by_stem = {}
    for name in sorted(names, key=lambda each: (each.path.suffix == ".gz", each.path)):
        by_stem[name.path.parent, re.sub(NIFTI, "", name.path.name)] = name
    return sorted(by_stem.values(), key=lambda each: each.path)


def suffixes_found(names: Sequence[BidsName]) -> str:
    """The suffixes of some files with their counts, for messages: "5 T2w, 5 FLAIR"; "" for no file."""
    words = Counter(re.sub(NIFTI, "", name.path.name).rpartition("_")[2] for name in names)
    return ", ".join(f"{count} {word}" for word, count in words.most_common(6))
