"""Write cases into the form that training reads: one folder per case with its slices as memory-mappable arrays.

What a case takes on the disk with CLCI-Net's processor: 189 slices of 224 x 176 are 14.9 MB of float16
``pixel_values.npy`` and 7.5 MB of uint8 ``labels.npy``, with the compressed mask 22.4 MB in all; 655 cases are 14.7 GB.
"""

import contextlib
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from ..errors import DataError
from ..imaging import read_mask, replace_folder_aside, write_aside, write_mask
from ..imaging.map_origin import map_origins
from .case_channels import lacking_channels, read_channels
from .prepared import CASES, DATASET, FORMAT_VERSION, PROCESSOR, SPLITS, PreparedDataset
from .records import CaseRecord, RejectedCase
from .storage_precision import as_stored
from .target_channels import file_sha256, read_target, target_planes
from .workers import run_tasks

__all__ = ["claim_output", "prepare_cases"]

_OURS = {DATASET, PROCESSOR, SPLITS, CASES, "source"}
_TISSUE_LEVEL = 0.05  # of the scan's range above its background
_TISSUE_PIXELS = 16


def prepare_cases(
    records: Iterable[CaseRecord],
    output: str | Path,
    processor,
    *,
    name: str,
    synthetic: bool,
    licence: str = "unknown",
    source: str | Path | None = None,
    rejected: Sequence[RejectedCase] = (),
    target_channels: Sequence[str] = (),
    resample_targets: bool = False,
    workers: int = 0,
    progress: bool = True,
) -> PreparedDataset:
    """Prepare cases; those that cannot be read are listed with their reason while the others go on.

    Each case is written aside and renamed, so a killed run leaves no half case, and the next call goes on after the
    finished ones. A case whose files have changed in size since, or an image to learn from in its content, is prepared
    again.

    Parameters
    ----------
    records : what a reader found
    output : folder of the prepared data, new or begun with the same settings
    processor : LesionImageProcessor
    name, licence : of the data set, shown in model cards
    synthetic : whether the scans are generated
    source : folder that file names are recorded relative to
    rejected : what the reader could not use; kept in the list
    target_channels : images that training learns from beside the lesion, and no network takes
    resample_targets : bring those that lie on another grid onto that of their case, instead of refusing them
    workers : processes; 0 works in this one
    progress : show a progress bar

    Raises
    ------
    DataError
        Where no case is usable, ids clash, or ``output`` holds something else.
    OutputError
        Where it cannot be written.
    """
    records = sorted(records, key=lambda record: record.id)
    output = Path(output)
    _check_ids(records)
    missing = [
        (record.id, channel)
        for record in records
        for channel in lacking_channels(record.images, (*processor.channel_names, *target_channels))
    ]
    if missing:
        asking = "target_channels ask" if missing[0][1] in target_channels else "the processor's channels ask"
        raise DataError(f"{name}: case {missing[0][0]} has no {missing[0][1]}, for which {asking}")
    claim_output(output, processor, name=name, synthetic=synthetic, target_channels=target_channels)
    for leftover in (output / CASES).glob(".partial-*"):  # of a run that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    source = None if source is None else Path(source)
    todo = [record for record in records if not _is_done(record, output, source, target_channels)]
    refused = list(rejected)
    failed = set()
    targets = tuple(target_channels), resample_targets
    tasks = [(record, output, processor, source, *targets) for record in todo]
    for index, error in run_tasks(_prepare_case, tasks, workers, "preparing", progress):
        if error is not None:
            record = todo[index]
            failed.add(record.id)
            path = record.images.get(processor.channel_names[0]) or next(iter(record.images.values()))
            refused.append(RejectedCase(_relative(path, source), _reason(error)))
    done = [record.id for record in records if record.id not in failed]
    if not done:
        reason = f"{refused[0].path}: {refused[0].reason}" if refused else "there was none"
        raise DataError(f"{name}: no case could be prepared; {reason}")
    _write_dataset(
        output,
        done,
        refused,
        processor,
        name=name,
        synthetic=synthetic,
        licence=licence,
        target_channels=target_channels,
    )
    return PreparedDataset(output)


