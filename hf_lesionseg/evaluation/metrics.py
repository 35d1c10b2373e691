"""Overlap and volume metrics of one case, counted over the voxels of its whole 3-D volume.

With P the predicted and G the true lesion voxels, TP = \\|P and G\\|, FP = \\|P\\| - TP, FN = \\|G\\| - TP:

=============  =======================================  =====================  ==============================
metric         formula                                  unit, best value       source
=============  =======================================  =====================  ==============================
dice (DSC)     2 TP / (2 TP + FP + FN)                  0..1, 1                Dice, Ecology 26:297, 1945
precision      TP / (TP + FP)                           0..1, 1                positive predictive value
recall         TP / (TP + FN)                           0..1, 1                sensitivity
iou            TP / (TP + FP + FN)                      0..1, 1                Jaccard, New Phytol. 11:37, 1912
voe            100 (1 - iou)                            percent, 0             Heimann et al., IEEE TMI 28:1251, 2009
rvd            100 (\\|P\\| / \\|G\\| - 1)                  percent, signed, 0     Heimann et al. 2009
absolute_rvd   \\|rvd\\|                                  percent, 0             Heimann et al. 2009
avd_ml         abs(\\|P\\| - \\|G\\|) * voxel volume    mL, 0                  AVD of ISLES 2018 and 2022
=============  =======================================  =====================  ==============================

These are the measures of CLCI-Net's tables (Yang et al., MICCAI 2019), which take them per subject in 3-D and then
average. Its RVD is a signed mean: over- and under-segmentation cancel and tiny lesions dominate it, which is why the
absolute value stands beside it.

Where they are asked for, two groups stand beside these: distances between surfaces in mm
(:mod:`~hf_lesionseg.evaluation.surface`) and counts of single lesions (:mod:`~hf_lesionseg.evaluation.lesionwise`).

Empty masks
-----------
One policy, the same wherever this package prints a metric. It is repeated in every ``metrics.json``:

* truth and prediction empty: dice = iou = precision = recall = 1, voe = rvd = absolute_rvd = 0.
* only the truth empty (a false alarm on a healthy scan): dice = iou = precision = 0, voe = 100; recall and rvd divide
  by zero, are undefined (NaN), left out of their means, and counted.
* only the prediction empty (a missed lesion): dice = iou = precision = recall = 0, voe = 100, rvd = -100,
  absolute_rvd = 100. Its precision is 0 / 0 by the formula; it counts as 0, so that missing a lesion is never free.
* a distance needs two surfaces: with one mask empty, or both, hd_mm, hd95_mm and assd_mm are undefined (NaN), left out
  of their means, and counted in ``n_undefined_distances``. Such a mean tells nothing of the lesions that were missed.
* lesion-wise F1 is a ratio as Dice is: 1 where both are empty, 0 where one is.
* a failed case (prediction missing, unreadable, on another grid): every metric undefined, counted in ``n_failed``.
* single slices (:mod:`~hf_lesionseg.evaluation.slicewise`) go by the same rule: a slice empty in both has a Dice of 1,
  a false alarm and a miss one of 0. Over "positive slices" only the misses count, over "all slices" all three.

Public evaluators differ here: the code of the paper's group scores 0 wherever a denominator is 0, the ISLES 2022
evaluator gives two empty masks a Dice of 1, that of ISLES 2018 an empty prediction a Hausdorff distance of 1e8
(:mod:`~hf_lesionseg.evaluation.presets`). On data where every scan has a lesion that is found the rules agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from ..errors import GridMismatchError

if TYPE_CHECKING:
    from .lesionwise import LesionCounts
    from .slicewise import SliceDice
    from .surface import SurfaceDistances

DISTANCE_NAMES = ("hd_mm", "hd95_mm", "assd_mm")
"""Undefined where a mask is empty; see :mod:`~hf_lesionseg.evaluation.surface`."""

LESIONWISE_NAMES = ("lesion_count_difference", "lesion_f1")
"""Of whole lesions; see :mod:`~hf_lesionseg.evaluation.lesionwise`."""

METRIC_NAMES = (
    *("dice", "precision", "recall", "iou", "voe", "rvd", "absolute_rvd", "avd_ml"),
    *DISTANCE_NAMES,
    *LESIONWISE_NAMES,
)
"""The metrics of a case, in the order of every table; the last two groups only where they were asked for."""

VOLUME_NAMES = ("truth_ml", "predicted_ml")

SLICE_NAMES = ("dice_positive_slices", "n_positive_slices", "dice_all_slices", "n_slices")
"""Means over the slices of a case, and how many there are; see :mod:`~hf_lesionseg.evaluation.slicewise`."""

LESION_NAMES = ("truth_lesions", "predicted_lesions", "missed_lesions", "false_lesions")
"""Numbers of lesions of a case, 26-connected by default; see :mod:`~hf_lesionseg.evaluation.lesionwise`."""

UNITS = {
    "dice": "0..1",
    "precision": "0..1",
    "recall": "0..1",
    "iou": "0..1",
    "voe": "%",
    "rvd": "%",
    "absolute_rvd": "%",
    "avd_ml": "mL",
    "hd_mm": "mm",
    "hd95_mm": "mm",
    "assd_mm": "mm",
    "lesion_count_difference": "lesions",
    "lesion_f1": "0..1",
    "truth_ml": "mL",
    "predicted_ml": "mL",
    "dice_positive_slices": "0..1",
    "dice_all_slices": "0..1",
}

EMPTY_MASK_POLICY = (
    "Truth and prediction empty: dice = iou = precision = recall = 1, voe = rvd = absolute_rvd = 0. "
    "Only the truth empty: dice = iou = precision = 0, voe = 100, recall and rvd undefined (left out of their mean "
    "and counted). "
    "Only the prediction empty: dice = iou = precision = recall = 0, voe = 100, rvd = -100, absolute_rvd = 100. "
    "Distances need two surfaces: with a mask empty HD, HD95 and ASSD are undefined, left out of their means and "
    "counted in n_undefined_distances. Lesion-wise F1: both empty 1, one empty 0. "
    "Failed case (prediction missing, unreadable or on another grid): every metric undefined, counted in n_failed. "
    "Dice per slice: over positive slices (lesion in the truth) a missed one counts 0; over all slices one that is "
    "empty in both counts 1 and a false alarm 0. The slices of all cases are pooled, each with one vote."
)
"""The policy of this module's docstring, as it is printed in the outputs."""


