"""The metrics of a case, each declared once: :data:`METRICS` is what every table, card, record and help text reads.

With P the predicted and G the true lesion voxels of the whole 3-D volume, TP = |P and G|, FP = |P| - TP,
FN = |G| - TP. To add a metric, add one :class:`Metric` to the table, and its rows to
``docs/reference/metrics-policy.md``, which a test compares with it.

Overlap and RVD are the measures of CLCI-Net's tables (Yang et al., MICCAI 2019), which take them per subject in 3-D and
then average. Its RVD is a signed mean: over- and under-segmentation cancel and tiny lesions dominate it, which is why
the absolute value stands beside it.

Empty masks
-----------
One policy, the same wherever this package prints a metric. Each metric's :class:`EmptyRule` says its part, and
:func:`empty_mask_policy` puts them into words for every ``metrics.json``. The thoughts behind it:

* a false alarm on a healthy scan: recall and RVD divide by zero, are undefined (NaN), left out of their means, and
  counted.
* a missed lesion: precision is 0 / 0 by the formula; it counts as 0, so that missing a lesion is never free.
* a distance needs two surfaces: with one mask empty, or both, it is undefined, left out of the mean, and counted in
  ``n_undefined_distances``. Such a mean says nothing of the lesions that were missed.
* a failed case (prediction missing, unreadable, on another grid): every metric undefined, counted in ``n_failed``.
* single slices (:mod:`~hf_lesionseg.evaluation.slicewise`) go by the same rule: a slice empty in both has a Dice of 1,
  a false alarm and a miss one of 0. Over "positive slices" only the misses count, over "all slices" all three.

Public evaluators differ here: the code of the paper's group scores 0 wherever a denominator is 0, the ISLES 2022
evaluator gives two empty masks a Dice of 1, that of ISLES 2018 an empty prediction a Hausdorff distance of 1e8
(:mod:`~hf_lesionseg.evaluation.presets`). On data where every scan has a lesion that is found the rules agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from .mask_pair import MaskPair
from .voxel_counts import VoxelCounts

GROUPS = {
    "overlap": "of voxels",
    "distance": "between surfaces (:mod:`~hf_lesionseg.evaluation.surface`)",
    "lesion": "of whole lesions (:mod:`~hf_lesionseg.evaluation.lesionwise`)",
    "volume": "sizes, with no better or worse",
}
SLOW_GROUPS = ("distance", "lesion")
"""Computed only where distances are asked for: they take longest."""

DECIMALS = {"0..1": 3, "mL": 2, "mm": 2}
"""Decimals of a value in each unit, wherever it is printed; one for every other unit."""

UNDEFINED = math.nan


@dataclass(frozen=True)
class EmptyRule:
    """Values of a metric for empty masks: a number, NaN (undefined), or None if its formula holds.

    Attributes
    ----------
    both, truth, prediction : float or None
        With both masks empty, only the truth, only the prediction.
    """

    both: float | None = None
    truth: float | None = None
    prediction: float | None = None

    def value(self, counts: VoxelCounts) -> float | None:
        """The value that the rule gives; None where neither mask is empty, or the formula holds."""
        if counts.truth:
            return None if counts.predicted else self.prediction
        return self.truth if counts.predicted else self.both


NO_SURFACE = EmptyRule(UNDEFINED, UNDEFINED, UNDEFINED)
BY_ITS_FORMULA = EmptyRule()


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes
    ----------
    name : str
        Its key in JSON, its column in CSV and its attribute of a
        :class:`~hf_lesionseg.evaluation.scored_case.CaseMetrics`.
    title : str
        Its name in full, for the model card.
    unit : str
        "0..1", "%", "mm", "mL" or what is counted.
    best : float or None
        The value of a perfect mask; None for a size, which has no better or worse.
    compute : callable of MaskPair to float
        The formula; not asked where ``empty`` has a value.
    empty : EmptyRule
    group : str
        One of :data:`GROUPS`.
    source : str
        Where it was defined.
    formula : str
        ``compute`` in the signs of this module, for the docs.
    short : str
        Heading in tables; the title where there is no shorter one.
    watched : bool
        Also in the record of each validation during training, in its printed line and its curve.
    """

    name: str
    title: str
    unit: str
    best: float | None
    compute: Callable[[MaskPair], float]
    empty: EmptyRule
    group: str
    source: str
    formula: str
    short: str = ""
    watched: bool = False

    def __post_init__(self):
        if not self.name.isidentifier():
            raise ValueError(f"metric {self.name!r}: a name has letters, digits and underscores only")
        if self.group not in GROUPS:
            raise ValueError(f"metric {self.name}: group {self.group!r} is unknown; use {', '.join(GROUPS)}")

    @property
    def heading(self) -> str:
        """Heading in tables that have a column for the unit."""
        return self.short or self.title

    @property
    def label(self) -> str:
        """Title and unit, where the unit has no column of its own."""
        return self._with_unit(self.title)

    @property
    def headed_unit(self) -> str:
        """Heading and unit, for the help text."""
        return self._with_unit(self.heading)

    def _with_unit(self, words: str) -> str:
        return words if self.unit == "0..1" else f"{words} ({self.unit})"

    @property
    def history_name(self) -> str:
        """Its key in the record of a validation."""
        return f"validation_{self.name}"

    def of(self, pair: MaskPair) -> float:
        """The metric of two masks, by its rule where one of them is empty; NaN where it is undefined."""
        value = self.empty.value(pair.counts)
        return float(self.compute(pair)) if value is None else float(value)

    def text(self, value: float | None) -> str:
        """Return a value as every table prints it: with the decimals of its unit, a dash for none."""
        if value is None or not math.isfinite(value):
            return "–"
        return f"{value:.{DECIMALS.get(self.unit, 1)}f}"

    def mean_and_sd(self, described: Mapping[str, float | None]) -> str:
        """Return mean and standard deviation of a summary's entry as "mean (SD)"."""
        return f"{self.text(described['mean'])} ({self.text(described['std'])})"


