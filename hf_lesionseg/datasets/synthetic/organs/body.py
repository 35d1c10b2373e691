"""A generated abdomen in Hounsfield units: body wall, spine, great vessels and the organs that a scan shows anyway.

Everything is drawn in the millimetres of a standard body (320 wide, 220 deep; x to the right, y to the front, z upward,
as in RAS+), on coordinates that are shifted, turned, scaled and bent for each case: so nothing lies at the same pixel
twice, while all lies where it should with respect to the spine.
"""

from dataclasses import dataclass

import numpy as np

from ..random_fields import smooth_field

__all__ = ["FAT_HU", "BodyFrame", "ellipse", "make_frame", "paint_body"]

FIELD_OF_VIEW_MM = 340.0
SLICE_MM = 5.0
FAT_HU = -105.0
_HALF_WIDTH, _HALF_DEPTH = 160.0, 110.0
_BEND_MM, _BEND_LENGTH_MM = 5.0, 70.0


@dataclass(frozen=True)
class BodyFrame:
    """Where each voxel lies in the standard body.

    Attributes
    ----------
    x, y, z : float32 (X, Y, Z), standard mm
    shape : voxels
    spacing : (x, y, z), mm of the scan
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]


def make_frame(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    *,
    scale: float,
    angle: float,
    shift: tuple[float, float],
) -> BodyFrame:
    """Lay a standard body into a field of view of 340 mm.

    Parameters
    ----------
    rng : of the bending
    shape : (X, Y, Z), voxels
    scale : size of this body; 1 is the standard
    angle : turn about z, radian
    shift : (x, y) of the body's centre in the field of view, mm
    """
    spacing = (FIELD_OF_VIEW_MM / shape[0], FIELD_OF_VIEW_MM / shape[1], SLICE_MM)
    i, j, k = (
        ((np.arange(size) - (size - 1) / 2) * step).astype(np.float32)
        for size, step in zip(shape, spacing, strict=True)
    )
    dx, dy = i[:, None, None] - np.float32(shift[0]), j[None, :, None] - np.float32(shift[1])
    cosine, sine = np.float32(np.cos(angle) / scale), np.float32(np.sin(angle) / scale)
    knots = _BEND_LENGTH_MM / spacing[0]
    x = cosine * dx + sine * dy + _BEND_MM * smooth_field(rng, shape, knots)
    y = cosine * dy - sine * dx + _BEND_MM * smooth_field(rng, shape, knots)
    z = np.broadcast_to(k[None, None, :] / np.float32(scale), shape)
    return BodyFrame(x, y, z, shape, spacing)


def ellipse(frame: BodyFrame, centre, radii, angle: float = 0.0, power: float = 2.0) -> np.ndarray:
    """Radius of each voxel in units of an ellipse in the plane: below 1 inside.

    Parameters
    ----------
    frame : BodyFrame
    centre, radii : (x, y), standard mm; each a number, or an array over z
    angle : radian
    power : 2 is an ellipse, more is boxier

    Returns
    -------
    float32 (X, Y, Z)
    """
    dx, dy = frame.x - np.float32(centre[0]), frame.y - np.float32(centre[1])
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u = np.abs(cosine * dx + sine * dy) / np.asarray(radii[0], np.float32)
    v = np.abs(cosine * dy - sine * dx) / np.asarray(radii[1], np.float32)
    if power == 2.0:
        return np.sqrt(u * u + v * v)  # a tenth of the time of a power
    return (u**power + v**power) ** np.float32(1 / power)


def paint_body(rng: np.random.Generator, frame: BodyFrame) -> tuple[np.ndarray, np.ndarray]:
    """Draw one abdomen without target and look-alikes.

    Returns
    -------
    scan : float32 (X, Y, Z), HU, crisp and without noise
    cavity : bool (X, Y, Z), fat of the peritoneal cavity, where more may be put
    """
    scan = np.full(frame.shape, -1000, np.float32)
    inside = _paint_wall(rng, frame, scan)
    _paint_organs(rng, frame, scan, inside)
    _paint_spine(rng, frame, scan)
    _paint_vessels(rng, frame, scan)
    _paint_couch(frame, scan)
    return scan, inside & (scan == FAT_HU)


def _paint_wall(rng, frame, scan):
    """Skin, fat, muscle and ribs; returns the voxels within."""
    radius = ellipse(frame, (0, 0), (_HALF_WIDTH, _HALF_DEPTH), power=2.3)
    depth = (1 - radius) * _HALF_DEPTH  # about mm
    fat_mm = rng.uniform(5, 22) * (1 + 0.35 * np.clip(-frame.y / _HALF_DEPTH, -1, 1))
    muscle_mm = np.float32(rng.uniform(7, 12))
    muscle = rng.normal(55, 6)
    scan[depth > 0] = 25  # skin
    scan[depth > 2] = FAT_HU
    scan[depth > fat_mm] = muscle
    inside = depth > fat_mm + muscle_mm
    scan[inside] = FAT_HU
    tilt, period = rng.uniform(0.25, 0.45), rng.uniform(26, 34)
    around = np.arctan2(frame.y, frame.x * np.float32(_HALF_DEPTH / _HALF_WIDTH))
    ribs = np.cos(2 * np.pi * (frame.z + tilt * 90 * np.abs(around)) / period) > 0.55
    wall = (depth > fat_mm + 0.3 * muscle_mm) & (depth < fat_mm + 0.85 * muscle_mm) & (frame.y < 55)
    scan[wall & ribs & (np.abs(frame.x) > 45)] = rng.normal(320, 50)
    return inside


def _paint_organs(rng, frame, scan, inside):
    """Liver, spleen, stomach, kidneys, muscles along the spine: large, of about the target's intensity, unlabelled."""
    level = frame.z + rng.normal(0, 12)  # how high in the abdomen this slice is
    liver, spleen = rng.normal(108, 9), rng.normal(118, 9)
    size = np.clip(1.0 + level / 130, 0.3, 1.2)
    shown = ellipse(frame, (108, 18), (rng.uniform(50, 66) * size, 78 * size), rng.normal(0.1, 0.12)) < 1
    scan[shown & inside] = liver
    size = np.clip(0.9 + level / 90, 0.02, 1.15)
    scan[(ellipse(frame, (-104, -22), (24 * size, 46 * size), 0.25) < 1) & inside] = spleen
    size = np.clip(0.85 + level / 80, 0.02, 1.1)
    stomach = ellipse(frame, (-52, 52), (42 * size, 27 * size), rng.normal(-0.3, 0.2))
    scan[(stomach < 1) & inside] = rng.normal(85, 8)
    scan[(stomach < 0.86) & inside] = rng.normal(30, 10)
    if rng.random() < 0.6:  # gas rises to the front
        scan[(stomach < 0.84) & inside & (frame.y > 52 + rng.uniform(0, 10))] = -950
    for side in (-1, 1):
        turn = side * rng.uniform(0.2, 0.5)
        middle = (side * rng.uniform(58, 68), rng.uniform(-48, -38))
        size = np.sqrt(np.clip(1 - ((level + side * 6 + 12) / rng.uniform(50, 62)) ** 2, 1e-3, 1))
        kidney = ellipse(frame, middle, (23 * size, 30 * size), turn)
        scan[(kidney < 1) & inside] = rng.normal(165, 15)
        scan[kidney < 0.42] = rng.normal(20, 30)
        scan[ellipse(frame, (side * 34, -42), (13, 19)) < 1] = 58  # psoas
        scan[ellipse(frame, (side * 36, -78), (28, 15)) < 1] = 55  # erector spinae


