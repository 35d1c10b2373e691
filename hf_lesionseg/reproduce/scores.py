"""Measure a trained network on prepared cases, and keep what was measured beside it.

What a case adds to a column of a table is a sum and what it is to be divided by; the column's figure is the ratio of
their sums over the cases. For a mean over volumes a case adds its value and 1, for a mean over slices the sum over its
slices and their number; a case that says nothing adds nothing.
"""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ..evaluation.auc import ScoreHistogram
from ..evaluation.metrics import of_counts
from ..evaluation.presets import PRESETS, apply_preset
from ..evaluation.regions import MINIMUM_PIXELS, region_ious
from ..evaluation.scored_case import CaseMetrics, score_volume
from ..evaluation.slicewise import count_slices
from ..evaluation.voxel_counts import VoxelCounts
from ..imaging.atomic import write_aside
from ..inference.loading import load_model
from ..inference.slices import predict_slices
from ..models.region_targets import component_boxes
from .runs import SCORES

#: Cases that the first stage's IoU is measured on in training; more would only cost time.
_TRAINING_CASES = 20


@dataclass
class CaseScore:
    """What was measured on one case.

    Parameters
    ----------
    case : str
    slices : list of VoxelCounts
        On the grid that the network sees.
    ious : list of float, or None
        IoUs of the first stage's boxes (:func:`~hf_lesionseg.evaluation.regions.region_ious`); None without one.
    ious_of_single : list of float, or None
        The same on slices with one component: a first stage that gives one box for all of them is not at a loss there.
    auc : float
        Area under the curve of the same slices' pixels; NaN if all are of one kind.
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
    """Return sum and count of the values that are defined."""
    values = [value for value in values if not np.isnan(value)]
    return [float(np.sum(values)), len(values)]


def _limit_of_smallest_third(sizes):
    """The largest of the third with the least foreground; ties go in."""
    return int(np.quantile(sizes, 1 / 3, method="lower")) if sizes else 0


def score_cases(
    model, cases, *, batch_size=16, threshold=0.5, minimum_pixels=MINIMUM_PIXELS, slice_range=None, processor=None
):
    """Segment prepared cases and count, slice by slice, on the grid that the network sees.

    Parameters
    ----------
    model : PreTrainedModel
    cases : sequence of PreparedCase
    batch_size : int
    threshold : float
        Foreground where the probability is greater.
    minimum_pixels : int
        Smaller components count for no IoU.
    slice_range : list of two int, optional
        Only these slices are counted.
    processor : LesionImageProcessor, optional
        Also score the mask that it makes on the grid of the scan, with distances.

    Returns
    -------
    list of CaseScore
    """
    counted = slice(*slice_range) if slice_range else slice(None)
    scores = []
    for case in cases:
        found = predict_slices(model, case.pixel_values(), batch_size=batch_size)
        probability, labels = found.probability, np.asarray(case.labels())
        histogram = ScoreHistogram.of(probability[counted], labels[counted])
        score = CaseScore(
            case.id,
            count_slices(probability[counted] > threshold, labels[counted], axis=0),
            auc=histogram.auc(),
            person=case.person,
        )
        if found.regions is not None:
            single = labels * _has_one_component(labels, minimum_pixels)[:, None, None]
            score.ious, score.ious_of_single = (
                list(region_ious(each, found.regions, minimum_pixels)) for each in (labels, single)
            )
        if processor is not None:
            restored = processor.restore_probability(probability, case.geometry)
            mask = processor.mask_from_probability(restored, case.geometry)
            score.metrics = score_volume(case.id, mask, case.truth(), person=case.person, distances=True)
        scores.append(score)
    return scores


def _has_one_component(labels, minimum_pixels):
    _, slices = component_boxes(torch.from_numpy(labels), minimum_pixels)
    return np.bincount(slices.numpy(), minlength=len(labels)) == 1


def summarize_scores(scores):
    """The figures of all columns, from what :func:`score_cases` measured.

    Returns
    -------
    dict
        By column; None where no case adds anything. ``cases`` holds what each adds, ``slices`` and ``positive_slices``
        are numbers.
    """
    values = values_of_cases(scores)
    names = values[0] if values else ()
    totals = {name: np.sum([each[name] for each in values], axis=0) for name in names}
    return {name: float(total / count) if count else None for name, (total, count) in totals.items()} | {
        "slices": sum(len(score.slices) for score in scores),
        "positive_slices": sum(each.truth > 0 for score in scores for each in score.slices),
        "cases": [
            {"case": score.case, "person": score.person or score.case, "values": own}
            for score, own in zip(scores, values, strict=True)
        ],
    }


def score_run(model, dataset, **options):
    """All figures of one trained network that any table asks for; options as for :func:`score_cases`.

    Training and validation cases are segmented only where the network has a first stage: no column is of them else.
    """
    score = summarize_scores(score_cases(model, dataset.select("test"), processor=dataset.processor(), **options))
    for split in ("train", "validation"):
        score[f"miou_{split}"] = None
        if score["miou"] is not None:
            cases = dataset.select(split)[: _TRAINING_CASES if split == "train" else None]
            own = summarize_scores(score_cases(model, cases, **options))
            score[f"miou_{split}"] = own["miou"]
            score[f"cases_{split}"] = [
                each | {"values": {f"miou_{split}": each["values"]["miou"]}} for each in own["cases"]
            ]
    return score


def score_folder(folder, run, console=None):
    """Scores of a trained model, read from its folder or measured and kept there.

    Parameters
    ----------
    folder : Path
        Folder of one seed of the run.
    run : Run
    console : rich.console.Console, optional
    """
    path = Path(folder) / SCORES
    if path.is_file():
        return json.loads(path.read_text())
    started = time.monotonic()
    model = load_model(folder).model
    smallest = run.budget.in_proportion()["minimum_component_pixels"]
    slice_range = run.settings["slice_range"]
    scores = score_run(model, run.dataset, minimum_pixels=smallest, slice_range=slice_range)
    scores["parameters"] = model.num_parameters()
    with write_aside(path) as aside:
        aside.write_text(json.dumps(scores) + "\n")
    if console is not None:
        seconds = time.monotonic() - started
        console.print(f"scored {len(scores['cases'])} test cases in {seconds:.0f} s: Dice {scores['case_dsc']:.4f}")
    return scores
