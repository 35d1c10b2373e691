"""Grow an infarct: a geodesic front over grey and white matter, ragged by random fields, stopped at its volume.

The front starts at a seed in an artery's territory. It walks over voxels of tissue only, so it flows around sulci and
ventricles, and it never leaves its hemisphere, so it cannot cross the falx. Its speed falls outside the shape that the
artery gives: a wedge under the cortex, a comma through the basal ganglia.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from ....errors import DataError
from ..random_fields import smooth_field
from ..template import Template
from .anatomy import Anatomy
from .presets import StrokePlan
from .territories import TERRITORIES, Territory, find_territory, territory_index

__all__ = ["Stroke", "choose_seed", "grow_stroke"]

_MIDLINE_MM = 1.0
_TISSUE = 0.5
_OFFSETS = tuple(offset for offset in product((-1, 0, 1), repeat=3) if offset > (0, 0, 0))
# Course of the lateral lenticulostriate arteries, |x| y z in MNI mm, from their origin to the corona radiata.
_LENTICULOSTRIATE = np.array([(17, 4, -8), (25, 2, 2), (28, -3, 12), (24, -7, 22), (19, -9, 32)], np.float64)


@dataclass(frozen=True)
class Stroke:
    """A grown lesion within an anatomy's box.

    Attributes
    ----------
    mask : bool (X, Y, Z) of the box
    arrival : float32 (X, Y, Z): 0 at the seed of each part to 1 at its edge, 1 outside
    part_voxels : voxels of each part as grown, largest first
    """

    mask: np.ndarray
    arrival: np.ndarray
    part_voxels: tuple[int, ...]


@lru_cache(maxsize=64)
def _seed_points(template: Template, territory: Territory, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 3) of the tissue of a territory on one side, MNI mm, and their depths under the surface, mm."""
    stride = max(1, round(3 / template.spacing))
    every = (slice(None, None, stride),) * 3
    tissue = (template.grey[every] + template.white[every]) > 0.8
    points = np.argwhere(tissue) * stride * template.spacing + template.affine[:3, 3]
    depth = -template.surface_distance[every][tissue]
    mine = (points[:, 0] * side > 2 * _MIDLINE_MM) & (depth > 3)
    mine[mine] = territory_index(points[mine]) == TERRITORIES.index(territory)
    return points[mine], depth[mine]


def choose_seed(rng: np.random.Generator, template: Template, territory: Territory, side: int) -> np.ndarray:
    """Draw the point (3,), MNI mm, in which a territory's infarct begins.

    Wedges begin in or closely under the cortex mostly, the others anywhere in their territory.
    """
    points, depth = _seed_points(template, territory, side)
    if territory.shape == "wedge" and rng.random() < 0.75:
        points = points[depth < max(14.0, depth.min() + 1)]
    return points[rng.integers(len(points))]


def _wedge_penalty(
    rng: np.random.Generator, points: np.ndarray, seed: np.ndarray, territory: Territory, length_mm: float
) -> np.ndarray:
    """Log-slowness outside a cone that opens from the depth toward the cortex under the seed."""
    infratentorial = territory.name in ("pica_aica", "sca")
    side = np.sign(seed[0])
    root = np.array((14.0, -58.0, -32.0)) if infratentorial else np.array((22.0, 0.62 * seed[1] - 4, 16.0))
    root[0] *= side
    axis = seed - root
    reach = np.linalg.norm(axis) + 1e-6
    axis /= reach
    apex = seed - axis * min(reach, length_mm * rng.uniform(0.6, 1.1))
    tangent = np.cross(axis, rng.standard_normal(3))
    tangent /= np.linalg.norm(tangent)
    relative = points - apex
    along = relative @ axis
    flat = rng.uniform(1.0, 2.0)  # branches of the artery feed a fan, wider one way than the other
    across = relative @ tangent
    other = relative @ np.cross(axis, tangent)
    angle = np.arctan2(np.hypot(across / flat, other * flat), along)
    half_angle = np.deg2rad(rng.uniform(22, 40))
    return 2.4 * np.maximum(angle / half_angle - 1, 0)


def _comma_penalty(rng: np.random.Generator, points: np.ndarray, seed: np.ndarray, length_mm: float) -> np.ndarray:
    """Log-slowness away from the lenticulostriate arteries' course, thick below and thin at the tail."""
    knots = _LENTICULOSTRIATE * (np.sign(seed[0]), 1, 1)
    t = np.linspace(0, len(knots) - 1, 33)
    course = np.stack([np.interp(t, np.arange(len(knots)), knots[:, i]) for i in range(3)], axis=1)
    course = course + (seed - course[np.argmin(np.linalg.norm(course - seed, axis=1))])
    course += 0.8 * np.cumsum(rng.standard_normal(course.shape), 0) / np.sqrt(len(course))
    distance, nearest = cKDTree(course).query(points)
    radius = 0.3 * length_mm * np.linspace(1.25, 0.6, len(course))[nearest] + 0.8
    return 2.6 * np.maximum(distance / radius - 0.7, 0)