@dataclass(frozen=True)
class VoxelCounts:
    """Voxels in which a predicted and a true mask agree and differ; sums over slices or blocks give the volume's.

    Attributes
    ----------
    true_positive, false_positive, false_negative : int
        Numbers of voxels.
    """

    true_positive: int
    false_positive: int
    false_negative: int

    def __post_init__(self):
        if min(self.true_positive, self.false_positive, self.false_negative) < 0:
            raise ValueError(f"voxel counts cannot be negative: {self}")

    @property
    def predicted(self) -> int:
        """Voxels of the predicted lesion, \\|P\\|."""
        return self.true_positive + self.false_positive

    @property
    def truth(self) -> int:
        """Voxels of the true lesion, \\|G\\|."""
        return self.true_positive + self.false_negative

    def __add__(self, other: VoxelCounts) -> VoxelCounts:
        if not isinstance(other, VoxelCounts):
            return NotImplemented
        return VoxelCounts(
            self.true_positive + other.true_positive,
            self.false_positive + other.false_positive,
            self.false_negative + other.false_negative,
        )


@dataclass(frozen=True)
class CaseMetrics:
    """The metrics of one case; NaN marks an undefined value (see the module's policy).

    Attributes
    ----------
    case, person : str
        Name of the case, and of the person it was taken from (several cases may share one).
    status : str
        "ok" or "failed".
    reason : str
        Why a failed case failed; empty otherwise.
    dice, precision, recall, iou : float
        Fractions, 0..1.
    voe, rvd, absolute_rvd : float
        Percent.
    avd_ml : float
        Absolute difference of the lesion volumes in mL.
    hd_mm, hd95_mm, assd_mm : float
        Surface distances in mm; undefined with a mask empty, and where they were not asked for.
    lesion_count_difference, lesion_f1 : float
        Absolute difference of the numbers of lesions, and their F1, 0..1; NaN where they were not asked for.
    truth_ml, predicted_ml : float
        Lesion volumes in mL.
    counts : VoxelCounts or None
        None for a failed case.
    slices : SliceDice or None
        None for a failed case, and where only the volume was scored.
    lesions : LesionCounts or None
        None for a failed case, and where they were not asked for.
    """

    case: str
    person: str
    status: str = "ok"
    reason: str = ""
    dice: float = math.nan
    precision: float = math.nan
    recall: float = math.nan
    iou: float = math.nan
    voe: float = math.nan
    rvd: float = math.nan
    absolute_rvd: float = math.nan
    avd_ml: float = math.nan
    hd_mm: float = math.nan
    hd95_mm: float = math.nan
    assd_mm: float = math.nan
    lesion_count_difference: float = math.nan
    lesion_f1: float = math.nan
    truth_ml: float = math.nan
    predicted_ml: float = math.nan
    counts: VoxelCounts | None = None
    slices: SliceDice | None = None
    lesions: LesionCounts | None = None

    @property
    def failed(self) -> bool:
        """Whether the case could not be scored."""
        return self.status == "failed"

    @property
    def truth_is_empty(self) -> bool:
        """Whether the case was scored and its truth holds no lesion."""
        return self.counts is not None and self.counts.truth == 0

    @property
    def prediction_is_empty(self) -> bool:
        """Whether the case was scored and nothing was predicted."""
        return self.counts is not None and self.counts.predicted == 0

    def to_dict(self) -> dict[str, str | int | float | None]:
        """Return one flat row for JSON or CSV: undefined values are None, never NaN, which JSON does not know."""
        row = {}
        for field in fields(self):
            if field.name in ("counts", "slices", "lesions"):
                continue
            value = getattr(self, field.name)
            row[field.name] = None if isinstance(value, float) and not math.isfinite(value) else value
        for name in ("true_positive", "false_positive", "false_negative"):
            row[name] = None if self.counts is None else getattr(self.counts, name)
        for names, part in ((SLICE_NAMES, self.slices), (LESION_NAMES, self.lesions)):
            row |= dict.fromkeys(names) if part is None else part.to_dict()
        return row


