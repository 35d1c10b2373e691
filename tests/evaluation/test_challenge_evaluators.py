"""Presets against the evaluators that they emulate, each written out anew from its definitions, on masks on disk.

What the challenges publish was read, not copied: Covalic's metrics for ISLES 2015 and 2016, ISLES 2022's and 2024's
scripts, ATLAS R2.0's container. Below they are restated with loops over lesions, sets of voxels and scikit-learn.
"""

import functools
import itertools
import math
import warnings

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist
from sklearn.metrics import precision_score, recall_score

from hf_lesionseg.evaluation import ScoringOptions, evaluate_folders
from hf_lesionseg.evaluation.matching import TruthCase
from hf_lesionseg.evaluation.presets import PRESETS, apply_preset
from hf_lesionseg.evaluation.scored_case import case_to_row
from hf_lesionseg.evaluation.scoring import score_case

VOXEL = (1.0, 1.5, 2.0)  # mm


def blobs(seed, level):
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(14, 13, 9)), 0.9)
    return (smooth > level).astype(np.float32)


def labelled_pairs():
    """Random and degenerate pairs of prediction and truth."""
    pairs = {}
    for seed in range(12):
        truth, other = blobs(seed, 0.42), blobs(100 + seed, 0.42)
        pairs[f"unrelated {seed}"] = (other, truth)
        pairs[f"grown {seed}"] = (ndimage.binary_dilation(truth).astype(np.float32), truth)
        moved = np.roll(truth, 1, axis=seed % 3)
        pairs[f"moved {seed}"] = (np.maximum(moved, other * (seed % 2)), truth)
    nothing, everything = np.zeros((14, 13, 9), np.float32), np.ones((14, 13, 9), np.float32)
    corner, line, bridge, diagonal = (nothing.copy() for _ in range(4))
    corner[0, 0, 0] = 1
    line[2:7, 4, 4] = 1
    bridge[2:3, 4, 4] = bridge[6, 4, 4] = 1
    for step in range(4):
        diagonal[step, step, step] = 1
    kinds = {
        "nothing": nothing,
        "everything": everything,
        "corner": corner,
        "line": line,
        "bridge": bridge,
        "diagonal": diagonal,
    }
    for (first, prediction), (second, truth) in itertools.product(kinds.items(), kinds.items()):
        pairs[f"{first} for {second}"] = (prediction, truth)
    return pairs


PAIRS = labelled_pairs()


def touching(connectivity):
    """Offsets of the voxels that belong together with one."""
    most = {6: 1, 26: 3}[connectivity]
    return [each for each in itertools.product((-1, 0, 1), repeat=3) if 0 < sum(map(abs, each)) <= most]


def lesions_of(mask, connectivity):
    """Lesions as sets of voxels, by walking from voxel to voxel; in the order in which they are met."""
    return walk(tuple(map(tuple, np.argwhere(mask).tolist())), connectivity)


@functools.cache
def walk(voxels, connectivity):
    left, found = set(voxels), []
    for start in sorted(left):
        if start not in left:
            continue
        lesion, border = set(), {start}
        while border:
            lesion |= border
            left -= border
            border = {
                place
                for voxel in border
                for offset in touching(connectivity)
                if (place := tuple(a + b for a, b in zip(voxel, offset, strict=True))) in left
            }
        found.append(lesion)
    return found


def f1_by_a_voxel(prediction, truth, connectivity):
    true, predicted = lesions_of(truth, connectivity), lesions_of(prediction, connectivity)
    inside, outside = set().union(*predicted), set().union(*true)
    found = sum(bool(lesion & inside) for lesion in true)
    false = sum(not lesion & outside for lesion in predicted)
    wrong = len(true) - found + false
    return 1.0 if not found + wrong else found / (found + wrong / 2)


def f1_by_iou(prediction, truth, threshold):
    """Recognition quality: pairs from the best IoU down, each lesion in one pair at most."""
    true, predicted = lesions_of(truth, 26), lesions_of(prediction, 26)
    if not true and not predicted:
        return 1.0
    scores = {
        (p, t): len(predicted[p] & true[t]) / len(predicted[p] | true[t])
        for p in range(len(predicted))
        for t in range(len(true))
        if predicted[p] & true[t]
    }
    pairs = []
    for p, t in sorted(scores, key=lambda pair: (-scores[pair], pair)):
        if scores[p, t] >= threshold and all(p != a and t != b for a, b in pairs):
            pairs.append((p, t))
    return len(pairs) / (len(pairs) + (len(predicted) - len(pairs)) / 2 + (len(true) - len(pairs)) / 2)