def _log_slowness(
    rng: np.random.Generator, points: np.ndarray, seed: np.ndarray, territory: Territory, volume_ml: float, extent
) -> np.ndarray:
    """Log of the front's slowness over the nodes `points` (n, 3), MNI mm; `extent` = (shape, spacing, node mask)."""
    shape, spacing, nodes = extent
    length = 10 * volume_ml ** (1 / 3)  # edge of a cube of this volume, mm
    ragged = sum(
        weight * smooth_field(rng, shape, max(1.5, length_mm / spacing))[nodes]
        for weight, length_mm in ((0.55, 3.5), (0.75, max(6.0, 0.35 * length)), (0.65, max(9.0, 0.8 * length)))
    )
    scale = np.clip(0.35 + 0.25 * np.log10(volume_ml / 0.05), 0.35, 1.0)  # small infarcts are rounder
    scale *= np.exp(rng.normal(0.2, 0.35))  # and some are more ragged than others
    slowness = scale * ragged
    if territory.shape == "wedge":
        slowness = slowness + scale * _wedge_penalty(rng, points, seed, territory, 1.6 * length)
    elif territory.shape == "comma":
        slowness = slowness + _comma_penalty(rng, points, seed, length)
    foreign = territory_index(points) != TERRITORIES.index(territory)
    return slowness + np.where(foreign, 2.0, 0.0)


def _geodesic(slowness: np.ndarray, nodes: np.ndarray, seed: int) -> np.ndarray:
    """Arrival times over the True voxels of `nodes` (26 neighbours), from the node number `seed`."""
    number = np.full(nodes.shape, -1, np.int32)
    number[nodes] = np.arange(len(slowness), dtype=np.int32)
    starts, ends, lengths = [], [], []
    for offset in _OFFSETS:
        here = tuple(slice(max(0, -d), n - max(0, d)) for d, n in zip(offset, nodes.shape, strict=True))
        there = tuple(slice(max(0, d), n - max(0, -d)) for d, n in zip(offset, nodes.shape, strict=True))
        a, b = number[here].ravel(), number[there].ravel()
        both = (a >= 0) & (b >= 0)
        starts.append(a[both])
        ends.append(b[both])
        lengths.append(np.full(both.sum(), np.sqrt(np.dot(offset, offset)), np.float32))
    start, end = np.concatenate(starts), np.concatenate(ends)
    weights = np.concatenate(lengths) * (slowness[start] + slowness[end]) / 2
    graph = sparse.csr_matrix((weights, (start, end)), shape=(len(slowness),) * 2)
    return dijkstra(graph, directed=False, indices=seed).astype(np.float32)


def _nearest_node(nodes: np.ndarray, voxel: np.ndarray) -> np.ndarray:
    """Voxel of the largest connected part of `nodes` that is nearest to `voxel`."""
    labels, count = ndimage.label(nodes, np.ones((3, 3, 3)))
    if count == 0:
        raise DataError("no tissue is left for the infarct to grow in; draw a smaller volume")
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    candidates = np.argwhere(labels == sizes.argmax())
    return candidates[np.argmin(((candidates - voxel) ** 2).sum(1))]


def _select(arrival: np.ndarray, count: int) -> np.ndarray:
    """Bool mask of exactly `count` voxels: the first reached ones, without the crumbs that a threshold cuts off."""
    order = np.argsort(arrival, axis=None, kind="stable")
    reachable = int(np.isfinite(arrival).sum())
    taken, extra = np.zeros(arrival.size, bool), 0
    for _ in range(8):
        taken[:] = False
        taken[order[: min(count + extra, reachable)]] = True
        labels, _ = ndimage.label(taken.reshape(arrival.shape), np.ones((3, 3, 3)))
        first = labels.ravel()[order[0]]
        taken = labels.ravel() == first
        missing = count - int(taken.sum())
        if missing <= 0 or count + extra >= reachable:
            break
        extra += missing
    late = order[taken[order]][count:]
    taken[late] = False
    return taken.reshape(arrival.shape)


