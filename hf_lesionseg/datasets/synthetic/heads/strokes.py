"""Strokes: which masks, where and how large, and what they look like.

An old stroke is a mix: a cavity as dark as CSF, a dim rim of gliosis, islands of spared tissue, and cortex that is gone
from gyri which have thinned. Fresh ones are hardly darker than the brain.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["MaskPlacement", "Stroke", "draw_stroke", "rotation"]

#: Volumes are log-uniform between these, mL.
SMALLEST_ML, LARGEST_ML = 0.3, 320.0


@dataclass(frozen=True)
class MaskPlacement:
    """One mask of the catalogue, moved.

    Attributes
    ----------
    mask : uint8 array (X, Y, Z)
    origin : mm of MNI space, of its first voxel
    matrix : (3, 3), from the head's MNI space to the mask's, about ``centre``
    centre, shift : array of 3, mm
    mirrored : bool
    ragged : how far its outline wanders, mm
    """

    mask: np.ndarray
    origin: np.ndarray
    matrix: np.ndarray
    centre: np.ndarray
    shift: np.ndarray
    mirrored: bool
    ragged: float

    def covers(self, points, wander):
        """How much of the mask lies at points (n, 3) of MNI space, 0 to 1; ``wander`` (n, 3) ruffles its outline."""
        where = points.copy()
        if self.mirrored:
            where[:, 0] *= -1
        where = (where - self.centre - self.shift + self.ragged * wander) @ self.matrix.T + self.centre - self.origin
        shape = np.array(self.mask.shape)
        near = ((where > -0.5) & (where < shape - 0.5)).all(1)
        found = np.zeros(len(points), np.float32)
        at = np.rint(where[near]).astype(np.int64)
        found[near] = self.mask[at[:, 0], at[:, 1], at[:, 2]]
        return found

    def some_point(self, rng):
        """A point of MNI space inside the mask as it lies in the head."""
        voxels = np.flatnonzero(self.mask)
        at = np.array(np.unravel_index(voxels[int(rng.integers(len(voxels)))], self.mask.shape), np.float32)
        where = np.linalg.solve(self.matrix, at + self.origin - self.centre) + self.centre + self.shift
        if self.mirrored:
            where[0] *= -1
        return where.astype(np.float32)


@dataclass(frozen=True)
class Stroke:
    """One patient's strokes and how they look.

    Attributes
    ----------
    placements : tuple of MaskPlacement
    volume_ml : that was asked for
    kind : "cavity", "mixed", "gliosis" or "subacute"
    cavity : share of the core that is fluid, 0 to 1
    threshold, softness : where in from the outline (0) to the core (1) the cavity begins, and how sharply
    ribbon : how much of the cortex is lost, 0 to 1, to a depth of ``ribbon_mm``
    dim : brightness of what is left, relative to healthy tissue
    patchy : weight of the random fields in all this
    islands : share of spared islands
    pull : how far ventricles and sulci widen nearby, mm
    """

    placements: tuple[MaskPlacement, ...]
    volume_ml: float
    kind: str
    cavity: float
    threshold: float
    softness: float
    ribbon: float
    ribbon_mm: float
    dim: float
    patchy: float
    islands: float
    pull: float

    @property
    def rim_mm(self):
        """Over how many mm from its outline a stroke changes to its core: the larger it is, the more."""
        return 0.25 * (self.volume_ml * 1000 * 0.75 / np.pi) ** (1 / 3)

    @property
    def is_old(self):
        """Whether CSF between the lost gyri counts as lesion, as those who outline old strokes do it."""
        return self.kind in ("cavity", "mixed")


_KINDS = {"cavity": 0.54, "mixed": 0.28, "gliosis": 0.11, "subacute": 0.07}


def draw_stroke(masks, split: str, rng: np.random.Generator, difficulty: float = 1.0, volume_ml=None) -> Stroke:
    """Draw one patient's strokes.

    Parameters
    ----------
    masks : LesionMasks
    split : whose masks to use
    rng : source of randomness
    difficulty : 0 leaves out the faint ones
    volume_ml : about this volume; log-uniform from 0.3 to 320 mL by default
    """
    if volume_ml is None:
        volume_ml = float(np.exp(rng.uniform(np.log(SMALLEST_ML), np.log(LARGEST_ML))))
    placements = [_place(masks, split, volume_ml, rng)]
    while rng.random() < 0.22 and len(placements) < 3:
        placements.append(_place(masks, split, volume_ml * float(np.exp(rng.uniform(-3, 0))), rng))
    names, weights = list(_KINDS), np.array(list(_KINDS.values()))
    if volume_ml > 60:  # a large one that is old has lost its tissue
        weights = weights * (1.4, 1.2, 0.5, 0.4)
    if difficulty < 0.5:
        weights = weights * (1, 1, 0.4, 0.1)
    kind = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    old = {"cavity": (0.8, 1.0), "mixed": (0.45, 0.95), "gliosis": (0.05, 0.35), "subacute": (0.0, 0.08)}[kind]
    dim = {"cavity": (0.5, 0.88), "mixed": (0.5, 0.82), "gliosis": (0.45, 0.78), "subacute": (0.6, 0.88)}[kind]
    softness = float(rng.uniform(0.05, 0.25))
    return Stroke(
        placements=tuple(placements),
        volume_ml=volume_ml,
        kind=kind,
        cavity=float(rng.uniform(*old)),
        threshold=float(rng.uniform(0.1, 0.65) if kind == "mixed" else rng.uniform(0.0, 0.4)),
        softness=softness,
        ribbon=float(rng.uniform(0.3, 1.0) if kind in ("cavity", "mixed") and rng.random() < 0.8 else 0.0),
        ribbon_mm=float(rng.uniform(2.5, 8.0)),
        dim=float(rng.uniform(*dim)),
        patchy=float(rng.uniform(0.05, 0.45) * (1.6 if kind == "mixed" else 1.0)),
        islands=float(rng.uniform(0, 0.3) if kind == "mixed" else rng.uniform(0, 0.08)),
        pull=float(rng.uniform(0, 9) * min(1.0, volume_ml / 40) if kind in ("cavity", "mixed") else 0.0),
    )


def _place(masks, split, volume_ml, rng):
    mask, origin, record = masks.choose(split, volume_ml, rng)
    scale = float(np.clip((volume_ml / record["volume_ml"]) ** (1 / 3), 0.75, 1.35))
    angles = rng.normal(0, np.deg2rad(9), 3)
    matrix = rotation(angles) @ np.diag(1 / (scale * np.exp(rng.normal(0, 0.08, 3))))
    centre = origin + np.array(mask.shape, np.float32) / 2
    return MaskPlacement(
        mask, origin, matrix.astype(np.float32), centre.astype(np.float32), rng.normal(0, 4, 3).astype(np.float32),
        bool(rng.random() < 0.5), float(rng.uniform(0.3, 2.6)),
    )  # fmt: skip


def rotation(angles):
    """Turn about x, then y, then z, by angles in radians: (3, 3)."""
    (a, b, c), cos, sin = angles, np.cos, np.sin
    about_x = np.array([[1, 0, 0], [0, cos(a), -sin(a)], [0, sin(a), cos(a)]])
    about_y = np.array([[cos(b), 0, sin(b)], [0, 1, 0], [-sin(b), 0, cos(b)]])
    about_z = np.array([[cos(c), -sin(c), 0], [sin(c), cos(c), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x
