"""What makes a mask doubtful, in one table: the run record and the console read it, and a later doubt is one more row.

A flag never changes a mask. Each row gives a name, the sentence that a person reads, the threshold from which on it is
raised, how grave it is, and which networks or scans it applies to; a measure of the same name finds its value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..models.volume_geometry import SliceGeometry

NOTE, WARNING = "note", "warning"


@dataclass(frozen=True)
class Flag:
    """One row of the table.

    Attributes
    ----------
    name : str
        Stable: readers of records rely on it.
    sentence : str
        With ``{value}``, ``{threshold}`` and what else its measure gives.
    threshold : float
        Raised where the value is greater, or smaller where ``below`` says so.
    severity : {"note", "warning"}
        A note is worth knowing; with a warning the mask is likely wrong.
    where : str
        What it applies to.
    below : bool
    told : bool
        Among the warnings of a case as well; not where what reads the scan tells the same in more detail.
    """

    name: str
    sentence: str
    threshold: float
    severity: str
    where: str
    below: bool = False
    told: bool = True

    def is_raised(self, value: float) -> bool:
        return value < self.threshold if self.below else value > self.threshold


@dataclass(frozen=True)
class Evidence:
    """What measures look at.

    Attributes
    ----------
    geometry : SliceGeometry
        With its record of normalisation.
    scan : Scan
        The first channel, on its file's grid.
    mask : uint8 array (X, Y, Z)
    processor : LesionImageProcessor
    config : PretrainedConfig
        Configuration of the network; ``training_grid`` holds the voxel sizes that it was trained on.
    """

    geometry: SliceGeometry
    scan: Any
    mask: np.ndarray
    processor: Any
    config: Any


FLAGS = (
    Flag(
        "normalization-fallback",
        "intensities of channel {channel} are not on the range of this network, and another normalisation was taken",
        0,
        WARNING,
        "networks with a fixed range of intensities",
        told=False,
    ),
    Flag(
        "planes-resampled",
        "slices of {rows:.3g} x {columns:.3g} mm were resampled to {to_rows:.3g} x {to_columns:.3g} mm, which smooths "
        "them; a network that was trained without blur and noise may miss lesions",
        1.05,
        NOTE,
        "networks with a training spacing",
    ),
    Flag(
        "spacing-far-from-training",
        "voxels of {rows:.3g} x {columns:.3g} mm in slices {slices:.3g} mm apart differ by a factor of {value:.2g} "
        "from those of training ({trained}); the mask may miss lesions",
        1.5,
        WARNING,
        "networks that know the voxel size of their training",
    ),
    Flag(
        "slices-across-gaps",
        "{axis} slices are cut across voxels that are {value:.2g} times longer than wide ({rows:.3g} x {columns:.3g} "
        "mm): the scan was taken in another direction than this network reads it; export it in {axis} slices",
        2.0,
        WARNING,
        "all networks",
    ),
    Flag(
        "tissue-too-small",
        "the tissue is {value:.3g} mm long, less than any head: check the voxel size",
        60.0,
        WARNING,
        "scans of 20 voxels or more along two sides",
        below=True,
    ),
    Flag(
        "tissue-too-large",
        "the tissue is {value:.4g} mm long, more than a scanner holds: check the voxel size",
        700.0,
        WARNING,
        "all scans",
    ),
    Flag(
        "lesion-too-large",
        "the lesions take {value:.0%} of all tissue ({ml:.4g} of {tissue_ml:.4g} mL), more than is plausible",
        0.4,
        WARNING,
        "all networks",
    ),
)
_FEWEST_VOXELS = 20  # along a side: what is smaller is a cut-out, whose size tells nothing


def find_flags(evidence: Evidence) -> list[dict]:
    """Raise the flags of a finished case.

    Returns
    -------
    list of dict
        ``name``, ``severity``, ``sentence`` (one line, filled in), ``value``, ``threshold`` and ``where``, in the order
        of :data:`FLAGS`; ready for JSON.
    """
    raised, shared = [], _measure_tissue(evidence)
    for flag in FLAGS:
        found = _MEASURES[flag.name](evidence, shared)
        if found is None or not flag.is_raised(found["value"]):
            continue
        raised.append(
            {
                "name": flag.name,
                "severity": flag.severity,
                "sentence": f"{evidence.scan.path}: " + flag.sentence.format(threshold=flag.threshold, **found),
                "value": round(float(found["value"]), 6),
                "threshold": flag.threshold,
                "where": flag.where,
            }
        )
    return raised


def sentences(raised: list[dict]) -> list[str]:
    """Sentences of raised flags that belong among the warnings of a case."""
    told = {flag.name for flag in FLAGS if flag.told}
    return [each["sentence"] for each in raised if each["name"] in told]


def _measure_tissue(evidence: Evidence) -> Mapping | None:
    """Longest side of the tissue in mm, and its voxels; None where normalisation does not separate air from tissue."""
    records = evidence.geometry.normalization
    level = _tissue_level(records[0]) if records else None
    if level is None:
        return None
    tissue = evidence.scan.data > level
    sides = []
    for axis, size in enumerate(evidence.scan.spacing):
        (inside,) = np.nonzero(tissue.any(axis=tuple(other for other in range(3) if other != axis)))
        sides.append((inside[-1] - inside[0] + 1) * size if inside.size else 0.0)
    return {"longest": max(sides), "voxels": int(np.count_nonzero(tissue))}


def _tissue_level(record: Mapping) -> float | None:
    """Intensity between air and any tissue: a twentieth of the way up, as where windows are placed on planes."""
    if record["method"] == "none":
        return None
    if record["method"] == "z-score":  # air is zero, unless values have no such meaning
        bright = record["mean"] + 2.5 * record["std"]
        return 0.05 * bright if record["mean"] > 0 else None
    air = record["low"] if record["method"] == "window" else min(0.0, record["low"])
    return air + 0.05 * (record["high"] - air)


def _normalization_fallback(evidence, _):
    fallen = [record["channel"] for record in evidence.geometry.normalization if record.get("instead_of")]
    return {"value": len(fallen), "channel": ", ".join(fallen)}


def _sides(geometry):
    """Row and column distance of the scan's own planes, and from slice to slice, in mm."""
    rows, columns = (
        side * after / before
        for side, before, after in zip(
            geometry.plane_spacing, geometry.plane_shape, geometry.resampled_shape, strict=True
        )
    )
    return rows, columns, geometry.slice_spacing


