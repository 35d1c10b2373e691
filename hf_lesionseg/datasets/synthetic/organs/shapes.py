"""The shape of the target organ and of its look-alikes: a bent, lobed body along a centre line, in many sizes.

Both come from the same distribution on purpose: only the place tells them apart.
"""

import numpy as np

from ..random_fields import smooth_field
from .body import BodyFrame

__all__ = ["KINDS", "grow_organ"]

KINDS = {
    "oblique": ((30, -4, -16), (10, 12, -6), (-22, 12, 4), (-60, -8, 14)),
    "horseshoe": ((28, -6, -20), (12, 12, 6), (-22, 12, 8), (-56, -8, -18)),  # lower slices cut it twice
    "transverse": ((34, 0, -4), (10, 10, 0), (-22, 12, 2), (-58, -2, 4)),
    "sigmoid": ((24, 12, -18), (10, -6, -6), (-20, 14, 4), (-52, -6, 16)),
    "compact": ((14, -4, -10), (6, 6, -3), (-8, 6, 4), (-20, -2, 10)),
}
"""Nodes (x, y, z) of the centre line about the organ's middle, standard mm at scale 1."""

_RADII = (14.0, 9.0, 10.0, 9.0)
_STEPS = 28


def grow_organ(
    rng: np.random.Generator,
    frame: BodyFrame,
    *,
    centre: tuple[float, float, float],
    scale: float,
    kind: str,
    turn: float = 0.0,
    mirrored: bool = False,
) -> np.ndarray:
    """Draw one organ.

    Parameters
    ----------
    rng : of the nodes and the lobes
    frame : where the voxels lie
    centre : (x, y, z), standard mm
    scale : of length and thickness; 1 is a pancreas
    kind : name in `KINDS`
    turn : about z, radian
    mirrored : left for right

    Returns
    -------
    bool (X, Y, Z); may be empty where the centre lies outside the field of view
    """
    nodes = np.asarray(KINDS[kind], float) + rng.normal(0, (4, 3, 3), (4, 3))
    radii = np.asarray(_RADII) * np.exp(rng.normal(0, 0.15, 4))
    if mirrored:
        nodes[:, 0] *= -1
    cosine, sine = np.cos(turn), np.sin(turn)
    nodes[:, :2] = nodes[:, :2] @ np.array([[cosine, sine], [-sine, cosine]])
    nodes = nodes * scale + centre
    radii = radii * scale
    along = np.linspace(0, 3, _STEPS)
    line = np.stack([np.interp(along, range(4), nodes[:, axis]) for axis in range(3)], axis=1)
    thick = np.interp(along, range(4), radii)

    reach = 1.6 * thick.max()
    low, high = line.min(0) - reach, line.max(0) + reach
    near = (frame.x > low[0]) & (frame.x < high[0]) & (frame.y > low[1]) & (frame.y < high[1])
    near &= (frame.z > low[2]) & (frame.z < high[2])
    lobes = smooth_field(rng, frame.shape, max(1.6, 7.0 * scale / frame.spacing[0]))
    organ = np.zeros(frame.shape, bool)
    if not near.any():
        return organ
    points = np.stack([frame.x[near], frame.y[near], frame.z[near]])
    closest = np.full(points.shape[1], np.inf, np.float32)
    for place, radius in zip(line, thick, strict=True):
        squares = ((points - place[:, None].astype(np.float32)) ** 2).sum(0) / np.float32(radius) ** 2
        np.minimum(closest, squares, out=closest)
    organ[near] = np.sqrt(closest) < 1 + np.float32(rng.uniform(0.15, 0.3)) * lobes[near]
    return organ
