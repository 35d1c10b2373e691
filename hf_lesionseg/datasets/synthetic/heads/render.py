"""Slices of a planned head: where pixels lie in an anatomy, what is there, how old, how ill and how bright it is."""

from functools import lru_cache

import numpy as np
from scipy import ndimage as ndi

from .anatomy import EDGE_STEP, VENTRICLE_STEP
from .plan import COARSE, FINE, HeadPlan
from .tissues import INTRACRANIAL, PARENCHYMA, Tissue

__all__ = ["render_slices"]

_STRIDE = 4  # pixels between which the coarse fields are interpolated
_COVERED = 0.45  # of the surroundings must be lost tissue for CSF to count as lesion


def render_slices(plan: HeadPlan, heights, shape, spacing, centre=(0.0, 0.0), thickness=0.0):
    """Render slices without noise and other artefacts of a scanner.

    Parameters
    ----------
    plan : HeadPlan
    heights : (n,), mm from the centre of the brain
    shape : rows and columns: from behind to the front, from left to right
    spacing : mm between rows and columns
    centre : (y, x) of the window, mm
    thickness : of the slices, mm; averaged over up to three planes

    Returns
    -------
    values : float32 array (n, rows, columns)
        White matter is 1.
    lesion : bool array of the same shape
    brain : bool array of the same shape
        Inside the skull.
    """
    heights = np.atleast_1d(np.asarray(heights, np.float32))
    planes = 1 if thickness <= 1.6 else 2 if thickness <= 3.2 else 3
    offsets = (np.arange(planes, dtype=np.float32) - (planes - 1) / 2) * (thickness / planes)
    heights = (heights[:, None] + offsets).ravel()
    values, lesion, brain = _render_planes(plan, heights, shape, spacing, centre)
    if planes > 1:
        grouped = (len(heights) // planes, planes, *shape)
        values = values.reshape(grouped).mean(1)
        lesion = lesion.reshape(grouped).sum(1) * 2 > planes
        brain = brain.reshape(grouped).sum(1) * 2 > planes
    return values, lesion, brain


def _render_planes(plan, heights, shape, spacing, centre):
    rows = (np.arange(shape[0], dtype=np.float32) - (shape[0] - 1) / 2) * spacing[0] + centre[0]
    columns = (np.arange(shape[1], dtype=np.float32) - (shape[1] - 1) / 2) * spacing[1] + centre[1]
    fields = _coarse_fields(plan.coarse, heights, rows, columns)
    points = _affine_points(plan.matrix, heights, rows, columns)
    points += plan.wander * np.moveaxis(fields[:3], 0, -1)

    flat = plan.outer.indices(points)
    tissue = plan.outer.look_up(plan.outer.tissue, flat)
    inside = INTRACRANIAL[tissue]
    at_brain = np.flatnonzero(inside)
    within = plan.to_inner(points.reshape(-1, 3)[at_brain])
    set_in = plan.inner is not plan.outer
    inner_flat = plan.inner.indices(within) if set_in else flat.reshape(-1)[at_brain]
    inner_tissue = plan.inner.look_up(plan.inner.tissue, inner_flat)
    if set_in:
        inner_tissue = np.where(INTRACRANIAL[inner_tissue], inner_tissue, np.uint8(Tissue.CSF))
    ventricle = plan.inner.look_up(plan.inner.ventricle, inner_flat) * np.float32(VENTRICLE_STEP)
    edge = plan.inner.look_up(plan.inner.edge, inner_flat) * np.float32(EDGE_STEP)
    mni = plan.to_mni(within)
    fine = _fine_fields(plan.fine, mni)

    covered = np.zeros(len(at_brain), np.float32)
    if plan.stroke is not None:
        for placement in plan.stroke.placements:
            np.maximum(covered, placement.covers(mni, fine), out=covered)
    ill = bool(covered.any())
    near = np.zeros_like(covered)
    if ill and plan.stroke.pull:
        spread = np.zeros(tissue.shape, np.float32)
        spread.reshape(-1)[at_brain] = covered
        near = ndi.uniform_filter(spread, (0, *(round(24 / step) | 1 for step in spacing))).reshape(-1)[at_brain]

    healthy = inner_tissue.copy()
    values = _healthy_values(plan, points, flat, tissue, at_brain, within, inner_flat, inner_tissue, fine)
    brain_values = values.reshape(-1)[at_brain]
    ageing = fields[4:].reshape(2, -1)[:, at_brain]
    brain_values = _age(plan, inner_tissue, brain_values, ventricle, edge, mni, fine, ageing, near)
    lesion = np.zeros(tissue.shape, bool)
    if ill:
        core = np.zeros(tissue.shape, np.float32)
        core.reshape(-1)[at_brain] = covered
        rim = plan.stroke.rim_mm
        core = ndi.gaussian_filter(core, (0, rim / spacing[0], rim / spacing[1])).reshape(-1)[at_brain]
        lost = (covered > 0.5) & PARENCHYMA[healthy] & (inner_tissue != Tissue.VENTRICLE)
        brain_values = _make_ill(plan, lost, core, edge, fine, brain_values)
        lesion.reshape(-1)[at_brain] = lost
        if plan.stroke.is_old:
            window = (1, *(round(9 / step) | 1 for step in spacing))
            around = ndi.uniform_filter(lesion.astype(np.float32), window).reshape(-1)[at_brain]
            between = (covered > 0.5) & (inner_tissue == Tissue.CSF) & (around > _COVERED)
            lesion.reshape(-1)[at_brain] |= between
    values.reshape(-1)[at_brain] = brain_values
    tissue = tissue.copy()
    tissue.reshape(-1)[at_brain] = inner_tissue
    values = _hide(plan, values, tissue, edge, at_brain, points, heights, rows)
    values *= np.exp(plan.scanning.bias * 2 * fields[3])
    return values, lesion, inside


def _affine_points(matrix, heights, rows, columns):
    points = heights[:, None, None, None] * matrix[:, 2]
    points = points + rows[None, :, None, None] * matrix[:, 1]
    return points + columns[None, None, :, None] * matrix[:, 0]


@lru_cache(maxsize=64)
def _between(size, stride):
    """(size, knots) weights that take every ``stride``-th value to all of them, linearly."""
    knots = -(-(size - 1) // stride) + 1
    at = np.arange(size) / stride
    weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(knots))).astype(np.float32)
    return weights