def claim_output(output: Path, processor, *, name: str, synthetic: bool, target_channels: Sequence[str] = ()) -> None:
    """Mark a folder as this data set's, or check that it is: same data set, processor's settings and targets.

    Raises
    ------
    DataError
        Where it holds anything else.
    """
    settings = json.loads(processor.to_json_string())
    if (output / DATASET).is_file() and (output / PROCESSOR).is_file():
        before = _settings_of(output / PROCESSOR, processor)
        if before != settings:
            changed = sorted(key for key in before.keys() | settings.keys() if before.get(key) != settings.get(key))
            raise DataError(
                f"{output}: was prepared with other settings of the processor ({', '.join(changed)}); choose another "
                "folder or delete it"
            )
        dataset = json.loads((output / DATASET).read_text())
        if (dataset.get("name"), dataset.get("synthetic")) != (name, synthetic):
            raise DataError(f"{output}: holds {dataset.get('name')}, not {name}; choose another folder")
        before = dataset.get("target_channels", [])
        if before != list(target_channels):
            raise DataError(
                f"{output}: was prepared with target_channels {before}, not {list(target_channels)}; choose another "
                "folder or delete it"
            )
        return
    if output.is_dir():
        foreign = [entry.name for entry in output.iterdir() if entry.name not in _OURS and entry.name[0] != "."]
        if foreign:
            raise DataError(f"{output}: holds {sorted(foreign)[0]}, which is no prepared data; choose a new folder")
    with write_aside(output / PROCESSOR) as aside:
        aside.write_text(processor.to_json_string())
    begun = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "synthetic": synthetic,
        "target_channels": list(target_channels),
        "complete": False,
    }
    with write_aside(output / DATASET) as aside:
        aside.write_text(json.dumps(begun, indent=1) + "\n")


def _settings_of(path: Path, processor) -> dict:
    """Settings in a file, with today's defaults for those that it does not know yet."""
    known = json.loads(path.read_text())
    with contextlib.suppress(TypeError, ValueError):  # of a later version: compared as they stand
        known = json.loads(type(processor)(**known).to_json_string())
    return known


def _check_ids(records: Sequence[CaseRecord]) -> None:
    seen = set()
    for record in records:
        if not record.id or record.id[0] == "." or any(sign in record.id for sign in '/\\:*?"<>|\0'):
            raise DataError(f"case id {record.id!r} cannot be a folder's name")
        if record.id.casefold() in seen:
            raise DataError(f"case id {record.id!r} is used twice; ids are folders, capitals do not tell them apart")
        seen.add(record.id.casefold())


def _relative(path: Path, source: Path | None) -> str:
    path = Path(path)
    return path.relative_to(source).as_posix() if source is not None and path.is_relative_to(source) else str(path)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    # our own errors name file and remedy; of others the kind is half the message
    return text if isinstance(error, DataError | ValueError) and text else f"{type(error).__name__}: {text}"


def _files_of(record: CaseRecord, source: Path | None) -> dict:
    """The part of ``case.json`` that tells whether a prepared case is still the one of these files."""
    paths = [*record.images.values(), *record.masks]
    return {
        "person": record.person,
        "images": {channel: _relative(path, source) for channel, path in record.images.items()},
        "masks": [_relative(path, source) for path in record.masks],
        "label_values": None if record.values is None else list(record.values),
        "notes": dict(record.notes) or None,
        "bytes": [Path(path).stat().st_size if Path(path).is_file() else None for path in paths],
    }


def _is_done(record: CaseRecord, output: Path, source: Path | None, target_channels: Sequence[str] = ()) -> bool:
    path = output / CASES / record.id / "case.json"
    if not path.is_file():
        return False
    before = json.loads(path.read_text())
    for channel in target_channels:
        kept = before.get("targets", {}).get(channel, {}).get("sha256")  # versions before kept none
        if kept is not None and Path(record.images[channel]).is_file() and kept != file_sha256(record.images[channel]):
            return False
    return all(before.get(key) == value for key, value in _files_of(record, source).items())


