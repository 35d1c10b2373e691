"""The name of a case by its files: the one rule by which files of different folders belong together.

A file's case name is its name without the ending of a scan (``.nii.gz`` and others) and without the words that
only say what the file holds (``_mask``, ``-seg``, ``_truth``, ...; see ``CONTENT_WORDS``). Of a BIDS name
(``sub-...``) only the entities that tell one acquisition from another stay: ``sub-r001s001_ses-1_space-MNI_T1w_mask``
and ``sub-r001s001_ses-1_space-MNI_label-L_desc-T1lesion_mask`` are both ``sub-r001s001_ses-1``. Where names tell
nothing, ``case01/mask.nii.gz`` and ``case02/mask.nii.gz``, or ``sub-01/ses-1/anat/T1w_mask.nii.gz``, the folders do.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePath

from ...models.scan_formats import scan_stem
from .bids_names import index_of, is_modality

__all__ = ["CONTENT_WORDS", "MASK_WORDS", "PROBABILITY_WORDS", "case_name", "content_word",
           "files_by_case", "looser_names", "person_name", "same_acquisition", "says_mask"]  # fmt: skip

MASK_WORDS = ("mask", "msk", "lesion-msk", "lesion", "lesions", "lesionmask", "lesionseg", "truth", "groundtruth", "gt",
              "label", "labels", "seg", "dseg", "segmentation", "roi", "pred", "prediction")  # fmt: skip
PROBABILITY_WORDS = ("probability", "probabilities", "prob")
CONTENT_WORDS = MASK_WORDS + PROBABILITY_WORDS
"""Words after the last underscore of a file name that say what the file holds, not whose it is."""
#: Those that also stand behind a hyphen, as in BraTS: others, such as bad-truth, may well be a case's own name.
_HYPHENED = ("seg", "mask", "lesion")

# What tells one acquisition of a person from another; space-, label-, desc- and the suffix only describe the file.
BIDS_IDENTITY = ("sub", "ses", "sample", "acq", "ce", "dir", "run")

#: Folders that say what lies in them or where it is from, not whose it is.
_NO_CASE = re.compile(
    r"anat|dwi|perf|func|fmap|ct|mr|derivatives|rawdata|masks|(?:site|cent(?:er|re)|cohort|hospital|scanner|train\w*|"
    rf"test\w*|val\w*|fold|split|batch|copy|backup|old|new|again)[-_ ]?\w{{0,3}}|{'|'.join(CONTENT_WORDS)}",
    re.IGNORECASE,
)
_ATLAS_R1_TIME_POINT = re.compile(r"(c\d{4}s\d{4})t\d{2}")
_FIRST_CHANNEL = re.compile(r"^(.+)_0000$")


def case_name(path: str | PurePath) -> str:
    """Return the case name of a file by its own name alone.

    Examples
    --------
    >>> case_name("out/patient 7_mask.nii.gz")
    'patient 7'
    >>> case_name("sub-01_ses-2_space-MNI_label-L_desc-T1lesion_mask.nii.gz")
    'sub-01_ses-2'
    """
    stem = scan_stem(path)
    while word := content_word(stem):
        stem = stem[: -len(word) - 1]
    if stem.startswith("sub-"):
        return _identity(stem) or stem
    return stem


def says_mask(path: str | PurePath) -> bool:
    """Whether a file's name ends with a word for a mask or for probabilities.

    Examples
    --------
    >>> says_mask("sub-01_T1w_label-lesion_roi.nii.gz"), says_mask("sub-01_T1w.nii.gz")
    (True, False)
    """
    return scan_stem(path).lower() in CONTENT_WORDS or content_word(scan_stem(path)) != ""


def content_word(stem: str) -> str:
    """The last word of a name where it says what the file holds, else ""; of a name of BIDS after an underscore only.

    Examples
    --------
    >>> content_word("case_01_mask"), content_word("BraTS-GLI-00001-000-seg"), content_word("sub-01_desc-lesion")
    ('mask', 'seg', '')
    """
    for sign, words in (("_", CONTENT_WORDS), ("-", () if stem.startswith("sub-") else _HYPHENED)):
        before, _, word = stem.rpartition(sign)
        if before and word.lower() in words:
            return word
    return ""


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


def files_by_case(
    files: Sequence[Path], root: Path, name_of: Callable[[Path], str] = case_name
) -> dict[str, list[Path]]:
    """Files by case name, sorted; where names tell no case, or one for files of several folders, the folders do.

    Parameters
    ----------
    files : below ``root``
    root : whose own name plays no part
    name_of : name of a file's case by the file's own name

    Returns
    -------
    dict of case name to files; several of one case are not told apart by folders that are named after cases

    Examples
    --------
    >>> found = files_by_case([Path("r/case01/mask.nii"), Path("r/case02/mask.nii"), Path("r/b_mask.nii")], Path("r"))
    >>> list(found)
    ['b', 'case01', 'case02']
    """
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        by_name[name_of(path)].append(path)
    cases: dict[str, list[Path]] = defaultdict(list)
    for name, paths in by_name.items():
        folders = {path.parent for path in paths}
        places = _names_of_folders(folders, root)
        if (len(folders) == 1 and not _says_nothing(name)) or not all(places.values()):
            cases[name] += paths
            continue
        for path in paths:
            place = places[path.parent]
            # of a folder with files of other cases its name is only half of the case's
            alone = place.startswith("sub-") or _says_nothing(name) or len(by_name) == 1
            cases[place if alone else f"{place}_{name}"].append(path)
    return {name: sorted(cases[name]) for name in sorted(cases)}


def looser_names(name: str) -> list[str]:
    """Other names that a case may go by: nnU-Net's first channel ``NAME_0000`` is NAME.

    Examples
    --------
    >>> looser_names("pancreas_007_0000"), looser_names("pancreas_007")
    (['pancreas_007'], [])
    """
    match = _FIRST_CHANNEL.match(name)
    return [match[1]] if match else []


def same_acquisition(one: str, other: str) -> bool:
    """Whether two BIDS names agree in all that both hold: sub-01_acq-MPRAGE with sub-01_ses-1, never ses-1 with ses-2.

    Examples
    --------
    >>> same_acquisition("sub-01_acq-MPRAGE", "sub-01_ses-1"), same_acquisition("sub-01_ses-1", "sub-01_ses-2")
    (True, False)
    >>> same_acquisition("sub-01_run-1", "sub-01_run-01")
    True
    """
    if not (one.startswith("sub-") and other.startswith("sub-")):
        return False
    first, second = (dict(part.split("-", 1) for part in name.split("_") if "-" in part) for name in (one, other))
    return all(index_of(second.get(key, value)) == index_of(value) for key, value in first.items())


def _identity(name: str) -> str:
    """Return the entities of a BIDS name that distinguish acquisitions."""
    return "_".join(part for part in name.split("_") if part.partition("-")[0] in BIDS_IDENTITY and "-" in part)


def _says_nothing(name: str) -> bool:
    """Whether a name holds no more than what is in the file: mask, T1w_lesion, flair."""
    words = re.split(r"[_.\s-]+", name.lower())
    return all(word in CONTENT_WORDS or word in ("scan", "image", "img") or is_modality(word) for word in words)


def _names_of_folders(folders: Iterable[Path], root: Path) -> dict[Path, str]:
    """A name for each folder: the person and session of BIDS, else the parts of its path that not all share.

    It is empty where these parts name no case: for the root, and for folders of sites or splits.
    """
    parts = {folder: folder.relative_to(root).parts for folder in folders}
    shared = set.intersection(*(set(each) for each in parts.values())) if len(parts) > 1 else set()
    names = {}
    for folder, each in parts.items():
        kept = [part for part in each if part not in shared and not _NO_CASE.fullmatch(part)]
        of_bids = _identity("_".join(part for part in each if part.startswith(("sub-", "ses-"))))
        names[folder] = of_bids if of_bids.startswith("sub-") else "_".join(kept if len(parts) > 1 else kept[-1:])
    return names
