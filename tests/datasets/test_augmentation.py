"""Augmentation of slices: each change by hand, images and labels together, the same for the same generator."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hf_lesionseg.datasets.augmentation import AUGMENTATIONS, SliceAugmentation
from hf_lesionseg.errors import UsageError

ALL = {name: {} for name in AUGMENTATIONS}
MOVED = {name: {} for name in ("flip", "rotation", "zoom", "crop", "distortion")}


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


def test_zoom_as_often_as_told_and_exact_where_it_is_not(slices):
    change, rng = SliceAugmentation({"zoom": {"probability": 0.25}}), np.random.default_rng(0)
    zoomed = [not np.array_equal(change(*slices, rng)[0], slices[0]) for _ in range(400)]
    assert 0.19 < np.mean(zoomed) < 0.31


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


def test_blur_by_hand(slices):
    """As scipy smooths, with the width that was drawn; the labels stay."""
    change = SliceAugmentation({"blur": {"largest": 2.0, "probability": 1.0}})
    rng = np.random.default_rng(5)
    rng.random()
    width = rng.uniform(0, 2.0)
    images, labels = change(*slices, np.random.default_rng(5))
    for found, before in zip(images, slices[0], strict=True):
        np.testing.assert_array_equal(found, gaussian_filter(before, width, mode="nearest"))
    assert np.array_equal(labels, slices[1])
    assert width > 0.5


def test_noise_has_the_width_that_was_drawn_and_spares_air():
    images = np.full((2, 200, 200), 0.5, np.float32)
    images[:, :20] = 0.0
    images[0, -1, -1], images[1, -1, -1] = 1.0, 0.55
    labels = np.ones((200, 200), np.uint8)
    widths = []
    for seed in range(20):
        noisy, after = augment({"noise": {"largest": 0.1, "probability": 1.0}}, (images, labels), seed)
        assert not noisy[:, :20].any()
        assert noisy.min() >= 0
        assert noisy[1].max() <= np.float32(0.55)
        assert noisy.dtype == np.float32
        assert np.array_equal(after, labels)
        widths.append(noisy[0, 20:].std())
    assert 0 < min(widths) < 0.02
    assert 0.08 < max(widths) < 0.1


def test_blur_and_noise_as_often_as_told(slices):
    for name in ("blur", "noise"):
        change, rng = SliceAugmentation({name: {"probability": 0.25}}), np.random.default_rng(0)
        changed = [not np.array_equal(change(*slices, rng)[0], slices[0]) for _ in range(400)]
        assert 0.19 < np.mean(changed) < 0.31


def test_targets_are_moved_and_neither_blurred_nor_noisy(slices):
    always = {"blur": {"probability": 1.0}, "noise": {"probability": 1.0}}
    moved, labels = augment(MOVED, slices, 1)
    changed, again = SliceAugmentation(MOVED | always)(*slices, np.random.default_rng(1), num_images=2)
    assert np.array_equal(changed[2], moved[2])
    assert not np.array_equal(changed[:2], moved[:2])
    assert np.array_equal(labels, again)


def test_slices_are_copied_where_nothing_moves_them(slices):
    images, labels = augment({"noise": {"probability": 0.0}}, slices)
    assert np.array_equal(images, slices[0])
    assert not np.shares_memory(images, slices[0])
    assert not np.shares_memory(labels, slices[1])


def test_images_and_labels_go_together(slices):
    """The lesion as a channel of its own, thresholded, is the new label but for the pixels of its outline."""
    images, labels = slices
    both = np.concatenate([images, labels[None]])
    for seed in range(10):
        (*_, lesion), after = augment(MOVED, (both, labels), seed)
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
        ({"xyz": {}}, "use some of flip, rotation"),
        ({"noises": {}}, "did you mean 'noise'"),
        ({"blur": {"largest": 0}}, "augmentation blur: largest is 0"),
        ({"noise": {"largest": -1}}, "augmentation noise: largest is -1"),
        ({"noise": {"probability": 2}}, "augmentation noise: probability is 2"),
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
