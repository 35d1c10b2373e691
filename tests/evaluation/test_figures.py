"""Figures: what they show is checked in the panels, that they are whole pictures in the files."""

import itertools
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from hf_lesionseg.errors import GridMismatchError
from hf_lesionseg.evaluation.figures import (
    compare_dice,
    compare_overlays,
    compare_runs,
    dice_distribution,
    extract_panel,
    lesion_volume_histograms,
    overlay_sheet,
    training_curves,
)
from hf_lesionseg.evaluation.figures.curves import smooth
from hf_lesionseg.evaluation.figures.overlays import PREDICTION_COLOUR, TRUTH_COLOUR

AXIS_CODES = [
    tuple(codes)
    for axes in itertools.permutations([("L", "R"), ("P", "A"), ("I", "S")])
    for codes in itertools.product(*axes)
]


def pixels(path):
    with Image.open(path) as image:
        image.verify()
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def has_colour(picture, colour, at_least=20):
    wanted = np.array([int(colour[index : index + 2], 16) for index in (1, 3, 5)])
    return (np.abs(picture - wanted).max(axis=-1) < 12).sum() >= at_least


def box_in_ras(shape, low, high):
    mask = np.zeros(shape, dtype=np.uint8)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = 1
    return mask


def stored_as(volume, affine, codes):
    """The same anatomy as a file with other axes would hold it."""
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(codes))
    turned = nib.orientations.apply_orientation(volume, turn)
    return turned, affine @ nib.orientations.inv_ornt_aff(turn, volume.shape)


@pytest.mark.parametrize("codes", AXIS_CODES, ids="".join)
def test_a_slice_looks_the_same_however_its_file_is_stored(codes):
    shape, affine = (10, 14, 8), np.diag([2.0, 1.0, 3.0, 1.0])
    # Right, anterior, and in slice 5: high x, high y of a RAS+ array.
    truth = box_in_ras(shape, (7, 11, 5), (9, 14, 6))
    scan = np.random.default_rng(0).uniform(50, 100, shape).astype(np.float32)
    expected = extract_panel("", affine=affine, scan=scan, truth=truth)
    # The person's right is on the left of the picture, the front above.
    rows, columns = np.nonzero(expected.truth)
    assert (rows.min(), rows.max()) == (0, 2)
    assert (columns.min(), columns.max()) == (1, 2)
    assert expected.aspect == pytest.approx(0.5)
    assert expected.millimetres == (14, 20)

    stored_scan, stored_affine = stored_as(scan, affine, codes)
    stored_truth, _ = stored_as(truth, affine, codes)
    panel = extract_panel("", affine=stored_affine, scan=stored_scan, truth=stored_truth)
    np.testing.assert_array_equal(panel.truth, expected.truth)
    np.testing.assert_array_equal(panel.background, expected.background)
    assert panel.aspect == expected.aspect


def test_the_slice_with_the_largest_lesion_area_is_shown():
    truth = box_in_ras((6, 6, 6), (1, 1, 1), (3, 3, 2)) + box_in_ras((6, 6, 6), (1, 1, 4), (5, 5, 5))
    assert extract_panel("", affine=np.eye(4), truth=truth).truth.sum() == 16
    # Without a lesion in the truth, what was wrongly predicted is shown.
    panel = extract_panel("", affine=np.eye(4), truth=np.zeros_like(truth), prediction=truth)
    assert panel.prediction.sum() == 16
    assert not panel.truth.any()


def test_without_any_lesion_the_middle_slice_is_shown():
    scan = np.arange(6, dtype=np.float32) * np.ones((4, 4, 1), dtype=np.float32) + 1
    panel = extract_panel("", affine=np.eye(4), scan=scan, truth=np.zeros(scan.shape, bool))
    # Intensities 1..6 from slice to slice; the middle of six is the fourth.
    assert panel.background == pytest.approx(np.full((4, 4), (4 - 1) / (6 - 1)), abs=0.02)