def _iou(counts: VoxelCounts) -> float:
    return counts.true_positive / (counts.true_positive + counts.false_positive + counts.false_negative)


def _signed_rvd(counts: VoxelCounts) -> float:
    # A ratio of voxel numbers: both masks lie on one grid.
    return 100.0 * (counts.predicted / counts.truth - 1.0)


METRICS = [
    Metric(
        name="dice",
        title="Dice",
        short="Dice (DSC)",
        unit="0..1",
        best=1,
        compute=lambda pair: 2 * pair.counts.true_positive / (pair.counts.predicted + pair.counts.truth),
        formula="2 TP / (2 TP + FP + FN)",
        empty=EmptyRule(both=1, truth=0, prediction=0),
        group="overlap",
        source="Dice, Ecology 26:297, 1945",
        watched=True,
    ),
    Metric(
        name="precision",
        title="Precision",
        unit="0..1",
        best=1,
        compute=lambda pair: pair.counts.true_positive / pair.counts.predicted,
        formula="TP / (TP + FP)",
        empty=EmptyRule(both=1, truth=0, prediction=0),
        group="overlap",
        source="positive predictive value",
        watched=True,
    ),
    Metric(
        name="recall",
        title="Recall",
        unit="0..1",
        best=1,
        compute=lambda pair: pair.counts.true_positive / pair.counts.truth,
        formula="TP / (TP + FN)",
        empty=EmptyRule(both=1, truth=UNDEFINED, prediction=0),
        group="overlap",
        source="sensitivity",
        watched=True,
    ),
    Metric(
        name="iou",
        title="IoU",
        unit="0..1",
        best=1,
        compute=lambda pair: _iou(pair.counts),
        formula="TP / (TP + FP + FN)",
        empty=EmptyRule(both=1, truth=0, prediction=0),
        group="overlap",
        source="Jaccard, New Phytol. 11:37, 1912",
        watched=True,
    ),
    Metric(
        name="voe",
        title="Volumetric overlap error",
        short="VOE",
        unit="%",
        best=0,
        compute=lambda pair: 100.0 * (1.0 - _iou(pair.counts)),
        formula="100 (1 - IoU)",
        empty=EmptyRule(both=0, truth=100, prediction=100),
        group="overlap",
        source="Heimann et al., IEEE TMI 28:1251, 2009",
    ),
    Metric(
        name="rvd",
        title="Relative volume difference, signed",
        short="RVD, signed",
        unit="%",
        best=0,
        compute=lambda pair: _signed_rvd(pair.counts),
        formula="100 (|P| / |G| - 1), signed: too much is positive",
        empty=EmptyRule(both=0, truth=UNDEFINED, prediction=-100),
        group="overlap",
        source="Heimann et al. 2009",
    ),
    Metric(
        name="absolute_rvd",
        title="Relative volume difference, absolute",
        short="RVD, absolute",
        unit="%",
        best=0,
        compute=lambda pair: abs(_signed_rvd(pair.counts)),
        formula="its absolute value",
        empty=EmptyRule(both=0, truth=UNDEFINED, prediction=100),
        group="overlap",
        source="Heimann et al. 2009",
    ),
    Metric(
        name="avd_ml",
        title="Absolute volume difference (AVD)",
        short="AVD, absolute",
        unit="mL",
        best=0,
        compute=lambda pair: abs(pair.counts.predicted - pair.counts.truth) * pair.voxel_ml,
        formula="difference of the volumes, absolute",
        empty=BY_ITS_FORMULA,
        group="overlap",
        source="AVD of ISLES 2018 and 2022",
    ),
    Metric(
        name="hd_mm",
        title="Hausdorff distance (HD)",
        short="HD",
        unit="mm",
        best=0,
        compute=lambda pair: pair.surface.hd_mm,
        formula="largest distance of a surface voxel to the other surface, both ways",
        empty=NO_SURFACE,
        group="distance",
        source="Huttenlocher et al., IEEE TPAMI 15:850, 1993",
    ),
    Metric(
        name="hd95_mm",
        title="Hausdorff distance, 95 % (HD95)",
        short="HD95",
        unit="mm",
        best=0,
        compute=lambda pair: pair.surface.hd95_mm,
        formula="the larger of the two directions' 95th percentiles",
        empty=NO_SURFACE,
        group="distance",
        source="Huttenlocher et al. 1993, quantiles",
    ),
    Metric(
        name="assd_mm",
        title="Average symmetric surface distance (ASSD)",
        short="ASSD",
        unit="mm",
        best=0,
        compute=lambda pair: pair.surface.assd_mm,
        formula="mean of all these distances, both ways pooled",
        empty=NO_SURFACE,
        group="distance",
        source="Heimann et al. 2009",
    ),
    Metric(
        name="lesion_count_difference",
        title="Lesion count difference",
        short="Lesion count diff.",
        unit="lesions",
        best=0,
        compute=lambda pair: pair.lesions.difference,
        formula="difference of the numbers of lesions, absolute",
        empty=BY_ITS_FORMULA,
        group="lesion",
        source="ISLES 2022",
    ),
    Metric(
        name="lesion_f1",
        title="Lesion-wise F1",
        unit="0..1",
        best=1,
        compute=lambda pair: pair.lesions.f1,
        formula="TP / (TP + (FP + FN) / 2) of whole lesions",
        empty=EmptyRule(both=1, truth=0, prediction=0),
        group="lesion",
        source="ISLES 2022",
    ),
    Metric(
        name="truth_ml",
        title="True volume",
        unit="mL",
        best=None,
        compute=lambda pair: pair.truth_ml,
        formula="|G| times the volume of a voxel",
        empty=BY_ITS_FORMULA,
        group="volume",
        source="",
    ),
    Metric(
        name="predicted_ml",
        title="Predicted volume",
        unit="mL",
        best=None,
        compute=lambda pair: pair.predicted_ml,
        formula="|P| times the volume of a voxel",
        empty=BY_ITS_FORMULA,
        group="volume",
        source="",
    ),
]
"""Every metric, in the order of every table. What is added here reaches them all."""