def _coarse_fields(lattice, heights, rows, columns):
    """(fields, n, rows, columns) of the coarse lattice, in mm of the scan."""
    by_row, by_column = _between(len(rows), _STRIDE), _between(len(columns), _STRIDE)
    step_y = rows[1] - rows[0] if len(rows) > 1 else 1.0
    step_x = columns[1] - columns[0] if len(columns) > 1 else 1.0
    y = rows[0] + step_y * _STRIDE * np.arange(by_row.shape[1])
    x = columns[0] + step_x * _STRIDE * np.arange(by_column.shape[1])
    middle = (lattice.shape[0] - 1) / 2
    grid = np.meshgrid(heights / COARSE + middle, y / COARSE + middle, x / COARSE + middle, indexing="ij")
    where = [grid[2], grid[1], grid[0]]
    found = np.empty((lattice.shape[-1], *grid[0].shape), np.float32)
    for index in range(lattice.shape[-1]):
        # spline of order 2 without prefilter: smooth, and less than the knots' own height
        found[index] = ndi.map_coordinates(lattice[..., index], where, order=2, prefilter=False, mode="nearest")
    return by_row @ found @ by_column.T


def _fine_fields(lattice, mni):
    """(n, 3) of the fine lattice at points of MNI space; outside it the border's."""
    middle = (lattice.shape[0] - 1) / 2
    where = (mni.T / np.float32(FINE)) + np.float32(middle)
    return np.stack(
        [ndi.map_coordinates(lattice[..., index], where, order=1, prefilter=False, mode="wrap", output=np.float32)
         for index in range(lattice.shape[-1])], axis=-1
    )  # fmt: skip


def _healthy_values(plan, points, flat, tissue, at_brain, within, inner_flat, inner_tissue, fine):
    contrast = plan.contrast
    values = contrast.means[tissue]
    if plan.outer.means is not None:
        outside = np.flatnonzero(~INTRACRANIAL[tissue])
        if plan.outer.kind == "head":
            seen = plan.outer.intensities(points.reshape(-1, 3)[outside])
            values.reshape(-1)[outside] = contrast.of_image(seen, plan.outer.means, False)
    else:
        # what muscle, skin and marrow look like: patches, from the coarse hash of where they lie in the anatomy
        rough = ((flat * 2654435761) >> 7 & 1023).astype(np.float32) / 512 - 1
        values = values + contrast.deviations[tissue] * rough
    if plan.inner.means is not None:
        seen = plan.inner.intensities(within)
        values.reshape(-1)[at_brain] = contrast.of_image(seen, plan.inner.means, True)
    else:
        values.reshape(-1)[at_brain] = contrast.means[inner_tissue] + contrast.deviations[inner_tissue] * (
            fine[:, 1] + fine[:, 2]
        )
    return values.astype(np.float32)


