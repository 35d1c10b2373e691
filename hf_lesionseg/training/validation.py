"""Validation: the losses of each volume, and its metrics on the grid of the scan, by the code of ``evaluate``."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from accelerate.utils import broadcast, gather_object, tqdm

from ..errors import DataError
from ..evaluation.auc import ScoreHistogram
from ..evaluation.generated_dwi import dwi_correlation
from ..evaluation.metrics import METRICS
from ..evaluation.regions import region_ious
from ..evaluation.scored_case import CaseMetrics, score_volume
from ..evaluation.summary import describe, describe_slices
from ..inference.slices import predict_slices
from ..models.losses import batch_dice_loss
from .scan_slices import slices_of_scan
from .volume_loss import VolumeLoss

_PER_FALSE_ML = 0.05  # of Dice: what a mL that is marked in a healthy scan costs
PRECISIONS = {"no": "float32", "bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True)
class ValidatedCase:
    """One volume.

    Attributes
    ----------
    loss : float, or None
        The network's own, over all slices as one batch (:class:`~hf_lesionseg.training.volume_loss.VolumeLoss`); None
        where none was asked for, or no slice holds tissue.
    metrics : CaseMetrics
        In 3-D, and of its slices along the axis that the network sees.
    dwi_correlation : float, or None
        Pearson's correlation of generated and true DWI over the pixels of the brain, of a network that generates one
        and data that hold one.
    region_ious : tuple of float, or None
        With a first stage, for each true component the best IoU with a box of its slice
        (:mod:`~hf_lesionseg.evaluation.regions`), in the slices that the network sees.
    scores : ScoreHistogram, or None
        How the probabilities of the counted slices are distributed over background and lesion.
    dice_loss : float, or None
        CLCI-Net's Dice loss over all slices as one batch, whatever the network is trained with.
    from_scan : bool
        The scan itself was segmented, not its prepared slices.
    """

    loss: float | None
    metrics: CaseMetrics
    region_ious: tuple[float, ...] | None = None
    scores: ScoreHistogram | None = None
    dwi_correlation: float | None = None
    dice_loss: float | None = None
    from_scan: bool = False


def predict_case(model, case, *, batch_size, mixed_precision="no", pixel_values=None, observer=None):
    """:class:`~hf_lesionseg.inference.slices.SlicePrediction` of every plane of a prepared case.

    ``pixel_values`` are its slices at full precision, where there are such.
    """
    return predict_slices(
        model,
        case.pixel_values() if pixel_values is None else pixel_values,
        batch_size=batch_size,
        precision=PRECISIONS[mixed_precision],
        keep_generated="dwi" in case.target_channels,
        observer=observer,
    )


def validate_case(
    model, processor, case, *, batch_size, mixed_precision="no", slice_range=None, as_evaluate=False, own_loss=True
):
    """Segment one prepared case and score it on the grid of its scan; the losses are those of ``slice_range``.

    With ``as_evaluate`` the mask and the metrics are those of ``segment`` and ``evaluate``: the scan itself is
    segmented where it is still there (:func:`~hf_lesionseg.training.scan_slices.slices_of_scan`), surfaces are measured
    and lesions counted, too. Without ``own_loss`` the network's own loss is not computed.

    Raises
    ------
    DataError
        If the case has no slice of the range.
    """
    counted = slice(*slice_range) if slice_range else slice(None)
    if slice_range and case.num_slices <= counted.start:
        raise DataError(
            f"{case.id}: has {case.num_slices} slices, none of them in the recipe's slice_range {list(slice_range)}; "
            "give a range that every case has, or null"
        )
    own = VolumeLoss(model, case, slice_range, batch_size) if own_loss else None
    if own:
        batch_size = own.batch_size
    exact = slices_of_scan(case, processor) if as_evaluate else None
    predicted = predict_case(
        model, case, batch_size=batch_size, mixed_precision=mixed_precision, pixel_values=exact, observer=own
    )
    probability, labels = predicted.probability, np.asarray(case.labels())
    dice_loss = batch_dice_loss(torch.from_numpy(probability[counted]), torch.from_numpy(labels[counted]))
    restored = processor.restore_probability(probability, case.geometry)
    mask = processor.mask_from_probability(restored, case.geometry)
    metrics = score_volume(
        case.id, mask, case.truth(), slice_axis=case.geometry.slice_axis, person=case.person, distances=as_evaluate
    )
    ious = None if predicted.regions is None else region_ious(labels, predicted.regions)
    correlation = None
    if predicted.generated_dwi is not None:
        correlation = dwi_correlation(predicted.generated_dwi, case.target("dwi"))
    scores = ScoreHistogram.of(probability[counted], labels[counted])
    loss = own and own.value()
    return ValidatedCase(loss, metrics, ious, scores, correlation, dice_loss.item(), from_scan=exact is not None)


def validate(accelerator, model, processor, cases, **settings):
    """Validate all ``cases``, shared out among the processes.

    Each volume is one batch of its losses, wherever it is computed and in however many steps: their mean over volumes
    depends neither on the batch size nor on the number of processes.

    Parameters
    ----------
    accelerator : accelerate.Accelerator
    model : PreTrainedModel
        As the accelerator prepared it.
    processor : LesionImageProcessor
    cases : sequence of PreparedCase
    **settings
        Settings of :func:`validate_case`.

    Returns
    -------
    list of ValidatedCase
        In the order of ``cases``, the same in every process.
    """
    model = accelerator.unwrap_model(model)
    if accelerator.num_processes > 1:
        # Each process has moved its own batch-norm statistics since the last forward; the first one's are saved.
        for buffer in model.buffers():
            buffer.copy_(broadcast(buffer))
    training = model.training
    found = []
    mine = range(accelerator.process_index, len(cases), accelerator.num_processes)
    for index in tqdm(mine, desc="validation", unit="volume", leave=False):
        found.append((index, validate_case(model, processor, cases[index], **settings)))
    model.train(training)
    if accelerator.num_processes > 1:
        found = gather_object(found)
    return [case for _, case in sorted(found, key=lambda pair: pair[0])]


def validation_record(validated):
    """What ``history.jsonl`` holds of a validation.

    Returns
    -------
    dict
        ``validation_loss``, the network's own, ``validation_dice_loss``, and each ``watched`` metric of
        :data:`~hf_lesionseg.evaluation.metrics.METRICS` (``validation_dice``, ...), means over volumes; what
        :func:`detection` gives; ``validation_auc`` of all voxels together;
        ``validation_dice_positive_slices`` and ``validation_dice_all_slices``, over all slices together;
        ``validation_miou`` of the first stage where the network has one; ``validation_dwi_correlation`` of generated
        and true DWI, where there are both. A mean of nothing is left out.
    """
    slices = describe_slices([case.metrics for case in validated])
    record = {
        "validation_loss": mean_loss(validated),
        "validation_dice_loss": mean_dice_loss(validated),
        **{metric.history_name: _mean_metric(validated, metric.name) for metric in METRICS if metric.watched},
        **detection(validated),
        "validation_auc": auc(validated),
        "validation_dice_positive_slices": slices["positive"]["mean"],
        "validation_dice_all_slices": slices["all"]["mean"],
        "validation_miou": mean_region_iou(validated),
        "validation_dwi_correlation": mean_dwi_correlation(validated),
    }
    return {name: value for name, value in record.items() if value is not None}


def detection(validated):
    """How well lesions are found, and how much is found where there is none.

    Returns
    -------
    dict
        ``validation_dice_with_lesion``, mean Dice of the volumes with a lesion; where there are volumes without one
        also ``validation_false_ml``, the mean of what is marked in them, each counted up to 10 mL, and
        ``validation_detection``, the Dice less 0.05 per such mL.
    """
    dice = [case.metrics.dice for case in validated if case.metrics.truth_ml > 0]
    false = [min(case.metrics.predicted_ml, 10.0) for case in validated if not case.metrics.truth_ml > 0]
    record = {"validation_dice_with_lesion": float(np.mean(dice))} if dice else {}
    if not (dice and false):
        return record
    mean_false = float(np.mean(false))
    return {
        **record,
        "validation_false_ml": mean_false,
        "validation_detection": record["validation_dice_with_lesion"] - _PER_FALSE_ML * mean_false,
    }


def auc(validated):
    """Area under the ROC curve of all voxels together; None where they are of one kind, or nobody counted them."""
    counted = [case.scores for case in validated if case.scores is not None]
    area = sum(counted[1:], counted[0]).auc() if counted else math.nan
    return None if math.isnan(area) else area


def _mean_metric(validated, name):
    """Mean over the volumes in which a metric is defined; None where it is in none."""
    return describe([getattr(case.metrics, name) for case in validated])["mean"]


def mean_region_iou(validated):
    """Mean IoU of the first stage over the true components of all volumes; None where none was looked for."""
    found = [case.region_ious for case in validated if case.region_ious is not None]
    ious = [iou for case in found for iou in case]
    return float(np.mean(ious)) if ious else None


def mean_dwi_correlation(validated):
    """Mean over the volumes of the correlation of generated and true DWI; None where there is none."""
    found = [case.dwi_correlation for case in validated if case.dwi_correlation is not None]
    return float(np.mean(found)) if found else None


def mean_loss(validated):
    """Mean of the network's own loss over the volumes that have one.

    Raises
    ------
    DataError
        If none has.
    """
    losses = [case.loss for case in validated if case.loss is not None]
    if not losses:
        raise DataError(
            "no validation volume has a slice with tissue to compute the loss of; check the prepared images, and the "
            "recipe's slice_range where it has one"
        )
    return float(np.mean(losses))


def mean_dice_loss(validated):
    """Mean of the volumes' Dice losses; None where there is none."""
    losses = [case.dice_loss for case in validated if case.dice_loss is not None]
    return float(np.mean(losses)) if losses else None


def told_metrics(record):
    """The metrics of a :func:`validation_record` beside the Dice, for the line that an epoch prints."""
    names = {metric.heading: metric.history_name for metric in METRICS if metric.watched and metric.name != "dice"}
    names["AUC"] = "validation_auc"
    return "".join(f"  {title} {record[name]:.4f}" for title, name in names.items() if name in record)
