"""The scores of held-out cases: what a fold's folder keeps of them, and all folds' pooled.

Every case is scored once, by the network that was trained without its person.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from ..datasets.prepared.splits import Splits, save_splits
from ..errors import ModelError
from ..evaluation.fold_report import markdown_folds
from ..evaluation.report import csv_table
from ..evaluation.scored_case import case_from_row, case_to_row
from ..evaluation.summary import summarize
from ..imaging.atomic import write_aside
from ..provenance import GENERATED, SYNTHETIC_TRUTHS, marks

HELD_OUT_FILE = "held_out.json"
SCORES_JSON, SCORES_CSV, SCORES_MD = "cross_validation.json", "cross_validation.csv", "cross_validation.md"
_FORMAT_VERSION = 1


def write_held_out(output, data, scored):
    """Write what a fold's folder holds besides a network's: its splits, and every held-out case's scores.

    Parameters
    ----------
    output : Path
        Model folder.
    data : TrainingData
        Data of the fold.
    scored : list of CaseMetrics
        Scores of the held-out cases.
    """
    synthetic = data.dataset.synthetic
    people = {split: len({case.person for case in found}) for split, found in data.cases.items()}
    total = sum(people.values())
    shares = {split: count / total for split, count in people.items()}
    save_splits(output / "splits.json", Splits(data.splits, people, shares, data.fold["seed"]))
    record = {
        "format_version": _FORMAT_VERSION,
        "fold": data.fold,
        "synthetic": synthetic,
        **marks(GENERATED if synthetic else None),
        "cases": [case_to_row(case) for case in scored],
    }
    _write_json(output / HELD_OUT_FILE, record)


def fold_folder(output, number) -> Path:
    """Model folder of a fold below the folder of a cross-validation."""
    return Path(output) / f"fold-{number}"


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
            raise ModelError(f"{folder}: belongs to another cross-validation than {first}; give the folds of one only")
        if fold["number"] in by_number:
            other = by_number[fold["number"]][0]
            raise ModelError(f"{folder} and {other} are both fold {fold['number']}; give each fold once")
        by_number[fold["number"]] = folder, record
    missing = [number for number in range(expected["fold"]["of"]) if number not in by_number]
    if missing:
        raise ModelError(
            f"fold {missing[0]} of {expected['fold']['of']} is missing; train it with --fold {missing[0]} and give its "
            "folder as well"
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
    record = read_json(path)
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


def read_json(path):
    """A JSON file of a fold's folder.

    Raises
    ------
    ModelError
        It cannot be read.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); train this fold again") from error


def _write_json(path, content):
    with write_aside(path) as aside:
        aside.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
