"""How large generated strokes are, in how many parts and where: two presets after published and measured sets.

``atlas``: chronic and subacute, volumes as in ATLAS R2.0 (median 5 mL), 58 % of them one single part (Liew et al.,
Sci Data 5:180011, 2018). ``acute``: volumes, parts and sides measured on the 1449 masks of the SOOP data set
(OpenNeuro ds004889). The territories' weights are SOOP's in both.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from ....errors import UsageError
from .territories import TERRITORIES

__all__ = ["PRESETS", "StrokePlan", "StrokePreset", "draw_plan", "find_preset"]

_TERRITORY_WEIGHTS = {
    "mca_cortical": 0.536,
    "lenticulostriate": 0.133,
    "pca_cortical": 0.085,
    "aca": 0.069,
    "pica_aica": 0.063,
    "pca_thalamic": 0.042,
    "basilar": 0.039,
    "sca": 0.030,
    "anterior_choroidal": 0.003,
}
# Share of the largest part among strokes of 2, 3 to 5 and more parts: quantiles measured on SOOP.
_SHARE_LEVELS = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 1.00)
_SHARES = {
    2: (0.57, 0.59, 0.72, 0.91, 0.99, 0.995, 0.999),
    3: (0.46, 0.51, 0.71, 0.90, 0.97, 0.99, 0.999),
    6: (0.30, 0.36, 0.48, 0.64, 0.90, 0.98, 0.995),
}
_SATELLITE_LOG_SIGMA = 1.9  # of ln mL, SOOP's satellites: 85 % below 1 mL, 44 % below 0.1 mL
_SMALLEST_PART_ML = 0.008


@dataclass(frozen=True)
class StrokePreset:
    """Distribution that strokes are drawn from.

    Attributes
    ----------
    name : of the preset
    log_volume_mean, log_volume_sigma : of ln(volume in mL), a normal distribution
    volume_limits_ml : (smallest, largest) volume; the distribution is truncated to them
    part_weights : probabilities of 1, 2, 3 to 5, and 6 to 14 parts
    bilateral : probability that a stroke of several parts has some in the other hemisphere
    chronic : whether the lesions may be cavities; otherwise all are near the tissue's own intensity
    """

    name: str
    log_volume_mean: float
    log_volume_sigma: float
    volume_limits_ml: tuple[float, float]
    part_weights: tuple[float, float, float, float]
    bilateral: float
    chronic: bool

    def volume_ml(self, quantile: float, minimum_ml: float | None = None, maximum_ml: float | None = None) -> float:
        """Volume below which this share (0..1) of the strokes lies, mL, among those within the limits.

        Raises
        ------
        UsageError
            Where the limits leave nothing of the preset.
        """
        low = max(self.volume_limits_ml[0], minimum_ml or 0.0)
        high = min(self.volume_limits_ml[1], np.inf if maximum_ml is None else maximum_ml)
        if not low < high:
            raise UsageError(
                f"no volumes are left between {low:g} and {high:g} mL: preset {self.name!r} spans "
                f"{self.volume_limits_ml[0]:g} to {self.volume_limits_ml[1]:g} mL"
            )
        below, up_to = special.ndtr((np.log([low, high]) - self.log_volume_mean) / self.log_volume_sigma)
        normal = special.ndtri(below + quantile * (up_to - below))
        return float(np.clip(np.exp(self.log_volume_mean + self.log_volume_sigma * normal), low, high))


PRESETS = {
    "atlas": StrokePreset("atlas", float(np.log(5.0)), 1.9, (0.01, 400.0), (0.58, 0.18, 0.16, 0.08), 0.3, True),
    "acute": StrokePreset("acute", 2.27, 2.10, (0.004, 400.0), (0.32, 0.19, 0.24, 0.25), 0.31, False),
}


@dataclass(frozen=True)
class StrokePlan:
    """The plan of one case, before anything is grown.

    Attributes
    ----------
    volume_ml : of all parts together
    part_volumes_ml : largest part first
    territory : name in `territories.TERRITORIES`, of the largest part
    side : -1 left, +1 right (the sign of MNI x)
    bilateral : whether some of the small parts lie in the other hemisphere
    """

    volume_ml: float
    part_volumes_ml: tuple[float, ...]
    territory: str
    side: int
    bilateral: bool


def find_preset(name: str) -> StrokePreset:
    """Look a preset up; `UsageError` names the known ones."""
    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}: take one of {', '.join(sorted(PRESETS))}")
    return PRESETS[name]


def _draw_parts(rng: np.random.Generator, preset: StrokePreset, volume_ml: float) -> tuple[float, ...]:
    kind = rng.choice(4, p=preset.part_weights)
    count = int((1, 2, rng.integers(3, 6), 5 + min(rng.geometric(0.2), 9))[kind])
    share = np.interp(rng.random(), _SHARE_LEVELS, _SHARES[2 if count == 2 else 3 if count < 6 else 6])
    sizes = np.sort(np.exp(_SATELLITE_LOG_SIGMA * rng.standard_normal(count - 1)))[::-1]
    if count == 1:
        return (volume_ml,)
    satellites = np.minimum(sizes / sizes.sum() * (1 - share), 0.9 * share) * volume_ml
    satellites = satellites[satellites >= _SMALLEST_PART_ML]  # what is smaller than a few voxels belongs to the rest
    return (float(volume_ml - satellites.sum()), *(float(size) for size in satellites))


def draw_plan(
    rng: np.random.Generator,
    preset: StrokePreset,
    minimum_ml: float | None = None,
    maximum_ml: float | None = None,
) -> StrokePlan:
    """Draw volume, parts, territory and side of one stroke.

    The territory is drawn among those that can hold the volume: nobody has a thalamic infarct of 100 mL.
    """
    volume = preset.volume_ml(rng.random(), minimum_ml, maximum_ml)
    parts = _draw_parts(rng, preset, volume)
    weights = np.array([_TERRITORY_WEIGHTS[each.name] if each.capacity_ml >= parts[0] else 0.0 for each in TERRITORIES])
    territory = TERRITORIES[rng.choice(len(TERRITORIES), p=weights / weights.sum())].name
    side = int(rng.choice((-1, 1)))
    return StrokePlan(volume, parts, territory, side, bool(len(parts) > 1 and rng.random() < preset.bilateral))
