"""Images that a network learns to make and never takes: the true DWI of EGS-Net.

Prepared data hold them beside the slices, cut out in the same way, each with mean 0 and standard deviation 1 over the
non-zero voxels of its volume. They come with the data set, or from a folder of one's own, with files named by case.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from nibabel.processing import resample_from_to

from ...errors import DataError, GridMismatchError, ScanError
from ...imaging import Scan, read_scan
from ...imaging.file_identity import scan_sha256
from ...imaging.scan import on_grid_of
from ...models.grid_storage import bring_onto_grid
from ...models.intensity import apply_normalization, measure_intensity, plan_normalization
from ...models.scan_formats import scan_stem
from ...models.slice_planes import to_planes
from ...models.volume_geometry import SliceGeometry
from ..prepared.records import CaseRecord, RejectedCase
from .bids_names import is_modality
from .case_names import says_mask
from .file_search import NIFTI, walk_files

__all__ = [
    "MissingTargetWarning",
    "find_own_targets",
    "missing_targets",
    "read_target",
    "settle_targets",
    "target_planes",
]

_LEAST_COVERED = 0.5  # of a case's voxels: less is another scan, or another space


class MissingTargetWarning(UserWarning):
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
        f"no case of {name} has {' and '.join(targets)}, from which the recipe wants to learn: prepared without; "
        "EGS-Net will train on these data as extractor + segmentor alone, unless you prepare them in a new folder with "
        "a DWI of your own for each case (--dwi FOLDER)"
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
    """Whether a name says that this is no DWI: a mask, or an image of another kind, be it the only one of its case."""
    words = re.split(r"[_.\s-]+", scan_stem(path).lower().removeprefix(case.lower()))
    kinds = {word for word in words if is_modality(word)}
    return says_mask(path) or bool(kinds and not kinds & {"dwi", "trace"})


def _belongs(path: Path, folder: Path, case: str) -> bool:
    names = [scan_stem(path), *path.relative_to(folder).parts[:-1]]
    own = re.compile(re.escape(case) + r"(?![A-Za-z0-9])", re.IGNORECASE)
    return any(own.match(name) for name in names)


def read_target(path: Path, like: Scan, *, resample: bool = False) -> Scan:
    """Read an image to learn from, on the grid of its case.

    Parameters
    ----------
    path : file
    like : a scan of the case
    resample : bring it linearly onto that grid by both affines, where it lies on another; else that is refused

    Raises
    ------
    GridMismatchError
        Where it lies on another grid, or shows less than half of the case.
    ScanError
        Where it cannot be used.
    """
    scan = read_scan(path)
    if bring_onto_grid(scan.data, scan.affine, like.shape, like.affine) is not None:
        return on_grid_of(scan, like)
    if not resample:
        raise GridMismatchError(
            f"{path}: lies on another grid ({scan.shape}) than {like.path} ({like.shape}); give --resample-dwi where "
            "both are in one space (registered to each other), or resample it yourself"
        )
    image, outside = scan.to_nibabel(), np.float32(np.nan)
    moved = resample_from_to(image, (like.shape, like.affine), order=1, cval=outside)
    data = np.asarray(moved.dataobj, np.float32)
    shown = np.isfinite(data)
    if shown.mean() < _LEAST_COVERED:
        raise GridMismatchError(
            f"{path}: shows {shown.mean():.0%} of {like.path} when it is brought onto its grid; register it to the "
            "case first, as it lies in another space"
        )
    data = np.where(shown, data, np.float32(0))
    if not data.any():
        raise ScanError(f"{path}: is zero everywhere on the grid of {like.path}; give the DWI of this case")
    return Scan(path, data, like.affine, like.header, (*scan.warnings, f"{path}: resampled onto {like.path}"))


def target_planes(scan: Scan, geometry: SliceGeometry) -> tuple[np.ndarray, Mapping]:
    """Cut an image to learn from into the slices that the network sees, and normalise it over its volume.

    Parameters
    ----------
    scan : on the grid of the geometry
    geometry : of the case, as the processor planned it for the network's inputs

    Returns
    -------
    planes : float32 (num_slices, H, W), mean 0 and standard deviation 1 over the volume's non-zero voxels
    record : the mean and standard deviation that were taken, and the file's ``sha256``
    """
    measured = measure_intensity(scan.data, (0.5, 99.5))
    record, _ = plan_normalization(measured, "z-score", None, str(scan.path))
    planes = to_planes(scan.data, geometry, fill=measured["background"])
    apply_normalization(planes, record)
    return planes, {**record, "sha256": scan_sha256(scan.path)}
