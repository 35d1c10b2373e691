"""What the tables of the papers report, of a trained network on prepared cases."""

from dataclasses import dataclass, field

import numpy as np
import torch

from ..evaluation.metrics import VoxelCounts, dice, precision, recall
from ..evaluation.regions import MINIMUM_PIXELS, region_ious
from ..evaluation.slicewise import count_slices
from ..inference.slices import predict_slices
from ..models.region_targets import component_boxes

#: Cases that the first stage's IoU is measured on in training; more would only cost time.
_TRAINING_CASES = 20


@dataclass
class Counted:
    """What was counted on some cases.

    Parameters
    ----------
    slices : list of VoxelCounts
        One per slice of every case.
    volumes : list of VoxelCounts
        One per case.
    ious : list of float, or None
        Of the first stage's boxes (:func:`~hf_lesionseg.evaluation.regions.region_ious`); None without a first stage.
    ious_of_single : list of float, or None
        The same on slices with one component: a first stage that gives one box for all of them is not at a loss there.
    """

    slices: list = field(default_factory=list)
    volumes: list = field(default_factory=list)
    ious: list | None = None
    ious_of_single: list | None = None


def score_cases(model, cases, *, batch_size=16, threshold=0.5, minimum_pixels=MINIMUM_PIXELS):
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

    Returns
    -------
    Counted
    """
    counted = Counted()
    for case in cases:
        found = predict_slices(model, case.pixel_values(), batch_size=batch_size)
        labels = np.asarray(case.labels())
        counts = count_slices(found.probability > threshold, labels, axis=0)
        counted.slices += counts
        counted.volumes.append(sum(counts, VoxelCounts(0, 0, 0)))
        if found.regions is not None:
            single = labels * _has_one_component(labels, minimum_pixels)[:, None, None]
            ious, of_single = (region_ious(each, found.regions, minimum_pixels) for each in (labels, single))
            counted.ious = (counted.ious or []) + list(ious)
            counted.ious_of_single = (counted.ious_of_single or []) + list(of_single)
    return counted


def _has_one_component(labels, minimum_pixels):
    _, slices = component_boxes(torch.from_numpy(labels), minimum_pixels)
    return np.bincount(slices.numpy(), minlength=len(labels)) == 1


def summarize_slices(counted):
    """The columns of a table, from what :func:`score_cases` counted.

    Returns
    -------
    dict
        ``dsc``, ``precision``, ``recall`` over slices with foreground; ``dsc_small`` over the third of them with the
        least foreground (ties go in), ``small_pixels`` its limit; ``dsc_small_organs``, the Dice of the third of the
        volumes with the least foreground but some; ``dsc_all_slices``; ``dsc_volume``; ``miou`` and ``miou_single``,
        None without a first stage; numbers of slices and cases.
    """
    slices, volumes = counted.slices, counted.volumes
    positive = [each for each in slices if each.truth]
    small, limit = _smallest_third(positive)
    small_organs, _ = _smallest_third([each for each in volumes if each.truth])
    return {
        "dsc": _mean(map(dice, positive)),
        "precision": _mean(map(precision, positive)),
        "recall": _mean(map(recall, positive)),
        "dsc_small": _mean(map(dice, small)),
        "small_pixels": limit,
        "dsc_small_organs": _mean(map(dice, small_organs)),
        "dsc_all_slices": _mean(map(dice, slices)),
        "dsc_volume": _mean(map(dice, volumes)),
        "miou": None if counted.ious is None else _mean(counted.ious),
        "miou_single": None if counted.ious is None else _mean(counted.ious_of_single),
        "slices": len(slices),
        "positive_slices": len(positive),
        "small_slices": len(small),
        "cases": len(volumes),
    }


def _smallest_third(counts):
    """Those with the least foreground in the truth, and its limit."""
    limit = int(np.quantile([each.truth for each in counts], 1 / 3, method="lower")) if counts else 0
    return [each for each in counts if each.truth <= limit], limit


def score_run(model, dataset, **options):
    """All figures of one trained network that any table asks for; options as for :func:`score_cases`."""
    score = {
        split: summarize_slices(score_cases(model, cases, **options)) for split, cases in scored_cases(dataset).items()
    }
    return score["test"] | {f"miou_{split}": score[split]["miou"] for split in ("train", "validation")}


def scored_cases(dataset):
    """Cases of each split that :func:`score_run` segments."""
    return {
        "test": dataset.select("test"),
        "validation": dataset.select("validation"),
        "train": dataset.select("train")[:_TRAINING_CASES],
    }


def _mean(values):
    values = list(values)
    return float(np.mean(values)) if values else None
