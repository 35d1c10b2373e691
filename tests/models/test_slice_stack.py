"""CT through a window, and slices stacked into three channels: in the processor and through its saved form."""

import json

import numpy as np
import pytest
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.models.slice_stack import stack_slices, stacked_channels
from hf_lesionseg.models.volume_geometry import VolumeError

CT = {"normalization": "window", "intensity_range": (-100, 240), "channel_names": ("ct",)}


def body(shape=(20, 16, 5), seed=0):
    """Soft tissue of 0 to 100 HU with some bone, in air."""
    rng = np.random.default_rng(seed)
    volume = np.full(shape, -1000, np.float32)
    volume[4:16, 3:12] = rng.uniform(0, 100, (12, 9, shape[2]))
    volume[9:11, 4:6] = 700
    return volume


# ---------------------------------------------------------------------------------------------------------- stacks


@pytest.mark.parametrize("index", [slice(None), 0, 3, -1, np.array([4, 0, 2]), slice(1, 4)])
def test_planes_of_a_stack(index):
    planes = np.arange(5 * 2 * 3 * 4).reshape(5, 2, 3, 4)
    np.testing.assert_array_equal(stack_slices(planes, "single", index), planes[index])
    below, above = planes[[0, 0, 1, 2, 3]], planes[[1, 2, 3, 4, 4]]
    for c in range(2):
        stacked = stack_slices(planes, "neighbours", index)[..., 3 * c : 3 * c + 3, :, :]
        expected = np.stack([below[:, c], planes[:, c], above[:, c]], axis=1)
        np.testing.assert_array_equal(stacked, expected[index])
        repeated = stack_slices(planes, "repeat", index)[..., 3 * c : 3 * c + 3, :, :]
        np.testing.assert_array_equal(repeated, np.stack([planes[:, c]] * 3, axis=1)[index])


def test_number_of_channels():
    assert [stacked_channels(2, stack) for stack in ("single", "repeat", "neighbours")] == [2, 6, 6]
    assert LesionImageProcessor(slice_stack="repeat").num_channels == 3
    assert LesionImageProcessor(channel_names=("cbf", "tmax")).num_channels == 2


@pytest.mark.parametrize("stack", ["repeat", "neighbours"])
def test_the_processor_stacks(stack):
    volume = body()
    single = LesionImageProcessor(**CT)(volume, return_tensors="np")["pixel_values"]
    batch = LesionImageProcessor(**CT, slice_stack=stack)(volume, segmentation_maps=volume > 50, return_tensors="pt")
    assert batch["pixel_values"].shape == (5, 3, 16, 20)
    assert batch["labels"].shape == (5, 16, 20)
    np.testing.assert_array_equal(batch["pixel_values"], stack_slices(single, stack))
    np.testing.assert_array_equal(batch["pixel_values"][:, 1], single[:, 0])


def test_cases_are_not_each_others_neighbours():
    volumes = [body(seed=1), body(seed=2)]
    batch = LesionImageProcessor(**CT, slice_stack="neighbours")(volumes, return_tensors="np")["pixel_values"]
    np.testing.assert_array_equal(batch[5, 0], batch[5, 1])
    np.testing.assert_array_equal(batch[4, 2], batch[4, 1])


def test_round_trip_through_the_file(tmp_path):
    processor = LesionImageProcessor(**CT, slice_stack="neighbours")
    processor.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert (written["slice_stack"], written["normalization"]) == ("neighbours", "window")
    again = AutoImageProcessor.from_pretrained(tmp_path)
    assert again.settings() == processor.settings()
    assert again.num_channels == 3
    before = {name: value for name, value in written.items() if name != "slice_stack"}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(before))
    assert AutoImageProcessor.from_pretrained(tmp_path).slice_stack == "single"


def test_an_unknown_stack_is_refused():
    with pytest.raises(ValueError, match=r"slice_stack='five': choose one of single, repeat, neighbours"):
        LesionImageProcessor(slice_stack="five")


# ---------------------------------------------------------------------------------------------------------- window


@pytest.mark.filterwarnings("error")
def test_window_of_a_ct():
    volume = body()
    batch = LesionImageProcessor(**CT)(volume, return_tensors="np")
    expected = np.clip((volume.transpose(2, 1, 0).astype(np.float64) + 100) / 340, 0, 1)
    np.testing.assert_allclose(batch["pixel_values"][:, 0], expected, atol=1e-6)
    assert batch["geometry"][0].normalization == ({"channel": "ct", "method": "window", "low": -100.0, "high": 240.0},)


@pytest.mark.filterwarnings("error")
def test_window_is_the_same_whatever_else_the_scan_shows():
    tissue, metal = body(), body()
    metal[0, 0, 0] = 30000
    values = [LesionImageProcessor(**CT)(volume)["pixel_values"] for volume in (tissue, metal)]
    np.testing.assert_array_equal(values[0][1:], values[1][1:])


def test_planes_are_placed_by_the_body_and_padded_with_black():
    volume = np.full((60, 80, 2), -1000, np.float32)
    volume[30:50, 10:40] = np.random.default_rng(0).uniform(0, 100, (20, 30, 2))
    volume[5:55, 70:74] = -600  # the couch
    values = LesionImageProcessor(**CT, size={"height": 40, "width": 32})(volume)
    assert values["geometry"][0].window_start == (5, 24)
    padded = LesionImageProcessor(**CT, size={"height": 96, "width": 96})(volume)["pixel_values"]
    assert padded[:, :, :4].max() == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda hu: (hu + 1000) / 1700, "hardly Hounsfield units, it looks rescaled"),
        (lambda hu: np.rint((hu + 1000) / 1700 * 255), "hardly Hounsfield units, it looks rescaled"),
        (lambda hu: hu + 1024, "hardly Hounsfield units, it looks stored without its offset"),
        (lambda hu: hu + 2000, "all lie on one side of the window -100 to 240, nothing is left"),
        (lambda hu: hu - 2000, "all lie on one side of the window -100 to 240, nothing is left"),
    ],
)
def test_what_is_no_hounsfield_unit_is_told(change, message):
    with pytest.warns(UserWarning, match=message):
        batch = LesionImageProcessor(**CT)(change(body()).astype(np.float32))
    (told,) = batch["geometry"][0].warnings
    assert message in told
    assert batch["geometry"][0].normalization[0]["method"] == "window"


def test_a_ct_of_nothing_but_air_is_refused():
    with pytest.raises(VolumeError, match=r"constant \(-1000 everywhere\)"):
        LesionImageProcessor(**CT)(np.full((8, 8, 3), -1000, np.float32))


def test_a_repeated_channel_takes_no_memory():
    planes = np.random.default_rng(0).random((4, 1, 5, 6), dtype=np.float32)
    stacked = stack_slices(planes, "repeat")
    assert stacked.shape == (4, 3, 5, 6)
    assert np.shares_memory(stacked, planes)
    assert all(np.array_equal(stacked[:, channel], planes[:, 0]) for channel in range(3))
    two = np.random.default_rng(1).random((2, 2, 3, 3))
    assert np.array_equal(stack_slices(two, "repeat")[:, [0, 1, 2]], np.repeat(two[:, :1], 3, axis=1))
    assert np.array_equal(stack_slices(two, "repeat")[:, [3, 4, 5]], np.repeat(two[:, 1:], 3, axis=1))
