"""Does a label lie on the organ of its scan? Asked of the Hounsfield units under it, and of its mirror images.

The labels of Pancreas-CT belong to the scans by array index, but public copies are mirrored along y or z in ways that
no header reveals. A label on the wrong organ trains as well as one on the right organ, so it has to be found here.
"""

from dataclasses import asdict, dataclass

import numpy as np
from scipy import ndimage

__all__ = ["LabelCheck", "Overlap", "check_label"]

HU_RANGE = (60.0, 130.0)
"""Mean of a pancreas in the portal-venous phase, HU."""
_SOFT_TISSUE = (0.0, 200.0)
_LEAST_SOFT = 0.8  # of the voxels under a label that fits; the rest is fat between the lobules and noise
_LEAST_DOUBTFUL = 0.5
_CLEARLY_BETTER_HU = 20.0
_FLIPS = {"": (), "y": (1,), "z": (2,), "y and z": (1, 2)}


@dataclass(frozen=True)
class Overlap:
    """What lies under a label.

    Attributes
    ----------
    mean_hu : mean over the label
    soft_tissue : share of its voxels from 0 to 200 HU
    contrast_hu : mean within, less the mean of the two voxels around it in the slices, both cut to -100..240 HU: an
        organ in fat stands out, a label in the middle of the liver does not
    """

    mean_hu: float
    soft_tissue: float
    contrast_hu: float


@dataclass(frozen=True)
class LabelCheck:
    """How a label lies on its scan.

    Attributes
    ----------
    verdict : "fits", "fits when flipped", "doubtful", "misplaced" or "empty"
    flip : "", "y", "z" or "y and z": what was flipped to make it so
    overlaps : of each flip that was tried, by its name
    hu_range : mean that was asked for, HU
    remark : what a person should know, or ""
    """

    verdict: str
    flip: str
    overlaps: dict[str, Overlap]
    hu_range: tuple[float, float]
    remark: str = ""

    @property
    def usable(self) -> bool:
        """Whether the label may be trained on."""
        return self.verdict != "misplaced"

    def apply(self, label: np.ndarray) -> np.ndarray:
        """The label as it lies on the scan."""
        return np.flip(label, _FLIPS[self.flip])

    def to_dict(self) -> dict:
        """JSON-able."""
        overlaps = {name or "as documented": asdict(each) for name, each in self.overlaps.items()}
        return {
            "verdict": self.verdict,
            "flip": self.flip,
            "overlaps": {
                name: {key: round(value, 3) for key, value in each.items()} for name, each in overlaps.items()
            },
            "hu_range": list(self.hu_range),
            "remark": self.remark,
        }


def check_label(hounsfield: np.ndarray, label: np.ndarray, hu_range: tuple[float, float] = HU_RANGE) -> LabelCheck:
    """Compare a label with its scan, as it is and flipped along y and z.

    It *fits* where its mean is within ``hu_range`` and 80 % of it is soft tissue. Where it does not, and exactly
    flipped it does, the flip that stands out best from its surroundings holds. Where nothing fits, the label as
    documented is *doubtful* if most of it is soft tissue and no flip has more, else *misplaced*. It is doubtful too
    where it fits, but flipped would stand out twice as well: it may lie in another organ.

    Parameters
    ----------
    hounsfield : (X, Y, Z), HU
    label : (X, Y, Z), organ where > 0, of the same voxels
    hu_range : least and greatest mean, HU
    """
    inside = label > 0
    boxes = ndimage.find_objects(inside.astype(np.uint8))
    if not boxes:
        return LabelCheck("empty", "", {}, hu_range, "the label has no voxel")
    overlaps = {name: _measure(hounsfield, inside, boxes[0], axes) for name, axes in _FLIPS.items()}
    fitting = [name for name, overlap in overlaps.items() if _fits(overlap, hu_range)]
    best = max(fitting, key=lambda name: overlaps[name].contrast_hu, default=None)
    if "" in fitting:
        gain = overlaps[best].contrast_hu - overlaps[""].contrast_hu
        if gain <= _CLEARLY_BETTER_HU:
            return LabelCheck("fits", "", overlaps, hu_range)
        remark = f"flipped along {best} it would stand out by {gain:.0f} HU more: look at it"
        hidden = 2 * overlaps[""].contrast_hu < overlaps[best].contrast_hu
        return LabelCheck("doubtful" if hidden else "fits", "", overlaps, hu_range, remark)
    if best is not None:
        return LabelCheck("fits when flipped", best, overlaps, hu_range, f"flipped along {best}")
    most = max(overlaps, key=lambda name: overlaps[name].soft_tissue)
    if overlaps[""].soft_tissue >= max(_LEAST_DOUBTFUL, overlaps[most].soft_tissue):
        return LabelCheck("doubtful", "", overlaps, hu_range, "kept as documented; no flip is better: look at it")
    return LabelCheck("misplaced", "", overlaps, hu_range, "neither as documented nor flipped on soft tissue")


def _fits(overlap: Overlap, hu_range: tuple[float, float]) -> bool:
    return hu_range[0] <= overlap.mean_hu <= hu_range[1] and overlap.soft_tissue >= _LEAST_SOFT


def _measure(hounsfield: np.ndarray, inside: np.ndarray, box, axes: tuple[int, ...]) -> Overlap:
    """Measure under the label flipped along ``axes``; only its box is read."""
    margin = (3, 3, 0)
    wide = tuple(
        slice(max(0, part.start - more), min(size, part.stop + more))
        for part, more, size in zip(box, margin, inside.shape, strict=True)
    )
    flipped = tuple(
        slice(size - part.stop, size - part.start) if axis in axes else part
        for axis, (part, size) in enumerate(zip(wide, inside.shape, strict=True))
    )
    mask = np.flip(inside[wide], axes)
    values = hounsfield[flipped].astype(np.float32)
    within = values[mask]
    disc = np.ones((5, 5, 1), bool)
    around = ndimage.binary_dilation(mask, disc) & ~mask
    seen = np.clip(values, -100, 240)
    outside = float(seen[around].mean()) if around.any() else 0.0
    low, high = _SOFT_TISSUE
    return Overlap(
        mean_hu=float(within.mean()),
        soft_tissue=float(((within >= low) & (within <= high)).mean()),
        contrast_hu=float(seen[mask].mean()) - outside,
    )
