"""Cross-validation: one network per fold, and the scores of all cases by the network that has not seen them.

``train --fold 2`` holds fold 2 out; ``--fold all`` trains every fold into a subfolder of its own, goes on where it was
stopped, pools the scores and makes an ensemble of the folder.
"""

import json
import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..datasets.prepared.folds import Folds, folds_file, load_folds, make_folds, save_folds
from ..datasets.prepared.splits import Splits, save_splits
from ..datasets.readers.isles2018 import LeakageWarning, people_warning
from ..errors import LaunchError, ModelError, UsageError
from ..evaluation.fold_report import markdown_folds
from ..evaluation.report import csv_table
from ..evaluation.scored_case import case_from_row, case_to_row
from ..evaluation.summary import summarize
from ..imaging.atomic import write_aside
from ..imaging.folder_lock import locked_folder
from ..machine_paths import local_name, without_machine_paths
from ..provenance import GENERATED, SYNTHETIC_TRUTHS, marks

HELD_OUT_FILE = "held_out.json"
SCORES_JSON, SCORES_CSV, SCORES_MD = "cross_validation.json", "cross_validation.csv", "cross_validation.md"
_FORMAT_VERSION = 1


def find_folds(data_dir, cases, number, *, seed=0, write=True) -> Folds:
    """The folds that are kept with the prepared data; made, and kept there, where there are none yet."""
    path = folds_file(data_dir, number)
    if path.is_file():
        return load_folds(path, cases)
    folds = make_folds(cases, number, seed)
    if write:
        save_folds(path, folds)
    return folds


def splits_of(arguments, dataset, *, write):
    """Case ids of each split of a run, and the record of its fold, None where the data's own split is used.

    Parameters
    ----------
    arguments : TrainingArguments
    dataset : PreparedDataset
    write : bool
        Keep new folds with the data: for one process of a run.

    Returns
    -------
    splits : dict of str to list of str
    fold : dict or None
        ``number``, ``of``, ``seed`` and ``fingerprint`` (of all folds).

    Raises
    ------
    UsageError
        There is no fold of that number.
    DataError
        The data have fewer people than folds, or kept folds of other cases.
    """
    if arguments.fold is None:
        return dataset.splits(), None
    number = int(arguments.fold)
    if write and (message := people_warning(dataset.cases)):
        warnings.warn(message, LeakageWarning, stacklevel=3)
    folds = find_folds(arguments.data_dir, dataset.cases, arguments.folds, write=write)
    record = {"number": number, "of": len(folds), "seed": folds.seed, "fingerprint": folds.fingerprint()}
    return folds.splits(number), record


def write_held_out(output, fold, splits, cases, scored, *, synthetic):
    """Write what a fold's folder holds besides a network's: its splits, and every held-out case's scores.

    Parameters
    ----------
    output : Path
        Model folder.
    fold, splits : as :func:`splits_of` returned them
    cases : dict of split name to list of PreparedCase
    scored : list of CaseMetrics
        Of the held-out cases.
    synthetic : bool
        The scans are generated.
    """
    people = {split: len({case.person for case in found}) for split, found in cases.items()}
    total = sum(people.values())
    shares = {split: count / total for split, count in people.items()}
    save_splits(output / "splits.json", Splits(splits, people, shares, fold["seed"]))
    record = {
        "format_version": _FORMAT_VERSION,
        "fold": fold,
        "synthetic": synthetic,
        **marks(GENERATED if synthetic else None),
        "cases": [case_to_row(case) for case in scored],
    }
    _write_json(output / HELD_OUT_FILE, record)


def fold_folder(output, number) -> Path:
    """Model folder of a fold below the folder of a cross-validation."""
    return Path(output) / f"fold-{number}"


