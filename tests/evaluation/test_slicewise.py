"""Dice of slices against numbers worked by hand, and how it differs from the volume's."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.errors import GridMismatchError, UsageError
from hf_lesionseg.evaluation.scored_case import case_metrics, failed_case, score_volume
from hf_lesionseg.evaluation.slicewise import SliceDice, count_slices, file_axis, slice_dice
from hf_lesionseg.evaluation.summary import summarize
from hf_lesionseg.evaluation.voxel_counts import VoxelCounts, count_voxels
from hf_lesionseg.imaging import Scan


def masks():
    """Six axial slices: Dice 1, 2/3, 0 (missed), 0 (false alarm), 1 (both empty), 1 (both empty)."""
    truth, prediction = np.zeros((2, 8, 5, 6), dtype=np.uint8)
    truth[:4, 0, 0] = prediction[:4, 0, 0] = 1
    truth[:4, 1, 1], prediction[1:6, 1, 1] = 1, 1  # 4 and 5 voxels, 3 in common: 6/9
    truth[:8, 2, 2] = 1
    prediction[7, 4, 3] = 1
    return prediction, truth


def scan(mask, affine=None):
    affine = np.diag([1.0, 1.0, 5.0, 1.0]) if affine is None else affine
    return Scan(Path("truth.nii.gz"), mask, affine, nib.Nifti1Header())


def test_worked_by_hand():
    scored = score_volume("case", masks()[0], scan(masks()[1]), person="p")
    assert scored.slices.positive == pytest.approx((1, 2 / 3, 0))
    assert (scored.slices.empty_right, scored.slices.empty_wrong) == (2, 1)
    row = scored.to_dict()
    assert row["dice_positive_slices"] == pytest.approx(5 / 9)
    assert row["dice_all_slices"] == pytest.approx((5 / 3 + 2) / 6)
    assert (row["n_positive_slices"], row["n_slices"], row["person"]) == (3, 6, "p")
    # The volume: 7 of 10 predicted and 16 true voxels.
    assert scored.dice == pytest.approx(14 / 26)
    assert scored.counts == count_voxels(*masks())
    assert scored.truth_ml == pytest.approx(16 * 0.005)


@pytest.mark.parametrize(("axis", "expected"), [("axial", 2), ("coronal", 1), ("sagittal", 0)])
def test_the_axis_is_the_bodys_whatever_the_files(axis, expected):
    """Stored in any order of axes the same slices are compared."""
    prediction, truth = masks()
    reference = score_volume("case", prediction, scan(truth), slice_axis=axis).slices
    assert len(reference.everywhere) == truth.shape[expected]
    for codes in ("LPS", "SAR", "PIL", "IRA"):
        turn = nib.orientations.ornt_transform(
            nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes)
        )
        affine = np.diag([1.0, 1.0, 5.0, 1.0]) @ nib.orientations.inv_ornt_aff(turn, truth.shape)
        assert "".join(nib.aff2axcodes(affine)) == codes
        turned = [nib.orientations.apply_orientation(mask, turn) for mask in (prediction, truth)]
        again = score_volume("case", turned[0], scan(turned[1], affine), slice_axis=axis).slices
        assert sorted(again.positive) == pytest.approx(sorted(reference.positive))
        assert (again.empty_right, again.empty_wrong) == (reference.empty_right, reference.empty_wrong)


def test_oblique_grids_have_slices_along_the_nearest_axis():
    angle = np.deg2rad(30)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    assert file_axis(turn, "axial") == 2
    with pytest.raises(UsageError, match="slice axis 'oblique' is unknown; use axial, coronal, sagittal"):
        file_axis(turn, "oblique")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_agree_with_counting_each_by_itself(axis):
    prediction, truth = np.random.default_rng(3).random((2, 6, 7, 5)) > 0.6
    by_slice = [
        count_voxels(*(np.take(mask, k, axis) for mask in (prediction, truth))) for k in range(truth.shape[axis])
    ]
    assert count_slices(prediction, truth, axis) == by_slice
    assert sum(by_slice, VoxelCounts(0, 0, 0)) == count_voxels(prediction, truth)


def test_slices_of_all_cases_have_one_vote_each():
    """Case a has 1 positive slice of 2, case b 3 of 10; a failed case has none."""
    a = replace(case_metrics("a", VoxelCounts(1, 0, 0), 0.001), slices=SliceDice("axial", (1.0,), 1, 0))
    b = replace(case_metrics("b", VoxelCounts(1, 0, 0), 0.001), slices=SliceDice("axial", (0.5, 0.25, 0.0), 5, 2))
    cases = [a, b, failed_case("c", "no prediction"), case_metrics("d", VoxelCounts(1, 0, 0), 0.001)]
    summary = summarize(cases, splits={"train": ["a"], "test": ["b", "c"]})
    assert summary["slice_axis"] == "axial"
    assert summary["slice_dice"]["positive"]["mean"] == pytest.approx(1.75 / 4)
    assert summary["slice_dice"]["positive"]["n"] == 4
    assert summary["slice_dice"]["all"]["mean"] == pytest.approx((1 + 1 + 0.75 + 5) / 12)
    assert summary["slice_dice"]["all"]["n"] == 12
    assert summary["by_split"]["test"]["slice_dice"]["positive"]["mean"] == pytest.approx(0.25)
    assert summary["dice"]["n"] == 3
    nothing = summarize([failed_case("c", "no prediction")])
    assert nothing["slice_axis"] is None
    assert nothing["slice_dice"]["all"] == {"mean": None, "std": None, "median": None, "min": None, "max": None, "n": 0}
    assert failed_case("c", "").to_dict()["dice_all_slices"] is None


def test_a_case_without_lesion_has_no_positive_slice():
    row = score_volume("healthy", np.zeros((4, 4, 3), np.uint8), scan(np.zeros((4, 4, 3), np.uint8))).to_dict()
    assert row["dice_positive_slices"] is None
    assert (row["dice_all_slices"], row["n_positive_slices"], row["n_slices"]) == (1, 0, 3)
    assert slice_dice([], "axial").to_dict()["dice_all_slices"] is None


def test_no_float_volume_is_made():
    prediction, truth = np.ones((2, 100, 100, 100), dtype=np.uint8)
    tracemalloc.start()
    count_slices(prediction, truth, 2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2.5 * truth.size  # a boolean is one byte a voxel, a float32 four


def test_what_is_no_mask_is_refused():
    with pytest.raises(TypeError, match="threshold"):
        count_slices(np.full((2, 2, 2), 0.4), np.ones((2, 2, 2), bool), 0)
    with pytest.raises(GridMismatchError):
        count_slices(np.ones((2, 2, 3), bool), np.ones((2, 2, 2), bool), 0)
