"""Which cases are shown, and what of them."""

import json

import nibabel as nib
import numpy as np

from hf_lesionseg.evaluation import evaluate_folders
from hf_lesionseg.evaluation.gallery import pick_cases
from hf_lesionseg.evaluation.scored_case import case_metrics, failed_case
from hf_lesionseg.evaluation.voxel_counts import VoxelCounts
from hf_lesionseg.models.mask_options import MASK_DEFAULTS, MaskOptions


def scored(case, found, missed=0):
    return case_metrics(case, VoxelCounts(found, 0, missed), 0.001)


def picked(*cases):
    return [(rank, case.case) for rank, case in pick_cases(cases)]


def test_worst_median_and_best_by_dice():
    cases = [scored("e", 9, 1), scored("a", 5, 5), scored("c", 0, 9), scored("d", 7, 3), scored("b", 2, 8)]
    assert picked(*cases, failed_case("z", "unreadable")) == [("worst", "c"), ("median", "a"), ("best", "e")]
    # Of an even number the lower of the middle two; ties by name.
    assert picked(scored("d", 9), scored("c", 9), scored("b", 9, 1), scored("a", 1, 9)) == [
        ("worst", "a"), ("median", "b"), ("best", "d"),
    ]  # fmt: skip


def test_few_cases():
    assert picked(scored("a", 1, 9), scored("b", 9)) == [("worst", "a"), ("best", "b")]
    assert picked(scored("a", 1)) == [("only case", "a")]
    assert picked(failed_case("z", "unreadable")) == []


def test_healthy_cases_are_shown_only_where_there_are_no_others():
    healthy = [case_metrics(name, VoxelCounts(0, 0, 0), 0.001) for name in "xyz"]
    assert picked(*healthy, scored("a", 1, 9)) == [("only case", "a")]
    assert [case for _, case in picked(*healthy)] == ["x", "y", "z"]


def test_what_is_dropped_before_scoring_is_not_drawn(tmp_path, monkeypatch):
    crumbs = np.zeros((12, 14, 6), np.uint8)
    crumbs[2:6, 3:7, 1:3] = 1
    truth = crumbs.copy()
    crumbs[9, 9, 4] = 1
    for folder, data in (("truths", truth), ("predictions", crumbs)):
        (tmp_path / folder).mkdir()
        nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / folder / "a_mask.nii.gz")
    drawn = []
    monkeypatch.setattr("hf_lesionseg.evaluation.gallery.overlay_sheet", lambda panels, *_, **__: drawn.extend(panels))
    monkeypatch.setattr("hf_lesionseg.evaluation.gallery.extract_panel", lambda title, **volumes: volumes)
    arguments = (tmp_path / "predictions", tmp_path / "truths", tmp_path / "scores")
    summary = evaluate_folders(*arguments, mask=MaskOptions(keep_largest=1), progress=False)
    assert summary["dice"]["mean"] == 1
    np.testing.assert_array_equal(drawn[0]["prediction"], truth)
    record = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert {name: record[name] for name in MASK_DEFAULTS} == MASK_DEFAULTS | {"threshold": None, "keep_largest": 1}
