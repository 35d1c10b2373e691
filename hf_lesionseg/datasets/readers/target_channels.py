"""Images that a network learns to make and never takes: the true DWI of EGS-Net.

Prepared data hold them beside the slices, cut out in the same way, each with mean 0 and standard deviation 1 over the
non-zero voxels of its volume. They come with the data set, or from a folder of one's own, with files named by case.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...errors import DataError
from ...models.scan_formats import scan_stem
from ..prepared.records import CaseRecord, DataSetWarning, RejectedCase
from .bids_names import is_modality
from .case_names import says_mask
from .file_search import NIFTI, walk_files

__all__ = ["MissingTargetWarning", "find_own_targets", "missing_targets", "settle_targets"]


class MissingTargetWarning(DataSetWarning):
    """A recipe asks for images to learn from that no case of a data set has."""


def settle_targets(
    records: Sequence[CaseRecord], targets: Sequence[str], *, name: str, folder: str | Path | None = None
) -> tuple[list[CaseRecord], list[RejectedCase], tuple[str, ...]]:
    """Give the records their targets, and decide what happens where some have none.

    Parameters
    ----------
    records : complete but for their targets
    targets : names of the images that the recipe asks for
    name : of the data set, for messages
    folder : of one's own, with the first target of every case; goes before what the data set has

    Returns
    -------
    records : those that have all targets; all of them where there are none at all
    rejected : a case without a target, where others have it
    targets : as given, or none where no case has them

    Warns
    -----
    MissingTargetWarning
        Where no case has them.

    Raises
    ------
    DataError
        Where the folder is none, or holds the image of no case.
    """
    targets, rejected = tuple(targets), []
    if not targets or not records:
        return list(records), rejected, targets
    if folder is not None:
        found, problems = find_own_targets(folder, [record.id for record in records])
        rejected = [RejectedCase(case, reason) for case, reason in problems.items()]
        records = [
            replace(record, images={**record.images, targets[0]: found[record.id]})
            for record in records
            if record.id in found
        ]
    lacks = {record.id: [target for target in targets if target not in record.images] for record in records}
    if all(lacks.values()):
        warnings.warn(missing_targets(name, targets), MissingTargetWarning, stacklevel=4)
        return records, rejected, ()
    for case, missing in lacks.items():
        if missing:
            reason = f"has no {' and no '.join(missing)} to learn from, as other cases have; add it, or leave this out"
            rejected.append(RejectedCase(case, reason))
    return [record for record in records if not lacks[record.id]], rejected, targets


def missing_targets(name: str, targets: Sequence[str]) -> str:
    """The line that says what becomes of data of which no case has the targets."""
    return (
        f"no case of {name} has {' and '.join(targets)}, which the recipe learns from, so the data are prepared "
        "without; EGS-Net will train on them as extractor + segmentor alone, unless you prepare them in a new folder "
        "with a DWI of your own for each case (--dwi FOLDER)"
    )


def find_own_targets(folder: str | Path, cases: Sequence[str]) -> tuple[dict[str, Path], dict[str, str]]:
    """Find the DWI of each case in a folder of one's own.

    A file belongs to a case whose id its name, or that of its folder, is or begins with (``case_7.nii.gz``,
    ``case_7_dwi.nii``, ``case_7/dwi.nii.gz``); of several, the one that is called DWI. Masks and
    images of another kind (``case_7_adc``) belong to none.

    Parameters
    ----------
    folder : searched in depth
    cases : ids

    Returns
    -------
    found : file of each case
    problems : why a case has none

    Raises
    ------
    DataError
        Where the folder is none, or has the image of no case.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: is not a folder; give one with files such as {cases[0]}.nii.gz")
    files = list(walk_files(folder, NIFTI))
    found, problems = {}, {}
    for case in cases:
        mine = [path for path in files if _belongs(path, folder, case) and not _shows_another(path, case)]
        named = [path for path in mine if re.search(r"(?<![a-z])dwi(?![a-z])", path.name.lower())]
        chosen = named if len(mine) > 1 and named else mine
        if len(chosen) == 1:
            found[case] = chosen[0]
        elif chosen:
            problems[case] = f"{chosen[0]} and {chosen[1].name} could both be its DWI; keep one"
        else:
            problems[case] = f"{folder}: no file is named by {case}; name its DWI {case}.nii.gz"
    if not found:
        case, reason = next(iter(problems.items()))
        raise DataError(f"{folder}: has the DWI of none of {len(cases)} cases ({case}: {reason})")
    return found, problems


def _shows_another(path: Path, case: str) -> bool:
    """Whether a name says that this is not a DWI but a mask or another image, even if it is the case's only one."""
    words = re.split(r"[_.\s-]+", scan_stem(path).lower().removeprefix(case.lower()))
    kinds = {word for word in words if is_modality(word)}
    return says_mask(path) or bool(kinds and not kinds & {"dwi", "trace"})


def _belongs(path: Path, folder: Path, case: str) -> bool:
    names = [scan_stem(path), *path.relative_to(folder).parts[:-1]]
    own = re.compile(re.escape(case) + r"(?![A-Za-z0-9])", re.IGNORECASE)
    return any(own.match(name) for name in names)
