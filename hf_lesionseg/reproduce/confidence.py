"""How sure a mean over test cases is: bootstrap over the people.

A figure of a table is a ratio of sums over cases: of Dice coefficients by the number of slices that have one, or of
volumes by one for each. People are drawn, not slices or cases: the slices of one case, and two slabs or visits of one
person, are no independent witnesses.
"""

import warnings

import numpy as np
from scipy import stats

LEVEL = 0.95
_RESAMPLES = 4999
_SEED = 0


def by_person(people, *samples):
    """Put the cases of each person together.

    Parameters
    ----------
    people : sequence of str
        Of each case.
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
