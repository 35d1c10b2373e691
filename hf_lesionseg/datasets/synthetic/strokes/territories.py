"""Arterial territories of the brain, split by MNI coordinates: each point belongs to its nearest anchor.

The split is plain and our own: a few anatomical landmarks per artery, mirrored between the hemispheres. It places
generated strokes; it is not an atlas to report findings by.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

__all__ = ["TERRITORIES", "Territory", "find_territory", "territory_index"]


@dataclass(frozen=True)
class Territory:
    """One artery's share of a hemisphere.

    Attributes
    ----------
    name : key of the presets' weights
    shape : how an infarct grows there: "wedge" (cortical branch), "comma" (lenticulostriate) or "blob" (perforators)
    capacity_ml : largest infarct drawn there, mL
    anchors : landmarks (|x|, y, z), MNI mm
    """

    name: str
    shape: str
    capacity_ml: float
    anchors: tuple[tuple[float, float, float], ...]


TERRITORIES = (
    Territory(
        "mca_cortical",
        "wedge",
        400.0,
        (
            (40, 44, 6),  # inferior frontal gyrus and the middle frontal gyrus above it
            (34, 38, 24),
            (46, 18, 16),
            (42, 14, 38),
            (34, 6, 50),
            (52, -4, 30),  # central region
            (44, -16, 48),
            (52, -32, 36),  # parietal lobe
            (38, -46, 48),
            (46, -58, 32),
            (40, -76, 14),  # lateral occipital
            (36, -66, 26),
            (56, -20, 4),  # temporal lobe
            (54, -40, 2),
            (52, -10, -18),
            (54, -34, -16),
            (38, 8, -32),
            (46, 12, -20),
            (36, 2, 0),  # insula
            (38, -16, 8),
            (36, 26, -8),
            (30, -30, 26),  # deep white matter beside the ventricle
            (30, 12, 26),
        ),
    ),
    Territory(
        "lenticulostriate",
        "comma",
        45.0,
        ((25, 6, 2), (27, -8, 4), (20, -4, 10), (21, -14, 14), (14, 14, 8), (17, 4, 20), (20, 10, -4), (20, -10, 22)),
    ),
    Territory(
        "pca_cortical",
        "wedge",
        130.0,
        (
            (10, -92, 4),
            (10, -74, 6),
            (24, -92, 8),
            (24, -80, -8),
            (20, -62, -4),
            (34, -48, -16),
            (40, -30, -24),
            (10, -78, 28),
            (14, -58, 14),
            (28, -18, -30),
            (22, -74, 22),
        ),
    ),
    Territory(
        "aca",
        "wedge",
        110.0,
        (
            (6, 40, 2),
            (8, 58, 16),
            (8, 34, 34),
            (10, 10, 56),
            (8, -24, 60),
            (8, -48, 50),
            (20, 32, 46),
            (20, 2, 62),
            (20, 52, 26),
            (6, 24, -18),
            (16, 46, -12),
            (8, -6, 38),
            (18, -40, 66),
            (10, -64, 44),
            (22, 60, 4),
            (8, -30, 38),
        ),
    ),
    Territory(
        "pica_aica", "wedge", 55.0, ((14, -66, -40), (30, -64, -42), (42, -58, -38), (8, -58, -36), (22, -82, -36))
    ),
    Territory("pca_thalamic", "blob", 10.0, ((10, -20, 6), (6, -12, 2), (14, -28, 4), (8, -26, -4))),
    Territory("basilar", "blob", 10.0, ((5, -26, -30), (5, -22, -18), (5, -38, -46))),
    Territory("sca", "wedge", 40.0, ((12, -52, -16), (26, -54, -24), (8, -68, -18), (36, -54, -28), (22, -70, -24))),
    Territory("anterior_choroidal", "blob", 6.0, ((25, -24, -10), (20, -12, -8), (30, -34, -8))),
)

_ANCHORS = np.array([anchor for territory in TERRITORIES for anchor in territory.anchors], np.float64)
_OWNER = np.repeat(np.arange(len(TERRITORIES)), [len(territory.anchors) for territory in TERRITORIES])


def find_territory(name: str) -> Territory:
    """The territory of this name."""
    return next(territory for territory in TERRITORIES if territory.name == name)


def territory_index(points: np.ndarray) -> np.ndarray:
    """Index into `TERRITORIES` of each point.

    Parameters
    ----------
    points : (..., 3), MNI mm; both hemispheres are split alike

    Returns
    -------
    int array (...)
    """
    points = np.array(points, np.float64)
    points[..., 0] = np.abs(points[..., 0])
    return _OWNER[cKDTree(_ANCHORS).query(points)[1]]
