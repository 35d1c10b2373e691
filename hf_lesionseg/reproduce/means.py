"""The figures of a table: means over the test cases, how sure they are, and how far each row is from the first.

A figure is a ratio of sums over cases: of Dice coefficients by the number of slices that have one, or of volumes by one
for each. Its confidence interval is bootstrapped over the people: the slices of one case, and two slabs or
visits of one person, are not independent witnesses.
"""

import statistics
import warnings

import numpy as np
import torch
from scipy import stats
from transformers import AutoConfig, AutoModelForSemanticSegmentation

from .table import COLUMNS

LEVEL = 0.95
_RESAMPLES = 4999
_SEED = 0
_NONE = {"mean": None, "std": None, "sd": None, "low": None, "high": None, "n": 0, "people": 0}


def measure_column(column, row, scores):
    """One figure of a row.

    Parameters
    ----------
    column : str
        Key of :data:`~hf_lesionseg.reproduce.table.COLUMNS`.
    row : Row
    scores : list of dict
        Results of :func:`~hf_lesionseg.reproduce.scores.score_run`, one for each seed.

    Returns
    -------
    dict
        ``mean`` in the paper's unit; ``std`` between the seeds, where there are several; ``low`` and ``high`` of the
        95 % confidence interval over the ``people``, ``sd`` between the ``n`` cases. None for what there is not.
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
    sums_of_people, counts_of_people = by_person(people_of_column(column, scores), sums, counts)
    low, high = interval(sums_of_people, counts_of_people)
    of_cases = sums[counts > 0] / counts[counts > 0]
    return {
        "mean": factor * statistics.fmean(values),
        "std": factor * statistics.stdev(values) if len(values) > 1 else None,
        "sd": factor * float(of_cases.std()) if len(of_cases) > 1 else None,
        "low": None if low is None else factor * low,
        "high": None if high is None else factor * high,
        "n": len(of_cases),
        "people": int((counts_of_people > 0).sum()),
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


def people_of_column(column, scores):
    """Whose each of these cases is."""
    return [case["person"] for case in _cases(column, scores[0])]


def _cases(column, score):
    split = column.removeprefix("miou_")
    return score.get(f"cases_{split}", []) if split in ("train", "validation") else score["cases"]


def compare_with_first(column, results):
    """Difference of each row from the first one, on the same cases.

    The first row is fixed before anything is measured: a best one, chosen on these cases, would look better than it is.

    Parameters
    ----------
    column : str
    results : list of dict
        With ``columns`` and ``scores``; ``difference`` (difference, low, high; in the paper's unit) is added to the
        column of every row but the first.
    """
    unit = COLUMNS[column].unit
    if unit in ("count", "parameters"):
        return
    first, *others = results
    theirs = _by_case(column, first["scores"])
    factor = 100 if unit == "share" else 1
    for row in others:
        own = _by_case(column, row["scores"])
        shared = [case for case in own if case in theirs and own[case][2] and theirs[case][2]]
        if not shared:
            continue
        people = [own[case][0] for case in shared]
        samples = [[each[case][place] for case in shared] for each in (own, theirs) for place in (1, 2)]
        ours_and_theirs = by_person(people, *samples)
        found = paired_difference(ours_and_theirs[:2], ours_and_theirs[2:])
        row["columns"][column]["difference"] = [None if value is None else factor * value for value in found]


def _by_case(column, scores):
    """(person, sum, count) of each case by its name."""
    names = [case["case"] for case in _cases(column, scores[0])]
    people = people_of_column(column, scores)
    return dict(zip(names, zip(people, *cases_of_column(column, scores), strict=True), strict=True))


def first_stage_parameters(row):
    """Parameters of a row's first stage at the width of the paper."""
    with torch.device("meta"):
        model = AutoModelForSemanticSegmentation.from_config(AutoConfig.for_model(row.model_type, **row.model))
    stage = getattr(model, "locator", None) or getattr(model, "first_stage", model)
    return sum(parameter.numel() for parameter in stage.parameters())


def by_person(people, *samples):
    """Put the cases of each person together.

    Parameters
    ----------
    people : sequence of str
        Person of each case.
    *samples : array (cases,)
        Sums and counts.

    Returns
    -------
    array (samples, people)
        In the order in which the people come first.

    Examples
    --------
    >>> by_person(["a", "b", "a"], [1, 2, 4], [1, 1, 1]).tolist()
    [[5.0, 2.0], [2.0, 1.0]]
    """
    places = {person: place for place, person in enumerate(dict.fromkeys(people))}
    totals = np.zeros((len(samples), len(places)))
    for total, sample in zip(totals, samples, strict=True):
        np.add.at(total, [places[person] for person in people], sample)
    return totals


def interval(sums, counts):
    """Confidence interval of ``sum(sums) / sum(counts)``.

    Bias-corrected and accelerated (Efron, JASA 82:171, 1987), by percentiles where that is undefined.

    Parameters
    ----------
    sums, counts : array (people,)
        People who count nothing are left out.

    Returns
    -------
    (float, float), or (None, None) of fewer than two people

    Examples
    --------
    >>> interval([1, 1, 1], [1, 1, 1])
    (1.0, 1.0)
    """
    return _bootstrap(_ratio, *_that_count(sums, counts))


def paired_difference(ours, theirs):
    """Difference of two such ratios of the same people, and its confidence interval.

    Parameters
    ----------
    ours, theirs : pair of array (people,)
        Sums and counts, person by person.

    Returns
    -------
    (float, float, float)
        Difference, lower and upper limit; None for what there is not.
    """
    samples = _that_count(*ours, *theirs)
    if not samples[0].size:
        return None, None, None
    return float(_difference(*samples)), *_bootstrap(_difference, *samples)


def _ratio(sums, counts, axis=-1):
    return sums.sum(axis=axis) / counts.sum(axis=axis)


def _difference(sums, counts, other_sums, other_counts, axis=-1):
    return _ratio(sums, counts, axis) - _ratio(other_sums, other_counts, axis)


def _that_count(*samples):
    """The samples, of the people who count in all of them."""
    samples = np.asarray(samples, dtype=np.float64)
    return samples[:, (samples[1::2] > 0).all(axis=0)]


def _bootstrap(statistic, *samples):
    """The interval of a statistic of paired samples."""
    size = len(samples[0])
    if size < 2:
        return None, None
    jackknife = [statistic(*(np.delete(sample, index) for sample in samples)) for index in range(size)]
    if np.ptp(jackknife) == 0:  # each person says the same
        value = float(statistic(*samples))
        return value, value
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of degenerate distributions; answered by the second method
            found = stats.bootstrap(
                samples, statistic, paired=True, vectorized=True, n_resamples=_RESAMPLES, confidence_level=LEVEL,
                method=method, random_state=np.random.default_rng(_SEED),
            ).confidence_interval  # fmt: skip
        if np.isfinite([found.low, found.high]).all():
            break
    return float(found.low), float(found.high)
