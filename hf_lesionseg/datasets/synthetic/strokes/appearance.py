"""What a grown infarct looks like on T1w: a mix of cavity, gliotic rim and spared tissue, never one constant.

Intensity = c * fluid + (1 - c) * g * tissue, where c is a random field that rises toward the core and g the darkening
of the tissue that is left. A real chronic case has a median of 0.53 of its mirror side, and an upper quartile near it.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..random_fields import smooth_field
from .anatomy import Anatomy
from .presets import StrokePlan, StrokePreset
from .shapes import Stroke

__all__ = ["LesionStage", "draw_stage", "paint_stroke"]


@dataclass(frozen=True)
class LesionStage:
    """How far an infarct has turned into a cavity.

    Attributes
    ----------
    name : "cavity", "gliosis" or "subacute"
    cavity : largest fluid fraction of its core, 0..1
    cavity_share : how much of the lesion the cavity takes, 0..1
    darkening : g, intensity of the tissue left over the healthy intensity
    blur_mm : standard deviation of the boundary's blur
    """

    name: str
    cavity: float
    cavity_share: float
    darkening: float
    blur_mm: float


def draw_stage(rng: np.random.Generator, preset: StrokePreset, plan: StrokePlan) -> LesionStage:
    """Draw the stage: large old infarcts are cavities mostly, small or fresh ones may be near iso-intense."""
    volume = plan.volume_ml
    blur = rng.uniform(0.7, 1.0)
    chance = rng.random()
    if preset.chronic and chance < (0.45 if volume < 1 else 0.65 if volume < 10 else 0.88):
        return LesionStage("cavity", rng.uniform(0.6, 1.0), rng.uniform(0.35, 0.8), rng.uniform(0.62, 0.85), blur)
    if preset.chronic and volume >= 5:
        return LesionStage("gliosis", rng.uniform(0.1, 0.4), rng.uniform(0.2, 0.5), rng.uniform(0.58, 0.78), blur)
    return LesionStage("subacute", rng.uniform(0, 0.12), rng.uniform(0, 0.3), rng.uniform(0.75, 1.0), blur)


def paint_stroke(
    rng: np.random.Generator, anatomy: Anatomy, t1: np.ndarray, stroke: Stroke, stage: LesionStage, fluid: float
) -> None:
    """Darken the lesion's voxels of ``t1`` (float32, the anatomy's box) in place.

    Parameters
    ----------
    rng : of the fields
    anatomy : for the voxels' size and the tissue under the lesion
    t1 : intensities 0..1
    stroke, stage : what was grown, and its age
    fluid : intensity of cerebrospinal fluid in this brain
    """
    margin = int(np.ceil(4 / anatomy.spacing))
    extent = ndimage.find_objects(stroke.mask.astype(np.uint8))[0]
    box = tuple(
        slice(max(0, part.start - margin), min(size, part.stop + margin))
        for part, size in zip(extent, anatomy.shape, strict=True)
    )
    mask, tissue = stroke.mask[box], t1[box]
    shape = mask.shape
    core = 1 - stroke.arrival[box]  # 1 at the seed, 0 at the edge
    fine, broad, patches, shade = (
        smooth_field(rng, shape, length_mm / anatomy.spacing) for length_mm in (3.0, 9.0, 6.0, 7.0)
    )
    rise = (core - (0.85 - stage.cavity_share) + 0.14 * fine + 0.22 * broad) / 0.3
    cavity = stage.cavity * np.clip(rise, 0, 1)
    darkening = stage.darkening + 0.07 * shade + 0.05 * fine
    spared = np.clip((patches - 1.0) / 0.5, 0, 1)  # islands that the infarct left alone, a sixth of it
    cavity *= 1 - 0.9 * spared
    darkening += spared * (0.97 - darkening)
    lesion = cavity * fluid + (1 - cavity) * np.clip(darkening, 0.4, 1.02) * tissue
    weight = ndimage.gaussian_filter(mask.astype(np.float32), stage.blur_mm / anatomy.spacing, truncate=3)
    t1[box] = tissue + weight * (lesion - tissue)
