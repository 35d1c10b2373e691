"""Find the scans and lesion masks of ATLAS, releases 1.1, 1.2 and 2.0, in every layout that they are kept in.

* R1.1: ``Site1/031768/t01/031768_t1w_deface_stx.nii.gz`` with ``031768_LesionSmooth_stx.nii.gz`` and, for further
  lesions, ``031768_LesionSmooth_1_stx.nii.gz``; the time point is the folder.
* R1.2: ``c0003/c0003s0034t01/c0003s0034t01_t1w_stx.nii.gz``, masks likewise.
* R2.0: ``sub-r001s001_ses-1_space-MNI152NLin2009aSym_T1w.nii.gz`` with ``..._label-L_desc-T1lesion_mask.nii.gz``, as
  distributed, after ``bidsify``, or all files in one folder.
* nnU-Net: ``imagesTr/NAME_0000.nii.gz`` with ``labelsTr/NAME.nii.gz``.

Compressed or not. Scans go by their names, so folders may be nested in any way.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError
from ..prepared.records import CaseRecord, RejectedCase
from ..prepared.splits import PAPER_FRACTIONS
from .file_search import NIFTI, rejection, walk_files
from .reader import Found, Reader

__all__ = ["ATLAS"]

_R2_SCAN = re.compile(r"^(?P<case>sub-[A-Za-z0-9]+(?:_ses-[A-Za-z0-9]+)?)(?P<space>(?:_[A-Za-z0-9-]+)*)_T1w" + NIFTI)
_R2_MASK = re.compile(
    r"^(?P<case>sub-[A-Za-z0-9]+(?:_ses-[A-Za-z0-9]+)?)(?P<space>(?:_[A-Za-z0-9-]+)*?)_label-[A-Za-z]+_desc-T1lesion_mask"
    + NIFTI
)
_R1_SCAN = re.compile(r"^(?P<case>\d{6}|c\d{4}s\d{4}t\d{2})_t1w(?:_deface)?_stx" + NIFTI)
_R1_MASK = re.compile(r"^(?P<case>\d{6}|c\d{4}s\d{4}t\d{2})_LesionSmooth(?:_\d+)?_stx" + NIFTI)
_NNUNET_SCAN = re.compile(r"^(?P<case>.+)_0000" + NIFTI)
_PERSON = re.compile(r"sub-[A-Za-z0-9]+|c\d{4}s\d{4}|(?<!\d)\d{6}(?!\d)")
_REMEDY = (
    "give the unpacked folder of ATLAS R1.1, R1.2 or R2.0 (names like 031768_t1w_deface_stx.nii.gz, "
    "c0003s0034t01_t1w_stx.nii.gz, sub-r001s001_ses-1_..._T1w.nii.gz), or one in nnU-Net's layout"
)


@dataclass(frozen=True, kw_only=True)
class ATLAS(Reader):
    """ATLAS: T1w scans of chronic stroke; R2.0's ``Testing`` has no masks."""

    command = "atlas"
    title = "ATLAS"
    licence = (
        "ATLAS (Liew et al., Scientific Data 5:180011, 2018 and 9:320, 2022): used under the terms that you accepted "
        "when you requested it; they do not let you pass scans or masks on"
    )
    help = """Prepare ATLAS: T1w scans of chronic stroke with lesion masks.

    The command unites all lesion files of a scan, and puts all scans of a person into one split. It names a case that
    it cannot read, with the reason, and prepares the others; the exit status is then 1.

    `lesionseg prepare atlas ATLAS_2 -o prepared`
    """
    source_help = "Folder of ATLAS R1.1, R1.2 or R2.0, unpacked."
    unit = "scans"
    fractions = PAPER_FRACTIONS
    recipe = "clci-net-atlas"

    def find(self, source: str | Path, channels: Sequence[str] | None = None) -> Found:
        """Collect the cases; rejected are scans without a mask, masks without a scan and second copies."""
        source = Path(source)
        scans, masks = _scans_and_masks(source)
        records, rejected = [], []
        for case, paths in sorted(scans.items()):
            first, *copies = sorted(paths, key=lambda path: (not _masks_beside(path, masks[case]), str(path)))
            rejected += [rejection(source, copy, f"second copy of {first.relative_to(source)}") for copy in copies]
            lesions = _masks_beside(first, masks[case]) or _one_folder(masks[case])
            if not lesions:
                rejected.append(rejection(source, first, "no lesion mask"))
                continue
            person = _PERSON.search(case)
            records.append(CaseRecord(case, person.group() if person else case, {"t1w": first}, tuple(lesions)))
        for case in sorted(set(masks) - set(scans)):
            rejected += [rejection(source, path, "lesion mask without a T1w scan") for path in masks[case]]
        return records, rejected

    def default_processor(self, source: str | Path | None = None):
        """Image processor of CLCI-Net on ATLAS."""
        from ...models.image_processing_lesion import LesionImageProcessor

        return LesionImageProcessor.clci_net_recipe()

    def advice(self, rejected: Sequence[RejectedCase]) -> str:
        """Name the usual reason: the folder of the test set."""
        return "R2.0's Testing folder has no masks; give the Training folder"


