"""The files that a case leaves: mask, lesions, preview and run record, all of them or none."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import OutputError, UsageError
from ..imaging import write_mask
from ..imaging.atomic import write_aside
from ..models.intensity import normalization_of
from ..models.mask_options import MASK_DEFAULTS
from ..provenance import MARK, marks, of_network
from .case_input import CaseInput
from .loading import LoadedModel
from .outcomes import CaseOutcome
from .perfusion_input import CaseScans
from .preview import write_preview
from .record import StageClock, build_record, fingerprint

#: Kind of output -> end of its file's name. The record comes last: a case with a record is complete.
OUTPUTS = {
    "mask": "_mask.nii.gz",
    "lesions": "_lesions.json",
    "preview": "_preview.png",
    "record": "_record.json",
}


@dataclass
class CaseRun:
    """One case on its way through the network.

    Attributes
    ----------
    case : CaseInput
    loaded : LoadedModel
    settings : dict
        All that may change a mask, by name.
    targets : dict of str to Path
        Outputs by kind.
    clock : StageClock
    files, input_sha256 : dict by channel name
        What the case was read from.
    read : CaseScans
    told : list of str
        Warnings of the libraries, as they come.
    backend : dict
        What computes the network, for the record.
    """

    case: CaseInput
    loaded: LoadedModel
    settings: Mapping
    targets: Mapping[str, Path]
    clock: StageClock = field(default_factory=StageClock)
    files: Mapping[str, Path] = field(default_factory=dict)
    input_sha256: Mapping[str, str] = field(default_factory=dict)
    read: CaseScans | None = None
    told: list[str] = field(default_factory=list)
    backend: Mapping = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Digest of all that determines the mask."""
        return fingerprint(self.input_sha256, self.loaded, self.settings)

    @property
    def provenance(self) -> dict:
        """The marks of a network that learned from generated data; else empty."""
        return marks(of_network(self.loaded.model.config))


def output_files(output: Path, stem: str) -> dict[str, Path]:
    """Return the paths of a case's outputs by kind."""
    return {kind: output / f"{stem}{ending}" for kind, ending in OUTPUTS.items()}


def refuse_existing(cases: Sequence[CaseInput], output: Path) -> None:
    """Raise :class:`UsageError` where a case has outputs already."""
    existing = [path for case in cases for path in output_files(output, case.stem).values() if path.exists()]
    if existing:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise UsageError(
            f"{existing[0]}{more} exists already; choose another output folder, --overwrite, or --skip-existing"
        )


def try_output_folder(output: Path) -> None:
    """Write to the folder once, where it keeps no lock, either: better to know now than after an hour of computing."""
    trial = output / ".lesionseg_trial"
    with write_aside(trial) as aside:
        Path(aside).write_bytes(b"")
    trial.unlink()


def remove_outputs(targets: Mapping[str, Path]) -> None:
    """Remove what an earlier run left of a case."""
    for path in targets.values():
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{path}: cannot be replaced ({error.strerror}); choose another folder") from error


