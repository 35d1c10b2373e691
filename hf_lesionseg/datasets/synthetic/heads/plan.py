"""What is drawn for one head: who, how tilted and how old, how bright, with which strokes, how scanned."""

from dataclasses import dataclass

import numpy as np

from .anatomy import Anatomy
from .catalogue import HeadCatalogue
from .contrast import Contrast, draw_contrast
from .strokes import Stroke, draw_stroke, rotation

__all__ = ["Ageing", "HeadPlan", "Scanning", "draw_head"]

#: Knots of the coarse random fields lie this far apart, mm, over +-160 mm; those of the fine ones over +-108 mm.
COARSE, FINE = 32.0, 7.0
COARSE_KNOTS, FINE_KNOTS = 12, 32

#: What heads are made of: kind -> share.
_KINDS = {"labels": 0.45, "set-in": 0.25, "head": 0.15, "brain": 0.15}


@dataclass(frozen=True)
class Ageing:
    """Atrophy and what comes with it, all unlabelled.

    Attributes
    ----------
    ventricles, sulci : how far they widen, mm; negative sulci close up
    caps : width of dark white matter beside the ventricles, mm
    spots : random field above which white matter is dark in patches
    dark : brightness of caps and spots, relative to white matter
    lacunes : (n, 4) centre in MNI space and radius, mm
    lacune_dark : 0 as bright as tissue, 1 as dark as CSF
    """

    ventricles: float
    sulci: float
    caps: float
    spots: float
    dark: float
    lacunes: np.ndarray
    lacune_dark: float


@dataclass(frozen=True)
class Scanning:
    """The scanner: geometry of slices, artefacts and what was done to the file.

    Attributes
    ----------
    slice_distance, slice_thickness : mm
    bottom, top : of the field of view, mm from the centre of the brain
    stripped : None, or how much CSF a skull-stripping leaves around the brain, mm
    face : None, or (height, slope) of the plane below and before which a defaced scan is empty
    noise : standard deviation, relative to white matter
    bias : strength of the shading, in powers of e
    blur : standard deviation of in-plane smoothing, mm
    ringing : share of the frequencies that are kept, 1 for all
    ghost : (strength, share of the field of view)
    power : of the final brightness
    background : "noise", "zero" or "floor"
    """

    slice_distance: float
    slice_thickness: float
    bottom: float
    top: float
    stripped: float | None
    face: tuple[float, float] | None
    noise: float
    bias: float
    blur: float
    ringing: float
    ghost: tuple[float, float]
    power: float
    background: str


@dataclass(frozen=True)
class HeadPlan:
    """All that was drawn for one head.

    Attributes
    ----------
    outer, inner : Anatomy
        Who lends the skull and who the brain; mostly one person.
    matrix : (3, 3), from the scan's mm to the outer anatomy's
    coarse : (12, 12, 12, 6) standard normal: displacement along x, y, z, shading, ageing of ventricles and of sulci
    fine : (32, 32, 32, 3) standard normal
    wander : standard deviation of the coarse displacement, mm
    stroke : Stroke, or None
    mni_centre, mni_spread : of the MNI brain, mm
    """

    outer: Anatomy
    inner: Anatomy
    matrix: np.ndarray
    coarse: np.ndarray
    fine: np.ndarray
    wander: float
    contrast: Contrast
    ageing: Ageing
    stroke: Stroke | None
    scanning: Scanning
    mni_centre: np.ndarray
    mni_spread: np.ndarray

    def to_inner(self, points):
        """Points of the outer anatomy in the brain that was set in."""
        return points if self.inner is self.outer else points * (self.inner.spread / self.outer.spread)

    def to_mni(self, points):
        """Points of the inner anatomy in MNI space, mean to mean and spread to spread."""
        return points * (self.mni_spread / self.inner.spread) + self.mni_centre

    def height_of(self, point):
        """About how high a point of MNI space lies in the scan, mm."""
        in_inner = (np.asarray(point) - self.mni_centre) * (self.inner.spread / self.mni_spread)
        in_outer = in_inner if self.inner is self.outer else in_inner * (self.outer.spread / self.inner.spread)
        return float(np.linalg.solve(self.matrix, in_outer)[2])

    @property
    def heights(self):
        """Lowest and highest slice, mm, of the head within the field of view."""
        low, high = self.outer.bottom, self.outer.top
        if self.scanning.stripped is not None or self.outer.kind == "brain":  # nothing but brain, about this high
            low, high = -2.6 * self.outer.spread[2], 2.6 * self.outer.spread[2]
        return max(low, self.scanning.bottom), min(high, self.scanning.top)


