"""Score a folder of predicted masks against a folder of true ones, and write tables and figures."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import DataError, OutputError, UsageError
from ..imaging.atomic import write_aside
from ..models.mask_options import MaskOptions
from ..provenance import GENERATED, MARK, SYNTHETIC_TRUTHS, marks
from .figures import dice_distribution, lesion_volume_histograms
from .gallery import draw_gallery
from .label_choice import (
    LabelChoice,
    choose_labels,
    copies_of_truths,
    refuse_same_folder,
    refuse_truths,
    told_copies,
)
from .matching import TruthSet, find_masks, find_scans_by_case, find_truths, match_predictions
from .metrics import units
from .prediction_records import made_from_generated_data
from .presets import apply_preset
from .report import csv_table, markdown_report
from .scored_case import CaseMetrics
from .scoring import score_case
from .scoring_options import ScoringOptions
from .summary import summarize

FORMAT_VERSION = 1
METRICS_CSV, METRICS_JSON, METRICS_MD = "metrics.csv", "metrics.json", "metrics.md"
DICE_FIGURE, VOLUMES_FIGURE, OVERLAYS_FIGURE = "dice_distribution.png", "volumes.png", "overlays.png"
OUTPUT_FILES = (METRICS_CSV, METRICS_JSON, METRICS_MD, DICE_FIGURE, VOLUMES_FIGURE, OVERLAYS_FIGURE)
UNASSIGNED = "no split"


@dataclass(frozen=True)
class _Task:
    """What is scored against what, and how.

    Attributes
    ----------
    truths : TruthSet
    matched : mapping of case name to the file of its prediction
    strangers : predictions without a truth
    ignored : files that are no predictions
    labels : LabelChoice
    mask : MaskOptions
    scoring : ScoringOptions
    """

    truths: TruthSet
    matched: Mapping[str, Path]
    strangers: Sequence[str]
    ignored: Sequence[Path]
    labels: LabelChoice
    mask: MaskOptions
    scoring: ScoringOptions


def evaluate_folders(
    predictions: str | os.PathLike,
    truths: str | os.PathLike,
    output: str | os.PathLike,
    *,
    scans: str | os.PathLike | None = None,
    mask: MaskOptions | None = None,
    splits: str | os.PathLike | Mapping[str, Sequence[str]] | None = None,
    only_split: str | None = None,
    scoring: ScoringOptions | None = None,
    self_check: bool = False,
    progress: bool = True,
) -> dict:
    """Score every true mask's prediction; write metrics.csv, metrics.json, metrics.md and the figures.

    Files are matched by case name (:mod:`hf_lesionseg.evaluation.matching`). A truth without a prediction, or with one
    that cannot be read or lies on another grid, is a failed case: a row with its reason, counted in ``n_failed``.

    Parameters
    ----------
    predictions : path
        Folder of masks, such as ``lesionseg segment`` writes.
    truths : path
        Folder of masks, or a folder of ``lesionseg prepare``.
    output : path
        Folder for the results; made if missing.
    scans : path, optional
        Folder of scans to draw the overlays on. A prepared folder brings its own.
    mask : MaskOptions, optional
        With a threshold the predictions are probabilities. What else it holds is done to each predicted mask before it
        is scored, and nothing where it holds nothing.
    splits : path or mapping of split name to case names, optional
        A ``splits.json``; a prepared folder brings its own.
    only_split : str, optional
        Score the cases of this split only.
    scoring : ScoringOptions, optional
        What is counted, and how; which labels are lesion.
    self_check : bool
        Score truths that are given as predictions, too, which are refused otherwise.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    dict
        As :func:`~hf_lesionseg.evaluation.summary.summarize`, with ``synthetic``, ``predictions_without_truth``,
        ``ignored_files``, ``notes`` and ``output``; ``print_summary`` shows it. Where truths or network are of
        generated data, ``notice`` says so. A caller's exit status is 1 if ``n_failed`` is not 0.

    Raises
    ------
    DataError
        A folder is missing or empty, two files are the same case, no prediction belongs to any truth, a prediction is
        the file of a truth, or a label occurs in no case.
    UsageError
        The split or the label cannot be, or one folder is given for both.
    OutputError
        The output folder cannot be written to.
    """
    mask, scoring, output = mask or MaskOptions(), scoring or ScoringOptions(), Path(output)
    task = _find_task(predictions, truths, mask, scoring, splits=splits, only_split=only_split, self_check=self_check)
    backgrounds = None if scans is None else find_scans_by_case(scans)
    _make_folder(output)

    cases = _score_all(task, progress=progress)
    task.labels.check()
    _remove_former(output)
    summary, notice = _summarize(task, cases, self_check=self_check)
    summary["notes"] += _draw_figures(task, cases, output, backgrounds, notice)
    folders = {"predictions": os.fspath(predictions), "truths": os.fspath(truths)}
    options = {"only_split": only_split, "self_check": self_check}
    record = _record(task, cases, summary, notice, folders=folders, options=options)
    _write_text(output / METRICS_CSV, csv_table(cases, synthetic=bool(notice)))
    _write_text(output / METRICS_MD, markdown_report(summary))
    # Last: where it is there, the rest is of the same run.
    _write_text(output / METRICS_JSON, json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return {**summary, "output": str(output)}


def _find_task(predictions, truths, mask, scoring, *, splits, only_split, self_check):
    """Pair the files of two folders."""
    if not self_check:
        refuse_same_folder(predictions, truths)
    probabilities = mask.threshold is not None
    truth_set = find_truths(truths)
    folders = (predictions, truths)
    labels = choose_labels(scoring.label, scoring.prediction_label, truth_set, folders, probabilities=probabilities)
    if splits is not None:
        truth_set = replace(truth_set, splits=_read_splits(splits))
    files, ignored = find_masks(predictions, probabilities=probabilities)
    matched, strangers = match_predictions(truth_set.cases, files)
    if only_split is not None:
        truth_set = _restrict(truth_set, only_split, truths)
    if not any(truth.case in matched for truth in truth_set.cases):
        raise DataError(
            f"{predictions}: no prediction belongs to a truth of {truths}: found {next(iter(files))}, "
            f"expected {truth_set.cases[0].case}; name the predictions as the truths are named"
        )
    if not self_check:
        refuse_truths(files, matched, truth_set)
    return _Task(truth_set, matched, strangers, ignored, labels, mask, scoring)


def _summarize(task, cases, *, self_check):
    """The summary of all cases, and how generated data are marked."""
    truths = task.truths
    summary = summarize(cases, splits=truths.splits, preset=task.scoring.challenge)
    summary["synthetic"] = truths.synthetic
    notice = {"notice": SYNTHETIC_TRUTHS} if truths.synthetic else {}
    notice |= marks(GENERATED if made_from_generated_data(task.matched.values()) else None)
    summary |= notice
    summary["predictions_without_truth"] = task.strangers
    summary["ignored_files"] = [path.name for path in (*task.ignored, *truths.ignored)]
    scored = [case.case for case in cases if not case.failed and not case.truth_is_empty]
    copies = [] if self_check else copies_of_truths(task.matched, truths, scored)
    summary["notes"] = [*task.labels.remarks(), *told_copies(copies)]
    return summary, notice


def _record(task, cases, summary, notice, *, folders, options):
    """What metrics.json holds."""
    mask, scoring = task.mask, task.scoring
    return {
        "format_version": FORMAT_VERSION,
        **notice,
        **folders,
        **{**mask.over().to_dict(), "threshold": mask.threshold},  # None: the predictions are masks
        "only_split": options["only_split"],
        "slice_axis": scoring.slice_axis,
        "distances": scoring.distances,
        "preset": scoring.preset,
        "labels": {"truth": task.labels.truth, "prediction": task.labels.prediction},
        "self_check": options["self_check"],
        "synthetic": task.truths.synthetic,
        "policy": summary["policy"],
        "units": units(),
        "summary": summary,
        "cases": [case.to_dict() for case in cases],
    }


def _read_splits(splits: str | os.PathLike | Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Read split name -> case names; cases without a truth may be listed, often only the test set's are there."""
    content, place = splits, "splits"
    if not isinstance(splits, Mapping):
        place = os.fspath(splits)
        try:
            content = json.loads(Path(splits).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{place}: no splits here ({error}); give a splits.json of `lesionseg prepare`") from error
        content = content.get("splits", content) if isinstance(content, Mapping) else content
    if not isinstance(content, Mapping) or not all(isinstance(own, list | tuple) for own in content.values()):
        raise DataError(f"{place}: must hold a list of case names for each split; give one of `lesionseg prepare`")
    return {name: list(own) for name, own in content.items()}


def _restrict(truth_set: TruthSet, only_split: str, truths: str | os.PathLike) -> TruthSet:
    """Keep the cases of one split; each of them must have a truth."""
    if not truth_set.splits or only_split not in truth_set.splits:
        known = ", ".join(truth_set.splits or ()) or "none"
        raise UsageError(f"{truths}: there is no split {only_split!r}; use one of: {known}")
    wanted = set(truth_set.splits[only_split])
    kept = tuple(truth for truth in truth_set.cases if truth.case in wanted)
    if absent := sorted(wanted - {truth.case for truth in kept}):
        raise DataError(
            f"{truths}: case {absent[0]} of split {only_split} has no truth; give the folder it was made of"
        )
    if not kept:
        raise DataError(f"{truths}: split {only_split} has no case; choose another, or split the data again")
    return replace(truth_set, cases=kept)


def _draw_figures(task, cases, output, scans, notice) -> list[str]:
    """Write the three figures; returns the notes of the overlays."""
    synthetic = MARK if "training_data" in notice else task.truths.synthetic
    n_failed = sum(case.failed for case in cases)
    dice_distribution([case.dice for case in cases], output / DICE_FIGURE, n_failed=n_failed, synthetic=synthetic)
    lesion_volume_histograms(_volumes_by_split(cases, task.truths), output / VOLUMES_FIGURE, synthetic=synthetic)
    return draw_gallery(
        cases,
        task.truths,
        task.matched,
        output / OVERLAYS_FIGURE,
        scans=scans,
        options=task.mask,
        slice_axis=task.scoring.slice_axis,
        labels=task.labels,
        synthetic=synthetic,
    )


def _volumes_by_split(cases: Sequence[CaseMetrics], truth_set: TruthSet) -> dict[str, list[float]]:
    """True volumes in mL of each split, of all cases that are known; of the scored ones where nothing else is."""
    volumes = {case.case: case.truth_ml for case in cases if not math.isnan(case.truth_ml)}
    volumes = {**volumes, **truth_set.volumes_ml}
    if not truth_set.splits:
        return {"all cases": list(volumes.values())}
    groups = {
        split: [volumes.pop(case) for case in members if case in volumes] for split, members in truth_set.splits.items()
    }
    if volumes:
        groups[UNASSIGNED] = list(volumes.values())
    return groups


def _score_all(task, *, progress) -> list[CaseMetrics]:
    from rich.console import Console
    from rich.progress import Progress

    scoring, challenge = task.scoring, task.scoring.challenge
    options = {"distances": scoring.distances, "labels": task.labels, "preset": challenge}
    # As a context: a bar left open by Ctrl-C would keep the terminal.
    with Progress(console=Console(stderr=True), disable=not progress) as bar:
        return [
            apply_preset(
                score_case(truth, task.matched.get(truth.case), task.mask, scoring.slice_axis, **options), challenge
            )
            for truth in bar.track(task.truths.cases, description="scoring")
        ]


def _make_folder(folder: Path) -> None:
    """Make the output folder before the long part of the work, so that a wrong one is reported at once."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot make this folder ({error.strerror}); choose another output") from error


def _remove_former(output: Path) -> None:
    """Remove the results of an earlier run, so that no table or figure of it can stand among the new ones."""
    for name in OUTPUT_FILES:
        try:
            (output / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"{output / name}: cannot be replaced ({error.strerror}); choose another output"
            ) from error


def _write_text(path: Path, text: str) -> None:
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")