def _prepare_case(
    record: CaseRecord,
    output: Path,
    processor,
    source: Path | None,
    target_channels: tuple[str, ...] = (),
    resample_targets: bool = False,
) -> None:
    """Read, slice and write one case; runs in a worker."""
    read = read_channels(record.images, processor.channel_names)
    scans, warnings = read.scans, [*read.warnings]
    first = scans[processor.channel_names[0]]
    truth = np.zeros(first.shape, np.uint8)
    for path in record.masks:
        mask = read_mask(path, like=first, values=record.values)
        truth |= mask.data
        warnings += mask.warnings
    images = {channel: scan.to_nibabel() for channel, scan in scans.items()}
    batch = processor.preprocess(
        images if len(images) > 1 else images[processor.channel_names[0]],
        segmentation_maps=nib.Nifti1Image(truth, first.affine),
        return_tensors="np",
        slice_stack="single",  # stacked when they are read: a third of the disk, and any slice finds its neighbours
    )
    values = as_stored(batch["pixel_values"])
    labels = batch["labels"].astype(np.uint8)
    geometry = batch["geometry"][0]
    targets, measured = [], {}
    for channel in target_channels:
        scan = read_target(Path(record.images[channel]), first, resample=resample_targets)
        warnings += scan.warnings
        planes, measured[channel] = target_planes(scan, geometry)
        targets.append(planes)
    description = {
        "id": record.id,
        **_files_of(record, source),
        "shape": list(values.shape),
        "voxel_ml": geometry.voxel_ml,
        "lesion_ml": int(truth.sum()) * geometry.voxel_ml,
        "lesion_slices": np.flatnonzero(labels.any(axis=(1, 2))).tolist(),
        "tissue_slices": _tissue_slices(values[:, 0]).tolist(),
        "warnings": list(dict.fromkeys(warnings)),
        **({"targets": measured} if measured else {}),
        **({"made_from_series": list(read.made)} if read.made else {}),
        **({"perfusion_maps": sorted(origins)} if (origins := map_origins(scans, read.made)) else {}),
        "geometry": geometry.to_dict(),
    }
    with replace_folder_aside(output / CASES / record.id) as aside:
        _save_array(aside / "pixel_values.npy", values)
        _save_array(aside / "labels.npy", labels)
        if targets:
            _save_array(aside / "targets.npy", as_stored(np.stack(targets, axis=1)))
        write_mask(aside / "truth.nii.gz", truth, first)
        (aside / "case.json").write_text(json.dumps(description) + "\n")


def _save_array(path: Path, array: np.ndarray) -> None:
    """`numpy.save`, but a full disk is an error: numpy's own loses what C still buffers without a word."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(np.ascontiguousarray(array).data)


def _tissue_slices(planes: np.ndarray) -> np.ndarray:
    """Numbers of the planes (num_slices, H, W) that show more than background."""
    planes = planes.astype(np.float32)
    low, high = float(planes.min()), float(np.percentile(planes, 99.5))
    bright = planes > low + _TISSUE_LEVEL * max(high - low, 1e-6)
    return np.flatnonzero(bright.sum(axis=(1, 2)) >= min(_TISSUE_PIXELS, bright[0].size))


def _write_dataset(
    output: Path,
    ids: Sequence[str],
    rejected: Sequence[RejectedCase],
    processor,
    *,
    name: str,
    synthetic: bool,
    licence: str,
    target_channels: Sequence[str],
) -> None:
    cases = []
    for case in ids:
        description = json.loads((output / CASES / case / "case.json").read_text())
        cases.append({key: value for key, value in description.items() if key not in ("geometry", "bytes")})
    record = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "synthetic": synthetic,
        "complete": True,
        "licence": licence,
        "channel_names": list(processor.channel_names),
        "target_channels": list(target_channels),
        "cases": cases,
        "rejected": [{"path": each.path, "reason": each.reason} for each in rejected],
    }
    with write_aside(output / DATASET) as aside:
        aside.write_text(json.dumps(record, indent=1) + "\n")
