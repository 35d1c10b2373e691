"""The figures of a table: means over the test cases, how sure they are, and how far each row is from the best."""

import statistics

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSemanticSegmentation

from ..tables import COLUMNS
from .confidence import interval, paired_difference

_NONE = {"mean": None, "std": None, "sd": None, "low": None, "high": None, "n": 0}


def measure_column(column, row, scores):
    """One figure of a row.

    Parameters
    ----------
    column : str
        Key of :data:`~hf_lesionseg.training.tables.COLUMNS`.
    row : Row
    scores : list of dict
        Of :func:`~hf_lesionseg.training.reproduce.scores.score_run`, of each seed.

    Returns
    -------
    dict
        ``mean`` in the paper's unit; ``std`` between the seeds, where there are several; ``low`` and ``high`` of the
        95 % confidence interval, ``sd`` between the ``n`` cases. None for what there is not.
    """
    unit = COLUMNS[column].unit
    if unit == "parameters":
        return _NONE | {"mean": first_stage_parameters(row)}
    sums, counts = cases_of_column(column, scores)
    if not counts.any():
        return dict(_NONE)
    factor = 100 if unit == "share" else 1
    if unit == "count":
        return _NONE | {"mean": float(sums.sum() / len(scores)), "n": int((counts > 0).sum())}
    values = [score[column] for score in scores if score[column] is not None]
    low, high = interval(sums, counts)
    of_cases = sums[counts > 0] / counts[counts > 0]
    return {
        "mean": factor * statistics.fmean(values),
        "std": factor * statistics.stdev(values) if len(values) > 1 else None,
        "sd": factor * float(of_cases.std()),
        "low": None if low is None else factor * low,
        "high": None if high is None else factor * high,
        "n": len(of_cases),
    }


def cases_of_column(column, scores):
    """Sums and counts of a column, case by case, over all seeds together.

    Returns
    -------
    (array (cases,), array (cases,))
    """
    lists = [_cases(column, score) for score in scores]
    values = np.array([[case["values"].get(column, (0, 0)) for case in cases] for cases in lists], dtype=np.float64)
    return tuple(values.reshape(len(scores), -1, 2).sum(axis=0).T)


def _cases(column, score):
    split = column.removeprefix("miou_")
    return score.get(f"cases_{split}", []) if split in ("train", "validation") else score["cases"]


def compare_with_best(column, results):
    """Difference of each row from the best one, on the same cases.

    Parameters
    ----------
    column : str
    results : list of dict
        With ``columns`` and ``scores``; ``difference`` (difference, low, high; in the paper's unit) is added to the
        column of every row but the best.
    """
    best, unit = COLUMNS[column].best, COLUMNS[column].unit
    with_value = [row for row in results if row["columns"][column]["low"] is not None]
    if not best or unit == "count" or len(with_value) < 2:
        return
    order = {"high": lambda value: -value, "low": lambda value: value, "zero": abs}[best]
    first = min(with_value, key=lambda row: order(row["columns"][column]["mean"]))
    theirs = _by_case(column, first["scores"])
    factor = 100 if unit == "share" else 1
    for row in with_value:
        own = _by_case(column, row["scores"])
        shared = sorted(set(own) & set(theirs))
        if row is first or not shared:
            continue
        found = paired_difference(
            *(tuple(zip(*(each[case] for case in shared), strict=True)) for each in (own, theirs))
        )
        row["columns"][column]["difference"] = [None if value is None else factor * value for value in found]


def _by_case(column, scores):
    """(sum, count) of each case by its name."""
    names = [case["case"] for case in _cases(column, scores[0])]
    return dict(zip(names, zip(*cases_of_column(column, scores), strict=True), strict=True))


def first_stage_parameters(row):
    """Parameters of a row's first stage at the width of the paper."""
    with torch.device("meta"):
        model = AutoModelForSemanticSegmentation.from_config(AutoConfig.for_model(row.model_type, **row.model))
    stage = getattr(model, "locator", None) or getattr(model, "first_stage", model)
    return sum(parameter.numel() for parameter in stage.parameters())
