"""The preset of ISLES 2024 against panoptica itself, where it is installed: pip install 'hf-lesionseg[panoptica]'."""

import importlib.util
import os

import numpy as np
import pytest
from scipy import ndimage

from hf_lesionseg.evaluation.lesionwise import count_lesions
from hf_lesionseg.evaluation.presets import PRESETS, apply_preset
from hf_lesionseg.evaluation.scored_case import case_metrics

os.environ.setdefault("PANOPTICA_CITATION_REMINDER", "False")
pytestmark = pytest.mark.skipif(importlib.util.find_spec("panoptica") is None, reason="panoptica is not installed")


def random_pairs():
    random = np.random.default_rng(14)
    for number in range(150):
        shape = tuple(random.integers(6, 24, size=3))
        width, level = random.uniform(0.5, 1.3), random.uniform(0.15, 0.5)
        truth = ndimage.gaussian_filter(random.normal(size=shape), width) > level
        other = ndimage.gaussian_filter(random.normal(size=shape), width) > level
        mixed = np.where(random.random(shape) < 0.7, truth, other)
        yield (other, np.roll(truth, 1, axis=number % 3), mixed, ndimage.binary_dilation(truth))[number % 4], truth


def degenerate_pairs():
    nothing, everything = np.zeros((6, 7, 5), bool), np.ones((6, 7, 5), bool)
    voxel, half = nothing.copy(), nothing.copy()
    voxel[0, 0, 0] = half[:3] = True
    checkers = np.indices((6, 7, 5)).sum(axis=0) % 2 == 0
    masks = (nothing, everything, voxel, half, checkers)
    yield from ((prediction, truth) for prediction in masks for truth in masks)
    # One prediction over five voxels of truth has an IoU of 0.2 exactly.
    line = nothing.copy()
    line[:5, 3, 2] = True
    yield line & (np.arange(6) == 2)[:, None, None], line


def by_panoptica(prediction, truth):
    from panoptica import (
        ConnectedComponentsInstanceApproximator,
        InputType,
        NaiveThresholdMatching,
        Panoptica_Evaluator,
    )

    evaluator = Panoptica_Evaluator(
        expected_input=InputType.SEMANTIC,
        instance_approximator=ConnectedComponentsInstanceApproximator(),
        instance_matcher=NaiveThresholdMatching(matching_threshold=0.2),
    )
    result = evaluator.evaluate(prediction.astype(np.uint8), truth.astype(np.uint8))["ungrouped"]
    counts = result.n_ref_instances, result.n_pred_instances
    if counts == (0, 0):
        return counts, 1.0, 1.0  # the challenge's script says so before it asks panoptica
    return counts, result.rq, result.global_bin_dsc


@pytest.mark.parametrize("pairs", [random_pairs, degenerate_pairs])
def test_counts_as_panoptica(pairs):
    preset, seen = PRESETS["isles2024"], []
    for number, (prediction, truth) in enumerate(pairs()):
        lesions = count_lesions(prediction, truth, preset.lesions)
        scored = case_metrics("case", (prediction, truth), 0.001).with_values({"lesion_f1": lesions.f1})
        case = apply_preset(scored, preset)
        counts, f1, dice = by_panoptica(prediction, truth)
        assert (lesions.truth, lesions.predicted) == counts, number
        assert (case.lesion_f1, case.dice) == pytest.approx((f1, dice), rel=1e-12), number
        seen.append(f1)
    assert {0, 1} < set(seen) or pairs is degenerate_pairs, "otherwise this shows nothing"
