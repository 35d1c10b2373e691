"""Means over cases and over people, always together with the counts behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from .metrics import METRICS, empty_mask_policy, scores
from .presets import Preset
from .scored_case import CaseMetrics

SIZE_CUT_POINTS_ML = (5.0, 50.0)
"""True lesion volumes in mL from which a lesion is medium and large: a convention of this package. 5 mL is about the
median lesion of ATLAS R2.0's training set; 50 mL and more are the large infarcts."""

SIZE_NAMES = ("no lesion", "small", "medium", "large")


def lesion_size(truth_ml: float) -> str:
    """Name the stratum of a true lesion volume in mL: "no lesion", "small" (< 5), "medium" (< 50) or "large"."""
    if truth_ml == 0:
        return SIZE_NAMES[0]
    return SIZE_NAMES[1 + sum(truth_ml >= cut for cut in SIZE_CUT_POINTS_ML)]


def describe(values: Sequence[float]) -> dict[str, float | int | None]:
    """Return mean, std, median, min, max of the defined values, and their number n.

    NaN is left out; the spread is the population's (divided by n), as challenge tables of this field print it; of one
    value there is none. Without a single defined value each number is None.
    """
    defined = np.asarray([value for value in values if not math.isnan(value)], dtype=np.float64)
    if defined.size == 0:
        return {"mean": None, "std": None, "median": None, "min": None, "max": None, "n": 0}
    return {
        "mean": float(defined.mean()),
        "std": float(defined.std()) if defined.size > 1 else None,
        "median": float(np.median(defined)),
        "min": float(defined.min()),
        "max": float(defined.max()),
        "n": int(defined.size),
    }


def describe_slices(cases: Sequence[CaseMetrics]) -> dict:
    """Describe the Dice of the slices of all cases together, those with lesion in the truth ("positive") and "all"."""
    scored = [case.slices for case in cases if case.slices is not None]
    return {
        "positive": describe([value for slices in scored for value in slices.positive]),
        "all": describe([value for slices in scored for value in slices.everywhere]),
    }


def _block(cases: Sequence[CaseMetrics]) -> dict:
    """Counts and descriptions of one group of cases."""
    block = {
        "n_cases": len(cases),
        "n_people": len({case.person for case in cases}),
        "n_empty_truth": sum(case.truth_is_empty for case in cases),
        "n_empty_prediction": sum(case.prediction_is_empty for case in cases),
        "n_undefined_distances": sum(case.truth_is_empty or case.prediction_is_empty for case in cases),
        "n_failed": sum(case.failed for case in cases),
    }
    for metric in METRICS:
        block[metric.name] = describe([getattr(case, metric.name) for case in cases])
    block["slice_dice"] = describe_slices(cases)
    return block


def _per_person(cases: Sequence[CaseMetrics]) -> dict:
    """Average the cases of each person first, then describe the people.

    A person's undefined values are left out of the person's mean; a person without any defined value is left out of n.
    """
    people: dict[str, list[CaseMetrics]] = {}
    for case in cases:
        people.setdefault(case.person, []).append(case)
    block = {
        "n_people": len(people),
        "n_failed": sum(all(case.failed for case in own) for own in people.values()),
    }
    for metric in scores():
        means = [describe([getattr(case, metric.name) for case in own])["mean"] for own in people.values()]
        block[metric.name] = describe([math.nan if mean is None else mean for mean in means])
    return block


def summarize(
    cases: Sequence[CaseMetrics],
    *,
    splits: Mapping[str, Sequence[str]] | None = None,
    preset: Preset | None = None,
) -> dict:
    """Summarise scored and failed cases as a dictionary that JSON can hold.

    Parameters
    ----------
    cases : sequence of CaseMetrics
        One per case, names unique.
    splits : mapping of split name to case names, optional
        Adds ``by_split``.
    preset : Preset, optional
        That was applied to the cases; adds ``preset``, and its rule to ``policy``.

    Returns
    -------
    dict
        Each of :data:`~hf_lesionseg.evaluation.metrics.METRICS` by its name (``dice``, ``precision``, ...):
        ``{"mean", "std", "median", "min", "max", "n"}`` over cases, n being the number of cases in which the metric is
        defined. ``slice_dice``: the same of single slices along ``slice_axis``, ``{"positive", "all"}``, n being the
        number of slices (:mod:`~hf_lesionseg.evaluation.slicewise`). Beside them ``n_cases``, ``n_people``,
        ``n_empty_truth``, ``n_empty_prediction``, ``n_undefined_distances`` (a mask empty: no surface), ``n_failed``;
        ``per_person`` (the cases of one person averaged first; its ``n_failed`` are the people of whom no case could be
        scored); ``by_lesion_size`` (one such block for each of "no lesion", "small", "medium", "large" by true volume,
        cut at 5 and 50 mL; failed cases are in none); ``failed`` (``[{"case", "reason"}]``); ``lesionwise`` (distances
        and lesions were asked for); ``preset``; ``policy``, the rule for empty masks.

    Raises
    ------
    ValueError
        Two cases have the same name: a mean would count one twice.
    """
    cases = list(cases)
    names = [case.case for case in cases]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"case {twice[0]} occurs more than once; give every case one name")
    summary = _block(cases)
    summary["slice_axis"] = next((case.slices.axis for case in cases if case.slices is not None), None)
    summary["per_person"] = _per_person(cases)
    scored = [case for case in cases if not case.failed]
    summary["by_lesion_size"] = {
        size: _block([case for case in scored if lesion_size(case.truth_ml) == size]) for size in SIZE_NAMES
    }
    summary["size_cut_points_ml"] = list(SIZE_CUT_POINTS_ML)
    if splits is not None:
        summary["by_split"] = {
            split: _block([case for case in cases if case.case in set(members)]) for split, members in splits.items()
        }
    summary["failed"] = [{"case": case.case, "reason": case.reason} for case in cases if case.failed]
    summary["policy"] = empty_mask_policy() if preset is None else f"{empty_mask_policy()} {preset.policy}"
    summary["preset"] = None if preset is None else preset.name
    summary["lesionwise"] = any(case.lesions is not None for case in cases)
    return summary
