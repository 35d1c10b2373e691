"""A head around a brain: skull, scalp, face and neck, made of simple shapes.

The average brain of nilearn comes without a head, and whoever has this package alone has no other. Places are in mm of
MNI space, about those of an adult. It is a head for demonstrations and tests, not one to train on.
"""

import numpy as np
from scipy import ndimage as ndi

from ..random_fields import smooth_field

__all__ = ["BELOW_MM", "add_head", "head_grid"]

#: How far a head reaches beyond the template's grid, mm: below and above each axis.
BELOW_MM, ABOVE_MM = (12, 20, 60), (12, 36, 8)
#: Brightness, relative to white matter.
_SKIN, _FAT, _MUSCLE, _BONE, _MARROW, _WATER = 0.75, 1.35, 0.55, 0.07, 0.9, 0.2
_EYE, _LENS, _MUCOSA, _CORD, _TONGUE = 0.22, 0.5, 0.8, 0.9, 0.65


def head_grid(shape, affine, spacing):
    """Return shape, affine and the offset in voxels of a grid with room for a head around the template's grid."""
    before = np.array([round(mm / spacing) for mm in BELOW_MM])
    after = np.array([round(mm / spacing) for mm in ABOVE_MM])
    wider = np.array(affine, np.float64)
    wider[:3, 3] -= wider[:3, :3] @ before
    return tuple(int(n) for n in np.array(shape) + before + after), wider, before


def add_head(
    rng: np.random.Generator, brain: np.ndarray, inside: np.ndarray, affine: np.ndarray, fluid: float
) -> np.ndarray:
    """Build a head around a brain.

    Parameters
    ----------
    rng : of the head's shape and of the mottle of its tissues
    brain : float32 (X, Y, Z), white matter 1, zero outside
    inside : bool (X, Y, Z), the brain with the fluid within it
    affine : (4, 4), axes RAS+ and isotropic
    fluid : brightness of cerebrospinal fluid

    Returns
    -------
    float32 (X, Y, Z), zero in air
    """
    spacing = float(affine[0, 0])
    along = [affine[i, 3] + spacing * np.arange(size, dtype=np.float32) for i, size in enumerate(brain.shape)]
    x, y, z = np.meshgrid(*along, indexing="ij", sparse=True)
    depth = (ndi.distance_transform_edt(~inside) * spacing).astype(np.float32)
    depth -= 0.8 * smooth_field(rng, brain.shape, 24 / spacing)
    fluid_mm, skull_mm, scalp_mm = rng.uniform(1.2, 2.6), rng.uniform(5.5, 8.0), rng.uniform(5.0, 7.5)
    size = rng.uniform(0.95, 1.05)
    wanted = fluid_mm + skull_mm + scalp_mm
    face = _ellipsoid((x, y, z), (0, 40, -52), (58 * size, 50 * size, 66 * size))
    chin = _ellipsoid((x, y, z), (0, 62, -100), (30 * size, 26 * size, 28))
    nose = _ellipsoid((x, y, z), (0, 88 * size, -48), (11, 19, 20))
    neck = np.hypot(x / 1.0, (y + 32) / 1.05) - 56 * size + np.maximum(z + 40, 0) * 1.2
    skull = depth - wanted
    surface = skull
    for part, softness in ((face, 14), (neck, 18), (chin, 12), (nose, 6)):
        surface = _union(surface, part, softness)
    head = surface < 0
    mottle = smooth_field(rng, brain.shape, 5 / spacing)
    streaks = smooth_field(rng, brain.shape, 9 / spacing)

    values = np.where(head, np.float32(_MUSCLE) + 0.07 * streaks + 0.04 * mottle, 0)
    fat = np.clip((streaks - 0.7) / 0.4, 0, 1) * (z < -20)  # between the muscles of face and neck
    values += head * fat * (_FAT * 0.85 - values)
    layer = -surface
    values = np.where(head & (layer < scalp_mm), _FAT * (0.9 + 0.12 * mottle), values)
    values = np.where(head & (layer < 1.8), _SKIN, values)
    _add_face(values, (x, y, z), head, mottle)
    _add_neck(values, (x, y, z), head)
    bone = (depth < fluid_mm + skull_mm) & head
    between = np.abs(depth - fluid_mm - skull_mm / 2) / (0.3 * skull_mm)
    marrow = np.clip(1.2 - between + 0.35 * streaks, 0, 1) * (_MARROW - _BONE)
    values = np.where(bone, _BONE + marrow, values)
    values = np.where(depth < fluid_mm, fluid, values)
    values = ndi.gaussian_filter(values.astype(np.float32), 0.7 / spacing, truncate=3)
    shown = inside & (brain > 0)
    return np.where(shown, brain, np.where(inside, fluid, np.maximum(values, 0))).astype(np.float32)


def _ellipsoid(points, centre, axes):
    """About the distance to an ellipsoid's surface, mm, negative inside."""
    scaled = [(points[i] - centre[i]) / axes[i] for i in range(3)]
    return (np.sqrt(scaled[0] ** 2 + scaled[1] ** 2 + scaled[2] ** 2) - 1) * float(min(axes))


def _union(first, second, softness):
    """Smallest of two distances, rounded where they meet."""
    blend = np.clip(0.5 + 0.5 * (second - first) / softness, 0, 1)
    return second + (first - second) * blend - softness * blend * (1 - blend)


def _add_face(values, points, head, mottle):
    """Eyes, nose, sinuses, teeth and tongue; changes ``values`` in place."""
    beside = (np.abs(points[0]), points[1], points[2])

    def put(shape, brightness):
        values[(shape < 0) & head] = brightness

    orbit = _ellipsoid(beside, (32, 58, -36), (18, 24, 17))
    put(orbit, 1.0)
    put(_ellipsoid(beside, (32, 66, -36), (12, 12.5, 12)), _EYE)
    put(_ellipsoid(beside, (32, 75, -36), (4.5, 2.4, 4.5)), _LENS)
    put(_ellipsoid(beside, (24, 42, -36), (4, 18, 3)), 0.6)  # optic nerve, near enough
    put(_ellipsoid(beside, (28, 48, -62), (14, 17, 15)), 0.02)  # maxillary sinuses
    put(_ellipsoid(points, (0, 14, -44), (11, 10, 8)), 0.02)  # sphenoid sinus
    put(_ellipsoid(beside, (8, 76, -14), (9, 5, 8)), 0.02)  # frontal sinus
    cavity = (_ellipsoid(points, (0, 56, -52), (15, 34, 22)) < 0) & head
    values[cavity] = np.where(mottle[cavity] > 0, _MUCOSA, 0.03)
    put(_ellipsoid(points, (0, 12, -72), (10, 8, 26)), 0.02)  # pharynx
    put(_ellipsoid(points, (0, 42, -92), (23, 32, 15)), _TONGUE)
    jaw = (np.abs(_ellipsoid(points, (0, 36, -92), (36, 40, 26))) < 3.5) & (points[2] < -78) & (points[1] > 10)
    values[jaw & head] = 0.25


def _add_neck(values, points, head):
    """Spine with the cord, and the air way; changes ``values`` in place."""
    x, y, z = points
    low = z < -62
    spine = np.hypot(x, y + 40) + 0 * z
    values[(spine < 19) & low & head] = 0.38
    values[(spine < 10) & low & head] = _WATER
    values[(spine < 5.5) & low & head] = _CORD
    values[(np.hypot(x, y - 4) + 0 * z < 7) & (z < -96) & head] = 0.02
    vessels = np.hypot(np.abs(x) - 30, y + 8) + 0 * z
    values[(vessels < 4) & (z < -70) & head] = 0.12