def train_folds(arguments):
    """Train all folds one after another, pool their scores and make an ensemble of ``output_dir``.

    A fold that is finished is kept; one that was stopped goes on from its latest checkpoint. ``max_minutes`` is the
    time of all folds together.

    Returns
    -------
    dict or None
        The pooled summary; None where time was up before all folds were trained, and no ensemble was made.

    Raises
    ------
    LaunchError
        Several processes were launched: they are parted when a fold ends.
    LesionSegError
        As :func:`~hf_lesionseg.training.loop.train`; the folds before are finished, and kept.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise LaunchError(
            "--fold all trains in one process; launch the folds one by one (--fold 0, --fold 1, ...) into OUTPUT/fold-0"
            ", OUTPUT/fold-1, ..., then run `lesionseg ensemble OUTPUT/fold-* -o OUTPUT`"
        )
    with locked_folder(arguments.output_dir, "lesionseg train --fold all"):
        return _train_folds(arguments)


def _train_folds(arguments):
    from ..datasets.prepared import PreparedDataset
    from .ensemble import claim_folder, make_ensemble
    from .loop import train

    started = time.monotonic()
    dataset = PreparedDataset(arguments.data_dir)
    folds = find_folds(arguments.data_dir, dataset.cases, arguments.folds)
    folders = [fold_folder(arguments.output_dir, number) for number in range(len(folds))]
    for number, folder in enumerate(folders):
        own = replace(
            arguments, fold=str(number), output_dir=str(folder), push_to_hub=False,
            resume_from_checkpoint=None if arguments.overwrite_output_dir else "latest",
        )  # fmt: skip
        if not arguments.overwrite_output_dir and is_finished(folder, own, dataset, folds):
            print(f"fold {number} of {len(folds)}: finished before, kept in {folder}", flush=True)
            continue
        if arguments.max_minutes is not None:
            left = arguments.max_minutes - (time.monotonic() - started) / 60
            own = replace(own, max_minutes=round(max(left, 1e-4), 4))
        print(f"fold {number} of {len(folds)}: {folder}", flush=True)
        train(own)
        if not is_finished(folder, own, dataset, folds):
            claim_folder(arguments.output_dir, len(folds))  # an ensemble of earlier networks is none of these
            print(
                f"stopped by --max_minutes in fold {number} of {len(folds)}: no ensemble and no pooled scores yet; run "
                "the same command again, without --overwrite_output_dir, to go on",
                flush=True,
            )
            return None
    return make_ensemble(folders, arguments.output_dir)


def is_finished(folder, arguments, dataset, folds) -> bool:
    """Whether a fold's folder holds a finished run of these settings.

    Raises
    ------
    UsageError
        It holds a finished run of other settings, data or folds.
    """
    path = Path(folder) / "training_summary.json"
    if not path.is_file():
        return False
    summary = _read_json(path)
    wanted = arguments.load_recipe().to_dict() | {"processor": dataset.processor().settings()}
    same = {
        "folds": (summary.get("fold", {}).get("fingerprint"), folds.fingerprint()),
        "data": (summary.get("data", {}).get("fingerprint"), dataset.fingerprint()),
        "seed": (summary.get("run", {}).get("seed"), arguments.seed),
        # The summary names no folder of this machine.
        "recipe": [without_machine_paths(each) for each in (summary.get("recipe"), json.loads(json.dumps(wanted)))],
        "beginning": (local_name(summary.get("started_from")), local_name(arguments.model_name_or_path)),
    }
    if (files := summary.get("data", {}).get("files")) is not None:  # versions before kept none
        same["content of the scans and masks"] = files, dataset.content()
    other = [name for name, (before, now) in same.items() if before != now]
    if other:
        raise UsageError(
            f"{folder}: was trained with another {other[0]}; give the same settings, another --output_dir, or "
            "--overwrite_output_dir to train all folds anew"
        )
    ended, steps = summary["run"]["finished"], summary["run"]["steps"]
    if ended.startswith("--max_steps"):
        return arguments.max_steps is not None and steps >= arguments.max_steps
    return not ended.startswith("--max_minutes")


def pool_folds(folders: Sequence) -> dict:
    """Pool the held-out scores of all folds: every case once, by the network that was trained without its person.

    Parameters
    ----------
    folders : sequence of path
        Model folders of all the folds of one cross-validation, in any order.

    Returns
    -------
    dict
        As :func:`~hf_lesionseg.evaluation.summary.summarize` with a block per fold in ``by_split``, and ``synthetic``,
        ``folds`` (their number), and ``rows``: the cases, each with its ``fold``.

    Raises
    ------
    ModelError
        A folder is of no fold, two are of the same one, one is missing, or they are of different cross-validations.
    """
    records = [(Path(folder), read_held_out(folder)) for folder in folders]
    first, (_, expected) = records[0][0], records[0]
    by_number = {}
    for folder, record in records:
        fold = record["fold"]
        if (fold["fingerprint"], fold["of"]) != (expected["fold"]["fingerprint"], expected["fold"]["of"]):
            raise ModelError(f"{folder}: is of another cross-validation than {first}; give the folds of one only")
        if fold["number"] in by_number:
            other = by_number[fold["number"]][0]
            raise ModelError(f"{folder} and {other} are both fold {fold['number']}; give each fold once")
        by_number[fold["number"]] = folder, record
    missing = [number for number in range(expected["fold"]["of"]) if number not in by_number]
    if missing:
        raise ModelError(
            f"fold {missing[0]} of {expected['fold']['of']} is missing; train it with --fold {missing[0]} and give its "
            "folder, too"
        )
    members, cases = {}, []
    for number in sorted(by_number):
        folder, record = by_number[number]
        try:
            found = [case_from_row(row) for row in record["cases"]]
        except (KeyError, TypeError) as error:
            raise ModelError(f"{folder / HELD_OUT_FILE}: is damaged ({error!r}); train this fold again") from error
        members[f"fold-{number}"] = [case.case for case in found]
        cases += found
    summary = summarize(cases, splits=members)
    summary["synthetic"] = any(record["synthetic"] for _, record in records)
    summary |= {"notice": SYNTHETIC_TRUTHS} if summary["synthetic"] else {}
    summary["folds"] = len(members)
    fold_of = {case: fold for fold, ids in members.items() for case in ids}
    return summary | {"rows": [{"fold": fold_of[case.case], **case.to_dict()} for case in cases], "cases": cases}


def read_held_out(folder) -> dict:
    """The record that :func:`write_held_out` left in a fold's folder.

    Raises
    ------
    ModelError
        There is none, or it is damaged.
    """
    path = Path(folder) / HELD_OUT_FILE
    if not path.is_file():
        raise ModelError(
            f"{folder}: holds no held-out scores ({HELD_OUT_FILE}); train this fold to its end by `lesionseg train "
            "--fold NUMBER`"
        )
    record = _read_json(path)
    try:
        (record["fold"]["number"], record["fold"]["of"], record["fold"]["fingerprint"], record["synthetic"])
        list(record["cases"])
    except (KeyError, TypeError) as error:
        raise ModelError(f"{path}: is damaged ({error!r}); train this fold again") from error
    return record


def write_scores(output, pooled) -> None:
    """Write pooled scores as JSON, as a CSV file with a row per case, and as a table in Markdown."""
    output = Path(output)
    summary = {name: value for name, value in pooled.items() if name not in ("rows", "cases")}
    with write_aside(output / SCORES_CSV) as aside:
        aside.write_text(csv_table(pooled["cases"], synthetic=pooled["synthetic"]))
    with write_aside(output / SCORES_MD) as aside:
        aside.write_text(markdown_folds(pooled))
    record = {"format_version": _FORMAT_VERSION, "synthetic": pooled["synthetic"], "summary": summary}
    record |= marks(GENERATED if pooled["synthetic"] else None)
    _write_json(output / SCORES_JSON, record | {"cases": pooled["rows"]})


def _read_json(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); train this fold again") from error


def _write_json(path, content):
    with write_aside(path) as aside:
        aside.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
