"""What a scan shows besides the stroke and nobody labels: sulci widened by atrophy, white-matter lesions, small spaces.

Without these a network learns that anything dark is a stroke.
"""

import numpy as np
from scipy import ndimage

from ..random_fields import smooth_field
from .anatomy import Anatomy

__all__ = ["paint_distractors"]


def paint_distractors(rng: np.random.Generator, anatomy: Anatomy, t1: np.ndarray, fluid: float) -> None:
    """Change ``t1`` (float32, the anatomy's box, 0..1) in place.

    Parameters
    ----------
    rng : of all distractors
    anatomy : tissue maps and distances
    t1 : intensities 0..1
    fluid : intensity of cerebrospinal fluid in this brain
    """
    brain = t1 > 0
    _contrast_of_tissues(rng, anatomy, t1)
    _widen_sulci(rng, anatomy, t1, brain, fluid)
    _white_matter_lesions(rng, anatomy, t1)
    _perivascular_spaces(rng, anatomy, t1, fluid)
    _texture(rng, anatomy, t1)
    np.maximum(t1, np.float32(1e-3), out=t1)
    t1[~brain] = 0


def _contrast_of_tissues(rng: np.random.Generator, anatomy: Anatomy, t1: np.ndarray) -> None:
    """Let grey matter be a little lighter or darker against white matter than in the average brain."""
    t1 += np.float32(rng.normal(0, 0.025)) * anatomy.grey


def _widen_sulci(rng: np.random.Generator, anatomy: Anatomy, t1: np.ndarray, brain: np.ndarray, fluid: float) -> None:
    """Show more fluid between the gyri, unevenly over the brain: atrophy, of one side more than of the other."""
    space = np.where(brain, np.clip(1 - anatomy.tissue, 0, 1), 0).astype(np.float32)
    space = ndimage.gaussian_filter(space, 0.8 / anatomy.spacing, truncate=3)
    uneven = smooth_field(rng, anatomy.shape, 32 / anatomy.spacing)
    tilt = np.tanh(anatomy.points[0] / 20) * np.float32(rng.normal(0, 0.45))
    strength = np.clip(rng.uniform(0.3, 2.2) * np.exp(0.45 * uneven + tilt), 0, 4)
    weight = np.clip(strength * space, 0, 0.95)
    t1 += weight * (np.minimum(fluid, t1) - t1)


def _white_matter_lesions(rng: np.random.Generator, anatomy: Anatomy, t1: np.ndarray) -> None:
    """Darken caps around the ventricles and spots in the deep white matter (white-matter disease of small vessels)."""
    burden = rng.gamma(1.2, 0.5)  # many have little, a few have much
    box = _box_of(anatomy.ventricle_distance < 24, anatomy.shape)
    distance, white = anatomy.ventricle_distance[box], anatomy.white[box]
    shape = distance.shape
    broad = smooth_field(rng, shape, 11 / anatomy.spacing)
    fine = smooth_field(rng, shape, 4 / anatomy.spacing)
    caps = np.clip((1.6 * burden + 1.6 * broad + 0.5 * fine - np.maximum(distance, 0) / 1.8) / 2, 0, 1)
    spots = np.clip((fine + 0.4 * broad - (3.1 - 0.5 * min(burden, 2.0))) / 0.3, 0, 1) * (distance > 4)
    depth = rng.uniform(0.08, 0.28)
    t1[box] *= 1 - depth * np.maximum(caps, spots) * np.clip(2 * white - 0.6, 0, 1)


def _perivascular_spaces(rng: np.random.Generator, anatomy: Anatomy, t1: np.ndarray, fluid: float) -> None:
    """Draw thin tubes of fluid, 1 to 2 mm wide, in the basal ganglia and the white matter above."""
    x, y, z = anatomy.points
    region = (np.abs(x) > 12) & (np.abs(x) < 34) & (y > -45) & (y < 40) & (z > -12) & (z < 48)
    candidates = np.flatnonzero(region & (anatomy.tissue > 0.9) & (anatomy.ventricle_distance > 3))
    count = min(int(rng.poisson(rng.gamma(2.0, 9.0))), len(candidates))
    tubes = np.zeros(anatomy.shape, np.float32)
    for start in rng.choice(candidates, count, replace=False):
        centre = np.array(np.unravel_index(start, anatomy.shape), float)
        direction = rng.standard_normal(3) + np.array([0, 0, 1.5])  # they follow the perforating arteries upward
        direction /= np.linalg.norm(direction)
        length = rng.uniform(1, 7) / anatomy.spacing
        steps = np.linspace(-length / 2, length / 2, int(length) + 2)[:, None]
        voxels = np.round(centre + steps * direction).astype(int)
        voxels = voxels[((voxels >= 0) & (voxels < anatomy.shape)).all(1)]
        tubes[tuple(voxels.T)] = rng.uniform(0.5, 1.0)
    box = _box_of(tubes > 0, anatomy.shape, 3)
    weight = np.clip(2.2 * ndimage.gaussian_filter(tubes[box], 0.6 / anatomy.spacing, truncate=3), 0, 0.9)
    t1[box] += weight * (np.minimum(fluid, t1[box]) - t1[box])


def _texture(rng: np.random.Generator, anatomy: Anatomy, t1: np.ndarray) -> None:
    """Mottle all tissue faintly, so that texture alone does not give the lesion away."""
    fine = smooth_field(rng, anatomy.shape, 3 / anatomy.spacing)
    broad = smooth_field(rng, anatomy.shape, 9 / anatomy.spacing)
    t1 *= 1 + np.float32(rng.uniform(0.01, 0.025)) * fine + np.float32(rng.uniform(0.01, 0.03)) * broad


def _box_of(mask: np.ndarray, shape: tuple[int, int, int], margin: int = 0) -> tuple[slice, slice, slice]:
    """Slices around the True voxels; an empty box where there are none."""
    found = ndimage.find_objects(mask.astype(np.uint8))
    if not found:
        return (slice(0, 0),) * 3
    return tuple(
        slice(max(0, part.start - margin), min(size, part.stop + margin))
        for part, size in zip(found[0], shape, strict=True)
    )
