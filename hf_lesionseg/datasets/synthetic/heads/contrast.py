"""How bright each tissue is: orders near that of T1, real images bent towards them, a few wild ones.

White matter is 1; all else is relative to it.
"""

from dataclasses import dataclass

import numpy as np

from .tissues import Tissue

__all__ = ["Contrast", "draw_contrast"]

#: tissue -> (lowest, highest) brightness of ordinary T1w scans
_ORDINARY = {
    Tissue.CORTEX: (0.52, 0.82),
    Tissue.CSF: (0.08, 0.34),
    Tissue.SKIN: (0.5, 2.6),
    Tissue.SOFT: (0.3, 0.85),
    Tissue.BONE: (0.04, 0.22),
    Tissue.MARROW: (0.4, 2.4),
    Tissue.EYE: (0.1, 0.35),
    Tissue.VESSEL: (0.1, 2.0),
    Tissue.MUCOSA: (0.4, 1.5),
}
_GREYS = (Tissue.GREY, Tissue.PALE, Tissue.CEREBELLAR_CORTEX)


@dataclass(frozen=True)
class Contrast:
    """Brightness of one scan.

    Attributes
    ----------
    means, deviations : float32 arrays by tissue
    knots : what CSF, cortex and white matter of a real image become
    outside : gain and power of a real image outside the brain
    """

    means: np.ndarray
    deviations: np.ndarray
    knots: tuple[float, float, float]
    outside: tuple[float, float]

    @property
    def csf(self) -> float:
        return float(self.means[Tissue.CSF])

    def of_image(self, values, means, brain):
        """A real image (any shape) brought to this contrast; ``means`` are its CSF, cortex and white matter."""
        csf, cortex, white = means
        bent = np.interp(values, (0, csf, cortex, white, 2.4 * white), (0, *self.knots, 2.2)).astype(np.float32)
        gain, power = self.outside
        other = gain * (np.maximum(values, 0) / white) ** power
        return np.where(brain, bent, other).astype(np.float32)


def draw_contrast(rng: np.random.Generator, difficulty: float = 1.0) -> Contrast:
    """Draw the brightness of a scan.

    Parameters
    ----------
    rng : source of randomness
    difficulty : 0 keeps to the middle of what is ordinary, 1 goes to its ends and beyond

    Returns
    -------
    Contrast
    """
    means = np.zeros(len(Tissue), np.float32)
    spread = 0.5 + 0.5 * difficulty
    for tissue, (low, high) in _ORDINARY.items():
        middle = (low + high) / 2
        means[tissue] = middle + spread * (rng.uniform(low, high) - middle)
    means[Tissue.WHITE] = 1.0
    kind = rng.random()
    if kind < 0.12 * difficulty:  # flat or steep, still T1
        means[Tissue.CORTEX] = rng.uniform(0.4, 0.93)
        means[Tissue.CSF] = rng.uniform(0.02, 0.9 * means[Tissue.CORTEX])
    elif kind < 0.15 * difficulty:  # wild
        means[Tissue.CORTEX], means[Tissue.CSF] = rng.uniform(0.5, 1.3), rng.uniform(0.0, 0.5)
    cortex = means[Tissue.CORTEX]
    means[Tissue.GREY] = cortex + rng.uniform(-0.05, 0.45) * (1 - cortex)
    means[Tissue.PALE] = cortex + rng.uniform(0.2, 0.85) * (1 - cortex)
    means[Tissue.CEREBELLAR_CORTEX] = cortex * rng.uniform(0.9, 1.12)
    means[Tissue.CEREBELLAR_WHITE] = rng.uniform(0.9, 1.05)
    means[Tissue.STEM] = rng.uniform(0.82, 1.02)
    means[Tissue.CAP] = 1 - rng.uniform(0.1, 0.8) * (1 - cortex)
    means[Tissue.VENTRICLE] = means[Tissue.CSF] * rng.uniform(0.8, 1.05)
    means[Tissue.CORD] = means[Tissue.STEM]
    means[Tissue.OUTSIDE] = means[Tissue.SOFT]
    deviations = (means * rng.uniform(0.015, 0.06) + 0.005).astype(np.float32)
    deviations[[Tissue.SKIN, Tissue.SOFT, Tissue.MARROW, Tissue.MUCOSA, Tissue.VESSEL]] *= rng.uniform(2, 7)
    deviations[Tissue.AIR] = 0
    knots = tuple(float(value) for value in (means[Tissue.CSF], cortex, 1.0))
    outside = float(np.exp(rng.uniform(-0.7, 0.7) * spread)), float(rng.uniform(0.75, 1.35))
    return Contrast(means, deviations, knots, outside)
