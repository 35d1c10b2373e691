"""Which prediction belongs to which truth: the one rule by which files become cases.

A file's case name is its name without the suffix of a scan (``.nii``, ``.nii.gz``, ``.hdr``) and without the words that
only say what the file holds (``_mask``, ``_lesion``, ``_truth``, ...; see ``CONTENT_WORDS``). Of a BIDS name
(``sub-...``) only the entities that tell one acquisition from another stay: ``sub-r001s001_ses-1_space-MNI_T1w_mask``
and ``sub-r001s001_ses-1_space-MNI_label-L_desc-T1lesion_mask`` are both ``sub-r001s001_ses-1``. Folders do not matter,
hidden files are passed over. Two files of one case name are an error, not a choice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError

if TYPE_CHECKING:
    from ..datasets.prepared import PreparedDataset

SCAN_SUFFIXES = (".nii.gz", ".nii", ".hdr")

MASK_WORDS = ("mask", "msk", "lesion-msk", "lesion", "lesions", "truth", "gt", "label", "labels", "seg", "dseg", "pred",
              "prediction")  # fmt: skip
PROBABILITY_WORDS = ("probability", "probabilities", "prob")
CONTENT_WORDS = MASK_WORDS + PROBABILITY_WORDS
"""Words after the last underscore of a file name that say what the file holds, not whose it is."""

# What tells one acquisition of a person from another; space-, label-, desc- and the suffix only describe the file.
BIDS_IDENTITY = ("sub", "ses", "sample", "acq", "ce", "dir", "run")

_ATLAS_R1_TIME_POINT = re.compile(r"(c\d{4}s\d{4})t\d{2}")


@dataclass(frozen=True)
class TruthCase:
    """One true mask on disk.

    Attributes
    ----------
    case, person : str
        Names of the case and of the person.
    path : Path
        The mask.
    aliases : frozenset of str
        Case names under which a prediction is accepted, the case's own among them.
    """

    case: str
    person: str
    path: Path
    aliases: frozenset[str] = frozenset()


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
        Of all cases of a prepared folder; else empty.
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


def scan_stem(path: str | Path) -> str:
    """Return a file's name without the suffix of a scan."""
    name = Path(path).name
    for suffix in SCAN_SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def case_name(path: str | Path) -> str:
    """Return the case name of a file, by the rule of this module.

    Examples
    --------
    >>> case_name("out/patient 7_mask.nii.gz")
    'patient 7'
    >>> case_name("sub-01_ses-2_space-MNI_label-L_desc-T1lesion_mask.nii.gz")
    'sub-01_ses-2'
    """
    stem = scan_stem(path)
    while (parts := stem.rpartition("_"))[0] and parts[2].lower() in CONTENT_WORDS:
        stem = parts[0]
    if stem.startswith("sub-"):
        entities = [part for part in stem.split("_") if part.partition("-")[0] in BIDS_IDENTITY and "-" in part]
        return "_".join(entities) or stem
    return stem


def person_name(case: str) -> str:
    """Return whose case it is: the BIDS subject, the ATLAS R1.2 person without the time point, else the case itself.

    Examples
    --------
    >>> person_name("sub-01_ses-2"), person_name("c0003s0034t01"), person_name("patient 7")
    ('sub-01', 'c0003s0034', 'patient 7')
    """
    if case.startswith("sub-"):
        return case.split("_")[0]
    atlas = _ATLAS_R1_TIME_POINT.match(case)
    return atlas[1] if atlas else case


def _says(path: Path, words: Iterable[str]) -> bool:
    return scan_stem(path).rpartition("_")[2].lower() in words


def find_scans(folder: str | Path) -> list[Path]:
    """Return all scan files below a folder in a fixed order, hidden files and Finder's litter passed over.

    Raises
    ------
    DataError
        The folder is missing or holds no scan.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give a folder of NIfTI files")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.name.lower().endswith(SCAN_SUFFIXES)
        and not any(part.startswith((".", "__MACOSX")) for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    if not found:
        raise DataError(f"{folder}: no scan in this folder; expected {', '.join(SCAN_SUFFIXES)} files")
    return found


def find_masks(folder: str | Path, *, probabilities: bool = False) -> tuple[dict[str, Path], list[Path]]:
    """Return the mask files of a folder by case name, and the scans that were left aside.

    Where some names end in a word for a mask (``_mask``, ...), only those are masks and the rest, say the T1w scans of
    a BIDS folder, is left aside. Where none does, every scan is a mask. With ``probabilities`` the words for
    probabilities are looked for first.

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
    masks: dict[str, Path] = {}
    for path in chosen:
        other = masks.setdefault(case_name(path), path)
        if other is not path:
            raise DataError(
                f"{folder}: {other.relative_to(folder)} and {path.relative_to(folder)} are both case "
                f"{case_name(path)}; keep one, or rename them"
            )
    return masks, [path for path in files if path not in set(chosen)]


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
    masks, ignored = find_masks(truths)
    cases = [TruthCase(case, person_name(case), path, frozenset({case})) for case, path in sorted(masks.items())]
    return TruthSet(cases=tuple(cases), ignored=tuple(ignored))


def _prepared_truths(folder: Path) -> TruthSet:
    from ..datasets.prepared import SPLITS, PreparedDataset

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


def match_predictions(
    truths: Sequence[TruthCase], predictions: Mapping[str, Path]
) -> tuple[dict[str, Path], list[str]]:
    """Return the prediction of each truth by the truth's case name, and the predictions that belong to no truth.

    Raises
    ------
    DataError
        Two predictions belong to one truth.
    """
    matched: dict[str, Path] = {}
    used = set()
    for truth in truths:
        own = [name for name in sorted(truth.aliases | {truth.case}) if name in predictions]
        if len(own) > 1:
            raise DataError(
                f"{predictions[own[0]]} and {predictions[own[1]]} both belong to case {truth.case}; keep one of them"
            )
        if own:
            matched[truth.case] = predictions[own[0]]
            used.add(own[0])
    return matched, sorted(predictions[name].name for name in set(predictions) - used)


def find_scans_by_case(folder: str | Path) -> dict[str, Path]:
    """Return the scans of a folder by case name, masks and probabilities left out.

    Of several scans of one case (the channels of one acquisition) the first by name is taken: they serve as background
    of a picture only.

    Raises
    ------
    DataError
        The folder is missing or holds no scan.
    """
    scans: dict[str, Path] = {}
    for path in find_scans(folder):
        if not _says(path, CONTENT_WORDS):
            scans.setdefault(case_name(path), path)
    return scans
