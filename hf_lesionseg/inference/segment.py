"""Segment many cases with one network and write mask, lesions, preview and run record of each."""

from __future__ import annotations

import contextlib
import json
import math
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import LesionSegError, OutputError, UsageError
from ..imaging import write_mask
from ..imaging.atomic import write_aside
from ..imaging.file_identity import scan_sha256
from ..imaging.folder_lock import one_run_at_a_time
from ..models.intensity import normalization_of
from ..models.volume_geometry import VolumeError
from ..provenance import MARK, marks, of_network
from .case_input import CaseInput, parse_cases
from .loading import LoadedModel, load_model
from .perfusion_input import read_case
from .pipeline import LesionSegmentationPipeline
from .prepared import check_memory_format
from .preview import write_preview
from .record import StageClock, build_record, fingerprint
from .slices import PRECISIONS

#: Kind of output -> end of its file's name. The record comes last: a case with a record is complete.
OUTPUTS = {
    "mask": "_mask.nii.gz",
    "lesions": "_lesions.json",
    "preview": "_preview.png",
    "record": "_record.json",
}


@dataclass(frozen=True)
class CaseOutcome:
    """What became of one case.

    Attributes
    ----------
    case : str
        Stem of its outputs.
    input : str
        As the user named it.
    status : {"done", "kept", "failed"}
        "kept": its outputs were there already, made from the same scan, network and settings.
    reason : str or None
        Of a failure.
    error : Exception or None
        The failure itself.
    files : dict of str to Path
        Outputs by kind ("mask", "lesions", "preview", "record"); empty for a failed case.
    n_lesions : int or None
    total_volume_ml : float or None
    seconds : float
    warnings : tuple of str
    flags : tuple of dict
        What makes the mask doubtful, see :func:`~hf_lesionseg.inference.flags.find_flags`.
    """

    case: str
    input: str
    status: str
    reason: str | None = None
    error: Exception | None = None
    files: dict[str, Path] = field(default_factory=dict)
    n_lesions: int | None = None
    total_volume_ml: float | None = None
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    flags: tuple[dict, ...] = ()


@dataclass(frozen=True)
class SegmentationRun:
    """Outcomes of all cases, in the order of the inputs.

    Attributes
    ----------
    outcomes : list of CaseOutcome
    notice : str
        What is to be known of every mask, such as that the network learned from generated data; often empty.
    """

    outcomes: list[CaseOutcome]
    notice: str = ""

    @property
    def failed(self) -> list[CaseOutcome]:
        return [outcome for outcome in self.outcomes if outcome.status == "failed"]

    @property
    def exit_status(self) -> int:
        """0 when every case is done or kept, 1 when one failed."""
        return 1 if self.failed else 0