def check_masks(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both masks as arrays, or raise as :func:`count_voxels` does."""
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    for name, mask in (("prediction", prediction), ("truth", truth)):
        if not (mask.dtype == np.bool_ or np.issubdtype(mask.dtype, np.integer)):
            raise TypeError(f"{name} is {mask.dtype}, not a mask: threshold it first, for example `values > 0.5`")
    if prediction.shape != truth.shape:
        raise GridMismatchError(
            f"prediction {prediction.shape} and truth {truth.shape} differ in shape; bring both onto one grid"
        )
    return prediction, truth


def count_voxels(prediction: np.ndarray, truth: np.ndarray) -> VoxelCounts:
    """Count where a predicted and a true mask agree and differ.

    Parameters
    ----------
    prediction, truth : array of bool or of an integer type, of one shape
        Non-zero is lesion. Probabilities are refused: which threshold made them a mask is the caller's to say.

    Returns
    -------
    VoxelCounts

    Raises
    ------
    GridMismatchError
        The shapes differ (nothing is broadcast).
    TypeError
        An array holds floating-point values.

    Examples
    --------
    >>> count_voxels(np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0]))
    VoxelCounts(true_positive=1, false_positive=1, false_negative=1)
    """
    prediction, truth = check_masks(prediction, truth)
    # One boolean temporary of the volume, and counts as Python int: no overflow, no float copy.
    true_positive = int(np.count_nonzero(np.logical_and(prediction, truth)))
    return VoxelCounts(
        true_positive=true_positive,
        false_positive=int(np.count_nonzero(prediction)) - true_positive,
        false_negative=int(np.count_nonzero(truth)) - true_positive,
    )


def dice(counts: VoxelCounts) -> float:
    """Dice similarity coefficient 2 TP / (2 TP + FP + FN); 1 where both masks are empty."""
    size = counts.predicted + counts.truth
    return 2 * counts.true_positive / size if size else 1.0


def iou(counts: VoxelCounts) -> float:
    """Intersection over union (Jaccard index) TP / (TP + FP + FN); 1 where both masks are empty."""
    union = counts.true_positive + counts.false_positive + counts.false_negative
    return counts.true_positive / union if union else 1.0


def precision(counts: VoxelCounts) -> float:
    """Share of the predicted voxels that are lesion, TP / (TP + FP); of an empty prediction 1 if right, else 0."""
    if counts.predicted:
        return counts.true_positive / counts.predicted
    return 0.0 if counts.truth else 1.0


def recall(counts: VoxelCounts) -> float:
    """Share of the lesion's voxels that were found, TP / (TP + FN); NaN for a false alarm on an empty truth."""
    if counts.truth:
        return counts.true_positive / counts.truth
    return math.nan if counts.predicted else 1.0


