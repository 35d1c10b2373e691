"""Augmentation of slices: each change by hand, images and labels together, the same for the same generator."""

import numpy as np
import pytest

from hf_lesionseg.datasets.augmentation import AUGMENTATIONS, SliceAugmentation
from hf_lesionseg.errors import UsageError

ALL = {name: {} for name in AUGMENTATIONS}


@pytest.fixture
def slices():
    rng = np.random.default_rng(0)
    labels = np.zeros((20, 24), np.uint8)
    labels[5:9, 6:14] = 1
    return rng.random((3, 20, 24)).astype(np.float32), labels


def augment(settings, slices, seed=0):
    return SliceAugmentation(settings)(*slices, np.random.default_rng(seed))


class Draws:
    """A generator that draws what it is told."""

    def __init__(self, *values):
        self.values = list(values)

    def uniform(self, low, high):
        drawn = self.values.pop(0)
        assert np.all(low <= np.asarray(drawn))
        assert np.all(drawn <= np.asarray(high))
        return np.asarray(drawn)


@pytest.mark.parametrize(("axes", "expected"), [(["height"], np.s_[::-1]), (["width"], np.s_[:, ::-1])])
def test_flip(slices, axes, expected):
    images, labels = augment({"flip": {"axes": axes, "probability": 1.0}}, slices)
    for found, before in zip(images, slices[0], strict=True):
        assert np.array_equal(found, before[expected])
    assert np.array_equal(labels, slices[1][expected])


def test_flips_as_often_as_told(slices):
    change = SliceAugmentation({"flip": {"axes": ["width"], "probability": 0.25}})
    rng = np.random.default_rng(0)
    flipped = [not np.array_equal(change(*slices, rng)[1], slices[1]) for _ in range(400)]
    assert 0.19 < np.mean(flipped) < 0.31


def test_quarter_turn_by_hand():
    image = np.arange(25.0).reshape(1, 5, 5)
    turned, labels = SliceAugmentation({"rotation": {"degrees": 90}})(image, image[0].astype(int), Draws(90.0))
    np.testing.assert_allclose(turned[0], np.rot90(image[0], -1), atol=1e-9)
    assert np.array_equal(labels, np.rot90(image[0], -1))


def test_zoom_and_shrink_by_hand():
    """A ramp stays a ramp about its centre, half as steep where the slice is enlarged twice."""
    ramp = np.tile(np.arange(9.0), (9, 1))[None]
    labels = np.zeros((9, 9), int)
    zoom = SliceAugmentation({"zoom": {"smallest": 0.5, "largest": 2.0}})
    enlarged, _ = zoom(ramp, labels, Draws(np.log(2)))
    np.testing.assert_allclose(enlarged[0, 4], 4 + (np.arange(9) - 4) / 2)
    shrunk, _ = zoom(ramp, labels, Draws(np.log(0.5)))
    np.testing.assert_allclose(shrunk[0, 4], np.clip(4 + (np.arange(9) - 4) * 2, 0, 8))


def test_crop_shows_a_window_of_the_slice():
    """Half of each side, as far up and right as it can be: rows -0.5 to 3.5 and columns 3.5 to 7.5 of 8."""
    rows, columns = np.indices((8, 8)).astype(float)
    crop = SliceAugmentation({"crop": {"smallest": 0.5}})
    images, _ = crop(np.stack([rows, columns]), rows.astype(int), Draws(0.5, [-2.0, 2.0]))
    window = np.arange(8) / 2 - 0.25
    np.testing.assert_allclose(images[0, :, 3], np.clip(window, 0, None))
    np.testing.assert_allclose(images[1, 3], np.clip(window + 4, None, 7))


def test_distortion_by_hand():
    """On the middle row of 11 x 11 pixels, 5 pixels from the centre: r^2 = 4 * 25 / 242, times k = 0.2."""
    columns = np.indices((11, 11))[1].astype(float)
    distortion = SliceAugmentation({"distortion": {"strength": 0.3}})
    (image,), _ = distortion(columns[None], columns.astype(int), Draws(-0.2))
    assert image[5, 5] == 5
    assert image[5, 10] == pytest.approx(5 + 5 * (1 - 0.2 * 100 / 242))
    assert (np.diff(image, axis=1) > 0).all()


def test_strongest_distortion_does_not_fold():
    columns = np.indices((9, 40))[1].astype(float)
    (image,), _ = SliceAugmentation({"distortion": {"strength": 0.3}})(columns[None], columns.astype(int), Draws(-0.3))
    assert (np.diff(image, axis=1) > 0).all()


def test_images_and_labels_go_together(slices):
    """The lesion as a channel of its own, thresholded, is the new label but for the pixels of its outline."""
    images, labels = slices
    both = np.concatenate([images, labels[None]])
    for seed in range(10):
        (*_, lesion), after = augment(ALL, (both, labels), seed)
        inside, outside = lesion > 0.99, lesion < 0.01
        assert (after[inside] == 1).all()
        assert (after[outside] == 0).all()
        assert inside.sum() + outside.sum() > 0.8 * lesion.size


def test_the_same_generator_gives_the_same_slice(slices):
    first, again, other = (augment(ALL, slices, seed) for seed in (3, 3, 4))
    assert all(np.array_equal(*pair) for pair in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert first[0].shape == slices[0].shape
    assert (first[0].dtype, first[1].dtype) == (np.float32, np.uint8)
    _, labels = augment(ALL, (slices[0], 7 * slices[1]), seed=3)
    assert np.array_equal(labels, 7 * first[1])  # of the nearest pixel, never in between


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"flips": {}}, "did you mean 'flip'"),
        ({"noise": {}}, "use some of flip, rotation"),
        ({"flip": {"axes": ["left"]}}, "augmentation flip: axes"),
        ({"flip": {"axes": "height"}}, "as a list"),
        ({"flip": 0.5}, "its settings are axes, probability"),
        ({"zoom": {"smallest": 1.2}}, "augmentation zoom: smallest is 1.2"),
        ({"crop": {"smallest": 0}}, "augmentation crop"),
        ({"distortion": {"strength": 0.5}}, "use 0 to 0.3"),
        ({"rotation": {"degrees": "far"}}, "augmentation rotation"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(UsageError, match=message):
        SliceAugmentation(settings)
