"""One scored case: every metric of the table, the Dice of its slices, the numbers of its lesions; and its rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from ..imaging import Scan
from .lesionwise import BY_A_VOXEL, LESION_NAMES, LesionCounts, LesionRule
from .mask_pair import MaskPair
from .metrics import METRICS, measured
from .slicewise import SLICE_NAMES, SliceDice, count_slices, file_axis, slice_dice
from .voxel_counts import VoxelCounts, count_voxels


@dataclass(frozen=True)
class CaseMetrics:
    """The metrics of one case. Each of :data:`~hf_lesionseg.evaluation.metrics.METRICS` is an attribute, as ``dice``.

    Attributes
    ----------
    case, person : str
        Name of the case, and of the person it was taken from (several cases may share one).
    status : str
        "ok" or "failed".
    reason : str
        Why a failed case failed; empty otherwise.
    values : mapping of metric to float
        What was computed; NaN is an undefined value. A metric that is not in it was not asked for.
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
    values: Mapping[str, float] = field(default_factory=dict)
    counts: VoxelCounts | None = None
    slices: SliceDice | None = None
    lesions: LesionCounts | None = None

    def __getattr__(self, name: str) -> float:
        # Python comes here for what is not a field: a metric. Pickle and copy ask before there are values.
        values = self.__dict__.get("values")
        if values is not None and (name in values or any(metric.name == name for metric in METRICS)):
            return values.get(name, math.nan)
        raise AttributeError(f"{type(self).__name__} has no metric {name!r}")

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

    def with_values(self, values: Mapping[str, float]) -> CaseMetrics:
        """Return the case with other values of some metrics."""
        return replace(self, values={**self.values, **values})

    def all_values(self) -> dict[str, float | None]:
        """Return every metric of the table by its name; undefined ones are None, never NaN, which is not JSON."""
        found = {metric.name: self.values.get(metric.name, math.nan) for metric in METRICS}
        return {name: value if math.isfinite(value) else None for name, value in found.items()}

    def to_dict(self) -> dict[str, str | int | float | None]:
        """Return one flat row for JSON or CSV; undefined values are None."""
        row = {"case": self.case, "person": self.person, "status": self.status, "reason": self.reason}
        row |= self.all_values()
        for name in ("true_positive", "false_positive", "false_negative"):
            row[name] = None if self.counts is None else getattr(self.counts, name)
        for names, part in ((SLICE_NAMES, self.slices), (LESION_NAMES, self.lesions)):
            row |= dict.fromkeys(names) if part is None else part.to_dict()
        return row


def case_metrics(
    case: str,
    masks: VoxelCounts | tuple[np.ndarray, np.ndarray],
    voxel_ml: float,
    person: str | None = None,
) -> CaseMetrics:
    """Score one case from its voxels alone: no slices, no distances, no single lesions.

    Parameters
    ----------
    case : str
        Its name.
    masks : VoxelCounts or (prediction, truth)
        Counts over the whole volume, or the two masks as
        :func:`~hf_lesionseg.evaluation.voxel_counts.count_voxels` takes them.
    voxel_ml : float
        Volume of one voxel in mL (mm^3 / 1000).
    person : str, optional
        Whose scan it is; the case's own name if not given.

    Raises
    ------
    ValueError
        ``voxel_ml`` is not a positive number.
    """
    if not (math.isfinite(voxel_ml) and voxel_ml > 0):
        raise ValueError(f"case {case}: a voxel of {voxel_ml} mL is impossible; give mm^3 / 1000 of one voxel")
    if isinstance(masks, VoxelCounts):
        return _scored(case, MaskPair(masks, float(voxel_ml)), person)
    return _scored(case, MaskPair(count_voxels(*masks), float(voxel_ml), *masks), person)


def score_volume(
    case: str,
    prediction: np.ndarray,
    truth: Scan,
    *,
    slice_axis: str = "axial",
    person: str | None = None,
    distances: bool = False,
    lesion_rule: LesionRule = BY_A_VOXEL,
) -> CaseMetrics:
    """Score a predicted mask against the true one, as a volume, slice by slice and, if asked for, lesion by lesion.

    Parameters
    ----------
    case : str
    prediction : array (X, Y, Z) of bool or of an integer type
        On the grid of ``truth``.
    truth : Scan
        The truth, from :func:`~hf_lesionseg.imaging.read_mask`.
    slice_axis : {"axial", "coronal", "sagittal"}
    person : str, optional
        Whose scan it is; the case's own name if not given.
    distances : bool
        Measure the distances between the surfaces and count single lesions, too.
    lesion_rule : LesionRule
        What one lesion is, and when it is found.
    """
    slices = count_slices(prediction, truth.data, file_axis(truth.affine, slice_axis))
    counts = sum(slices, VoxelCounts(0, 0, 0))
    pair = MaskPair(counts, float(truth.voxel_ml), prediction, truth.data, truth.affine, lesion_rule)
    return _scored(case, pair, person, slice_dice(slices, slice_axis), distances)


def _scored(
    case: str, pair: MaskPair, person: str | None, slices: SliceDice | None = None, distances: bool = False
) -> CaseMetrics:
    return CaseMetrics(
        case=case,
        person=case if person is None else person,
        values={metric.name: metric.of(pair) for metric in measured(METRICS, slow=distances)},
        counts=pair.counts,
        slices=slices,
        lesions=pair.lesions if distances else None,
    )


def failed_case(case: str, reason: str, person: str | None = None) -> CaseMetrics:
    """Return the row of a case that could not be scored: no number at all, and the reason."""
    return CaseMetrics(case=case, person=case if person is None else person, status="failed", reason=reason)


_PARTS = {"counts": VoxelCounts, "slices": SliceDice, "lesions": LesionCounts}


def case_to_row(case: CaseMetrics) -> dict:
    """Return all that is known of a case as JSON holds it, so that cases scored at different times can be pooled."""
    row = {"case": case.case, "person": case.person, "status": case.status, "reason": case.reason}
    parts = {name: getattr(case, name) for name in _PARTS}
    return row | case.all_values() | {name: part and asdict(part) for name, part in parts.items()}


def case_from_row(row: Mapping) -> CaseMetrics:
    """Return the case that :func:`case_to_row` was given, whether or not the row has been through JSON.

    Raises
    ------
    KeyError, TypeError
        The row is None, or a metric is missing: it was written before that was added to the table.
    """
    values = {metric.name: math.nan if row[metric.name] is None else row[metric.name] for metric in METRICS}
    parts = {
        name: None if row[name] is None else kind(**{key: _tupled(value) for key, value in row[name].items()})
        for name, kind in _PARTS.items()
    }
    known = {name: row[name] for name in ("case", "person", "status", "reason")}
    return CaseMetrics(**known, values={} if known["status"] == "failed" else values, **parts)


def _tupled(value):
    return tuple(value) if isinstance(value, list) else value
