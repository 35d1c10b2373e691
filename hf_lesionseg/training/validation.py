"""Validation: the loss of each volume, and its 3-D metrics on the grid of the scan, by the code of ``evaluate``."""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from accelerate.utils import broadcast, gather_object, tqdm

from ..evaluation.metrics import CaseMetrics, VoxelCounts, case_metrics, count_voxels
from ..inference.slices import predict_slices
from ..models.losses import batch_dice_loss

PRECISIONS = {"no": "float32", "bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True)
class ValidatedCase:
    """One volume: its loss over all slices as one batch, and its metrics in 3-D."""

    loss: float
    metrics: CaseMetrics


def predict_case(model, case, *, batch_size, mixed_precision="no"):
    """Probability of lesion of every plane of a prepared case: float32 array (num_slices, height, width)."""
    precision = PRECISIONS[mixed_precision]
    return predict_slices(model, case.pixel_values(), batch_size=batch_size, precision=precision).probability


def validate_case(model, processor, case, *, batch_size, mixed_precision="no"):
    """Segment one prepared case and score it on the grid of its scan."""
    probability = predict_case(model, case, batch_size=batch_size, mixed_precision=mixed_precision)
    labels = torch.from_numpy(np.asarray(case.labels()))
    loss = batch_dice_loss(torch.from_numpy(probability), labels, smooth=getattr(model.config, "dice_smooth", 1.0))
    restored = processor.restore_probability(probability, case.geometry)
    mask = processor.mask_from_probability(restored, case.geometry)
    truth = case.truth()
    counts = count_voxels(mask, truth.data)
    return ValidatedCase(loss.item(), case_metrics(case.id, counts, truth.voxel_ml, person=case.person))


def validate(accelerator, model, processor, cases, *, batch_size, mixed_precision="no"):
    """Validate all ``cases``, shared out among the processes.

    The loss is the paper's Dice loss with each volume as one batch, averaged over volumes, so that it does not depend
    on the batch size or on the number of processes.

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
        case = validate_case(model, processor, cases[index], batch_size=batch_size, mixed_precision=mixed_precision)
        found.append((index, case))
    model.train(training)
    if accelerator.num_processes > 1:
        records = gather_object([(index, case.loss, asdict(case.metrics)) for index, case in found])
        found = [(index, ValidatedCase(loss, _metrics(fields))) for index, loss, fields in records]
    return [case for _, case in sorted(found, key=lambda pair: pair[0])]


def _metrics(fields):
    counts = fields.pop("counts")
    return CaseMetrics(**fields, counts=VoxelCounts(**counts) if counts else None)


def mean_loss(validated):
    """Mean of the losses of the volumes."""
    return float(np.mean([case.loss for case in validated]))


def mean_dice(validated):
    """Mean of the volumes' 3-D Dice."""
    return float(np.nanmean([case.metrics.dice for case in validated]))