def keep_outputs(run: CaseRun) -> CaseOutcome:
    """Keep earlier outputs only if running again would give the same: an old mask is never shown as a new result.

    Raises
    ------
    OutputError
        Some are missing, or they were made from another scan, network or settings.
    """
    case, targets = run.case, run.targets
    missing = {kind: path for kind, path in targets.items() if not path.exists()}
    try:
        record = {} if "record" in missing else json.loads(targets["record"].read_text(encoding="utf-8"))
        if missing.keys() == {"preview"} and record.get("preview", "") is None:  # it could not be drawn
            targets = {kind: path for kind, path in targets.items() if kind != "preview"}
        elif missing:
            path = next(iter(missing.values()))
            raise OutputError(f"{path}: missing beside other outputs of {case.stem}; run with --overwrite")
        same = record["fingerprint"] == run.fingerprint
        n_lesions, total = record["result"]["n_lesions"], record["result"]["total_volume_ml"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(f"{targets['record']}: no run record of this package; run with --overwrite") from error
    if not same:
        raise OutputError(
            f"{targets['mask']}: made from another scan, network or settings than now; run with --overwrite"
        )
    return CaseOutcome(case.stem, case.text, "kept", files=dict(targets), n_lesions=n_lesions, total_volume_ml=total)


def write_outputs(run: CaseRun, result: Mapping, told: Sequence[str], *, preview: bool):
    """Write all outputs of a case or none.

    Parameters
    ----------
    run : CaseRun
    result : dict
        Result of the pipeline.
    told : sequence of str
        Warnings so far.
    preview : bool
        Draw ``<stem>_preview.png``.

    Returns
    -------
    dict of str to Path
        The files that were made, by kind.
    tuple of str
        The warnings, with that of a preview that could not be drawn.
    """
    targets = run.targets
    try:
        with run.clock.stage("preview") if preview else contextlib.nullcontext():
            told = (*told, *(_draw_preview(run, result) if preview else ()))
        made = {kind: path for kind, path in targets.items() if kind != "preview" or path.exists()}
        # All are written aside and renamed together on the way out, the record last.
        with contextlib.ExitStack() as stack:
            kinds = [kind for kind in reversed(OUTPUTS) if kind != "preview"]
            aside = {kind: Path(stack.enter_context(write_aside(targets[kind]))) for kind in kinds}
            with run.clock.stage("write"):
                write_mask(aside["mask"], result["mask"], like=result["scan"])
                _write_json(aside["lesions"], _describe_lesions(run, result))
            record = build_record(
                case=run.case.stem,
                files=run.files,
                read=run.read,
                loaded=run.loaded,
                settings=run.settings,
                input_sha256=run.input_sha256,
                result=result,
                warnings=list(told),
                seconds=run.clock.seconds,
                backend=run.backend,
            )
            record["preview"] = made["preview"].name if "preview" in made else None
            _write_json(aside["record"], record)
    except BaseException:
        # Also when renaming failed half-way: part of a result is none.
        remove_outputs(targets)
        raise
    return made, told


def _describe_lesions(run: CaseRun, result: Mapping) -> dict:
    """The content of ``<stem>_lesions.json``."""
    return {
        "format_version": 1,
        "case": run.case.stem,
        "mask": run.targets["mask"].name,
        "purpose": "research use only",
        **run.provenance,
        "n_lesions": len(result["lesions"]),
        "total_volume_ml": round(result["total_volume_ml"], 6),
        "voxel_ml": float(result["scan"].voxel_ml),
        **{name: run.settings[name] for name in MASK_DEFAULTS},
        "connectivity": 26,
        "coordinates": "centroid_mm in RAS+ world coordinates of the scan; voxel indices from 0, box stop exclusive",
        "lesions": result["lesions"],
    }


def _draw_preview(run: CaseRun, result: Mapping) -> tuple[str, ...]:
    """Draw the preview; a picture that fails, whatever the reason, costs nobody the mask. Returns the warnings."""
    scan, loaded = result["scan"], run.loaded
    channels = f" · {next(iter(run.read.scans))} shown" if len(run.read.scans) > 1 else ""
    network = loaded.source if loaded.commit else Path(loaded.source).name
    try:
        with write_aside(run.targets["preview"]) as aside:
            write_preview(
                aside, scan.data, result["labels"], scan.affine, [lesion["volume_ml"] for lesion in result["lesions"]],
                title=run.case.stem, note=f"{network}{channels} · threshold {run.settings['threshold']:.3g}",
                mark=MARK if run.provenance else "", regions=result["regions"] or (),
                window=_window_of(loaded.processor),
            )  # fmt: skip
    except Exception as error:
        reason = " ".join(str(error).split())
        return (f"{run.case.text}: no preview could be drawn ({type(error).__name__}: {reason})",)
    return ()


def _window_of(processor):
    """Intensities of the shown scan, the first, where they are absolute; percentiles of each scan otherwise."""
    method = normalization_of(processor.normalization, processor.channel_names[0])
    return tuple(processor.intensity_range) if method == "window" else None


def _write_json(path: Path, content: dict) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    # Coordinates and matrix rows on one line each; a line break never stands inside a JSON string.
    text = re.sub(r"\[\n\s+([-+.,\deE\s]+?)\n\s+\]", lambda numbers: f"[{' '.join(numbers[1].split())}]", text)
    path.write_text(text + "\n", encoding="utf-8")
