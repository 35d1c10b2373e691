"""The masks of a folder as cases, predicted ones and true ones.

A file's case is told by its name, by the rule of :mod:`hf_lesionseg.datasets.readers.case_names`, and which prediction
belongs to which truth by :mod:`hf_lesionseg.evaluation.pairing`. Hidden files are passed over. Two files of one case
name in one folder are an error, not a choice; but of the masks of a BIDS session only those of its lesion are truths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..datasets.readers.bids_names import BidsName, parse_bids_name
from ..datasets.readers.case_names import (
    CONTENT_WORDS,
    MASK_WORDS,
    PROBABILITY_WORDS,
    case_name,
    content_word,
    files_by_case,
    person_name,
)
from ..datasets.readers.lesion_masks import LabelTables, is_mask, shows_something_else, unite
from ..errors import DataError
from ..imaging.scan_search import scans_below
from ..models.scan_formats import endings_in_words, scan_stem
from .pairing import TruthCase, match_predictions

if TYPE_CHECKING:
    from ..datasets.prepared import PreparedDataset

__all__ = [
    "TruthCase",
    "TruthSet",
    "case_name",
    "find_masks",
    "find_scans",
    "find_scans_by_case",
    "find_truths",
    "is_prepared",
    "match_predictions",
    "person_name",
]


@dataclass(frozen=True)
class TruthSet:
    """The true masks of a folder, and what is known about them.

    Attributes
    ----------
    cases : tuple of TruthCase
        Sorted by name.
    synthetic : bool
        The prepared folder says that its data are synthetic.
    splits : mapping of split name to case names, or None
        Where the folder knows its splits.
    volumes_ml : mapping of case name to true lesion volume in mL
        Volumes of all cases of a prepared folder; else empty.
    prepared : PreparedDataset or None
        The prepared folder, if it is one.
    ignored : tuple of Path
        Scans of the folder that were not taken for masks.
    """

    cases: tuple[TruthCase, ...]
    synthetic: bool = False
    splits: Mapping[str, list[str]] | None = None
    volumes_ml: Mapping[str, float] = field(default_factory=dict)
    prepared: PreparedDataset | None = None
    ignored: tuple[Path, ...] = ()


def _says(path: Path, words: Iterable[str]) -> bool:
    stem = scan_stem(path)
    return stem.lower() in words or content_word(stem).lower() in words


def find_scans(folder: str | Path) -> list[Path]:
    """Return all scan files below a folder in a fixed order, hidden files and Finder's litter passed over.

    Raises
    ------
    DataError
        The folder is missing or holds no scan.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file" if folder.is_file() else "no such folder"
        raise DataError(f"{folder}: {what}; give a folder of scans")
    found = scans_below(folder)  # a link to nothing is a case that fails, with its reason
    if not found:
        raise DataError(f"{folder}: no scan in this folder; expected {endings_in_words()} files")
    return found


def find_masks(
    folder: str | Path, *, probabilities: bool = False, truths: bool = False
) -> tuple[dict[str, Path], list[Path]]:
    """Return the mask files of a folder by case name, and the scans that were left aside.

    Where some names end in a word for a mask (``_mask``, ...), only those are masks and the rest, say the T1w scans of
    a BIDS folder, is left aside. Where none does, every scan is a mask. With ``probabilities`` the words for
    probabilities are looked for first. With ``truths`` masks of BIDS that name something other than a lesion are left
    aside, too, and a whole goes before its parts.

    Raises
    ------
    DataError
        The folder is missing or empty, or two masks have one case name.
    """
    folder = Path(folder)
    files = find_scans(folder)
    chosen = files
    for words in (PROBABILITY_WORDS, MASK_WORDS) if probabilities else (MASK_WORDS,):
        if named := [path for path in files if _says(path, words)]:
            chosen = named
            break
    if truths:
        chosen = _of_lesions(chosen, folder)
    masks: dict[str, Path] = {}
    for case, paths in files_by_case(chosen, folder).items():
        if len(paths) > 1:
            first, second = (path.relative_to(folder) for path in paths[:2])
            raise DataError(f"{folder}: {first} and {second} are both case {case}; keep one, or rename them")
        masks[case] = paths[0]
    kept = set(masks.values())
    return masks, [path for path in files if path not in kept]