def find_metric(name: str) -> Metric:
    """Return the metric of that name; ``KeyError`` where there is none."""
    for metric in METRICS:
        if metric.name == name:
            return metric
    raise KeyError(name)


def scores() -> list[Metric]:
    """Metrics that have a best value: all but the volumes."""
    return [metric for metric in METRICS if metric.best is not None]


def measured(metrics: Iterable[Metric], slow: bool) -> list[Metric]:
    """Those of ``metrics`` that were asked for; ``slow`` says whether distances and single lesions were."""
    return [metric for metric in metrics if slow or metric.group not in SLOW_GROUPS]


def of_counts(name: str, counts: VoxelCounts) -> float:
    """The overlap metric of that name, from voxel counts alone.

    Examples
    --------
    >>> of_counts("dice", VoxelCounts(true_positive=3, false_positive=2, false_negative=0))
    0.75
    """
    return find_metric(name).of(MaskPair(counts))


def units() -> dict[str, str]:
    """Unit of every metric, and of the means over slices, as ``metrics.json`` lists them."""
    return {metric.name: metric.unit for metric in METRICS} | dict.fromkeys(
        ("dice_positive_slices", "dice_all_slices"), find_metric("dice").unit
    )


def empty_mask_policy() -> str:
    """The policy of this module's docstring in words, as it is printed in the outputs."""
    kinds = {
        "Truth and prediction empty": "both",
        "Only the truth empty": "truth",
        "Only the prediction empty": "prediction",
    }
    return " ".join([*(f"{title}: {_values_in_words(kind)}." for title, kind in kinds.items()), *_REST_OF_THE_POLICY])


_REST_OF_THE_POLICY = (
    "Undefined values are left out of their mean and counted; a distance needs two surfaces, and the cases without one",
    "are counted in n_undefined_distances.",
    "Failed case (prediction missing, unreadable or on another grid): every metric undefined, counted in n_failed.",
    "Dice per slice: over positive slices (lesion in the truth) a missed one counts 0; over all slices one that is",
    "empty in both counts 1 and a false alarm 0. The slices of all cases are pooled, each with one vote.",
)


def _values_in_words(kind: str) -> str:
    """The metrics of each value that the rules for a kind of empty masks give: ``dice = iou = 1, hd_mm undefined``."""
    names: dict[str, list[str]] = {}
    for metric in METRICS:
        value = getattr(metric.empty, kind)
        if value is not None:
            names.setdefault("undefined" if math.isnan(value) else f"{value:g}", []).append(metric.name)
    undefined = names.pop("undefined", [])
    parts = [f"{' = '.join(own)} = {value}" for value, own in names.items()]
    return "; ".join([", ".join(parts), *([f"{', '.join(undefined)} undefined"] if undefined else [])])
