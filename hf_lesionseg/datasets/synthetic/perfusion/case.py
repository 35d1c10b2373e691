"""One generated CT perfusion scan of an acute stroke: what flows where, the series, and the infarct on DWI.

An artery's territory is short of blood. In it lies the core, where flow is lowest; around it the penumbra, late as
well, but alive and not labelled: which is the hard part. The infarct that DWI shows, and the label outlines, is the
core but for what was saved or lost since, so that no threshold finds it: flow below 30 % of normal reaches a Dice of
about 0.6 here, and of 0.3 in patients. Tissue has the physics of `perfusion_phantom`.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage

from ..random_fields import smooth_field
from ..strokes.anatomy import Anatomy, draw_anatomy
from ..strokes.presets import StrokePlan
from ..strokes.shapes import Stroke, choose_seed, grow_stroke
from ..strokes.territories import find_territory
from ..template import Template
from .phantom import (
    AIR_HU,
    BONE_HU,
    FLUID_HU,
    TISSUES,
    VESSEL_HU,
    BolusShape,
    arterial_curve,
    tissue_curves,
    vessel_curves,
)

__all__ = ["GeneratedPerfusion", "PerfusionPatient", "Slab", "draw_patient", "draw_slabs", "scan_slab"]

FIELD_OF_VIEW_MM = 220.0
_TERRITORIES = {"mca_cortical": 0.74, "pca_cortical": 0.12, "aca": 0.08, "lenticulostriate": 0.06}
_GREY, _WHITE = TISSUES[0], TISSUES[3]
# (|x|, y, z) in MNI mm, along the vessels; arteries have a left and a right one
_ARTERIES = (
    ((10, 4, -16), (24, 4, -14), (36, 4, -8), (41, -2, 4), (43, -12, 18), (47, -24, 34), (50, -30, 46)),
    ((36, 4, -8), (42, 14, 4), (46, 20, 22), (44, 16, 40)),
    ((3, 28, -10), (3, 38, 8), (3, 26, 32), (3, 2, 50), (3, -24, 60)),
    ((8, -20, -12), (20, -32, -8), (14, -60, 2), (10, -78, 12)),
    ((2, -24, -24), (2, -18, -10)),
)
_SINUS = ((0, -72, -14), (0, -94, -4), (0, -98, 14), (0, -88, 38), (0, -64, 62), (0, -30, 76), (0, 10, 72))
_SEED_LEVELS_MM = (-6.0, 44.0)
_NOISE_PIXEL_MM = FIELD_OF_VIEW_MM / 256  # of the noise's standard deviation; larger pixels average it
_ARTERY_MM, _SINUS_MM = 2.2, 4.5


@dataclass(frozen=True, eq=False)
class PerfusionPatient:
    """A person with a stroke, before any scan.

    Attributes
    ----------
    anatomy : the brain
    stroke : the whole territory that is short of blood
    core : float32 (X, Y, Z) of the anatomy's box, 0 to 1 where flow is lowest, soft at its edge
    infarct : float32 (X, Y, Z), 0 to 1 where DWI will be bright
    penumbra : float32 (X, Y, Z), 0 to 1 where blood is short, core included
    core_flow, penumbra_flow : share of normal flow
    bolus : of the injection
    noise_hu : of the scanner, at pixels of 0.86 mm
    num_frames : of a second each
    record : what was drawn, JSON-able
    """

    anatomy: Anatomy
    stroke: Stroke
    core: np.ndarray
    infarct: np.ndarray
    penumbra: np.ndarray
    core_flow: float
    penumbra_flow: float
    bolus: BolusShape
    noise_hu: float
    num_frames: int
    record: dict


@dataclass(frozen=True)
class Slab:
    """Slices that one injection shows.

    Attributes
    ----------
    first : voxel index of the first slice along z of the anatomy's box, may be fractional
    num_slices : slices
    step_mm : from slice to slice
    """

    first: float
    num_slices: int
    step_mm: float


@dataclass(frozen=True, eq=False)
class GeneratedPerfusion:
    """One slab with its truth.

    Attributes
    ----------
    series : float32 (X, Y, Z, T), HU, a frame a second
    ct : float32 (X, Y, Z), HU, without contrast
    dwi : float32 (X, Y, Z), arbitrary units
    mask : uint8 (X, Y, Z), the infarct
    cbf, cbv, delay : float32 (X, Y, Z), truth in mL/100 g/min, mL/100 g and s
    penumbra : bool (X, Y, Z), short of blood but no infarct
    spacing : (x, y, z) in mm
    """

    series: np.ndarray
    ct: np.ndarray
    dwi: np.ndarray
    mask: np.ndarray
    cbf: np.ndarray
    cbv: np.ndarray
    delay: np.ndarray
    penumbra: np.ndarray
    spacing: tuple[float, float, float]


def draw_patient(rng: np.random.Generator, template: Template, num_frames: int | None = None) -> PerfusionPatient:
    """Draw a person, a stroke with core and penumbra, and how the scan will be made.

    Parameters
    ----------
    rng : all variety comes from it
    template : the brain to start from
    num_frames : of the series; 40 to 60 where not given
    """
    names = list(_TERRITORIES)
    name = names[rng.choice(len(names), p=list(_TERRITORIES.values()))]
    territory = find_territory(name)
    side = int(rng.choice((-1, 1)))
    volume = float(np.exp(rng.uniform(np.log(25), np.log(min(170.0, 0.8 * territory.capacity_ml)))))
    anatomy = draw_anatomy(rng, template)
    plan = StrokePlan(volume, (volume,), name, side, False)
    for _ in range(50):
        seed = choose_seed(rng, template, territory, side)
        if _SEED_LEVELS_MM[0] < seed[2] < _SEED_LEVELS_MM[1]:  # where slabs are laid: from the basal ganglia upwards
            break
    stroke = grow_stroke(rng, anatomy, template, plan, seed)

    core_share = float(np.clip(rng.beta(1.6, 2.4), 0.06, 0.95))
    # the front's rank is a radius; bent by a field, the core is ragged and off the middle
    rank = stroke.arrival + 0.22 * smooth_field(rng, anatomy.shape, max(2.0, 12 / anatomy.spacing))
    core = _first_reached(rank, stroke.mask, core_share)
    # until DWI, hours may pass: some of the core is saved, some of the penumbra lost
    rank = rank + 0.14 * smooth_field(rng, anatomy.shape, max(2.0, 9 / anatomy.spacing))
    infarct = _first_reached(rank, stroke.mask, float(np.clip(core_share * np.exp(rng.normal(0, 0.3)), 0.05, 0.97)))
    sigma = 1.2 / anatomy.spacing
    record = {
        "territory": name,
        "side": "left" if side < 0 else "right",
        "hypoperfused_ml": float(stroke.mask.sum() * anatomy.spacing**3 / 1000),
        "core_ml": float(core.sum() * anatomy.spacing**3 / 1000),
        "infarct_ml": float(infarct.sum() * anatomy.spacing**3 / 1000),
    }
    return PerfusionPatient(
        anatomy=anatomy,
        stroke=stroke,
        core=ndimage.gaussian_filter(core.astype(np.float32), sigma),
        infarct=ndimage.gaussian_filter(infarct.astype(np.float32), sigma),
        penumbra=ndimage.gaussian_filter(stroke.mask.astype(np.float32), sigma),
        core_flow=float(np.clip(rng.normal(0.19, 0.06), 0.08, 0.34)),
        penumbra_flow=float(np.clip(rng.normal(0.40, 0.06), 0.28, 0.55)),
        bolus=BolusShape(
            arrival=rng.uniform(4.0, 9.0),
            rise=rng.uniform(4.0, 6.0),
            peak=rng.uniform(220, 380),
            recirculation=rng.uniform(0.05, 0.2),
        ),
        noise_hu=float(rng.uniform(3, 6)),
        num_frames=int(num_frames or rng.integers(40, 61)),
        record=record,
    )


def _first_reached(rank: np.ndarray, territory: np.ndarray, share: float) -> np.ndarray:
    """The share of a territory that has the lowest rank, without crumbs."""
    return _largest_parts(territory & (rank < np.quantile(rank[territory], share)))


def _largest_parts(mask: np.ndarray) -> np.ndarray:
    """Without crumbs: parts of less than a twentieth of the largest."""
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    return np.isin(labels, np.flatnonzero(sizes >= max(1, 0.05 * sizes.max())))


def draw_slabs(
    rng: np.random.Generator, patient: PerfusionPatient, count: int = 1, num_slices: int | None = None
) -> list[Slab]:
    """Place slabs one above the other, so that the first one shows the middle of the infarct.

    Half of the slabs of ISLES 2018 have two slices, most others 4 or 8.

    Parameters
    ----------
    rng : of the number of slices and of the place
    patient : who
    count : slabs, each with an injection of its own
    num_slices : per slab; 2, 4 or 8 by chance where not given
    """
    slices = int(num_slices or rng.choice((2, 4, 8), p=(0.5, 0.3, 0.2)))
    step_mm = {2: 10.0, 4: 8.0}.get(slices, 5.0)
    step = step_mm / patient.anatomy.spacing
    depth = patient.infarct.sum((0, 1))
    middle = float((depth * np.arange(len(depth))).sum() / depth.sum())
    first = middle - (slices - 1) / 2 * step + rng.uniform(-0.5, 0.5) * step
    last = float(np.flatnonzero((patient.anatomy.surface_distance < -4).any((0, 1))).max())
    first = max(0.0, min(first, last - (count * slices - 1) * step))  # the upper slab ends below the vertex
    return [Slab(first + number * slices * step, slices, step_mm) for number in range(count)]


def scan_slab(rng: np.random.Generator, patient: PerfusionPatient, slab: Slab, size: int) -> GeneratedPerfusion:
    """Scan a slab: CT without contrast, the series, and DWI on the same grid.

    Parameters
    ----------
    rng : of the noise and of small variety between slabs
    patient : who
    slab : where
    size : rows and columns, of 220 mm
    """
    anatomy = patient.anatomy
    spacing = FIELD_OF_VIEW_MM / size
    grid = _slab_grid(anatomy, slab, size)

    def show(volume, outside=0.0):
        return ndimage.map_coordinates(volume, grid, order=1, cval=outside, output=np.float32)

    grey, white = show(anatomy.grey), show(anatomy.white)
    surface, core, penumbra = show(anatomy.surface_distance, 99.0), show(patient.core), show(patient.penumbra)
    points = np.stack([show(axis, 999.0) for axis in anatomy.points])
    tissue = np.where(surface < 0, np.clip(grey + white, 0, 1), 0)
    mask = (show(patient.infarct) > 0.5) & (tissue > 0.4)
    cbf, cbv, delay, hu = _perfusion(rng, patient, (grey, white, core, penumbra), spacing)

    data = _head(rng, surface, spacing)
    data = np.where(surface < 0, tissue * hu + (1 - tissue) * FLUID_HU, data)
    times = np.arange(patient.num_frames, dtype=np.float64)
    series = np.repeat(data[..., None], len(times), axis=-1).astype(np.float32)
    flowing = tissue > 0.05
    # per gram of tissue; a voxel that is half fluid has half of it
    series[flowing] += tissue[flowing, None] * tissue_curves(
        cbf[flowing], cbv[flowing], delay[flowing], times, patient.bolus
    )
    _paint_vessels(series, patient, points, penumbra, surface, times, spacing)
    noise_hu = patient.noise_hu * _NOISE_PIXEL_MM / spacing
    ct = series[..., 0] + rng.normal(0, 0.6 * noise_hu, data.shape)
    series += np.float32(noise_hu) * rng.standard_normal(series.shape, np.float32)
    dwi = _diffusion(rng, tissue, grey, mask, surface, points, spacing)
    truth = [np.where(tissue > 0.5, each, 0).astype(np.float32) for each in (cbf, cbv, delay)]
    return GeneratedPerfusion(
        series=series,
        ct=ct.astype(np.float32),
        dwi=dwi,
        mask=mask.astype(np.uint8),
        cbf=truth[0],
        cbv=truth[1],
        delay=truth[2],
        penumbra=(penumbra > 0.5) & ~mask & (tissue > 0.4),
        spacing=(spacing, spacing, slab.step_mm),
    )


def _slab_grid(anatomy: Anatomy, slab: Slab, size: int) -> np.ndarray:
    """Voxel coordinates (3, X, Y, Z) in the anatomy's box, centred on it."""
    pixel = FIELD_OF_VIEW_MM / size / anatomy.spacing
    axes = [(np.arange(size) - (size - 1) / 2) * pixel + (extent - 1) / 2 for extent in anatomy.shape[:2]]
    axes.append(slab.first + np.arange(slab.num_slices) * slab.step_mm / anatomy.spacing)
    return np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)