def volumetric_overlap_error(counts: VoxelCounts) -> float:
    """Volumetric overlap error (VOE) 100 (1 - IoU), in percent."""
    return 100.0 * (1.0 - iou(counts))


def relative_volume_difference(counts: VoxelCounts) -> float:
    """Relative volume difference (RVD) 100 (\\|P\\| / \\|G\\| - 1), signed, in percent; NaN for a false alarm.

    Positive where too much was predicted. A ratio of voxel numbers: both masks lie on one grid.
    """
    if counts.truth:
        return 100.0 * (counts.predicted / counts.truth - 1.0)
    return math.nan if counts.predicted else 0.0


def case_metrics(
    case: str,
    masks: VoxelCounts | tuple[np.ndarray, np.ndarray],
    voxel_ml: float,
    person: str | None = None,
    slices: SliceDice | None = None,
    distances: SurfaceDistances | None = None,
    lesions: LesionCounts | None = None,
) -> CaseMetrics:
    """Score one case.

    Parameters
    ----------
    case : str
        Its name.
    masks : VoxelCounts or (prediction, truth)
        Counts over the whole volume, or the two masks as ``count_voxels`` takes them.
    voxel_ml : float
        Volume of one voxel in mL (mm^3 / 1000).
    person : str, optional
        Whose scan it is; the case's own name if not given.
    slices : SliceDice, optional
    distances : SurfaceDistances, optional
    lesions : LesionCounts, optional
        Of the same masks.

    Raises
    ------
    ValueError
        ``voxel_ml`` is not a positive number.
    """
    if not (math.isfinite(voxel_ml) and voxel_ml > 0):
        raise ValueError(f"case {case}: a voxel of {voxel_ml} mL cannot be; give mm^3 / 1000 of one voxel")
    counts = masks if isinstance(masks, VoxelCounts) else count_voxels(*masks)
    rvd = relative_volume_difference(counts)
    return CaseMetrics(
        case=case,
        person=case if person is None else person,
        dice=dice(counts),
        precision=precision(counts),
        recall=recall(counts),
        iou=iou(counts),
        voe=volumetric_overlap_error(counts),
        rvd=rvd,
        absolute_rvd=abs(rvd),
        avd_ml=abs(counts.predicted - counts.truth) * float(voxel_ml),
        hd_mm=math.nan if distances is None else distances.hd_mm,
        hd95_mm=math.nan if distances is None else distances.hd95_mm,
        assd_mm=math.nan if distances is None else distances.assd_mm,
        lesion_count_difference=math.nan if lesions is None else float(lesions.difference),
        lesion_f1=math.nan if lesions is None else lesions.f1,
        truth_ml=counts.truth * float(voxel_ml),
        predicted_ml=counts.predicted * float(voxel_ml),
        counts=counts,
        slices=slices,
        lesions=lesions,
    )


def failed_case(case: str, reason: str, person: str | None = None) -> CaseMetrics:
    """Return the row of a case that could not be scored: no number at all, and the reason."""
    return CaseMetrics(case=case, person=case if person is None else person, status="failed", reason=reason)
