"""Turn the cases that a reader found into prepared data: resumable, each case whole or absent, failures listed."""

import concurrent.futures
import json
import shutil
import warnings
from pathlib import Path

import numpy as np

from ..errors import DataError, LesionSegError
from ..imaging import read_mask, read_scan, replace_folder_aside, write_aside, write_mask
from ..models.image_processing_lesion import LesionImageProcessor
from ..models.volume_geometry import mask_to_planes
from .prepared import DATASET_FILE, FORMAT_VERSION, PROCESSOR_FILE, PreparedDataset
from .records import Rejected


def prepare_cases(
    records,
    output,
    processor,
    *,
    name,
    synthetic,
    licence="",
    source=None,
    rejected=(),
    workers=0,
    progress=None,
):
    """Write ``records`` as prepared data into ``output``; go on where an earlier call was stopped.

    Parameters
    ----------
    records : iterable of CaseRecord
    output : path
    processor : LesionImageProcessor
        Makes the slices; saved beside them.
    name : str
        Of the data set.
    synthetic : bool
    licence : str
    source : path, optional
        Files are recorded relative to it, so that no path of this machine is kept.
    rejected : iterable of Rejected
        What the reader has already left out.
    workers : int
        Processes; 0 works in this one.
    progress : callable, optional
        Called with (cases done, cases in all) after every case.

    Returns
    -------
    PreparedDataset
        Without splits: the caller makes them.

    Raises
    ------
    DataError
        If no case is left, two cases have one id, or ``output`` holds other data.
    """
    records, output = list(records), Path(output)
    rejected = list(rejected)
    ids = [record.id for record in records]
    twice = sorted({case for case in ids if ids.count(case) > 1})
    if twice:
        raise DataError(f"{source or output}: two cases are called {twice[0]}; give each file a name of its own")
    if not records:
        reasons = f"; {rejected[0].path}: {rejected[0].reason}" if rejected else ""
        raise DataError(f"{source or output}: no case with a scan and a lesion mask was found{reasons}")
    _claim(output, processor)

    found = {}
    for done, (record, outcome) in enumerate(_outcomes(records, output, processor, source, workers), start=1):
        if isinstance(outcome, Rejected):
            rejected.append(outcome)
        else:
            found[record.id] = outcome
        if progress is not None:
            progress(done, len(records))
    if not found:
        raise DataError(f"{output}: every case was rejected; the first: {rejected[0].path}: {rejected[0].reason}")
    dataset = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "synthetic": synthetic,
        "licence": licence,
        "channel_names": list(processor.channel_names),
        "cases": [found[case] for case in sorted(found)],
        "rejected": [{"path": item.path, "reason": item.reason} for item in rejected],
    }
    with write_aside(output / DATASET_FILE) as path:
        path.write_text(json.dumps(dataset, indent=1) + "\n", encoding="utf-8")
    return PreparedDataset(output)


def _claim(output, processor):
    """Save the processor, or see that an earlier call used the same."""
    path = output / PROCESSOR_FILE
    if path.exists():
        earlier = LesionImageProcessor.from_pretrained(output)
        if earlier.to_dict() != processor.to_dict():
            raise DataError(f"{output}: holds data made with other processor settings; give another output folder")
        return
    if output.exists() and any(output.glob("cases/*")):
        raise DataError(f"{output}: is not empty and holds no {PROCESSOR_FILE}; give another output folder")
    output.mkdir(parents=True, exist_ok=True)
    processor.save_pretrained(output)


def _outcomes(records, output, processor, source, workers):
    """Yield each record with its ``case.json``, or with why it was rejected."""
    settings = processor.settings()
    if workers == 0:
        for record in records:
            yield record, _prepare_or_reject(record, output, settings, source)
        return
    with concurrent.futures.ProcessPoolExecutor(workers) as pool:
        running = {pool.submit(_prepare_or_reject, record, output, settings, source): record for record in records}
        for future in concurrent.futures.as_completed(running):
            yield running[future], future.result()


def _prepare_or_reject(record, output, settings, source):
    try:
        return _prepare(record, output, LesionImageProcessor(**settings), source)
    except (LesionSegError, ValueError) as error:
        return Rejected(_relative(next(iter(record.images.values())), source), str(error))


def _prepare(record, output, processor, source):
    folder = output / "cases" / record.id
    if (folder / "case.json").is_file():
        return json.loads((folder / "case.json").read_text(encoding="utf-8"))
    scans = {channel: read_scan(path) for channel, path in record.images.items()}
    reference = next(iter(scans.values()))
    truth = np.zeros(reference.data.shape, np.uint8)
    for path in record.masks:
        np.maximum(truth, read_mask(path, like=reference).data, out=truth)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are in the geometry
        batch = processor({channel: scan.to_nibabel() for channel, scan in scans.items()})
    (geometry,) = batch["geometry"]
    pixel_values = batch["pixel_values"].astype(np.float16)
    labels = mask_to_planes(truth, geometry)
    lesion_voxels = int(np.count_nonzero(truth))
    case = {
        "id": record.id,
        "person": record.person,
        "lesion_ml": lesion_voxels * reference.voxel_ml,
        "lesion_voxels": lesion_voxels,
        "voxel_ml": reference.voxel_ml,
        "num_slices": len(labels),
        "lesion_slices": np.flatnonzero(labels.any(axis=(1, 2))).tolist(),
        "tissue_slices": np.flatnonzero(np.ptp(pixel_values, axis=(1, 2, 3)) > 0).tolist(),
        "images": {channel: _relative(path, source) for channel, path in record.images.items()},
        "masks": [_relative(path, source) for path in record.masks],
        "geometry": geometry.to_dict(),
    }
    shutil.rmtree(folder, ignore_errors=True)
    with replace_folder_aside(folder) as aside:
        np.save(aside / "pixel_values.npy", pixel_values)
        np.save(aside / "labels.npy", labels)
        write_mask(aside / "truth.nii.gz", truth, reference)
        (aside / "case.json").write_text(json.dumps(case, indent=1) + "\n", encoding="utf-8")
    return case


def _relative(path, source):
    path = Path(path)
    return str(path.relative_to(source)) if source is not None and path.is_relative_to(source) else path.name
