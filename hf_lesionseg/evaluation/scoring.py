"""Read one predicted and one true mask, and score the first against the second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import ScanError
from ..imaging import Scan
from ..imaging.scan import read_label_map, read_probability
from ..models.mask_options import MaskOptions, clean_mask
from ..models.volume_geometry import plan_slices
from .label_choice import LabelChoice
from .matching import TruthCase
from .presets import Preset
from .scored_case import CaseMetrics, failed_case, score_volume


def read_prediction(
    path: str | Path,
    truth: Scan,
    mask: MaskOptions | None = None,
    values: Sequence[int] | None = None,
    slice_axis: str = "axial",
) -> np.ndarray:
    """Read a predicted mask on the truth's grid.

    Parameters
    ----------
    path : path
        A mask (any value above 0 is lesion), or with a threshold in ``mask`` a map of probabilities.
    truth : Scan
        Whose grid the prediction must lie on.
    mask : MaskOptions, optional
        What is done to the prediction before it is scored; nothing where it holds nothing.
    values : sequence of int, optional
        The labels that are lesion, in a map of several labels.
    slice_axis : {"axial", "coronal", "sagittal"}
        Axis of the slices that a median filter smooths.

    Returns
    -------
    bool array (X, Y, Z)

    Raises
    ------
    ScanError
        The file cannot be read, or holds NaN or Inf. With a threshold, for values that cannot be probabilities;
        without one, for an image, for fractions (as a mask every faint probability would be lesion) and, with
        ``values``, for a value that is not a label.
    GridMismatchError
        It lies on another grid than the truth.
    """
    return _read_prediction(path, truth, mask or MaskOptions(), values, slice_axis)[0]


def _read_prediction(path, truth, options, values, slice_axis, rounds=False):
    """Mask of a prediction, and its labels; fractions only where values are rounded."""
    if options.threshold is not None:
        mask, labels = read_probability(path, truth).data > options.threshold, ()
    else:
        found, reading = read_label_map(path, truth, values, rounds=rounds)
        if reading.warnings and not rounds:
            raise ScanError(f"{path}: looks like probabilities, not a mask; give a threshold, for example 0.5")
        mask, labels = found.data > 0, reading.labels
    across = plan_slices(truth.shape, truth.affine, slice_axis=slice_axis).file_slice_axis
    clean_mask(mask, options.over(), truth.voxel_ml, across)
    return mask, labels


def score_case(
    truth: TruthCase,
    prediction: Path | None,
    mask: MaskOptions | None = None,
    slice_axis: str = "axial",
    *,
    distances: bool = False,
    labels: LabelChoice | None = None,
    preset: Preset | None = None,
) -> CaseMetrics:
    """Score one case; a prediction that is missing, unreadable or on another grid gives a failed case.

    Two volumes are in memory at a time. With a threshold in ``mask`` the predictions are probabilities; what else it
    holds is done to the predicted mask. ``labels`` knows which labels are lesion, and learns which occur. Of a
    ``preset`` its rule for lesions counts here, and its rounding;
    :func:`~hf_lesionseg.evaluation.presets.apply_preset` gives its values to empty masks.
    """
    if prediction is None:
        return failed_case(truth.case, "no prediction", truth.person)
    mask = mask or MaskOptions()
    labels, rounds = labels or LabelChoice(), preset is not None and preset.rounds
    try:
        true_mask, reading = read_label_map(truth.path, values=labels.truth, rounds=rounds)
        labels.truths.add(truth.case, reading.labels, labels.truth, reading.warnings)
        predicted, found = _read_prediction(prediction, true_mask, mask, labels.prediction, slice_axis, rounds)
        labels.predictions.add(truth.case, found, labels.prediction)
    except ScanError as error:
        return failed_case(truth.case, str(error), truth.person)
    rule = {} if preset is None else {"lesion_rule": preset.lesions}
    return score_volume(
        truth.case, predicted, true_mask, slice_axis=slice_axis, person=truth.person, distances=distances, **rule
    )