@one_run_at_a_time("lesionseg segment")
def segment_cases(
    inputs: Iterable,
    model: str | Path | LoadedModel,
    output: str | Path,
    *,
    revision: str | None = None,
    token: str | None = None,
    device: str = "auto",
    trust_remote_code: bool = False,
    precision: str = "float32",
    batch_size: int | None = None,
    threshold: float | None = None,
    minimum_lesion_ml: float | None = None,
    frame_seconds: float | None = None,
    trust_frame_order: bool = False,
    keep_largest: int | None = None,
    median_filter: int | None = None,
    deterministic: bool = False,
    memory_format: str = "auto",
    overwrite: bool = False,
    skip_existing: bool = False,
    preview: bool = True,
    on_case: Callable[[CaseOutcome], None] | None = None,
    on_slices: Callable[[str, int, int], None] | None = None,
) -> SegmentationRun:
    """Segment cases; one that fails leaves no output and the others go on.

    Parameters
    ----------
    inputs : iterable of path, str or dict
        Each is one case, see :func:`~hf_lesionseg.inference.case_input.parse_case`.
    model : str, Path or LoadedModel
        Folder, name of a packaged network, or Hub id; loaded once for all cases.
    output : path
        Folder for ``<stem>_mask.nii.gz``, ``<stem>_lesions.json``, ``<stem>_preview.png``, ``<stem>_record.json``.
    revision, token, device, trust_remote_code
        See :func:`~hf_lesionseg.inference.loading.load_model`.
    precision, batch_size, deterministic, memory_format
        See :func:`~hf_lesionseg.inference.slices.predict_slices`.
    threshold : float, optional
        Probability 0..1 above which a voxel is lesion; by default the image processor's.
    minimum_lesion_ml : float, optional
        Smaller lesions are dropped; mL; by default the image processor's.
    frame_seconds : float, optional
        Between two frames of a raw perfusion series, s; overrules its header.
    trust_frame_order : bool
        Take the frames of a raw perfusion series as they are, also where their curve is no bolus'.
    keep_largest : int, optional
        Keep so many of the largest lesions only, 0 all; by default the image processor's.
    median_filter : int, optional
        Side in voxels, odd, of the median filter of each slice of the mask, 0 none; by default the image processor's.
    overwrite : bool
        Earlier outputs of a case are removed before it is run.
    skip_existing : bool
        Keep complete outputs that were made from the same scan, network and settings; others make the case fail.
    preview : bool
        Draw ``<stem>_preview.png``.
    on_case : callable, optional
        Called with the outcome of each case as it ends.
    on_slices : callable, optional
        Called with (case, slices done, slices to do).

    Returns
    -------
    SegmentationRun

    Raises
    ------
    UsageError
        Options out of range, two inputs of the same stem, or outputs that are there already. Nothing was written.
    FolderInUseError
        Another run writes into the output folder.
    ModelError
        The network cannot be loaded.
    OutputError
        The output folder cannot be made or written to.
    """
    _check_options(precision, batch_size, overwrite, skip_existing)
    check_memory_format(memory_format)
    _check_mask_options(threshold, minimum_lesion_ml, keep_largest, median_filter, frame_seconds)
    cases = parse_cases(inputs)
    output = Path(output)
    if not (overwrite or skip_existing):
        _refuse_existing(cases, output)
    _try_output_folder(output)
    loaded = model
    if not isinstance(model, LoadedModel):
        loaded = load_model(model, revision, token, device, trust_remote_code=trust_remote_code)
    for case in cases:
        case.check_names(loaded.processor.channel_names)
    processor = loaded.processor
    settings = {
        "threshold": processor.threshold if threshold is None else threshold,
        "minimum_lesion_ml": processor.minimum_lesion_ml if minimum_lesion_ml is None else minimum_lesion_ml,
        # one published with earlier code has none of these
        "keep_largest": getattr(processor, "keep_largest", 0) if keep_largest is None else keep_largest,
        "median_filter": getattr(processor, "median_filter", 0) if median_filter is None else median_filter,
        "precision": precision,
        "deterministic": deterministic,
    }
    if memory_format != "auto":
        settings["memory_format"] = memory_format
    if frame_seconds is not None:
        settings["frame_seconds"] = frame_seconds
    if trust_frame_order:
        settings["trust_frame_order"] = True
    segmenter = LesionSegmentationPipeline(model=loaded.model, image_processor=processor, device=loaded.device)
    outcomes = []
    for case in cases:
        progress = None if on_slices is None else (lambda done, total, stem=case.stem: on_slices(stem, done, total))
        clock = StageClock()
        try:
            outcome = _segment_case(
                case, segmenter, loaded, output, settings, batch_size, skip_existing, preview, progress, clock
            )
        # Whatever goes wrong in one case must not cost the others; the reason is kept, and the error with it.
        except Exception as error:
            outcome = CaseOutcome(case.stem, case.text, "failed", _reason(case, error), error)
        outcomes.append(outcome)
        if on_case is not None:
            on_case(outcome)
    return SegmentationRun(outcomes, marks(of_network(loaded.model.config)).get("notice", ""))


def _check_options(precision, batch_size, overwrite, skip_existing) -> None:
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r} is unknown; use {', '.join(PRECISIONS)}")
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"batch size {batch_size} is too small; give 1 slice or more")
    if overwrite and skip_existing:
        raise UsageError("overwrite and skip-existing exclude each other; give one")


def _check_mask_options(threshold, minimum_lesion_ml, keep_largest, median_filter, frame_seconds) -> None:
    if threshold is not None and not 0 < threshold < 1:
        raise UsageError(f"threshold {threshold} is no probability between 0 and 1; 0.5 is usual")
    if minimum_lesion_ml is not None and not minimum_lesion_ml >= 0:
        raise UsageError(f"minimum lesion volume {minimum_lesion_ml} mL is negative; give 0 to keep all lesions")
    if frame_seconds is not None and not 0 < frame_seconds < math.inf:
        raise UsageError(f"frame time {frame_seconds} s is none; give the seconds from one frame to the next")
    if keep_largest is not None and keep_largest < 0:
        raise UsageError(f"keep-largest {keep_largest} is no number of lesions; give 0 to keep all")
    if median_filter is not None and not (median_filter == 0 or (3 <= median_filter <= 15 and median_filter % 2)):
        raise UsageError(f"median filter of {median_filter} voxels; give an odd number from 3 to 15, 0 for none")