def _scans_and_masks(source: Path) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Files of each case, as :meth:`ATLAS.find` says; raises where there is no scan."""
    if not source.is_dir():
        raise DataError(f"{source}: is not a folder; {_REMEDY}")
    scans: dict[str, list[Path]] = defaultdict(list)
    masks: dict[str, list[Path]] = defaultdict(list)
    for path in walk_files(source, NIFTI):
        found = _classify(path, source)
        if found is not None:
            kind, case = found
            (scans if kind == "scan" else masks)[case].append(path)
    if not scans:
        raise DataError(f"{source}: holds no T1w scan of ATLAS; {_REMEDY}")
    return scans, masks


def _classify(path: Path, source: Path) -> tuple[str, str] | None:
    """("scan" or "mask", case id) of a file, or None for other files."""
    folder = path.parent.name
    if folder in ("imagesTr", "imagesTs", "labelsTr", "labelsTs"):
        if folder.startswith("labels"):
            return "mask", re.sub(NIFTI, "", path.name)
        match = _NNUNET_SCAN.match(path.name)
        return ("scan", match["case"]) if match else None
    for kind, pattern in (("mask", _R2_MASK), ("scan", _R2_SCAN)):
        if match := pattern.match(path.name):
            return kind, match["case"]
    for kind, pattern in (("mask", _R1_MASK), ("scan", _R1_SCAN)):
        if match := pattern.match(path.name):
            case = match["case"]
            if case.isdigit():  # R1.1 names the time point in the folder only
                time_point = folder if re.fullmatch(r"t\d{2}", folder) else "t01"
                case = f"{case}_{time_point}"
            return kind, case
    return None


def _masks_beside(scan: Path, masks: list[Path]) -> list[Path]:
    beside = [path for path in masks if path.parent == scan.parent]
    return _one_form([path for path in beside if _space(path) == _space(scan)] or beside)


def _space(path: Path) -> str | None:
    """In R2.0 a scan as it was acquired may lie beside the one in MNI space, each with its own masks."""
    match = re.search(r"_space-([A-Za-z0-9]+)", path.name)
    return match and match[1]


def _one_folder(masks: list[Path]) -> list[Path]:
    """Masks of the first folder that has some: a data set kept twice is not united with itself."""
    return _one_form(path for path in masks if path.parent == masks[0].parent)


def _one_form(paths) -> list[Path]:
    """Drop ``name.nii`` beside ``name.nii.gz``: it is the same mask, unpacked."""
    chosen = {}
    for path in sorted(paths):
        chosen[re.sub(NIFTI, "", path.name)] = path
    return sorted(chosen.values())