def _age(plan, tissue, values, ventricle, edge, mni, fine, fields, near):
    """Widen, darken and pock; changes ``tissue`` in place and returns the values."""
    ageing, means = plan.ageing, plan.contrast.means
    pull = 0.0 if plan.stroke is None else plan.stroke.pull
    brain = PARENCHYMA[tissue]
    white = (tissue == Tissue.WHITE) | (tissue == Tissue.CAP)
    wide = ageing.ventricles * np.clip(1 + 0.5 * fields[0], 0.2, 1.8) + pull * near * 1.5
    caps = white & (ventricle < wide + ageing.caps * np.clip(1 + 0.6 * fine[:, 0], 0, 2)) & (ventricle > 0)
    spots = white & (fine[:, 1] + 0.4 * fine[:, 2] > ageing.spots) & (edge > 3)
    dark = caps | spots
    values = np.where(dark, values * ageing.dark, values)
    for x, y, z, radius in ageing.lacunes:
        apart = mni - np.array((x, y, z), np.float32)
        inside = brain & ((apart * apart).sum(1) < radius * radius)
        values = np.where(inside, values + ageing.lacune_dark * (means[Tissue.CSF] - values), values)
    # cortex is not eaten by ventricles that come near it from inside
    fluid = brain & (ventricle < wide) & (edge > 2.0) & (tissue != Tissue.CEREBELLAR_CORTEX)
    tissue[fluid] = Tissue.VENTRICLE
    values = np.where(fluid, means[Tissue.VENTRICLE], values)
    sulci = ageing.sulci * np.clip(1 + 0.6 * fields[1], 0, 2.2)
    if ageing.sulci >= 0:
        opened = brain & (edge < sulci + 0.25 * pull * near)
        tissue[opened] = Tissue.CSF
        values = np.where(opened, means[Tissue.CSF], values)
    else:
        closed = (tissue == Tissue.CSF) & (edge < -sulci)
        tissue[closed] = Tissue.CORTEX
        values = np.where(closed, means[Tissue.CORTEX], values)
    return values.astype(np.float32)


def _make_ill(plan, lost, core, edge, fine, values):
    """Make lost tissue look like an old or a fresh stroke; returns the values."""
    stroke, csf = plan.stroke, plan.contrast.csf
    where = np.flatnonzero(lost)
    rough = stroke.patchy * (fine[where, 0] + 0.7 * fine[where, 1])
    # smoothed, the mask is 0.5 on a straight outline and 1 deep inside
    depth = 2 * core[where] - 1 + rough
    cavity = stroke.cavity / (1 + np.exp(-np.clip((depth - stroke.threshold) / stroke.softness, -30, 30)))
    ribbon = stroke.ribbon / (1 + np.exp(np.clip((edge[where] - stroke.ribbon_mm - 2 * fine[where, 2]) / 0.7, -30, 30)))
    fluid = np.clip(np.maximum(cavity, ribbon), 0, 1)
    dim = np.clip(stroke.dim + 0.12 * rough / max(stroke.patchy, 0.05) * 0.5, 0.3, 1.05)
    spared = fine[where, 2] > np.float32(2.2 - 4.0 * stroke.islands)
    fluid = np.where(spared, 0.25 * fluid, fluid)
    dim = np.where(spared, 0.5 + 0.5 * dim, dim)
    values = values.copy()
    values[where] = fluid * csf + (1 - fluid) * dim * values[where]
    return values


def _hide(plan, values, tissue, edge, at_brain, points, heights, rows):
    """Take away what stripping, defacing and the field of view take away."""
    scanning = plan.scanning
    if scanning.stripped is not None:
        kept = np.zeros(tissue.shape, bool)
        csf = tissue.reshape(-1)[at_brain] == Tissue.CSF
        kept.reshape(-1)[at_brain] = ~csf | (edge < scanning.stripped)
        values = np.where(kept, values, 0)
    if scanning.face is not None:
        height, slope = scanning.face
        face = (points[..., 2] < height + slope * (points[..., 1] - 30)) & (points[..., 1] > 15)
        values = np.where(face & (tissue >= Tissue.SKIN), 0, values)
    outside = (heights < scanning.bottom) | (heights > scanning.top)
    if outside.any():
        values[outside] = 0
    return values
