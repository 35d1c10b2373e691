"""Channels of several kinds in one network, each normalised in its own way."""

import json

import numpy as np
import pytest
from transformers import AutoImageProcessor

from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.training.recipe import load_recipe

#: Six voxels of a head in HU: air, fat, fluid, brain, brain with contrast, bone.
FRAME = np.array([-1000, -80, 8, 35, 41, 1200], np.float32)
TMAX = np.array([0, 0, 0, 2, 4, 6], np.float32)
TWO_KINDS = {"ctp_*": "window", "tmax": "z-score"}


def volume(values):
    return np.repeat(values.reshape(3, 2, 1), 4, axis=2)


def case(frame=FRAME, later=FRAME + 6):
    return {"ctp_00": volume(frame), "ctp_01": volume(later), "tmax": volume(TMAX)}


def processor(**settings):
    return LesionImageProcessor(channel_names=("ctp_00", "ctp_01", "tmax"), **{"normalization": TWO_KINDS, **settings})


@pytest.mark.filterwarnings("error")
def test_frames_by_their_window_and_maps_by_their_own_spread():
    batch = processor()(case())
    frame, later, tmax = (batch["pixel_values"][0, c].T.ravel() for c in range(3))
    np.testing.assert_allclose(frame, [0, 0, 0.08, 0.35, 0.41, 1], atol=1e-6)
    np.testing.assert_allclose(later - frame, [0, 0, 0.06, 0.06, 0.06, 0], atol=1e-6)
    deviation = np.sqrt(8 / 3)  # of 2, 4 and 6 about 4; zero is left out
    np.testing.assert_allclose(tmax, np.array([-4, -4, -4, -2, 0, 2]) / deviation, atol=1e-6)
    window = {"method": "window", "low": 0.0, "high": 100.0}
    first, second, third = batch["geometry"][0].normalization
    assert (first, second) == ({"channel": "ctp_00", **window}, {"channel": "ctp_01", **window})
    assert third == {"channel": "tmax", "method": "z-score", "mean": 4.0, "std": pytest.approx(deviation)}


def test_the_window_is_that_of_the_settings():
    values = processor(intensity_range=(-100, 100))(case())["pixel_values"][0]
    np.testing.assert_allclose(values[0].T.ravel(), [0, 0.1, 0.54, 0.675, 0.705, 1], atol=1e-6)


def test_contrast_fills_the_scale_that_bone_and_air_had_taken():
    """What the z-score of a whole head leaves of a bolus of 6 HU in brain."""
    rise = {}
    for name, normalization in {"window": TWO_KINDS, "z-score": "z-score"}.items():
        values = processor(normalization=normalization)(case())["pixel_values"][0]
        rise[name] = (values[1] - values[0]).T.ravel()[3]
    assert rise["window"] == pytest.approx(0.06, abs=1e-6)
    assert abs(rise["z-score"]) < 1e-6


def test_air_is_what_planes_are_padded_with():
    padded = processor(size={"height": 16, "width": 16})(case())["pixel_values"]
    assert padded.shape[2:] == (16, 16)
    assert padded[:, :2, 0].max() == 0
    assert padded[:, 2, 0].max() == pytest.approx(-4 / np.sqrt(8 / 3))


def test_one_kind_for_all_is_as_before():
    for kind in ("percentile", "z-score", "none"):
        each = processor(normalization={"ctp_*": kind, "tmax": kind})(case())
        np.testing.assert_array_equal(each["pixel_values"], processor(normalization=kind)(case())["pixel_values"])


def test_round_trip_through_the_file_whatever_its_order(tmp_path):
    wanted = processor()
    wanted.save_pretrained(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    content = json.loads(path.read_text())
    assert content["normalization"] == TWO_KINDS
    content["normalization"] = dict(reversed(content["normalization"].items()))
    path.write_text(json.dumps(content))
    again = AutoImageProcessor.from_pretrained(tmp_path)
    assert again.settings() == wanted.settings()
    np.testing.assert_array_equal(again(case())["pixel_values"], wanted(case())["pixel_values"])


@pytest.mark.parametrize(
    ("normalization", "match"),
    [
        ({"ctp_*": "window"}, "no pattern matches the channel 'tmax'"),
        ({"ctp_*": "window", "*": "z-score"}, r"both 'ctp_\*' and '\*' match the channel 'ctp_00'"),
        (TWO_KINDS | {"cpt_*": "window"}, r"'cpt_\*' matches none of the channels ctp_00, ctp_01, tmax"),
        (TWO_KINDS | {"tmax": "zscore"}, r"normalization\['tmax'\]='zscore': choose one of percentile"),
        ({}, "no pattern matches the channel 'ctp_00'"),
        (["window"], "choose one of percentile"),
    ],
)
def test_each_channel_has_one(normalization, match):
    with pytest.raises(ValueError, match=match):
        processor(normalization=normalization)


def test_the_recipes_of_perfusion():
    egs_net = LesionImageProcessor(**load_recipe("egs-net-isles2018").processor)
    inputs = {name: volume(FRAME if name.startswith(("ctp", "pwi")) else TMAX) for name in egs_net.channel_names}
    records = egs_net(inputs)["geometry"][0].normalization
    in_hu = {record["channel"] for record in records if record["method"] == "window"}
    assert in_hu == {name for name in egs_net.channel_names if name.startswith(("ctp_", "pwimax_"))}
    assert {(record["low"], record["high"]) for record in records if record["channel"] in in_hu} == {(0.0, 100.0)}
    assert {record["method"] for record in records if record["channel"] not in in_hu} == {"z-score"}
    assert load_recipe("ms-dcnn-isles2018").processor["normalization"] == "z-score"