def _grow_part(
    rng: np.random.Generator,
    anatomy: Anatomy,
    seed: np.ndarray,
    territory: Territory,
    count: int,
    free: np.ndarray,
) -> tuple[tuple[slice, ...], np.ndarray, np.ndarray]:
    """Grow one part of `count` voxels from `seed` (MNI mm) over `free` voxels: its box, mask and arrival rank."""
    volume_ml = count * anatomy.spacing**3 / 1000
    length = 10 * volume_ml ** (1 / 3)
    step = max(1, round((1 if volume_ml < 4 else 2 if volume_ml < 60 else 3) / anatomy.spacing))
    centre = np.array(anatomy.voxel_of(seed))
    half = int(np.ceil((8 + 1.6 * length) / anatomy.spacing))
    while True:
        box = tuple(slice(max(0, c - half), min(n, c + half + 1)) for c, n in zip(centre, anatomy.shape, strict=True))
        room = free[box]
        whole = all(part.start == 0 and part.stop == n for part, n in zip(box, anatomy.shape, strict=True))
        if whole or room.sum() > 3 * count:
            break
        half = round(half * 1.4) + 1

    coarse = tuple(slice(None, None, step) for _ in range(3))
    nodes = room[coarse]
    local = _nearest_node(nodes, (centre - [part.start for part in box]) // step)
    points = anatomy.points[(slice(None), *box)][(slice(None), *coarse)][:, nodes].T.astype(np.float64)
    extent = (nodes.shape, anatomy.spacing * step, nodes)
    start = int(np.count_nonzero(nodes.ravel()[: np.ravel_multi_index(tuple(local), nodes.shape)]))
    log_slowness = _log_slowness(rng, points, points[start], territory, volume_ml, extent)
    tissue = anatomy.tissue[box][coarse][nodes]
    times = _geodesic(np.exp(log_slowness + 1.5 * np.clip(1 - tissue, 0, 1)), nodes, start)

    arrival = np.full(nodes.shape, np.inf, np.float32)
    arrival[nodes] = times
    if step > 1:
        arrival = _refine(rng, arrival, room, step)
    arrival[~room] = np.inf
    mask = _select(arrival, count)
    rank = np.ones(mask.shape, np.float32)
    inside = np.flatnonzero(mask)
    order = np.argsort(arrival.ravel()[inside], kind="stable")
    # the cube root makes the rank a radius: half way out is half way, not an eighth of the volume
    rank.ravel()[inside[order]] = ((np.arange(len(inside)) + 0.5) / len(inside)) ** (1 / 3)
    return box, mask, rank


def _refine(rng: np.random.Generator, arrival: np.ndarray, room: np.ndarray, step: int) -> np.ndarray:
    """Interpolate arrival times of every `step`-th voxel to all voxels of `room`, with a fine jitter."""
    reached = np.isfinite(arrival)
    nearest = ndimage.distance_transform_edt(~reached, return_distances=False, return_indices=True)
    filled = np.where(reached, arrival, 1.2 * arrival[tuple(nearest)] + 1)
    voxels = np.argwhere(room).T.astype(np.float32) / step
    fine = np.full(room.shape, np.inf, np.float32)
    jitter = 1 + 0.07 * smooth_field(rng, room.shape, 2.5)[room]
    fine[room] = ndimage.map_coordinates(filled, voxels, order=1, mode="nearest", output=np.float32) * jitter
    return fine


def grow_stroke(
    rng: np.random.Generator, anatomy: Anatomy, template: Template, plan: StrokePlan, seed: np.ndarray
) -> Stroke:
    """Grow all parts of a planned stroke; the volume is met to the voxel.

    Parameters
    ----------
    rng : of this stroke's shape
    anatomy : the brain to grow in
    template : where the seeds of the satellites are drawn
    plan : volumes of the parts, territory, side
    seed : (3,) MNI mm, of the largest part

    Raises
    ------
    DataError
        Where a hemisphere has not enough tissue left for the planned volume.
    """
    territory = find_territory(plan.territory)
    voxel_ml = anatomy.spacing**3 / 1000
    tissue = anatomy.tissue > _TISSUE
    free = {side: tissue & (anatomy.points[0] * side > _MIDLINE_MM) for side in (plan.side, -plan.side)}
    mask = np.zeros(anatomy.shape, bool)
    rank = np.ones(anatomy.shape, np.float32)
    grown = []
    total = max(1, round(plan.volume_ml / voxel_ml))
    counts = [max(1, round(part / voxel_ml)) for part in plan.part_volumes_ml[1:]]
    while counts and sum(counts) > total - max(counts):  # rounding on a coarse grid must not swallow the main part
        counts.pop()
    for number, count in enumerate([total - sum(counts), *counts]):
        side, start = plan.side, seed
        if number:
            side = -plan.side if plan.bilateral and rng.random() < 0.5 else plan.side
            start = _satellite_seed(rng, template, territory, side, seed)
        box, part, part_rank = _grow_part(rng, anatomy, start, territory, count, free[side])
        mask[box] |= part
        rank[box] = np.minimum(rank[box], part_rank)
        grown.append(int(part.sum()))
        # parts are parts: a ring of two voxels around each stays free of the next
        wide = tuple(slice(max(0, each.start - 2), each.stop + 2) for each in box)
        near = ndimage.binary_dilation(mask[wide], np.ones((3, 3, 3)), iterations=2)
        for each in free.values():
            each[wide] &= ~near
    if sum(grown) < total:
        raise DataError(
            f"a stroke of {plan.volume_ml:.0f} mL does not fit into one hemisphere of this brain; "
            "choose a smaller maximum_ml"
        )
    return Stroke(mask, rank, tuple(grown))


def _satellite_seed(
    rng: np.random.Generator, template: Template, territory: Territory, side: int, near: np.ndarray
) -> np.ndarray:
    """Seed of a small part: in the same territory, the likelier the nearer to the main part (or to its mirror)."""
    candidates = np.stack([choose_seed(rng, template, territory, side) for _ in range(8)])
    mirrored = (side * abs(near[0]), near[1], near[2])
    weights = np.exp(-np.linalg.norm(candidates - mirrored, axis=1) / 18) + 1e-9
    return candidates[rng.choice(len(candidates), p=weights / weights.sum())]
