"""One generated case: a person, a stroke and a scan, all from (seed, index) and nothing else."""

from dataclasses import dataclass

import numpy as np

from ..template import Template
from .acquisition import acquire
from .anatomy import Anatomy, ExVacuo, draw_anatomy
from .appearance import draw_stage, paint_stroke
from .distractors import paint_distractors
from .presets import StrokePreset, draw_plan
from .shapes import choose_seed, grow_stroke
from .territories import find_territory

__all__ = ["GeneratedCase", "IllBrain", "draw_ill_brain", "generate_case"]

# Each part of a case has random numbers of its own, so that more of one does not change the others.
_STREAMS = ("plan", "anatomy", "distractors", "shape", "appearance", "acquisition")


@dataclass(frozen=True)
class GeneratedCase:
    """A scan with its truth.

    Attributes
    ----------
    scan : float32 (X, Y, Z), 0..100
    mask : uint8 (X, Y, Z), 0 or 1
    record : what was drawn, JSON-able
    """

    scan: np.ndarray
    mask: np.ndarray
    record: dict


@dataclass(frozen=True)
class IllBrain:
    """A brain with a stroke, before a scanner has seen it.

    Attributes
    ----------
    anatomy : Anatomy
    t1 : float32 (X, Y, Z) of the anatomy's box, ideal intensities 0..1, zero outside the brain
    mask : uint8 (X, Y, Z) of the template's grid, 0 or 1
    fluid : intensity of cerebrospinal fluid
    record : what was drawn, JSON-able
    """

    anatomy: Anatomy
    t1: np.ndarray
    mask: np.ndarray
    fluid: float
    record: dict


def generate_case(
    template: Template,
    preset: StrokePreset,
    seed: int,
    index: int,
    minimum_ml: float | None = None,
    maximum_ml: float | None = None,
) -> GeneratedCase:
    """Draw case number ``index`` of a set.

    Parameters
    ----------
    template : the brain to start from
    preset : distribution of the strokes
    seed, index : the case's identity; the same two give the same bytes
    minimum_ml, maximum_ml : narrower limits of the volume than the preset's

    Raises
    ------
    DataError
        Where the limits leave no volume, or the stroke does not fit.
    """
    brain = draw_ill_brain(template, preset, seed, index, minimum_ml, maximum_ml)
    scan = acquire(_random_numbers(seed, index)["acquisition"], template, brain.anatomy, brain.t1)
    return GeneratedCase(scan, brain.mask, brain.record)


def _random_numbers(seed: int, index: int) -> dict[str, np.random.Generator]:
    return {name: np.random.default_rng([seed, index, number]) for number, name in enumerate(_STREAMS)}


def draw_ill_brain(
    template: Template,
    preset: StrokePreset,
    seed: int,
    index: int,
    minimum_ml: float | None = None,
    maximum_ml: float | None = None,
) -> IllBrain:
    """Draw the brain of case number ``index``; parameters and errors as of :func:`generate_case`."""
    rng = _random_numbers(seed, index)
    plan = draw_plan(rng["plan"], preset, minimum_ml, maximum_ml)
    start = choose_seed(rng["plan"], template, find_territory(plan.territory), plan.side)
    stage = draw_stage(rng["plan"], preset, plan)
    ex_vacuo = None
    if stage.name == "cavity" and plan.volume_ml > 10:
        ex_vacuo = ExVacuo(start, min(6.0, 1.4 * plan.volume_ml ** (1 / 3) * rng["plan"].uniform(0.3, 1.0)))
    anatomy = draw_anatomy(rng["anatomy"], template, ex_vacuo)
    stroke = grow_stroke(rng["shape"], anatomy, template, plan, start)

    t1 = anatomy.t1.copy()
    ventricle = t1[(anatomy.ventricle_distance < -1) & (t1 > 0)]
    fluid = float(np.median(ventricle) if ventricle.size else np.percentile(t1[t1 > 0], 1)) * 0.92
    paint_distractors(rng["distractors"], anatomy, t1, fluid)
    paint_stroke(rng["appearance"], anatomy, t1, stroke, stage, fluid)
    mask = np.zeros(template.shape, np.uint8)
    mask[anatomy.box] = stroke.mask
    voxel_ml = template.spacing**3 / 1000
    record = {
        "synthetic": True,
        "seed": seed,
        "index": index,
        "preset": preset.name,
        "territory": plan.territory,
        "side": "left" if plan.side < 0 else "right",
        "bilateral": plan.bilateral,
        "stage": stage.name,
        "drawn_ml": plan.volume_ml,
        "lesion_ml": int(mask.sum()) * voxel_ml,
        "parts_ml": [count * voxel_ml for count in stroke.part_voxels],
        "seed_mm": [float(value) for value in start],
    }
    return IllBrain(anatomy, t1, mask, fluid, record)