def dice_or_one(prediction, truth):
    size = np.count_nonzero(prediction) + np.count_nonzero(truth)
    return 2 * np.count_nonzero((prediction > 0) & (truth > 0)) / size if size else 1.0


def counts_apart(prediction, truth, connectivity):
    return abs(len(lesions_of(prediction, connectivity)) - len(lesions_of(truth, connectivity)))


def volume_difference(prediction, truth):
    return abs(np.count_nonzero(prediction) - np.count_nonzero(truth)) * math.prod(VOXEL) / 1000


def isles2018(prediction, truth):
    """Covalic's definitions: every ratio has 1e-20 below the line; infinity stands as 1e8 in that challenge's table."""
    p, t = prediction != 0, truth != 0
    both = np.count_nonzero(p & t)
    if p.any() and t.any():
        surfaces = [
            np.array([voxel for voxel in np.argwhere(mask) if not surrounded(mask, voxel)]) * np.array(VOXEL)
            for mask in (p, t)
        ]
        distances = cdist(*surfaces)
        hausdorff = max(distances.min(axis=0).max(), distances.min(axis=1).max())
    else:
        hausdorff = 0.0 if p.any() == t.any() else 1e8
    return {
        "dice": both / ((p.sum() + t.sum()) / 2 + 1e-20),
        "hd_mm": hausdorff,
        "precision": both / (p.sum() + 1e-20),
        "recall": both / (t.sum() + 1e-20),
        "avd_ml": volume_difference(prediction, truth),
    }


def surrounded(mask, voxel):
    around = [tuple(np.add(voxel, offset)) for offset in touching(6)]
    return all(min(place) >= 0 and np.all(place < np.array(mask.shape)) and mask[place] for place in around)


def isles2022(prediction, truth):
    return {
        "dice": dice_or_one(prediction, truth),
        "avd_ml": volume_difference(prediction, truth),
        "lesion_count_difference": counts_apart(prediction, truth, 26),
        "lesion_f1": f1_by_a_voxel(prediction, truth, 26),
    }


def isles2024(prediction, truth):
    return isles2022(prediction, truth) | {"lesion_f1": f1_by_iou(prediction, truth, 0.2)}


def atlas_r2(prediction, truth):
    prediction, truth = (np.clip(np.round(mask), 0, 1).astype(np.uint8) for mask in (prediction, truth))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where a ratio is undefined
        ratios = {
            "precision": precision_score(truth.ravel(), prediction.ravel()),
            "recall": recall_score(truth.ravel(), prediction.ravel()),
        }
    return {
        "dice": dice_or_one(prediction, truth),
        "avd_ml": volume_difference(prediction, truth),
        "lesion_count_difference": abs(ndimage.label(prediction)[1] - ndimage.label(truth)[1]),
        "lesion_f1": f1_by_a_voxel(prediction, truth, 6),
        **ratios,
    }


EVALUATORS = {"isles2018": isles2018, "isles2022": isles2022, "isles2024": isles2024, "atlas-r2": atlas_r2}


def write(path, values):
    nib.save(nib.Nifti1Image(values, np.diag([*VOXEL, 1.0])), path)
    return path


def scored(folder, prediction, truth, preset):
    truth = TruthCase("case", "person", write(folder / "truth.nii", truth))
    case = score_case(truth, write(folder / "prediction.nii", prediction), distances=True, preset=PRESETS[preset])
    return apply_preset(case, PRESETS[preset])


@pytest.mark.parametrize("name", EVALUATORS)
def test_a_preset_counts_as_its_evaluator_restated(name, tmp_path):
    assert set(EVALUATORS[name](*PAIRS["line for line"])) == set(PRESETS[name].columns)
    for what, (prediction, truth) in PAIRS.items():
        row = case_to_row(scored(tmp_path, prediction, truth, name))
        expected = EVALUATORS[name](prediction, truth)
        assert {each: row[each] for each in expected} == pytest.approx(expected, rel=1e-9, abs=1e-12), what


