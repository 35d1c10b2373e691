"""Random geometry for training slices: flips, rotation, zoom, crops and radial distortion.

All of a recipe's changes become one map from the pixels of the new slice to places in the old one, so that a slice is
interpolated once, whatever is done to it: linearly its images, by the nearest pixel its labels.
"""

import difflib
from dataclasses import dataclass, fields

import numpy as np
from scipy.ndimage import map_coordinates

from ..errors import UsageError

__all__ = ["AUGMENTATIONS", "SliceAugmentation"]

_AXES = ("height", "width")


@dataclass(frozen=True)
class Flip:
    """Mirror each of the axes ("height", "width") with a probability."""

    axes: tuple[str, ...] = _AXES
    probability: float = 0.5

    def __post_init__(self):
        if isinstance(self.axes, str) or not self.axes or not set(self.axes) <= set(_AXES):
            raise ValueError(f"axes is {self.axes!r}; give one or both of {', '.join(_AXES)} as a list")
        _check("probability", self.probability, 0 <= self.probability <= 1, "0 to 1")

    def __call__(self, points, shape, rng):
        signs = [-1.0 if axis in self.axes and rng.random() < self.probability else 1.0 for axis in _AXES]
        return points * np.reshape(signs, (2, 1, 1))


@dataclass(frozen=True)
class Rotation:
    """Turn about the centre by up to so many degrees either way."""

    degrees: float = 15.0

    def __post_init__(self):
        _check("degrees", self.degrees, 0 <= self.degrees <= 180, "0 to 180")

    def __call__(self, points, shape, rng):
        angle = np.deg2rad(rng.uniform(-self.degrees, self.degrees))
        cosine, sine = np.cos(angle), np.sin(angle)
        return np.stack([cosine * points[0] - sine * points[1], sine * points[0] + cosine * points[1]])


@dataclass(frozen=True)
class Zoom:
    """Enlarge by a factor between ``smallest`` and ``largest``; below 1 the slice shrinks."""

    smallest: float = 0.9
    largest: float = 1.1

    def __post_init__(self):
        possible = 0 < self.smallest <= self.largest < 100
        _check("smallest", self.smallest, possible, f"above 0 and up to largest, which is {self.largest}")

    def __call__(self, points, shape, rng):
        return points / np.exp(rng.uniform(np.log(self.smallest), np.log(self.largest)))


@dataclass(frozen=True)
class Crop:
    """A window of at least the share ``smallest`` of both sides, anywhere in the slice, enlarged to its size."""

    smallest: float = 0.8

    def __post_init__(self):
        _check("smallest", self.smallest, 0 < self.smallest <= 1, "above 0 and up to 1")

    def __call__(self, points, shape, rng):
        share = rng.uniform(self.smallest, 1)
        room = (1 - share) / 2 * np.array(shape)
        return share * points + rng.uniform(-room, room).reshape(2, 1, 1)


@dataclass(frozen=True)
class Distortion:
    """Radial (barrel or pincushion) distortion: radius r, as a share of half the diagonal, becomes r (1 + k r^2).

    ``strength`` is the greatest |k|.
    """

    strength: float = 0.2

    def __post_init__(self):
        # From 1/3 on the radius would shrink again towards the corners, and the slice fold.
        _check("strength", self.strength, 0 <= self.strength <= 0.3, "0 to 0.3")

    def __call__(self, points, shape, rng):
        squared_radius = 4 * (points**2).sum(axis=0) / (shape[0] ** 2 + shape[1] ** 2)
        return points * (1 + rng.uniform(-self.strength, self.strength) * squared_radius)


#: name in a recipe -> its class, whose fields are its settings
AUGMENTATIONS = {"flip": Flip, "rotation": Rotation, "zoom": Zoom, "crop": Crop, "distortion": Distortion}


class SliceAugmentation:
    """Augmentation for :class:`~hf_lesionseg.datasets.slices.SliceDataset`.

    Parameters
    ----------
    settings : mapping of str to mapping
        Names of :data:`AUGMENTATIONS`, each with those of its settings that differ from its defaults (or None).

    Raises
    ------
    UsageError
        For an unknown name or setting, or an impossible value.

    Examples
    --------
    >>> augment = SliceAugmentation({"flip": {"axes": ["width"], "probability": 1.0}})
    >>> image, labels = np.array([[[1.0, 2.0, 3.0]]]), np.array([[0, 0, 1]])
    >>> [array.tolist() for array in augment(image, labels, np.random.default_rng(0))]
    [[[[3.0, 2.0, 1.0]]], [[1, 0, 0]]]
    """

    def __init__(self, settings):
        self.changes = [_build(name, values or {}) for name, values in settings.items()]

    def __call__(self, pixel_values, labels, rng):
        """Change (C, H, W) images and (H, W) labels alike; what comes from beyond the border continues its pixels."""
        shape = labels.shape
        centre = (np.array(shape, dtype=float).reshape(2, 1, 1) - 1) / 2
        points = np.indices(shape) - centre
        for change in self.changes:
            points = change(points, shape, rng)
        places = points + centre
        images = np.stack([map_coordinates(image, places, order=1, mode="nearest") for image in pixel_values])
        return images, map_coordinates(labels, places, order=0, mode="nearest")


def _build(name, values):
    if name not in AUGMENTATIONS:
        near = difflib.get_close_matches(str(name), AUGMENTATIONS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"use some of {', '.join(AUGMENTATIONS)}"
        raise UsageError(f"augmentation {name!r} is unknown; {hint}")
    kind = AUGMENTATIONS[name]
    known = [entry.name for entry in fields(kind)]
    if not isinstance(values, dict) or not set(values) <= set(known):
        raise UsageError(f"augmentation {name}: its settings are {', '.join(known)}, not {values!r}")
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise UsageError(f"augmentation {name}: {error}") from error


def _check(name, value, possible, wanted):
    if not possible:
        raise ValueError(f"{name} is {value}; use {wanted}")