def _of_lesions(files: list[Path], folder: Path) -> list[Path]:
    """Return the lesion's masks of a BIDS session (`datasets.readers.lesion_masks`), and all other files.

    Raises
    ------
    DataError
        A session has several that are not a whole with its parts.
    """
    names = {path: name for path in files if (name := parse_bids_name(path, folder)) and is_mask(name)}
    tables = LabelTables(folder)
    left_out = {path for path, name in names.items() if shows_something_else(name) or _has_table(name, tables)}
    sessions: dict[str, list[Path]] = {}
    for path in names:
        if path not in left_out:
            sessions.setdefault(case_name(path), []).append(path)
    if left_out and len(left_out) == len(files):
        raise DataError(
            f"{folder}: {min(left_out).relative_to(folder)} and all other masks name something other than a lesion; "
            "give the folder of the lesion masks, or one that `lesionseg prepare` made"
        )
    for case, paths in sessions.items():
        if len(paths) == 1:
            continue
        try:
            lesion = [mask.path for mask in unite([(names[path], None) for path in paths]).masks]
        except LookupError as error:
            raise DataError(
                f"{folder}: case {case} {error.args[0].partition(' (choose')[0]}; give a folder with one of them for "
                "each case, or one that `lesionseg prepare` made"
            ) from error
        if len(lesion) > 1:
            raise DataError(
                f"{folder}: {lesion[0].relative_to(folder)} and {lesion[1].relative_to(folder)} are both case {case}, "
                "parts of one lesion; give a folder that `lesionseg prepare` made, which unites them"
            )
        left_out |= set(paths) - set(lesion)
    return [path for path in files if path not in left_out]


def _has_table(mask: BidsName, tables: LabelTables) -> bool:
    """Whether a table says what the labels of a segmentation are: then not all of them are lesion."""
    try:
        return mask.suffix in ("dseg", "seg") and tables.find(mask) is not None
    except LookupError:  # one that cannot be read
        return True


def is_prepared(folder: str | Path) -> bool:
    """Whether a folder is one that ``lesionseg prepare`` wrote."""
    folder = Path(folder)
    # nnU-Net's folders have a dataset.json too, but no cases/.
    return (folder / "dataset.json").is_file() and (folder / "cases").is_dir()


def find_truths(truths: str | Path) -> TruthSet:
    """Collect the true masks of a plain or prepared folder.

    In a prepared folder a case is also known by the names of the scans it was made from, so that the predictions of
    ``lesionseg segment`` on those scans are found.

    Raises
    ------
    DataError
        The folder is missing, empty or damaged, or two masks have one case name.
    """
    truths = Path(truths)
    if is_prepared(truths):
        return _prepared_truths(truths)
    masks, ignored = find_masks(truths, truths=True)
    cases = [TruthCase(case, person_name(case), path, _other_names(case, path)) for case, path in sorted(masks.items())]
    return TruthSet(cases=tuple(cases), ignored=tuple(ignored))


def _other_names(case: str, path: Path) -> frozenset[str]:
    """A case's name, and that of its person where the truth is of the whole person: ISLES 2024's of a later session."""
    return frozenset({case, person_name(case)} if _says(path, ("lesion-msk",)) else {case})


def _prepared_truths(folder: Path) -> TruthSet:
    from ..datasets.prepared.reading import SPLITS, PreparedDataset

    prepared = PreparedDataset(folder)
    names = {case.id: {case.id, case_name(case.id), *map(case_name, case.sources)} for case in prepared.cases}
    times = Counter(name for own in names.values() for name in own)
    cases = [
        TruthCase(
            case=case.id,
            person=case.person,
            path=case.folder / "truth.nii.gz",
            # A name that fits two cases (two time points with equally named files) tells neither.
            aliases=frozenset(name for name in names[case.id] if times[name] == 1 or name == case.id),
            sources=case.sources,
        )
        for case in prepared.cases
    ]
    return TruthSet(
        cases=tuple(sorted(cases, key=lambda case: case.case)),
        synthetic=prepared.synthetic,
        splits=prepared.splits() if (folder / SPLITS).is_file() else None,
        volumes_ml={case.id: case.lesion_ml for case in prepared.cases},
        prepared=prepared,
    )


def find_scans_by_case(folder: str | Path) -> dict[str, Path]:
    """Return the scans of a folder by case name, masks and probabilities left out.

    Where a case has several scans (the channels of one acquisition), the first by name is taken, since it
    only serves as the background of a picture.

    Raises
    ------
    DataError
        The folder is missing or holds no scan.
    """
    folder = Path(folder)
    scans = [path for path in find_scans(folder) if not _says(path, CONTENT_WORDS)]
    return {case: paths[0] for case, paths in files_by_case(scans, folder).items()}