def _variation(rng: np.random.Generator, shape: tuple[int, ...], length_px: float) -> np.ndarray:
    """A field of standard deviation 1 that changes within slices, and little from one to the next."""
    deep = smooth_field(rng, (*shape[:2], max(4, 4 * shape[2])), length_px)
    return deep[:, :, : shape[2]]


def _perfusion(rng, patient, maps, spacing):
    """CBF, CBV, delay and HU of each voxel of tissue; between normal, penumbra and core by interpolated logarithms."""
    grey, white, core, penumbra = maps
    share = grey / np.maximum(grey + white, 1e-3)
    uneven = [0.12 * _variation(rng, grey.shape, 14 / spacing) for _ in range(3)]
    deep = np.clip(penumbra - core, 0, 1)
    collaterals = 0.3 * penumbra * _variation(rng, grey.shape, 12 / spacing)  # they serve some of it better
    flow = np.exp(deep * np.log(patient.penumbra_flow) + core * np.log(patient.core_flow) + collaterals + uneven[0])
    volume = np.exp(0.08 * deep * rng.normal(0, 1) + core * np.log(0.35) + 0.7 * uneven[1])
    cbf = (share * _GREY.cbf + (1 - share) * _WHITE.cbf) * flow
    cbv = (share * _GREY.cbv + (1 - share) * _WHITE.cbv) * volume
    late = (3.0 + 3.5 * (1 - share)) * deep + (8.0 + 2.5 * (1 - share)) * core
    delay = 1.0 + late * np.exp(1.5 * uneven[2])
    hu = share * _GREY.hu + (1 - share) * _WHITE.hu - rng.uniform(1, 4) * core  # early oedema
    return cbf, cbv, delay, hu