def output_files(output: Path, stem: str) -> dict[str, Path]:
    """Return the paths of a case's outputs by kind."""
    return {kind: output / f"{stem}{ending}" for kind, ending in OUTPUTS.items()}


def _refuse_existing(cases: list[CaseInput], output: Path) -> None:
    existing = [path for case in cases for path in output_files(output, case.stem).values() if path.exists()]
    if existing:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise UsageError(
            f"{existing[0]}{more} exists already; choose another output folder, --overwrite, or --skip-existing"
        )


def _try_output_folder(output: Path) -> None:
    """Write to the folder once, where it keeps no lock, either: better to know now than after an hour of computing."""
    trial = output / ".lesionseg_trial"
    with write_aside(trial) as aside:
        Path(aside).write_bytes(b"")
    trial.unlink()


def _reason(case: CaseInput, error: Exception) -> str:
    if isinstance(error, LesionSegError):
        return str(error)
    if isinstance(error, VolumeError):
        return str(error) if case.text in str(error) else f"{case.text}: {error}"
    return f"{case.text}: unexpected {type(error).__name__}: {error}"


def _segment_case(
    case, segmenter, loaded, output, settings, batch_size, skip_existing, preview, progress, clock
) -> CaseOutcome:
    targets = output_files(output, case.stem)
    if not skip_existing:
        # First of all: if the case fails, its earlier mask must not stand there as if it were the new one.
        _remove(targets)
    files = case.files(loaded.processor.channel_names)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with clock.stage("read"):
            input_sha256 = {channel: scan_sha256(path) for channel, path in files.items()}
            if skip_existing and any(path.exists() for path in targets.values()):
                return _kept(case, targets, fingerprint(input_sha256, loaded, settings))
            order = {name: settings[name] for name in ("frame_seconds", "trust_frame_order") if name in settings}
            read = read_case(files, loaded.processor.channel_names, **order)
        with clock.stage("preprocess"):
            prepared = segmenter.preprocess(read)
        with clock.stage("network"):
            predicted = segmenter.forward(
                prepared,
                batch_size=batch_size,
                precision=settings["precision"],
                deterministic=settings["deterministic"],
                memory_format=settings.get("memory_format", "auto"),
                progress=progress,
            )
        del prepared
        with clock.stage("postprocess"):
            result = segmenter.postprocess(
                predicted,
                threshold=settings["threshold"],
                minimum_lesion_ml=settings["minimum_lesion_ml"],
                # asked for only where it differs, since an older processor of a repository's own has no such setting
                **{
                    name: settings[name]
                    for name in ("keep_largest", "median_filter")
                    if settings[name] != getattr(segmenter.image_processor, name, 0)
                },
            )
        del predicted
    told = tuple(dict.fromkeys([*result["warnings"], *(str(warning.message) for warning in caught)]))
    made, told = _write_outputs(
        case, targets, files, read, loaded, settings, input_sha256, result, told, preview, clock
    )
    return CaseOutcome(
        case.stem,
        case.text,
        "done",
        files=made,
        n_lesions=len(result["lesions"]),
        total_volume_ml=result["total_volume_ml"],
        seconds=sum(clock.seconds.values()),
        warnings=told,
        flags=tuple(result["flags"]),
    )


