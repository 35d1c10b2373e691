"""Write cases into the form that training reads: one folder per case with its slices as memory-mappable arrays.

What a case takes on the disk with CLCI-Net's processor: 189 slices of 224 x 176 are 14.9 MB of float16
``pixel_values.npy`` and 7.5 MB of uint8 ``labels.npy``, with the compressed mask 22.4 MB in all; 655 cases are 14.7 GB.
"""

import contextlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np

from ...errors import DataError, RejectedCasesError
from ...imaging import replace_folder_aside, write_aside, write_mask
from ...imaging.file_identity import scan_sha256, sidecar_of
from ...imaging.folder_lock import one_run_at_a_time
from ...imaging.label_census import LabelCensus
from ...imaging.perfusion.map_origin import map_origins
from ...imaging.scan import read_label_map
from ..workers import run_tasks
from .case_channels import lacking_channels, read_channels
from .lesion_share import share_warning
from .reading import CASES, DATASET, FORMAT_VERSION, HEADS, PROCESSOR, SPLITS, PreparedDataset
from .records import CaseRecord, Origin, RejectedCase
from .storage_precision import as_stored
from .targets import read_target, target_planes

__all__ = ["claim_output", "prepare_cases"]

_FILES = ("pixel_values.npy", "labels.npy", "truth.nii.gz")  # of every case, beside case.json
_OURS = {DATASET, PROCESSOR, SPLITS, CASES, HEADS, "source"}
_TISSUE_LEVEL = 0.05  # of the scan's range above its background
_TISSUE_PIXELS = 16


@one_run_at_a_time("lesionseg prepare")
def prepare_cases(
    records: Iterable[CaseRecord],
    output: str | Path,
    processor,
    origin: Origin,
    *,
    rejected: Sequence[RejectedCase] = (),
    target_channels: Sequence[str] = (),
    resample_targets: bool = False,
    workers: int = 0,
    progress: bool = True,
) -> PreparedDataset:
    """Prepare cases; those that cannot be read are listed with their reason while the others go on.

    Each case is written aside and renamed, so a killed run leaves no half case, and the next call goes on after the
    finished ones. A case is prepared again where the content of one of its scans, masks or their JSON files has changed
    since.

    Parameters
    ----------
    records : what a reader found
    output : folder of the prepared data, new or begun with the same settings
    processor : LesionImageProcessor
    origin : where they come from
    rejected : what the reader could not use; kept in the list
    target_channels : images that training learns from beside the lesion, and no network takes
    resample_targets : bring those that lie on another grid onto that of their case, instead of refusing them
    workers : processes; 0 works in this one
    progress : show a progress bar

    Raises
    ------
    DataError
        Where no case is usable, ids clash, no mask has a label that is wanted, or ``output`` holds something else.
    OutputError
        Where it cannot be written.
    """
    records = sorted(records, key=lambda record: record.id)
    name, output = origin.name, Path(output)
    _check_ids(records)
    missing = [
        (record.id, channel)
        for record in records
        for channel in lacking_channels(record.images, (*processor.channel_names, *target_channels))
    ]
    if missing:
        asking = "target_channels" if missing[0][1] in target_channels else "the processor's channels"
        raise DataError(f"{name}: case {missing[0][0]} has no {missing[0][1]}, which {asking} ask for")
    claim_output(output, processor, name=name, synthetic=origin.synthetic, target_channels=target_channels)
    for leftover in (output / CASES).glob(".partial-*"):  # of a run that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    source = None if origin.source is None else Path(origin.source)
    todo = [record for record in records if not _is_done(record, output, source)]
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
        raise RejectedCasesError(f"{name}: no case could be prepared; {reason}", refused)
    census = _take_census([record for record in records if record.id not in failed], output, name)
    census.check()
    origin = replace(origin, remarks=[*origin.remarks, *census.remarks()])
    _write_dataset(output, done, refused, processor, origin, target_channels)
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
        dataset = _read_own(output / DATASET)
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
            raise DataError(f"{output}: holds {sorted(foreign)[0]}, which is not prepared data; choose a new folder")
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
    known = _read_own(path)
    with contextlib.suppress(TypeError, ValueError):  # of a later version: compared as they stand
        known = json.loads(type(processor)(**known).to_json_string())
    return known


def _read_own(path: Path) -> dict:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); delete it and prepare again; cases are kept") from error


def _check_ids(records: Sequence[CaseRecord]) -> None:
    seen = set()
    for record in records:
        if not record.id or record.id[0] == "." or any(sign in record.id for sign in '/\\:*?"<>|\0'):
            raise DataError(f"case id {record.id!r} cannot name a folder; use letters, digits, - and _")
        if record.id.casefold() in seen:
            raise DataError(
                f"case id {record.id!r} is used twice (capitals make no difference); give each case its own id"
            )
        seen.add(record.id.casefold())