def draw_head(
    catalogue: HeadCatalogue,
    split: str,
    rng: np.random.Generator,
    *,
    with_stroke: bool,
    difficulty: float = 1.0,
    volume_ml: float | None = None,
    kinds=None,
) -> HeadPlan:
    """Draw one head.

    Parameters
    ----------
    catalogue : HeadCatalogue
    split : "fit", "choose" or "report": whose anatomies and masks to use
    rng : source of randomness
    with_stroke : whether it has a stroke
    difficulty : 0 is gentle, 1 as hard as real scans and harder
    volume_ml : of the stroke, about
    kinds : kinds of heads to draw from, all that the split can make by default
    """
    outer, inner = _draw_people(catalogue, split, rng, kinds)
    contrast = draw_contrast(rng, difficulty)
    flips = np.diag([rng.choice((-1.0, 1.0)), 1.0, 1.0])
    tilt = rotation(np.deg2rad(rng.normal(0, (7, 4, 4)) * (0.4 + 0.6 * difficulty)))
    size = np.diag(np.exp(rng.normal(0, 0.025) + rng.normal(0, 0.025, 3)))
    stroke = draw_stroke(catalogue.masks, split, rng, difficulty, volume_ml) if with_stroke else None
    return HeadPlan(
        outer=outer,
        inner=inner,
        matrix=(flips @ tilt @ size).astype(np.float32),
        coarse=rng.standard_normal((COARSE_KNOTS,) * 3 + (6,), dtype=np.float32),
        fine=rng.standard_normal((FINE_KNOTS,) * 3 + (3,), dtype=np.float32),
        wander=float(rng.uniform(0.5, 4.0) * (0.4 + 0.6 * difficulty)),
        contrast=contrast,
        ageing=_draw_ageing(rng, inner),
        stroke=stroke,
        scanning=_draw_scanning(rng, outer, difficulty),
        mni_centre=catalogue.mni_centre,
        mni_spread=catalogue.mni_spread,
    )


def _draw_people(catalogue, split, rng, kinds):
    by_kind = {kind: catalogue.of(split, kind) for kind in ("labels", "head", "brain")}
    able = {
        "labels": bool(by_kind["labels"]),
        "set-in": bool(by_kind["brain"] and (by_kind["labels"] or by_kind["head"])),
        "head": bool(by_kind["head"]),
        "brain": bool(by_kind["brain"]),
    }
    names = [kind for kind in (kinds or _KINDS) if able[kind]]
    weights = np.array([_KINDS[kind] for kind in names])
    kind = names[int(rng.choice(len(names), p=weights / weights.sum()))]

    def one_of(found):
        return found[int(rng.integers(len(found)))]

    if kind == "set-in":
        return one_of([*by_kind["labels"], *by_kind["head"]]), one_of(by_kind["brain"])
    person = one_of(by_kind[kind])
    return person, person


def _draw_ageing(rng, inner):
    age = float(rng.random())
    count = int(rng.poisson(2.5 * age))
    lacunes = np.column_stack(
        [rng.choice((-1, 1), count) * rng.uniform(8, 32, count), rng.uniform(-35, 30, count),
         rng.uniform(-8, 32, count), rng.uniform(1.2, 2.8, count)]
    ).astype(np.float32)  # fmt: skip
    closing = inner.kind == "labels" and rng.random() < 0.35
    return Ageing(
        ventricles=float(age * age * rng.uniform(0, 8)),
        sulci=float(-rng.uniform(0.3, 1.6) if closing else age * rng.uniform(0, 1.5)),
        caps=float(age * rng.uniform(0, 8)),
        spots=float(3.2 - 1.6 * age * rng.random()),
        dark=float(rng.uniform(0.55, 0.92)),
        lacunes=lacunes,
        lacune_dark=float(rng.uniform(0.4, 1.0)),
    )


def _draw_scanning(rng, outer, difficulty):
    distance = float(rng.choice((1.0, 1.0, 1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0)) * rng.uniform(0.93, 1.07))
    bottom = float(rng.uniform(-150, -72))
    top = 120.0 if rng.random() < 0.9 else float(rng.uniform(50, 80))
    has_skull = outer.kind != "brain"
    stripped = float(rng.uniform(0, 4)) if has_skull and rng.random() < 0.2 else None
    face = (float(rng.uniform(-45, -10)), float(rng.uniform(0.3, 1.2))) if rng.random() < 0.2 else None
    faint = rng.random()
    return Scanning(
        slice_distance=distance,
        slice_thickness=distance * float(rng.choice((1.0, 0.8))),
        bottom=bottom,
        top=top,
        stripped=stripped,
        face=face,
        noise=float(np.exp(rng.uniform(np.log(0.006), np.log(0.03 + 0.06 * difficulty)))),
        bias=float(rng.uniform(0, 0.12 + 0.2 * difficulty)),
        blur=float(rng.uniform(0, 1.2)),
        ringing=float(rng.uniform(0.55, 0.85)) if faint < 0.12 * difficulty else 1.0,
        ghost=(float(rng.uniform(0.02, 0.1)) if 0.12 < faint < 0.12 + 0.12 * difficulty else 0.0,
               float(rng.uniform(0.2, 0.5))),
        power=float(np.exp(rng.uniform(-0.25, 0.25) * difficulty)),
        background=str(rng.choice(("noise", "zero", "floor"), p=(0.5, 0.35, 0.15))),
    )  # fmt: skip