def test_the_picture_is_cut_to_the_head_but_never_through_a_lesion():
    scan = np.zeros((100, 100, 3), dtype=np.float32)
    scan[40:60, 40:60] = np.random.default_rng(0).uniform(50, 100, (20, 20, 3))
    outside = box_in_ras(scan.shape, (2, 50, 1), (5, 52, 2))
    panel = extract_panel("", affine=np.eye(4), scan=scan, truth=outside)
    assert panel.truth.sum() == outside.sum()
    assert panel.background.shape == (20 + 2 * 12, 2 + 58 + 12)


def test_volumes_of_one_picture_share_a_grid():
    with pytest.raises(GridMismatchError, match="one grid"):
        extract_panel("a", affine=np.eye(4), scan=np.ones((4, 4, 4)), truth=np.ones((4, 4, 5)))
    with pytest.raises(ValueError, match="give a scan"):
        extract_panel("a", affine=np.eye(4))


@pytest.mark.filterwarnings("error")
def test_overlay_sheet_draws_truth_and_prediction(tmp_path):
    scan = np.random.default_rng(0).uniform(0, 1, (30, 40, 5)).astype(np.float32)
    truth = box_in_ras(scan.shape, (10, 10, 2), (20, 20, 3))
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    both = extract_panel("case $1_{\nDice 0.5", affine=affine, scan=scan, truth=truth, prediction=np.roll(truth, 8, 1))
    picture = pixels(overlay_sheet([both, both], tmp_path / "both.png", title="Overlays"))
    assert has_colour(picture, TRUTH_COLOUR)
    assert has_colour(picture, PREDICTION_COLOUR)
    missed = extract_panel("missed", affine=affine, scan=scan, truth=truth)
    picture = pixels(overlay_sheet([missed], tmp_path / "missed.png", title="Overlays"))
    assert has_colour(picture, TRUTH_COLOUR)
    assert not has_colour(picture, PREDICTION_COLOUR)
    with pytest.raises(ValueError, match="at least one"):
        overlay_sheet([], tmp_path / "none.png", title="Overlays")


@pytest.mark.filterwarnings("error")
def test_voxels_keep_their_true_shape(tmp_path):
    """A slice of 20 x 40 voxels of 4 x 1 mm is 80 mm wide and 40 mm high, and is drawn so."""
    prediction = np.zeros((20, 40, 1), dtype=np.uint8)
    prediction[5:15, 10:30] = 1  # 40 mm wide, 20 mm high
    panel = extract_panel("", affine=np.diag([4.0, 1.0, 1.0, 1.0]), prediction=prediction)
    picture = pixels(overlay_sheet([panel], tmp_path / "a.png", title="Overlay"))
    black_rows, black_columns = np.nonzero(picture.max(axis=-1) < 5)
    # Text is not black; the only black is the picture's ground.
    assert np.ptp(black_columns) / np.ptp(black_rows) == pytest.approx(2, rel=0.02)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dice", [[], [0.7], [1.0, 1.0], [0.0, 0.3, 0.9, float("nan")]], ids=len)
def test_dice_distribution(tmp_path, dice):
    assert pixels(dice_distribution(dice, tmp_path / "dice.png", n_failed=1)).std() > 5


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "volumes",
    [
        {},
        {"all": [0.0]},
        {"all": [1.0]},
        {"train": [0.01, 5.0, 497.0], "validation": [], "test": [0.0, 3.0, float("nan")]},
    ],
    ids=["none", "no lesion", "one", "splits"],
)
def test_lesion_volume_histograms(tmp_path, volumes):
    assert pixels(lesion_volume_histograms(volumes, tmp_path / "volumes.png")).std() > 5


