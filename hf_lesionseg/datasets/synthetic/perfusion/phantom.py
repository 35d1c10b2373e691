"""A digital CT perfusion phantom: curves of known flow, volume and delay, simulated finely and sampled at frames.

Tissue values are those of the phantom of Manhart et al. (IEEE Trans Med Imaging 2013;32:1336-1348). A tissue's curve
is its flow times the arterial input convolved with an exponential residue function and shifted by its delay; the
convolution runs at 0.05 s, the scanner's frames are taken from its result.
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import fftconvolve

__all__ = [
    "FINE_SECONDS",
    "TISSUES",
    "BolusShape",
    "PerfusionPhantom",
    "Tissue",
    "arterial_curve",
    "draw_phantom",
    "tissue_curves",
    "vessel_curves",
]

#: step of the simulation, s
FINE_SECONDS = 0.05
_TRANSIT_KNOTS = 96
VESSEL_HU, FLUID_HU, BONE_HU, AIR_HU = 40.0, 12.0, 900.0, -1000.0


@dataclass(frozen=True)
class Tissue:
    """Perfusion of one kind of tissue.

    Attributes
    ----------
    name : such as "grey, reduced"
    cbf : mL/100 g/min
    cbv : mL/100 g
    delay : of arrival, s
    hu : without contrast
    """

    name: str
    cbf: float
    cbv: float
    delay: float
    hu: float

    @property
    def mtt(self) -> float:
        """Mean transit time by the central volume theorem, s."""
        return 60 * self.cbv / self.cbf


TISSUES = (
    Tissue("grey, normal", 53.0, 3.3, 1.0, 35.0),
    Tissue("grey, reduced", 16.0, 3.0, 4.0, 35.0),
    Tissue("grey, severe", 5.3, 0.71, 9.0, 35.0),
    Tissue("white, normal", 25.0, 1.9, 1.0, 29.0),
    Tissue("white, reduced", 7.5, 1.7, 8.0, 29.0),
    Tissue("white, severe", 2.5, 0.42, 12.0, 29.0),
)


@dataclass(frozen=True)
class BolusShape:
    """A gamma variate of contrast in a large artery, and its recirculation.

    Attributes
    ----------
    arrival : s
    rise : from arrival to peak, s
    alpha : exponent; larger is narrower
    peak : HU
    recirculation : area of the second, wider pass as a share of the first
    """

    arrival: float = 6.3
    rise: float = 5.0
    alpha: float = 3.0
    peak: float = 320.0
    recirculation: float = 0.0


def _gamma_variate(time: np.ndarray, arrival: float, rise: float, alpha: float) -> np.ndarray:
    after = np.maximum(time - arrival, 0) / rise
    return after**alpha * np.exp(alpha * (1 - after))


def arterial_curve(time: np.ndarray, bolus: BolusShape) -> np.ndarray:
    """Enhancement of a large artery at these times (s), HU."""
    first = _gamma_variate(time, bolus.arrival, bolus.rise, bolus.alpha)
    # three times as wide, so a third as high for the same area
    again = _gamma_variate(time, bolus.arrival + 2.2 * bolus.rise, 3 * bolus.rise, bolus.alpha) / 3
    return bolus.peak * (first + bolus.recirculation * again)


def tissue_curves(
    cbf: np.ndarray,
    cbv: np.ndarray,
    delay: np.ndarray,
    times: np.ndarray,
    bolus: BolusShape,
    *,
    density: float = 1.04,
    hematocrit_factor: float = 0.733,
) -> np.ndarray:
    """Enhancement of tissue: flow x arterial curve (x) exponential residue function, delayed.

    Parameters
    ----------
    cbf, cbv, delay : arrays of shape (V,)
        mL/100 g/min, mL/100 g, s.
    times : array of shape (T,)
        Times of the frames, s from the injection.
    bolus : BolusShape
    density : of tissue, g/mL
    hematocrit_factor : plasma per blood of large over small vessels

    Returns
    -------
    float32 array of shape (V, T)
        HU above the tissue without contrast.
    """
    cbf, cbv, delay, times = (np.asarray(each, np.float64) for each in (cbf, cbv, delay, times))
    transit = 60 * cbv / np.maximum(cbf, 1e-9)
    knots = np.unique(transit)
    if len(knots) > _TRANSIT_KNOTS:  # interpolated between, which is good to a thousandth
        knots = np.geomspace(knots[0], knots[-1], _TRANSIT_KNOTS)
    fine = np.arange(0, times.max() + FINE_SECONDS, FINE_SECONDS)
    arterial = arterial_curve(fine, bolus)
    per_flow = np.stack([_convolved(arterial, np.exp(-fine / mtt)) for mtt in knots])

    scale = cbf / 6000 * density / hematocrit_factor  # 1/s
    right = np.clip(np.searchsorted(knots, transit), 1, max(1, len(knots) - 1))
    right = np.minimum(right, len(knots) - 1)
    left = np.maximum(right - 1, 0)
    gap = knots[right] - knots[left]
    share = np.where(gap > 0, (transit - knots[left]) / np.where(gap > 0, gap, 1), 1.0)
    curves = np.empty((len(cbf), len(times)), np.float32)
    for number, time in enumerate(times):
        position = np.clip((time - delay) / FINE_SECONDS, 0, len(fine) - 1.001)
        before = position.astype(int)
        weight = position - before
        low = per_flow[left, before] * (1 - weight) + per_flow[left, before + 1] * weight
        high = per_flow[right, before] * (1 - weight) + per_flow[right, before + 1] * weight
        curves[:, number] = scale * (low * (1 - share) + high * share)
    return curves


def _convolved(arterial: np.ndarray, residue: np.ndarray) -> np.ndarray:
    """Trapezoidal convolution at the fine step; HU s."""
    whole = fftconvolve(arterial, residue)[: len(arterial)]
    return FINE_SECONDS * (whole - (arterial * residue[0] + arterial[0] * residue) / 2)


def vessel_curves(times: np.ndarray, bolus: BolusShape, venous_delay: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    """Enhancement of a large artery and of the sagittal sinus at the frames, HU; float64 (T,) each.

    The sinus holds what has passed through normal grey matter: the same area, later and wider.
    """
    times = np.asarray(times, np.float64)
    fine = np.arange(0, times.max() + FINE_SECONDS, FINE_SECONDS)
    transit = 3.7
    sinus = _convolved(arterial_curve(fine, bolus), np.exp(-fine / transit) / transit)
    return arterial_curve(times, bolus), np.interp(times - venous_delay, fine, sinus, left=0.0)


@dataclass(frozen=True, eq=False)
class PerfusionPhantom:
    """A series with its truth.

    Attributes
    ----------
    data : float32 (X, Y, Z, T), HU
    frame_seconds : s
    tissue : int8 (X, Y, Z), index into `TISSUES`; -1 elsewhere
    brain : bool (X, Y, Z)
    arteries, veins : bool (X, Y, Z)
    cbf, cbv, mtt, delay : float32 (X, Y, Z), truth; 0 outside tissue
    spacing : (x, y, z), mm
    """

    data: np.ndarray
    frame_seconds: float
    tissue: np.ndarray
    brain: np.ndarray
    arteries: np.ndarray
    veins: np.ndarray
    cbf: np.ndarray
    cbv: np.ndarray
    mtt: np.ndarray
    delay: np.ndarray
    spacing: tuple[float, float, float]


def draw_phantom(
    *,
    size: int = 128,
    num_slices: int = 2,
    num_frames: int = 60,
    noise_hu: float = 0.0,
    bolus: BolusShape | None = None,
    seed: int = 0,
    frame_seconds: float = 1.0,
    hematocrit_factor: float = 0.733,
) -> PerfusionPhantom:
    """Draw a head: skull, a ribbon of grey matter around white matter, ventricles, arteries, the sagittal sinus.

    The one half is normal; the other has a sector of reduced perfusion with a severe one in its middle.

    Parameters
    ----------
    size : rows and columns; the head is 200 mm wide and fills most of them
    num_slices : all alike but for the noise
    num_frames, frame_seconds : of the scan
    noise_hu : standard deviation of white noise in each voxel and frame
    bolus : of the arterial input
    seed : of the noise
    hematocrit_factor : of the simulation

    Returns
    -------
    PerfusionPhantom
    """
    bolus = bolus or BolusShape()
    spacing = 220.0 / size
    axis = (np.arange(size) - (size - 1) / 2) * spacing
    x, y = np.meshgrid(axis, axis, indexing="ij")
    radius = np.hypot(x / 78, y / 92)  # 1 at the inner table
    skull = (radius >= 1.02) & (radius < 1.09)
    scalp = (radius >= 1.09) & (radius < 1.15)
    brain = radius < 1.0
    ventricles = (np.hypot((np.abs(x) - 12) / 8, (y + 2) / 26) < 1) & brain
    grey = brain & ((radius > 0.82) | (np.hypot((np.abs(x) - 32) / 11, (y - 4) / 20) < 1))
    arteries = np.zeros_like(brain)
    for place in ((-22, 34), (22, 34), (0, 52)):
        arteries |= np.hypot(x - place[0], y - place[1]) < 3.6
    veins = np.hypot(x, y + 83) < 5.5
    angle = np.rad2deg(np.arctan2(y - 4, x))
    level = np.zeros(brain.shape, int)
    level[(x > 4) & (np.abs(angle) < 55)] = 1
    level[(x > 24) & (np.abs(angle) < 24)] = 2
    tissue = np.where(grey, level, level + 3)
    tissue[~brain | ventricles | arteries | veins] = -1

    times = frame_seconds * np.arange(num_frames)
    kinds = {key: np.array([getattr(each, key) for each in TISSUES]) for key in ("cbf", "cbv", "mtt", "delay", "hu")}
    curves = tissue_curves(
        kinds["cbf"], kinds["cbv"], kinds["delay"], times, bolus, hematocrit_factor=hematocrit_factor
    )
    data = np.full((size, size, num_frames), AIR_HU, np.float32)
    data[skull], data[scalp | ((radius >= 1.0) & (radius < 1.02))] = BONE_HU, FLUID_HU
    data[ventricles] = FLUID_HU
    parenchyma = tissue >= 0
    data[parenchyma] = (kinds["hu"][:, None] + curves)[tissue[parenchyma]]
    arterial, venous = vessel_curves(times, bolus)
    data[arteries], data[veins] = VESSEL_HU + arterial, VESSEL_HU + venous
    data = np.repeat(data[:, :, None], num_slices, axis=2)
    if noise_hu > 0:
        data += noise_hu * np.random.default_rng(seed).standard_normal(data.shape, np.float32)

    def stack(plane):
        return np.repeat(plane[:, :, None], num_slices, axis=2)

    truth = {
        key: stack(np.where(parenchyma, kinds[key][tissue], 0).astype(np.float32))
        for key in ("cbf", "cbv", "mtt", "delay")
    }
    return PerfusionPhantom(
        data=data,
        frame_seconds=frame_seconds,
        tissue=stack(tissue.astype(np.int8)),
        brain=stack(brain),
        arteries=stack(arteries & brain),
        veins=stack(veins & brain),
        spacing=(spacing, spacing, 8.0),
        **truth,
    )
