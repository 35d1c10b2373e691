"""One generated CT volume with one organ: what is drawn, where, and how the scanner shows it, from (seed, index) only.

The target lies in front of the spine and the great vessels. Look-alikes of the same shape and intensity lie further in
front or at the flanks, bowel everywhere: a patch of the target looks like a patch of them, so it takes the whole slice
to find the organ, and full resolution to outline it.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..random_fields import smooth_field
from .body import FAT_HU, FIELD_OF_VIEW_MM, BodyFrame, ellipse, make_frame, paint_body
from .shapes import KINDS, grow_organ

__all__ = ["ATTRIBUTES", "GeneratedOrgan", "generate_organ"]

ATTRIBUTES = (
    "present",
    "kind",
    "scale",
    "organ_ml",
    "slices_with_organ",
    "largest_area_px",
    "most_components",
    "cut_by_border",
    "centre_mm",
    "organ_hu",
    "look_alikes",
    "bowel_loops",
    "noise_hu",
    "body_scale",
)
"""What is recorded of each case besides its seed and index."""

# Each part of a case has random numbers of its own, so that more of one does not change the others.
_STREAMS = ("plan", "body", "organ", "look-alikes", "bowel", "acquisition")
_ABSENT = 0.06
_AT_BORDER = 0.05
_PLACES = (
    (-48, 68), (-16, 76), (18, 78), (52, 68), (-94, 30), (-84, 4), (94, -20), (78, 40), (-14, 56), (28, 54), (-76, 50)
)  # fmt: skip
_SMALLEST_PART = 6  # pixels: of fewer nobody could draw an outline


@dataclass(frozen=True)
class GeneratedOrgan:
    """A scan with its truth.

    Attributes
    ----------
    scan : int16 (X, Y, Z), HU
    mask : uint8 (X, Y, Z), 0 or 1
    affine : (4, 4), RAS+ mm
    record : `ATTRIBUTES`, seed and index, JSON-able
    """

    scan: np.ndarray
    mask: np.ndarray
    affine: np.ndarray
    record: dict


def generate_organ(seed: int, index: int, shape: tuple[int, int, int] = (128, 128, 16)) -> GeneratedOrgan:
    """Draw case number ``index`` of a set; the same seed, index and shape give the same bytes."""
    rng = {name: np.random.default_rng([seed, index, number]) for number, name in enumerate(_STREAMS)}
    plan = rng["plan"]
    present = bool(plan.random() >= _ABSENT)
    # most are small: the median is at 0.68, a tenth above 1.15
    scale = float(np.clip(np.exp(plan.normal(np.log(0.68), 0.4)), 0.4, 1.5))
    kind = str(plan.choice(list(KINDS)))
    centre = (float(plan.normal(0, 10)), float(plan.normal(12, 5)), float(plan.uniform(-26, 26)))
    body_scale, angle = float(plan.uniform(0.8, 1.08)), float(plan.normal(0, 0.07))
    shift = tuple(float(value) for value in plan.normal(0, 9, 2))
    if plan.random() < _AT_BORDER:
        shift = _shift_to_border(plan, centre, scale, body_scale, angle)
    frame = make_frame(rng["body"], shape, scale=body_scale, angle=angle, shift=shift)
    scan, cavity = paint_body(rng["body"], frame)

    organ_hu = float(plan.normal(96, 9))
    mask = np.zeros(shape, bool)
    if present:
        turn = float(plan.normal(0, 0.25))
        mask = grow_organ(rng["organ"], frame, centre=centre, scale=scale, kind=kind, turn=turn)
        # behind it are the vessels and the spine, beside it kidneys: none of them is organ
        mask &= (scan > -200) & (scan < 140) | cavity
        mask &= ellipse(frame, (0, -34), (48, 30)) > 1
        mask = _without_specks(mask)
        _paint_fat_planes(rng["organ"], scan, mask)
    others, look_alikes = _paint_look_alikes(rng["look-alikes"], frame, scan, cavity, mask, organ_hu)
    loops = _paint_bowel(rng["bowel"], frame, scan, cavity & ~others, mask)
    scan[mask] = organ_hu
    noise_hu = _acquire(rng["acquisition"], scan, mask)

    areas = mask.sum(axis=(0, 1))
    origin = [-(size - 1) / 2 * step for size, step in zip(shape, frame.spacing, strict=True)]
    affine = np.diag([*frame.spacing, 1.0])
    affine[:3, 3] = origin
    border = mask[[0, -1]].any() or mask[:, [0, -1]].any()
    middle = affine[:3, :3] @ np.argwhere(mask).mean(0) + origin if mask.any() else None
    record = {
        "synthetic": True,
        "seed": seed,
        "index": index,
        "present": bool(mask.any()),
        "kind": kind,
        "scale": round(scale, 4),
        "organ_ml": float(mask.sum() * np.prod(frame.spacing) / 1000),
        "slices_with_organ": int((areas > 0).sum()),
        "largest_area_px": int(areas.max()),
        "most_components": max(ndimage.label(mask[:, :, k], np.ones((3, 3)))[1] for k in range(shape[2])),
        "cut_by_border": bool(border),
        "centre_mm": None if middle is None else [round(float(value), 2) for value in middle],
        "organ_hu": round(organ_hu, 1),
        "look_alikes": look_alikes,
        "bowel_loops": loops,
        "noise_hu": round(noise_hu, 1),
        "body_scale": round(body_scale, 3),
    }
    return GeneratedOrgan(np.rint(np.clip(scan, -1024, 3071)).astype(np.int16), mask.astype(np.uint8), affine, record)


def _shift_to_border(rng, centre, scale, body_scale, angle) -> tuple[float, float]:
    """Move the body so that the border of the image cuts through the organ: a field of view set too tight."""
    cosine, sine = np.cos(angle) * body_scale, np.sin(angle) * body_scale
    place = np.array([cosine * centre[0] - sine * centre[1], sine * centre[0] + cosine * centre[1]])
    side = rng.integers(4)
    axis, sign = side % 2, 1 - 2 * (side // 2)
    wanted = rng.normal(0, 9, 2) + place
    wanted[axis] = sign * (FIELD_OF_VIEW_MM / 2 - rng.uniform(0, 12) * scale)
    return tuple(float(value) for value in wanted - place)


def _without_specks(mask: np.ndarray) -> np.ndarray:
    """Drop what a slice cuts off by a few pixels: tips of the organ, and lobes that have split off."""
    in_plane = np.zeros((3, 3, 3), bool)
    in_plane[:, :, 1] = True
    parts, _ = ndimage.label(mask, in_plane)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return (sizes >= _SMALLEST_PART)[parts]


def _paint_fat_planes(rng, scan: np.ndarray, mask: np.ndarray) -> None:
    """Part the organ from its neighbours by a pixel of fat, but not everywhere."""
    around = ndimage.binary_dilation(mask, np.ones((3, 3, 1), bool)) & ~mask
    around &= (scan > 60) & (scan < 130)
    scan[around & (smooth_field(rng, scan.shape, 5.0) > -0.5)] = FAT_HU


def _paint_bowel(rng, frame: BodyFrame, scan, cavity, mask) -> int:
    """Loops in front and at the sides, up to a pixel from the organ: wall, and fluid, gas or contrast."""
    count = int(rng.integers(7, 15))
    room = cavity & ~ndimage.binary_dilation(mask, np.ones((3, 3, 1), bool))
    for _ in range(count):
        place = (rng.uniform(-110, 110), rng.uniform(-5, 84))
        drift = rng.normal(0, 0.5, 2)
        middle = tuple(place[axis] + drift[axis] * frame.z for axis in (0, 1))
        size = rng.uniform(7, 16)
        radius = ellipse(frame, middle, (size * rng.uniform(1, 1.9), size), rng.uniform(0, np.pi))
        free = room & (np.abs(frame.z - rng.uniform(-45, 45)) < rng.uniform(12, 45))
        scan[free & (radius < 1)] = rng.normal(88, 10)
        if rng.random() < 0.7:
            content = rng.choice((25.0, 50.0, -850.0, 240.0), p=(0.45, 0.3, 0.15, 0.1))
            scan[free & (radius < 1 - 3.0 / size)] = content + rng.normal(0, 8)
    return count


def _paint_look_alikes(rng, frame: BodyFrame, scan, cavity, mask, organ_hu: float) -> tuple[np.ndarray, int]:
    """Organs of the target's own making where the target never is; returns their voxels and their number."""
    room = cavity & ~ndimage.binary_dilation(mask, np.ones((5, 5, 1), bool))
    room &= ellipse(frame, (-8, 8), (64, 30)) > 1  # the target's own place
    others, painted = np.zeros(scan.shape, bool), 0
    for choice in rng.permutation(len(_PLACES))[: rng.integers(4, 10)]:
        x, y = _PLACES[choice]
        other = grow_organ(
            rng,
            frame,
            centre=(x + rng.normal(0, 6), y + rng.normal(0, 6), rng.uniform(-26, 26)),
            scale=float(np.clip(np.exp(rng.normal(np.log(0.68), 0.35)), 0.4, 1.0)),
            kind=str(rng.choice(list(KINDS))),
            turn=rng.uniform(-np.pi, np.pi),
            mirrored=bool(rng.random() < 0.5),
        )
        shown = other & room
        if shown.sum() > 0.3 * other.sum() > 0:
            scan[shown] = organ_hu + rng.normal(0, 5)
            others |= shown
            painted += 1
    return others, painted


def _acquire(rng, scan: np.ndarray, mask: np.ndarray) -> float:
    """Texture, the scanner's blur and correlated noise, in place; returns the noise's standard deviation, HU."""
    tissue = scan > FAT_HU - 50
    texture = smooth_field(rng, scan.shape, 2.2) * np.float32(rng.uniform(3, 8))
    texture += smooth_field(rng, scan.shape, 6.0) * np.float32(rng.uniform(2, 6))
    scan[tissue] += texture[tissue]
    sigma = rng.uniform(0.45, 0.8)
    scan[...] = ndimage.gaussian_filter(scan, (sigma, sigma, rng.uniform(0.0, 0.35)), truncate=3)
    noise = rng.standard_normal(scan.shape, dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, (0.55, 0.55, 0), truncate=3)
    level = float(rng.uniform(8, 22))
    scan += noise * np.float32(level / noise.std())
    return level
