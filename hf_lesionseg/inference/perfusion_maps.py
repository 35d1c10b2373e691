"""Perfusion maps of one raw series as files: CBF, CBV, MTT, Tmax, a picture of the curves, a record."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..evaluation.figures.perfusion import perfusion_overview
from ..imaging import PerfusionOptions, perfusion_maps, read_mask, read_perfusion_series, write_volume
from ..imaging.atomic import write_aside
from ..imaging.file_identity import scan_sha256
from ..imaging.folder_lock import one_run_at_a_time
from ..models.scan_formats import scan_stem
from .record import peak_memory, versions

#: Map -> unit; also what the description in the header of its file says.
UNITS = {"cbf": "mL/100 g/min", "cbv": "mL/100 g", "mtt": "s", "tmax": "s"}


@one_run_at_a_time("lesionseg perfusion")
def write_perfusion_maps(
    series: str | Path,
    output: str | Path,
    *,
    frame_seconds: float | None = None,
    trust_frame_order: bool = False,
    brain: str | Path | None = None,
    arterial_input: str | Path | None = None,
    options: PerfusionOptions | None = None,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Path]:
    """Make the perfusion maps of a raw CT perfusion series and write them.

    Memory: a float32 copy of the series (4 bytes x voxels x frames) and of its brain voxels, a third of that as a rule.

    Parameters
    ----------
    series : path
        4-D NIfTI, HU.
    output : path
        Folder for ``<stem>_cbf.nii.gz``, ``_cbv``, ``_mtt``, ``_tmax`` (float32, on the grid of the series, 0 outside
        the brain), ``<stem>_perfusion.png`` and ``<stem>_perfusion.json``. All of them are written, or none.
    frame_seconds : float, optional
        Overrules the header, s.
    trust_frame_order : bool
        Take the frames as they are, even if their curve does not look like a bolus.
    brain, arterial_input : path, optional
        Masks on the grid of the series; found where not given.
    options : PerfusionOptions, optional
    overwrite : bool
        Replace earlier files.
    progress : callable, optional
        Called with (stage, steps done, steps to do).

    Returns
    -------
    dict of str to Path
        By ``"cbf"``, ``"cbv"``, ``"mtt"``, ``"tmax"``, ``"picture"``, ``"record"``.

    Raises
    ------
    UsageError
        There are such files already.
    FolderInUseError
        Another run writes into the output folder.
    ScanError
        A file cannot be used, or no brain, first pass or artery is found; names the file.
    GridMismatchError
        A mask is not on the grid of the series.
    OutputError
        The folder cannot be written to.
    """
    series, output = Path(series), Path(output)
    options = options or PerfusionOptions()
    stem = scan_stem(series)
    targets = {name: output / f"{stem}_{name}.nii.gz" for name in UNITS}
    targets |= {"picture": output / f"{stem}_perfusion.png", "record": output / f"{stem}_perfusion.json"}
    existing = [path for path in targets.values() if path.exists()]
    if existing and not overwrite:
        raise UsageError(f"{existing[0]} exists already; choose another output folder, or --overwrite")
    start = time.perf_counter()
    if progress is not None:
        progress("reading", 0, 1)
    read = read_perfusion_series(series, frame_seconds, trust_frame_order)
    grid = read.volume(np.empty(read.shape, np.float32))
    drawn = {name: read_mask(path, like=grid)
             for name, path in (("brain", brain), ("arterial_input", arterial_input)) if path is not None}  # fmt: skip
    masks = {name: mask.data > 0 for name, mask in drawn.items()}
    maps = perfusion_maps(read, options, masks.get("brain"), masks.get("arterial_input"), progress)
    told = [*read.warnings, *(told for mask in drawn.values() for told in mask.warnings), *maps.warnings]
    given = {"brain": brain, "arterial_input": arterial_input}
    record = _describe(read, maps, options, given) | {
        "warnings": told,
        "versions": versions(),
        "seconds": round(time.perf_counter() - start, 3),
        "peak_memory": peak_memory(),
    }
    _write(targets, read, maps, record, stem)
    return {name: path for name, path in targets.items() if name != "picture" or path.is_file()}


def _describe(series, maps, options, masks) -> dict:
    """What the record says of a series and of the maps that were made of it."""
    return {
        "format_version": 1,
        "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "purpose": "research use only",
        "input": {"file": str(series.path), "sha256": scan_sha256(series.path), "shape": list(series.data.shape)},
        "masks": {name: None if path is None else {"file": str(path), "sha256": scan_sha256(path)}
                  for name, path in masks.items()},
        "frame_seconds": series.frame_seconds,
        "trust_frame_order": series.order_is_sure,
        "options": dataclasses.asdict(options),
        "units": UNITS,
        "brain_voxels": int(maps.brain.sum()),
        "first_pass": maps.first_pass.to_dict(),
        "arterial_input": maps.vascular_input.describe(series),
        "curves": {
            "brain_hu": _rounded(maps.curve),
            "arterial_hu_above_baseline": _rounded(maps.vascular_input.arterial),
            "venous_hu_above_baseline": _rounded(maps.vascular_input.venous),
        },
        "median_of_brain": {name: _median(getattr(maps, name), maps.cbf) for name in UNITS},
    }  # fmt: skip


def _write(targets, series, maps, record, stem) -> None:
    """Write all files aside and rename them together, the record last."""
    renamed, aside = [], {}

    def note(path):
        return lambda error, *_: renamed.append(path) if error is None else None  # None: the error goes on

    try:
        with contextlib.ExitStack() as stack:
            for name in (each for each in reversed(targets) if each != "picture"):
                stack.push(note(targets[name]))  # called after the rename that is entered next, unless that failed
                aside[name] = Path(stack.enter_context(write_aside(targets[name])))
            for name, unit in UNITS.items():
                header = series.header.copy()
                header["descrip"] = f"{name.upper()} in {unit}, hf_lesionseg".encode()
                write_volume(aside[name], getattr(maps, name), like=dataclasses.replace(series, header=header))
            if _draw(targets["picture"], series, maps, record, stem):
                renamed.append(targets["picture"])
            aside["record"].write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except BaseException:
        for path in renamed:  # part of a result is none; files of an earlier run that still stand stay
            path.unlink(missing_ok=True)
        raise


def _draw(target, series, maps, record, stem) -> bool:
    """Draw the picture; one that fails, whatever the reason, costs nobody the maps and is a warning."""
    try:
        with write_aside(target) as aside:
            perfusion_overview(series, maps, aside, title=stem)
    except Exception as error:
        if target.is_file():
            target.unlink()  # of an earlier run, and of other maps
        reason = " ".join(str(error).split())
        record["warnings"].append(f"{series.path}: no picture could be drawn ({type(error).__name__}: {reason})")
        return False
    return True


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 3) for value in values]


def _median(values: np.ndarray, flow: np.ndarray) -> float | None:
    """Over the voxels with flow: the brain without its fluid."""
    inside = flow > 0
    return round(float(np.median(values[inside])), 3) if inside.any() else None