def _relative(path: Path, source: Path | None) -> str:
    path = Path(path)
    return path.relative_to(source).as_posix() if source is not None and path.is_relative_to(source) else str(path)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    # our own errors name file and remedy; of others the kind is half the message
    return text if isinstance(error, DataError | ValueError) and text else f"{type(error).__name__}: {text}"


def _files_of(record: CaseRecord, source: Path | None) -> dict:
    """The part of ``case.json`` that says what a prepared case was made of; what is in the files comes beside it."""
    return {
        "person": record.person,
        "images": {channel: _relative(path, source) for channel, path in record.images.items()},
        "masks": [_relative(path, source) for path in record.masks],
        "label_values": None if record.values is None else list(record.values),
        "known_labels": None if record.table is None else sorted(record.table.names),
        "notes": dict(record.notes) or None,
    }


def _content_of(record: CaseRecord) -> list[str | None]:
    """Hash of each scan, mask and JSON file beside one; None for one that cannot be read."""
    paths = dict.fromkeys(map(Path, (*record.images.values(), *record.masks)))  # a series may stand for several maps
    sidecars = [sidecar for path in paths if (sidecar := sidecar_of(path)) is not None]
    content = []
    for path in (*paths, *sidecars):
        try:
            content.append(scan_sha256(path))
        except OSError:  # the reader will say why
            content.append(None)
    return content


def _is_done(record: CaseRecord, output: Path, source: Path | None) -> bool:
    folder = output / CASES / record.id
    try:
        before = dict(json.loads((folder / "case.json").read_text()))
        files = (*_FILES, "targets.npy") if "targets" in before else _FILES
        if not all((folder / name).stat().st_size for name in files):
            return False
    except (OSError, ValueError, TypeError):  # never begun, or damaged: the machine stopped before its disk had it all
        return False
    if any(before.get(key) != value for key, value in _files_of(record, source).items()):
        return False
    return before.get("sha256") == _content_of(record)  # versions before kept sizes, which tell nothing


def _prepare_case(
    record: CaseRecord,
    output: Path,
    processor,
    source: Path | None,
    target_channels: tuple[str, ...] = (),
    resample_targets: bool = False,
) -> None:
    """Read, slice and write one case; runs in a worker."""
    content = _content_of(record)  # before reading: what changes in between is prepared again next time
    read = read_channels(record.images, processor.channel_names)
    scans, warnings = read.scans, [*read.warnings]
    first = scans[processor.channel_names[0]]
    truth = np.zeros(first.shape, np.uint8)
    found: Counter[int] = Counter()
    for path in record.masks:
        names = None if record.table is None else record.table.names
        mask, reading = read_label_map(path, first, record.values, names)
        truth |= mask.data
        warnings += mask.warnings
        found.update(reading.labels)
    if record.masks and (message := share_warning(first.data, truth, record.masks[0])):
        warnings.append(message)
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
        "sha256": content,
        "shape": list(values.shape),
        "voxel_ml": geometry.voxel_ml,
        "labels": {str(value): found[value] for value in sorted(found)},
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


def _take_census(records: Sequence[CaseRecord], output: Path, name: str) -> LabelCensus:
    """Count the labels of the masks of all cases, prepared now or before."""
    tables = [record.table for record in records if record.table is not None]
    unknown = {value for table in tables for value in table.unknown}
    census = LabelCensus(name, names={k: v for table in tables for k, v in table.names.items()}, unknown=unknown)
    for record in records:
        labels = json.loads((output / CASES / record.id / "case.json").read_text()).get("labels")
        if labels is not None:  # versions before did not keep them
            census.add(record.id, map(int, labels), record.values)
    return census


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


def _from_here(source: Path, output: Path) -> str:
    """The way from one folder to the other, so that both can be moved together; the full path to another drive."""
    try:
        return Path(os.path.relpath(source, output)).as_posix()
    except ValueError:
        return str(source.resolve())


def _write_dataset(
    output: Path,
    ids: Sequence[str],
    rejected: Sequence[RejectedCase],
    processor,
    origin: Origin,
    target_channels: Sequence[str],
) -> None:
    cases = []
    for case in ids:
        description = json.loads((output / CASES / case / "case.json").read_text())
        cases.append({key: value for key, value in description.items() if key != "geometry"})
    record = {
        "format_version": FORMAT_VERSION,
        "name": origin.name,
        "synthetic": origin.synthetic,
        "complete": True,
        "licence": origin.licence,
        "source": None if origin.source is None else _from_here(Path(origin.source), output),
        "channel_names": list(processor.channel_names),
        "target_channels": list(target_channels),
        "remarks": list(origin.remarks),
        "cases": cases,
        "rejected": [{"path": each.path, "reason": each.reason} for each in rejected],
    }
    with write_aside(output / DATASET) as aside:
        aside.write_text(json.dumps(record, indent=1) + "\n")