def _paint_spine(rng, frame, scan):
    """Vertebrae with discs between them, canal and processes."""
    phase, marrow = rng.uniform(0, 36), rng.normal(190, 30)
    disc = ((frame.z + phase) % 36) < 7
    body = ellipse(frame, (0, -48), (23, 17), power=2.4)
    scan[body < 1] = 380
    scan[body < 0.86] = marrow
    scan[(body < 1) & disc] = 85
    arch = ellipse(frame, (0, -73), (15, 12))
    scan[arch < 1] = 360
    scan[(np.abs(frame.x) < 4) & (frame.y < -80) & (frame.y > -98)] = 330
    transverse = (np.abs(frame.y + 72) < 4) & (np.abs(frame.x) < 36) & ~disc
    scan[transverse] = 310
    scan[arch < 0.66] = 25


def _paint_vessels(rng, frame, scan):
    """Aorta, inferior vena cava, and the mesenteric vessels in front of them."""
    arterial, venous = rng.normal(160, 15), rng.normal(150, 15)
    scan[ellipse(frame, (-9, -21), (9.5, 9.5)) < 1] = arterial
    scan[ellipse(frame, (17, -22), (12, rng.uniform(6, 9)), 0.2) < 1] = venous
    scan[ellipse(frame, (-3 + rng.normal(0, 2), -3), (3.6, 3.6)) < 1] = arterial


def _paint_couch(frame, scan):
    # it is not a part of the body: as far behind it as the body is deep, and thin
    line = (frame.y < -_HALF_DEPTH - 12) & (frame.y > -_HALF_DEPTH - 17) & (np.abs(frame.x) < 190)
    scan[line & (scan < -900)] = -350
