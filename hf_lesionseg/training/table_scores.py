"""What the tables of the papers report, of a trained network on prepared cases."""

import numpy as np

from ..evaluation.metrics import VoxelCounts, dice, precision, recall
from ..evaluation.regions import region_ious
from ..evaluation.slicewise import count_slices
from ..inference.slices import predict_slices

#: Cases that the first stage's IoU is measured on in training; more would only cost time.
_TRAINING_CASES = 20


def score_cases(model, cases, *, batch_size=16, threshold=0.5, progress=None):
    """Segment prepared cases and count, slice by slice, on the grid that the network sees.

    Parameters
    ----------
    model : PreTrainedModel
    cases : sequence of PreparedCase
    batch_size : int
    threshold : float
        Foreground where the probability is greater.
    progress : callable, optional
        Called after each case.

    Returns
    -------
    slices : list of VoxelCounts
        One per slice of every case.
    volumes : list of VoxelCounts
        One per case.
    ious : list of float, or None
        Of the first stage's boxes (:func:`~hf_lesionseg.evaluation.regions.region_ious`); None without a first stage.
    """
    slices, volumes, ious = [], [], None
    for case in cases:
        found = predict_slices(model, case.pixel_values(), batch_size=batch_size)
        labels = np.asarray(case.labels())
        counts = count_slices(found.probability > threshold, labels, axis=0)
        slices += counts
        volumes.append(sum(counts, VoxelCounts(0, 0, 0)))
        if found.regions is not None:
            ious = (ious or []) + list(region_ious(labels, found.regions))
        if progress is not None:
            progress()
    return slices, volumes, ious


def summarize_slices(slices, volumes, ious):
    """The columns of a table, from what :func:`score_cases` counted.

    Returns
    -------
    dict
        ``dsc``, ``precision``, ``recall`` over slices with foreground; ``dsc_small`` over the third of them with the
        least foreground (ties go in), ``small_pixels`` its limit; ``dsc_all_slices``; ``dsc_volume``; ``miou``, None
        without a first stage; numbers of slices and cases.
    """
    positive = [each for each in slices if each.truth]
    limit = int(np.quantile([each.truth for each in positive], 1 / 3, method="lower")) if positive else 0
    small = [each for each in positive if each.truth <= limit]
    return {
        "dsc": _mean(map(dice, positive)),
        "precision": _mean(map(precision, positive)),
        "recall": _mean(map(recall, positive)),
        "dsc_small": _mean(map(dice, small)),
        "small_pixels": limit,
        "dsc_all_slices": _mean(map(dice, slices)),
        "dsc_volume": _mean(map(dice, volumes)),
        "miou": None if ious is None else _mean(ious),
        "slices": len(slices),
        "positive_slices": len(positive),
        "small_slices": len(small),
        "cases": len(volumes),
    }


def score_run(model, dataset, *, batch_size=16, threshold=0.5, progress=None):
    """All figures of one trained network that any table asks for."""
    score = {
        split: summarize_slices(
            *score_cases(model, cases, batch_size=batch_size, threshold=threshold, progress=progress)
        )
        for split, cases in scored_cases(dataset).items()
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
