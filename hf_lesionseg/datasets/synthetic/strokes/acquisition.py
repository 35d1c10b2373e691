"""How a scanner shows a brain: contrast, coil sensitivity, slice thickness, head, noise; 0..100 as in ATLAS."""

import numpy as np
from scipy import ndimage

from ..random_fields import smooth_field
from ..template import Template
from .anatomy import Anatomy

__all__ = ["acquire"]

_HEAD_SHARE = 0.25  # scans that were not skull-stripped


def acquire(rng: np.random.Generator, template: Template, anatomy: Anatomy, t1: np.ndarray) -> np.ndarray:
    """Turn ideal intensities into a scan on the template's whole grid.

    Parameters
    ----------
    rng : of contrast, bias field, head and noise
    template : gives the grid
    anatomy : box, and the distance to the brain's surface
    t1 : float32 of the anatomy's box, 0..1, zero outside the brain

    Returns
    -------
    float32 (X, Y, Z), 0..100
    """
    scan = np.zeros(template.shape, np.float32)
    gamma = np.float32(np.exp(rng.normal(0.25, 0.15)))  # the average of 152 brains is flatter than one brain
    inside = np.clip(t1, 0, 1.2) ** gamma
    if rng.random() < _HEAD_SHARE:
        _add_head(rng, anatomy, inside)
    if rng.random() < 0.35:  # a thicker slice, resampled to the grid
        sigma = np.zeros(3)
        sigma[rng.integers(3)] = rng.uniform(0.5, 1.3) / anatomy.spacing
        shown = inside > 0
        inside = np.where(shown, ndimage.gaussian_filter(inside, sigma, truncate=2.5), 0)
    bias = rng.uniform(0.03, 0.12) * smooth_field(rng, anatomy.shape, 75 / anatomy.spacing)
    inside *= np.exp(bias)

    white = inside[anatomy.white > 0.9]
    inside *= np.float32(rng.uniform(70, 85) / np.median(white))
    sigma = np.float32(rng.uniform(0.8, 3.2))
    shown = inside > 0
    real, imaginary = rng.standard_normal((2, int(shown.sum())), dtype=np.float32) * sigma
    inside[shown] = np.hypot(inside[shown] + real, imaginary)  # Rician: the magnitude of a complex signal
    scan[anatomy.box] = np.clip(inside, 0, 100)
    return scan


def _add_head(rng: np.random.Generator, anatomy: Anatomy, inside: np.ndarray) -> None:
    """Put fluid, dark skull with marrow, and bright scalp around the brain, as far as the box reaches."""
    distance = anatomy.surface_distance
    uneven = smooth_field(rng, anatomy.shape, 22 / anatomy.spacing)
    mottled = smooth_field(rng, anatomy.shape, 5 / anatomy.spacing)
    depth = distance - 0.5 * uneven
    outer = (inside <= 0) & (depth > -4)
    fluid_mm, skull_mm = rng.uniform(1.0, 2.5), rng.uniform(3.0, 5.0)
    scalp_mm = rng.uniform(2.5, 4.5)
    marrow = np.clip(1 - np.abs(depth - fluid_mm - skull_mm / 2) / (0.3 * skull_mm), 0, 1)
    skull = 0.06 + 0.25 * rng.random() * marrow
    scalp = rng.uniform(0.6, 1.05) * (1 + 0.25 * mottled)
    layers = np.select(
        [depth < fluid_mm, depth < fluid_mm + skull_mm, depth < fluid_mm + skull_mm + scalp_mm],
        [np.float32(0.18), skull, scalp],
        0.0,
    ).astype(np.float32)
    layers = ndimage.gaussian_filter(layers, 0.6 / anatomy.spacing, truncate=2.5)
    inside[outer] = np.where(layers > 0.02, np.maximum(layers, 0.02), 0)[outer]