def test_the_presets_differ_where_the_evaluators_do(tmp_path):
    """Without this the comparison above could be one of four equal rules."""
    f1 = {name: [scored(tmp_path, *pair, name).lesion_f1 for pair in PAIRS.values()] for name in PRESETS}
    assert f1["isles2022"] != f1["isles2024"]
    assert f1["isles2022"] != f1["atlas-r2"]
    # A bridge over two lesions finds both by a voxel, and one of them one to one.
    line, two = PAIRS["line for bridge"]
    assert [scored(tmp_path, line, two, name).lesion_f1 for name in ("isles2022", "isles2024")] == [1, 2 / 3]
    # Four voxels in a diagonal are one lesion by their corners, four by their faces.
    diagonal = PAIRS["diagonal for line"]
    assert [scored(tmp_path, *diagonal, name).lesions.predicted for name in ("isles2024", "atlas-r2")] == [1, 4]


def test_atlas_rounds_and_clips_both_masks(tmp_path):
    """A mask with an interpolated rim: this package counts the rim, the evaluator of ATLAS R2.0 does not."""
    truth = np.zeros((8, 8, 8), np.float32)
    truth[2:5, 2:5, 2:5] = 0.4
    truth[3:5, 2:5, 2:5] = 3
    prediction = np.zeros_like(truth)
    prediction[3:5, 2:5, 2:5] = 0.999
    prediction[6, 6, 6] = -1
    assert scored(tmp_path, prediction, truth, "isles2022").dice == pytest.approx(36 / 45)
    case = scored(tmp_path, prediction, truth, "atlas-r2")
    assert atlas_r2(prediction, truth)["dice"] == case.dice == 1
    assert (case.counts.truth, case.lesion_f1) == (18, 1)
    prediction[prediction > 0] = 0.5  # a half is rounded to even
    assert scored(tmp_path, prediction, truth, "atlas-r2").counts.predicted == 0


@pytest.mark.parametrize("name", PRESETS)
def test_a_prediction_stored_in_another_order_scores_the_same(name, tmp_path):
    """Stored LPS and as floats beside an RAS truth, with a rim that only a rounding evaluator accepts."""
    truth = np.zeros((8, 9, 10), np.uint8)
    truth[2:5, 2:5, 2:5] = 1
    prediction = np.zeros(truth.shape, np.float32)
    prediction[1:4, 2:5, 2:4] = 1
    if PRESETS[name].rounds:
        prediction[1:4, 2:5, 4:6] = 0.4
    same = scored(tmp_path, prediction, truth, name)
    assert same.dice == pytest.approx(24 / 45)
    affine = np.diag([-VOXEL[0], -VOXEL[1], VOXEL[2], 1.0])
    affine[:2, 3] = (7 * VOXEL[0], 8 * VOXEL[1])
    case = TruthCase("case", "person", tmp_path / "truth.nii")
    nib.save(nib.Nifti1Image(prediction[::-1, ::-1], affine), tmp_path / "prediction.nii")
    flipped = score_case(case, tmp_path / "prediction.nii", distances=True, preset=PRESETS[name])
    rows = [case_to_row(case) for case in (apply_preset(flipped, PRESETS[name]), same)]
    first, second = ({each: row[each] for each in PRESETS[name].columns} for row in rows)
    assert first == pytest.approx(second)


def test_lesions_of_a_preset_reach_the_tables(tmp_path):
    line, two = PAIRS["line for bridge"]
    for folder, mask in (("predictions", line), ("truths", two)):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "a.nii", mask)
    places = (tmp_path / "predictions", tmp_path / "truths", tmp_path / "scores")
    by_default = evaluate_folders(*places, progress=False)
    assert by_default["lesion_f1"]["mean"] == 1
    summary = evaluate_folders(*places, scoring=ScoringOptions(preset="isles2024"), progress=False)
    assert summary["lesion_f1"]["mean"] == pytest.approx(2 / 3)
    assert "IoU is 0.2 or more" in summary["policy"]