def epoch(step, loss, dice):
    return {"kind": "epoch", "step": step, "epoch": step // 10, "validation_loss": loss, "validation_dice": dice}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("length", [0, 1, 7, 200])
def test_training_curves(tmp_path, length):
    history = [{"kind": "step", "step": s, "loss": 1 / (s + 1), "learning_rate": 1e-4} for s in range(length)]
    history += [epoch(s, 0.5, 0.4) for s in range(10, length, 10)]
    # Values that a diverged or an interrupted run logs.
    history += [{"kind": "step", "step": 3, "loss": float("nan")}, {"kind": "step", "step": 4, "loss": None}, {}]
    assert pixels(training_curves(history, tmp_path / "training.png")).std() > 5


@pytest.mark.filterwarnings("error")
def test_other_metrics_are_drawn_beside_the_dice(tmp_path):
    plain = [epoch(step, 0.5, 0.4) for step in (10, 20)]
    more = [each | {"validation_iou": 0.3, "validation_auc": 0.9, "validation_recall": 0.5} for each in plain]
    first, second = (training_curves(each, tmp_path / f"{len(each[0])}.png") for each in (plain, more))
    assert not np.array_equal(pixels(first), pixels(second))


NETWORKS = ("U-Net", "ASPP + Inference with a long name", "CLCI-Net")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("number", [1, 9])
def test_dice_of_several_networks(tmp_path, number):
    rng = np.random.default_rng(0)
    dice = {f"{NETWORKS[n % 3]} {n}": rng.beta(3, 2, 12) for n in range(number)} | {"nothing": []}
    found = compare_dice(dice, tmp_path / "dice.png", title="Networks", synthetic=True)
    assert pixels(found).std() > 5
    assert pixels(found).shape[0] > 250 + 60 * number  # room for each


@pytest.mark.filterwarnings("error")
def test_overlays_of_several_networks(tmp_path):
    truth = np.zeros((20, 24, 4), bool)
    truth[5:12, 6:14, 1:3] = True
    panel = extract_panel("Dice 0.5", affine=np.eye(4), truth=truth, prediction=np.roll(truth, 2, axis=0))
    found = compare_overlays({"a": [panel] * 4, "b": [panel] * 4}, ["truth", *NETWORKS], tmp_path / "o.png", title="t")
    assert pixels(found).std() > 5
    with pytest.raises(ValueError, match="for each of the 3 columns"):
        compare_overlays({"a": [panel]}, NETWORKS, tmp_path / "p.png", title="t")
    assert not (tmp_path / "p.png").exists()


@pytest.mark.filterwarnings("error")
def test_bars_beside_the_course_of_the_runs(tmp_path):
    runs = {name: [[epoch(10, 0.5, 0.4), epoch(20, 0.4, 0.6)]] for name in NETWORKS}
    bars = {name: {"Dice": [0.6, 0.5, 0.7], "IoU": [0.4, None, None]} for name in NETWORKS}
    without, with_bars = (
        compare_runs(runs, tmp_path / f"{bool(each)}.png", title="t", bars=each) for each in (None, bars)
    )
    assert pixels(with_bars).shape[1] > pixels(without).shape[1]


def test_running_mean():
    np.testing.assert_allclose(smooth(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), 3), [1.5, 2, 3, 4, 4.5])
    np.testing.assert_allclose(smooth(np.array([2.0, 4.0]), 11), [3, 3])


def test_equal_results_give_equal_bytes_and_leave_nothing_behind(tmp_path):
    first = dice_distribution([0.2, 0.8], tmp_path / "a.png")
    second = dice_distribution([0.2, 0.8], tmp_path / "b.png")
    assert first.read_bytes() == second.read_bytes()
    synthetic = dice_distribution([0.2, 0.8], tmp_path / "c.png", synthetic=True)
    assert synthetic.read_bytes() != first.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "c.png"]


def test_pyplot_and_the_users_settings_are_left_alone(tmp_path):
    """In a process of its own: pyplot, once imported by any test, stays."""
    program = f"""
import sys, matplotlib, numpy as np
from pathlib import Path
before = {{name: matplotlib.rcParams._get(name) for name in matplotlib.rcParams.keys()}}
from hf_lesionseg.evaluation.figures import *
folder = Path({str(tmp_path)!r})
dice_distribution([0.5, 0.7], folder / "dice.png")
lesion_volume_histograms({{"all": [1.0, 3.0]}}, folder / "volumes.png")
training_curves([{{"kind": "step", "step": 1, "loss": 1.0, "learning_rate": 1e-4}}], folder / "training.png")
overlay_sheet([extract_panel("", affine=np.eye(4), truth=np.ones((3, 3, 3), bool))], folder / "o.png", title="")
assert "matplotlib.pyplot" not in sys.modules
assert before == {{name: matplotlib.rcParams._get(name) for name in matplotlib.rcParams.keys()}}
"""
    subprocess.run([sys.executable, "-c", program], check=True)