def _planes_resampled(evidence, _):
    if not getattr(evidence.processor, "training_spacing", None) or not evidence.geometry.is_resampled:
        return None
    rows, columns, _ = _sides(evidence.geometry)
    to_rows, to_columns = evidence.geometry.plane_spacing
    value = max(_factor(rows, to_rows), _factor(columns, to_columns))
    return {"value": value, "rows": rows, "columns": columns, "to_rows": to_rows, "to_columns": to_columns}


def _spacing_far_from_training(evidence, _):
    trained = _trained_grid(evidence)
    if trained is None:
        return None
    rows, columns, slices = _sides(evidence.geometry)
    pairs = [(one, other) for one, other in zip((rows, columns, slices), trained, strict=True) if other]
    sizes = " x ".join(map(_size, trained[:2])) + " mm"
    return {
        "value": max(_factor_beyond(*pair) for pair in pairs),
        "rows": rows,
        "columns": columns,
        "slices": slices,
        "trained": sizes + (f", {_size(trained[2])} mm apart" if trained[2] else ""),
    }


def _factor_beyond(side, trained):
    """By what factor a distance differs from that of training, or from the nearest of a range of them."""
    if isinstance(trained, list | tuple):
        trained = min(max(side, trained[0]), trained[1])
    return _factor(side, trained)


def _size(trained):
    return "{:.3g} to {:.3g}".format(*trained) if isinstance(trained, list | tuple) else f"{trained:.3g}"


def _slices_across_gaps(evidence, _):
    rows, columns, _ = _sides(evidence.geometry)
    trained = _trained_grid(evidence) or (1.0, 1.0, None)
    value = _factor(rows, columns)
    if not any(isinstance(side, list | tuple) for side in trained[:2]):
        value /= _factor(*trained[:2])
    return {"value": value, "rows": rows, "columns": columns, "axis": evidence.geometry.slice_axis}


def _tissue_too_small(evidence, tissue):
    if tissue is None or not tissue["voxels"] or sorted(evidence.scan.shape)[1] < _FEWEST_VOXELS:
        return None
    return {"value": tissue["longest"]}


def _tissue_too_large(evidence, tissue):
    return None if tissue is None else {"value": tissue["longest"]}


def _lesion_too_large(evidence, tissue):
    if tissue is None or not tissue["voxels"]:
        return None
    lesion = np.count_nonzero(evidence.mask)
    millilitres = evidence.scan.voxel_ml
    return {
        "value": lesion / tissue["voxels"],
        "ml": lesion * millilitres,
        "tissue_ml": tissue["voxels"] * millilitres,
    }


_MEASURES: Mapping[str, Callable[[Evidence, Mapping | None], Mapping | None]] = {
    "normalization-fallback": _normalization_fallback,
    "planes-resampled": _planes_resampled,
    "spacing-far-from-training": _spacing_far_from_training,
    "slices-across-gaps": _slices_across_gaps,
    "tissue-too-small": _tissue_too_small,
    "tissue-too-large": _tissue_too_large,
    "lesion-too-large": _lesion_too_large,
}


def _trained_grid(evidence: Evidence) -> tuple[float, float, float | None] | None:
    """Rows, columns and slices of training in mm: as the network says, else as its planes are resampled to."""
    grid = getattr(evidence.config, "training_grid", None)
    if grid:
        return tuple(grid)
    spacing = getattr(evidence.processor, "training_spacing", None)
    return (*spacing, None) if spacing else None


def _factor(one: float, other: float) -> float:
    return max(one / other, other / one)
