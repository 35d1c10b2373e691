"""One person's brain: the template under an affine and an elastic warp, with ventricles of a person's own width.

Everything smooth (the warp, the distances) is computed on a lattice of knots 4 mm apart and interpolated to voxels, so
that only intensities and tissue maps are sampled at full resolution.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..random_fields import lattice_shape, smooth_field, upsample
from ..template import Template

__all__ = ["Anatomy", "ExVacuo", "draw_anatomy"]

_KNOT_MM = 4.0
_MARGIN_MM = 16.0
_VENTRICLE_HALF_WIDTH_MM = 4.0
_VENTRICLE_REACH_MM = 14.0


@dataclass(frozen=True)
class ExVacuo:
    """Widening of the near ventricle toward lost tissue.

    Attributes
    ----------
    centre : (3,) MNI mm, the middle of the lesion
    shift_mm : how far the ventricle's wall moves
    """

    centre: np.ndarray
    shift_mm: float


@dataclass(frozen=True)
class Anatomy:
    """A deformed brain within a box of the template's grid.

    Attributes
    ----------
    box : slices of the box within the template's grid
    spacing : edge of a voxel, mm
    t1 : float32 (X, Y, Z) of the box, the template's intensities 0..1, zero outside the brain
    grey, white : float32 (X, Y, Z), probability 0..1
    points : float32 (3, X, Y, Z), MNI mm of the template that each voxel shows
    surface_distance, ventricle_distance : float32 (X, Y, Z), mm, negative inside
    """

    box: tuple[slice, slice, slice]
    spacing: float
    t1: np.ndarray
    grey: np.ndarray
    white: np.ndarray
    points: np.ndarray
    surface_distance: np.ndarray
    ventricle_distance: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.t1.shape

    @property
    def tissue(self) -> np.ndarray:
        """Float32 (X, Y, Z): probability of grey or white matter."""
        return self.grey + self.white

    def voxel_of(self, point: np.ndarray) -> tuple[int, int, int]:
        """Voxel of the box that shows a point of the template (MNI mm)."""
        distance = sum((axis - np.float32(value)) ** 2 for axis, value in zip(self.points, point, strict=True))
        return tuple(int(i) for i in np.unravel_index(np.argmin(distance), self.shape))


def _random_affine(rng: np.random.Generator) -> np.ndarray:
    """(3, 3) matrix near the identity: scaling 3 %, rotation 2.5 degrees, shear 2 % (standard deviations)."""
    scale = np.diag(np.exp(rng.normal(0, 0.03, 3)))
    x, y, z = np.deg2rad(rng.normal(0, 2.5, 3))
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation = np.eye(3) + skew + skew @ skew / 2  # second order is exact enough below ten degrees
    shear = np.eye(3) + np.triu(rng.normal(0, 0.02, (3, 3)), 1)
    return rotation @ shear @ scale


def _sample(volume: np.ndarray, template: Template, points: np.ndarray, order: int = 1) -> np.ndarray:
    """Interpolate a template's map at MNI points (3, ...)."""
    origin = template.affine[:3, 3].astype(np.float32).reshape(3, *[1] * (points.ndim - 1))
    voxels = (points - origin) / np.float32(template.spacing)
    return ndimage.map_coordinates(volume, voxels, order=order, mode="nearest", output=np.float32)


def _widen_ventricles(template: Template, points: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Move sampled points toward the ventricles' axes, so that their walls appear `shift` mm further out.

    Between the ventricle's axis and its new wall the depth is stretched evenly; beyond, the shift fades over
    14 mm, so that the warp never folds.
    """
    distance = _sample(template.ventricle_distance, template, points)
    step = np.float32(3.0)
    normal = np.empty_like(points)
    for axis in range(3):
        offset = np.zeros((3, 1, 1, 1), np.float32)
        offset[axis] = step
        ahead = _sample(template.ventricle_distance, template, points + offset)
        behind = _sample(template.ventricle_distance, template, points - offset)
        normal[axis] = ahead - behind
    normal /= np.sqrt((normal**2).sum(0)) + np.float32(1e-3)
    half_width = _VENTRICLE_HALF_WIDTH_MM
    stretched = np.maximum(distance + half_width, 0) / (half_width + shift)
    faded = np.exp(-((np.maximum(distance - shift, 0) / _VENTRICLE_REACH_MM) ** 2))
    amount = shift * np.where(distance < shift, stretched, faded)
    return points - normal * amount.astype(np.float32)


def draw_anatomy(rng: np.random.Generator, template: Template, ex_vacuo: ExVacuo | None = None) -> Anatomy:
    """Draw a person: global shape, local shape, width of the ventricles on each side.

    Parameters
    ----------
    rng : all of the person's variety comes from it
    template : the brain to deform
    ex_vacuo : widening next to an old lesion, where there is one
    """
    extent = ndimage.find_objects(template.brain.astype(np.uint8))[0]
    margin = round(_MARGIN_MM / template.spacing)
    box = tuple(
        slice(max(0, part.start - margin), min(size, part.stop + margin))
        for part, size in zip(extent, template.shape, strict=True)
    )
    shape = tuple(part.stop - part.start for part in box)
    step = _KNOT_MM / template.spacing
    knots = lattice_shape(shape, step)

    origin = [template.affine[i, 3] + template.spacing * box[i].start for i in range(3)]
    axes = [origin[i] + _KNOT_MM * (np.arange(knots[i]) - 1) for i in range(3)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))
    centre = np.array([0.0, -18.0, 8.0]).reshape(3, 1)
    points = _random_affine(rng) @ (grid.reshape(3, -1) - centre) + centre + rng.normal(0, 1.5, (3, 1))
    points = points.reshape(grid.shape).astype(np.float32)
    for length_mm, amplitude_mm in ((44.0, 2.6), (18.0, 1.3)):
        points += np.stack([smooth_field(rng, knots, length_mm / _KNOT_MM) for _ in range(3)]) * np.float32(
            amplitude_mm
        )

    age = min(np.exp(rng.normal(0.2, 0.7)), 5.0)
    left, right = age * np.exp(rng.normal(0, 0.25, 2))
    weight = 1 / (1 + np.exp(-points[0] / 4))
    shift = left * (1 - weight) + right * weight
    if ex_vacuo is not None:
        away = points - np.asarray(ex_vacuo.centre, np.float32).reshape(3, 1, 1, 1)
        near = np.exp(-(away**2).sum(0) / (2 * 26.0**2))
        shift = shift + ex_vacuo.shift_mm * near * np.where(np.sign(points[0]) == np.sign(ex_vacuo.centre[0]), 1, 0.15)
    points = _widen_ventricles(template, points, shift.astype(np.float32))

    surface = upsample(_sample(template.surface_distance, template, points), shape, step)
    ventricle = upsample(_sample(template.ventricle_distance, template, points), shape, step)
    points = np.stack([upsample(axis, shape, step) for axis in points])

    inside = surface < 3.0
    at = points[:, inside]
    maps = {}
    for name in ("t1", "grey", "white"):
        maps[name] = np.zeros(shape, np.float32)
        maps[name][inside] = _sample(getattr(template, name), template, at)
    return Anatomy(
        box=box,
        spacing=template.spacing,
        points=points,
        surface_distance=surface,
        ventricle_distance=ventricle,
        **maps,
    )
