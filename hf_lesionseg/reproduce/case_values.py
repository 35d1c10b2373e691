"""What each test case adds to each column of a table: a sum and what it is to be divided by.

A column's figure is the ratio of their sums over the cases. For a mean over volumes a case adds its value and 1, for a
mean over slices the sum over its slices and their number; a case that says nothing adds nothing.
"""

from dataclasses import dataclass, field

import numpy as np

from ..evaluation.metrics import (
    CaseMetrics,
    VoxelCounts,
    dice,
    iou,
    precision,
    recall,
    relative_volume_difference,
    volumetric_overlap_error,
)
from ..evaluation.presets import PRESETS, apply_preset


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
    differences = [relative_volume_difference(each) for each in volumes]
    values = {
        "dsc": list(map(dice, positive)),
        "precision": list(map(precision, positive)),
        "recall": list(map(recall, positive)),
        "dsc_small": list(map(dice, least)),
        "dsc_small_organs": [dice(each) for each in volumes if each.truth <= small_volume],
        "dsc_all_slices": list(map(dice, score.slices)),
        "dsc_volume": [dice(volume)],
        "volume_dsc": list(map(dice, volumes)),
        "volume_precision": list(map(precision, volumes)),
        "volume_recall": list(map(recall, volumes)),
        "volume_iou": list(map(iou, volumes)),
        "volume_auc": [score.auc],
        "voe": list(map(volumetric_overlap_error, volumes)),
        "rvd": differences,
        "absolute_rvd": list(map(abs, differences)),
        "miou": score.ious or [],
        "miou_single": score.ious_of_single or [],
        **_of_the_scan(score.metrics),
    }
    return {name: _sum_and_count(each) for name, each in values.items()}


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
