"""Random changes of training slices: of geometry (flips, rotation, zoom, crops, radial distortion), blur and noise.

All of a recipe's changes of geometry become one map from the pixels of the new slice to places in the old one, so that
a slice is interpolated once, whatever is done to it: linearly its images, by the nearest pixel its labels. Blur and
noise come after it, in the recipe's order, and change images only.
"""

import difflib
from dataclasses import dataclass, fields

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

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
    """Enlarge by a factor between ``smallest`` and ``largest``, with a probability; below 1 the slice shrinks.

    Interpolation smooths each slice that is enlarged or shrunk: with a probability of 1 none keeps its own noise.
    """

    smallest: float = 0.9
    largest: float = 1.1
    probability: float = 1.0

    def __post_init__(self):
        possible = 0 < self.smallest <= self.largest < 100
        _check("smallest", self.smallest, possible, f"above 0 and up to largest, which is {self.largest}")
        _check("probability", self.probability, 0 <= self.probability <= 1, "0 to 1")

    def __call__(self, points, shape, rng):
        # nothing is drawn where all are: the draws of the changes behind it stay what they were
        if self.probability < 1 and rng.random() >= self.probability:
            return points
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


@dataclass(frozen=True)
class Blur:
    """Smooth by a Gaussian of a standard deviation of up to ``largest`` pixels, with a probability.

    Resampling smooths a scan, so that a network which has seen sharp slices only is lost on one of another voxel size.
    """

    largest: float = 1.0
    probability: float = 0.5

    def __post_init__(self):
        _check("largest", self.largest, 0 < self.largest <= 10, "above 0 and up to 10 pixels")
        _check("probability", self.probability, 0 <= self.probability <= 1, "0 to 1")

    def __call__(self, images, rng):
        if rng.random() >= self.probability:
            return images
        width = float(rng.uniform(0, self.largest))
        return np.stack([gaussian_filter(image, width, mode="nearest") for image in images])


@dataclass(frozen=True)
class Noise:
    """Add Gaussian noise of a standard deviation of up to ``largest`` to every image, with a probability.

    ``largest`` is in units of ``pixel_values``: 0.05 is a twentieth of the range where normalisation ends at 0 and 1.
    Images stay in their range, and air, their lowest value, stays as it is, as in a scan that was stripped or clipped.
    """

    largest: float = 0.05
    probability: float = 0.5

    def __post_init__(self):
        _check("largest", self.largest, 0 < self.largest < np.inf, "above 0, in units of pixel_values")
        _check("probability", self.probability, 0 <= self.probability <= 1, "0 to 1")

    def __call__(self, images, rng):
        if rng.random() >= self.probability:
            return images
        width = float(rng.uniform(0, self.largest))
        lowest, highest = (extreme(images, axis=(1, 2), keepdims=True) for extreme in (np.min, np.max))
        noisy = images + width * rng.standard_normal(images.shape).astype(images.dtype)
        return np.where(images > lowest, np.clip(noisy, lowest, highest), images)


_GEOMETRY = {"flip": Flip, "rotation": Rotation, "zoom": Zoom, "crop": Crop, "distortion": Distortion}
_APPEARANCE = {"blur": Blur, "noise": Noise}

#: name in a recipe -> its class, whose fields are its settings
AUGMENTATIONS = {**_GEOMETRY, **_APPEARANCE}


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
        changes = [_build(name, values or {}) for name, values in settings.items()]
        self.geometry = [change for change in changes if type(change) in _GEOMETRY.values()]
        self.appearance = [change for change in changes if type(change) in _APPEARANCE.values()]

    def __call__(self, pixel_values, labels, rng, num_images=None):
        """Change (C, H, W) images and (H, W) labels alike; what comes from beyond the border continues its pixels.

        The first ``num_images`` of ``pixel_values`` are images, by default all; others, such as targets, are moved with
        them and neither blurred nor made noisy.
        """
        values, labels = self._moved(pixel_values, labels, rng)
        images = values[:num_images]
        for change in self.appearance:
            images = change(images, rng)
        if images.shape != values.shape:
            images = np.concatenate([images, values[num_images:]])
        return images, labels

    def _moved(self, values, labels, rng):
        if not self.geometry:
            return np.array(values), np.array(labels)
        shape = labels.shape
        centre = (np.array(shape, dtype=float).reshape(2, 1, 1) - 1) / 2
        points = np.indices(shape) - centre
        for change in self.geometry:
            points = change(points, shape, rng)
        places = points + centre
        values = np.stack([map_coordinates(image, places, order=1, mode="nearest") for image in values])
        return values, map_coordinates(labels, places, order=0, mode="nearest")


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