def _kept(case: CaseInput, targets: dict[str, Path], expected: str) -> CaseOutcome:
    """Keep earlier outputs only if running again would give the same: an old mask is never shown as a new result."""
    missing = {kind: path for kind, path in targets.items() if not path.exists()}
    try:
        record = {} if "record" in missing else json.loads(targets["record"].read_text(encoding="utf-8"))
        if missing.keys() == {"preview"} and record.get("preview", "") is None:  # it could not be drawn
            targets = {kind: path for kind, path in targets.items() if kind != "preview"}
        elif missing:
            path = next(iter(missing.values()))
            raise OutputError(f"{path}: missing beside other outputs of {case.stem}; run with --overwrite")
        same = record["fingerprint"] == expected
        n_lesions, total = record["result"]["n_lesions"], record["result"]["total_volume_ml"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(f"{targets['record']}: no run record of this package; run with --overwrite") from error
    if not same:
        raise OutputError(
            f"{targets['mask']}: made from another scan, network or settings than now; run with --overwrite"
        )
    return CaseOutcome(case.stem, case.text, "kept", files=targets, n_lesions=n_lesions, total_volume_ml=total)


def _remove(targets: dict[str, Path]) -> None:
    for path in targets.values():
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{path}: cannot be replaced ({error.strerror}); choose another folder") from error


def _write_outputs(case, targets, files, read, loaded, settings, input_sha256, result, told, preview, clock):
    """Write all outputs of a case or none; returns the files that were made, and the warnings."""
    scan = result["scan"]
    marked = marks(of_network(loaded.model.config))
    lesions = {
        "format_version": 1,
        "case": case.stem,
        "mask": targets["mask"].name,
        "purpose": "research use only",
        **marked,
        "n_lesions": len(result["lesions"]),
        "total_volume_ml": round(result["total_volume_ml"], 6),
        "voxel_ml": float(scan.voxel_ml),
        "threshold": settings["threshold"],
        "minimum_lesion_ml": settings["minimum_lesion_ml"],
        "keep_largest": settings["keep_largest"],
        "median_filter": settings["median_filter"],
        "connectivity": 26,
        "coordinates": "centroid_mm in RAS+ world coordinates of the scan; voxel indices from 0, box stop exclusive",
        "lesions": result["lesions"],
    }
    try:
        with clock.stage("preview") if preview else contextlib.nullcontext():
            told = (
                told if not preview else _draw_preview(targets["preview"], case, read, loaded, settings, result, told)
            )
        made = {kind: path for kind, path in targets.items() if kind != "preview" or path.exists()}
        # All are written aside and renamed together on the way out, the record last.
        with contextlib.ExitStack() as stack:
            kinds = [kind for kind in reversed(OUTPUTS) if kind != "preview"]
            aside = {kind: Path(stack.enter_context(write_aside(targets[kind]))) for kind in kinds}
            with clock.stage("write"):
                write_mask(aside["mask"], result["mask"], like=scan)
                _write_json(aside["lesions"], lesions)
            record = build_record(
                case=case.stem,
                files=files,
                read=read,
                loaded=loaded,
                settings=settings,
                input_sha256=input_sha256,
                result=result,
                warnings=list(told),
                seconds=clock.seconds,
            )
            record["preview"] = made["preview"].name if "preview" in made else None
            _write_json(aside["record"], record)
    except BaseException:
        # Also when renaming failed half-way: part of a result is none.
        _remove(targets)
        raise
    return made, told


def _draw_preview(target, case, read, loaded, settings, result, told):
    """Draw the preview; a picture that fails, whatever the reason, costs nobody the mask. Returns the warnings."""
    scan = result["scan"]
    channels = f" · {next(iter(read.scans))} shown" if len(read.scans) > 1 else ""
    network = loaded.source if loaded.commit else Path(loaded.source).name
    try:
        with write_aside(target) as aside:
            write_preview(
                aside, scan.data, result["labels"], scan.affine, [lesion["volume_ml"] for lesion in result["lesions"]],
                title=case.stem, note=f"{network}{channels} · threshold {settings['threshold']:.3g}",
                mark=MARK if marks(of_network(loaded.model.config)) else "", regions=result["regions"] or (),
                window=_window_of(loaded.processor),
            )  # fmt: skip
    except Exception as error:
        reason = " ".join(str(error).split())
        return (*told, f"{case.text}: no preview could be drawn ({type(error).__name__}: {reason})")
    return told


def _window_of(processor):
    """Intensities of the shown scan, the first, where they are absolute; percentiles of each scan otherwise."""
    method = normalization_of(processor.normalization, processor.channel_names[0])
    return tuple(processor.intensity_range) if method == "window" else None


def _write_json(path: Path, content: dict) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    # Coordinates and matrix rows on one line each; a line break never stands inside a JSON string.
    text = re.sub(r"\[\n\s+([-+.,\deE\s]+?)\n\s+\]", lambda numbers: f"[{' '.join(numbers[1].split())}]", text)
    path.write_text(text + "\n", encoding="utf-8")