def _head(rng, surface, spacing):
    """Fluid, skull, scalp and air by the distance to the brain, HU."""
    uneven = surface - 0.6 * _variation(rng, surface.shape, 24 / spacing)
    head = np.select([uneven < 2.0, uneven < 8.0, uneven < 13.0], [FLUID_HU, BONE_HU, 30.0], AIR_HU)
    return ndimage.gaussian_filter(head.astype(np.float32), (0.5 / spacing, 0.5 / spacing, 0))


def _course_distance(points: np.ndarray, course) -> np.ndarray:
    """Distance of points (3, ...) to a line through landmarks, mm."""
    course = np.asarray(course, np.float32)
    nearest = np.full(points.shape[1:], np.inf, np.float32)
    for start, end in pairwise(course):
        along = end - start
        offset = points - start.reshape(3, 1, 1, 1)
        t = np.clip(np.tensordot(along, offset, 1) / (along @ along), 0, 1)
        nearest = np.minimum(nearest, ((offset - t * along.reshape(3, 1, 1, 1)) ** 2).sum(0))
    return np.sqrt(nearest)


def _paint_vessels(series, patient, points, penumbra, surface, times, spacing):
    """Mix arteries and the sagittal sinus into the series, by the share of a voxel that they fill."""
    mirrored = points.copy()
    mirrored[0] = np.abs(mirrored[0])
    artery = np.min([_course_distance(mirrored, course) for course in _ARTERIES], axis=0)
    inside = surface < 1.0
    for distance, radius, venous in ((artery, _ARTERY_MM, False), (_course_distance(points, _SINUS), _SINUS_MM, True)):
        share = np.where(inside, np.clip((radius - distance) / spacing + 0.5, 0, 1), 0)
        voxels = share > 0
        if venous:
            curves = np.broadcast_to(vessel_curves(times, patient.bolus)[1], (int(voxels.sum()), len(times)))
        else:
            # beyond the clot blood comes late through collaterals, and less of it
            short = penumbra[voxels, None]
            curves = arterial_curve(times - 5.0 * short, patient.bolus) * (1 - 0.5 * short)
        part = share[voxels, None]
        series[voxels] = (1 - part) * series[voxels] + part * (VESSEL_HU + curves)


def _diffusion(rng, tissue, grey, mask, surface, points, spacing):
    """Diffusion-weighted image: infarct bright, fluid dark, and rims by the air of the skull base as bright."""
    brain = 100 * tissue * (1 + 0.12 * grey) + 18 * (1 - tissue)
    contrast = rng.uniform(0.45, 1.1)
    soft = ndimage.gaussian_filter(mask.astype(np.float32), (1.0 / spacing, 1.0 / spacing, 0))
    brain *= 1 + contrast * soft * np.exp(0.15 * _variation(rng, mask.shape, 9 / spacing))
    low = np.exp(-np.maximum(points[2] + 24, 0) / 14)  # temporal and frontal, near the skull base
    brain *= 1 + 0.8 * low * np.exp(-((surface + 4) ** 2) / 30) * (_variation(rng, mask.shape, 30 / spacing) > 0.3)
    brain *= np.exp(0.08 * _variation(rng, mask.shape, 70 / spacing))
    brain = np.where(surface < 0, brain, 0)
    sigma = rng.uniform(3, 7)
    noisy = np.hypot(brain + rng.normal(0, sigma, brain.shape), rng.normal(0, sigma, brain.shape))
    return (rng.uniform(2, 6) * noisy).astype(np.float32)
