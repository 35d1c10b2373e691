"""What each test case adds to each column of a table: a sum and what it is to be divided by.

A column's figure is the ratio of their sums over the cases. For a mean over volumes a case adds its value and 1, for a
mean over slices the sum over its slices and their number; a case that says nothing adds nothing.
"""

from dataclasses import dataclass, field

import numpy as np

from ...evaluation.metrics import of_counts
from ...evaluation.presets import PRESETS, apply_preset
from ...evaluation.scored_case import CaseMetrics
from ...evaluation.voxel_counts import VoxelCounts


@dataclass
class CaseScore:
    """What was measured on one case.

    Parameters
    ----------
    case : str
    slices : list of VoxelCounts
        On the grid that the network sees.
    ious : list of float, or None
        Of the first stage's boxes (:func:`~hf_lesionseg.evaluation.regions.region_ious`); None without a first stage.
    ious_of_single : list of float, or None
        The same on slices with one component: a first stage that gives one box for all of them is not at a loss there.
    auc : float
        Of the pixels of the same slices; NaN where all are of one kind.
    metrics : CaseMetrics, or None
        On the grid of the scan.
    person : str
        Whose scan it is; several cases may be of one person.
    """

    case: str
    slices: list = field(default_factory=list)
    ious: list | None = None
    ious_of_single: list | None = None
    auc: float = float("nan")
    metrics: CaseMetrics | None = None
    person: str = ""

    @property
    def volume(self):
        """Counts of all slices together."""
        return sum(self.slices, VoxelCounts(0, 0, 0))


def values_of_cases(scores):
    """Sum and count that every case adds to every column.

    Parameters
    ----------
    scores : list of CaseScore

    Returns
    -------
    list of dict of str to [float, int]
        By column, for each case in their order.
    """
    small = _limit_of_smallest_third([each.truth for score in scores for each in score.slices if each.truth])
    small_volume = _limit_of_smallest_third([score.volume.truth for score in scores if score.volume.truth])
    return [_values(score, small, small_volume) for score in scores]


def _values(score, small, small_volume):
    positive = [each for each in score.slices if each.truth]
    least = [each for each in positive if each.truth <= small]
    volume = score.volume
    # What is compared with a true volume needs one.
    volumes = [volume] if volume.truth else []
    values = {
        "dsc": _each("dice", positive),
        "precision": _each("precision", positive),
        "recall": _each("recall", positive),
        "dsc_small": _each("dice", least),
        "dsc_small_organs": _each("dice", [each for each in volumes if each.truth <= small_volume]),
        "dsc_all_slices": _each("dice", score.slices),
        "dsc_volume": _each("dice", [volume]),
        "volume_dsc": _each("dice", volumes),
        "volume_precision": _each("precision", volumes),
        "volume_recall": _each("recall", volumes),
        "volume_iou": _each("iou", volumes),
        "volume_auc": [score.auc],
        "voe": _each("voe", volumes),
        "rvd": _each("rvd", volumes),
        "absolute_rvd": _each("absolute_rvd", volumes),
        "miou": score.ious or [],
        "miou_single": score.ious_of_single or [],
        **_of_the_scan(score.metrics),
    }
    return {name: _sum_and_count(each) for name, each in values.items()}


def _each(metric, counts):
    return [of_counts(metric, each) for each in counts]


def _of_the_scan(metrics):
    """Columns of challenges, of one case on the grid of its scan."""
    if metrics is None:
        return {}
    counted = apply_preset(metrics, PRESETS["isles2018"])
    return {
        "case_dsc": [metrics.dice],
        "challenge_dc": [counted.dice],
        "challenge_hd": [counted.hd_mm],
        "challenge_precision": [counted.precision],
        "challenge_recall": [counted.recall],
        "challenge_avd": [counted.avd_ml],
        "undefined_hd": [float(np.isnan(metrics.hd_mm))],
        "defined_hd": [metrics.hd_mm],
    }


def _sum_and_count(values):
    """Of the values that are defined."""
    values = [value for value in values if not np.isnan(value)]
    return [float(np.sum(values)), len(values)]


def _limit_of_smallest_third(sizes):
    """The largest of the third with the least foreground; ties go in."""
    return int(np.quantile(sizes, 1 / 3, method="lower")) if sizes else 0
