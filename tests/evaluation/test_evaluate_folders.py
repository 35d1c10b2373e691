"""From two folders of real NIfTI files to tables and figures."""

import csv
import json
import math
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.errors import DataError, OutputError, UsageError
from hf_lesionseg.evaluation import ScoringOptions, evaluate_folders, print_summary
from hf_lesionseg.models.mask_options import MaskOptions

SHAPE = (12, 14, 6)
AFFINE = np.array([[-2.0, 0, 0, 10], [0, 1, 0, -7], [0, 0, 5, 3], [0, 0, 0, 1]])  # 10 mm^3: 0.01 mL a voxel
FILES = {"metrics.csv", "metrics.json", "metrics.md", "dice_distribution.png", "volumes.png", "overlays.png"}


def box(x, y, z, shape=SHAPE):
    mask = np.zeros(shape, dtype=np.uint8)
    mask[slice(*x), slice(*y), slice(*z)] = 1
    return mask


def write(path, data, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


@pytest.fixture
def folders(tmp_path):
    """Four cases whose scores are known: Dice 2/3, 1, 0 (missed) and 1 (healthy, nothing predicted)."""
    truths, predictions = tmp_path / "truths", tmp_path / "predictions"
    write(truths / "a.nii.gz", box((2, 6), (3, 4), (1, 2)))  # 4 voxels
    write(predictions / "a_mask.nii.gz", box((3, 8), (3, 4), (1, 2)))  # 5 voxels, 3 in common
    write(truths / "b.nii.gz", box((0, 10), (0, 10), (0, 6)))  # 600 voxels, 6 mL
    write(predictions / "b_mask.nii.gz", box((0, 10), (0, 10), (0, 6)) * 255)
    write(truths / "c.nii.gz", box((1, 3), (1, 3), (1, 3)))
    write(predictions / "c_mask.nii.gz", np.zeros(SHAPE, np.uint8))
    write(truths / "d.nii.gz", np.zeros(SHAPE, np.uint8))
    write(predictions / "d_mask.nii.gz", np.zeros(SHAPE, np.uint8))
    return predictions, truths, tmp_path / "evaluation"


def rows(output):
    with (output / "metrics.csv").open(newline="") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


@pytest.mark.filterwarnings("error")
def test_scores_tables_and_figures(folders, capsys):
    summary = evaluate_folders(*folders)
    output = folders[2]
    assert {path.name for path in output.iterdir()} == FILES
    assert summary["n_failed"] == 0
    assert summary["dice"]["mean"] == pytest.approx((2 / 3 + 1 + 0 + 1) / 4)
    assert summary["dice"]["n"] == summary["n_cases"] == summary["n_people"] == 4
    assert (summary["n_empty_truth"], summary["n_empty_prediction"]) == (1, 2)

    table = rows(output)
    assert list(table) == ["a", "b", "c", "d"]
    a = {name: float(table["a"][name]) for name in ("dice", "precision", "recall", "iou", "voe", "rvd")}
    assert a == pytest.approx({"dice": 2 / 3, "precision": 0.6, "recall": 0.75, "iou": 0.5, "voe": 50, "rvd": 25})
    assert float(table["a"]["truth_ml"]) == pytest.approx(0.04)
    assert float(table["b"]["truth_ml"]) == pytest.approx(6)

    record = json.loads((output / "metrics.json").read_text())
    assert record["summary"]["dice"] == summary["dice"]
    assert "undefined" in record["policy"]
    assert record["units"]["voe"] == "%"
    assert [case["case"] for case in record["cases"]] == ["a", "b", "c", "d"]
    assert record["cases"][0]["true_positive"] == 3
    report = (output / "metrics.md").read_text()
    assert "4 cases of 4 people: 1 with empty truth, 2 with empty prediction, 0 failed" in report
    assert "| Dice (DSC) | 0..1 | 0.667 |" in report
    assert "synthetic" not in report
    assert capsys.readouterr().out == ""
    print_summary(summary)
    assert "Dice (DSC)" in capsys.readouterr().out


@pytest.mark.filterwarnings("error")
def test_every_way_to_fail_is_a_counted_row_and_the_rest_is_done(folders):
    predictions, truths, output = folders
    for case in ("missing", "truncated", "shifted", "other-shape", "four-d", "no-nifti", "probabilities", "bad-truth"):
        write(truths / f"{case}.nii.gz", box((2, 6), (3, 4), (1, 2)))
        write(predictions / f"{case}_mask.nii.gz", box((2, 6), (3, 4), (1, 2)))
    (predictions / "missing_mask.nii.gz").unlink()
    truncated = predictions / "truncated_mask.nii.gz"
    truncated.write_bytes(truncated.read_bytes()[:60])
    shifted = AFFINE.copy()
    shifted[0, 3] += 2
    write(predictions / "shifted_mask.nii.gz", box((2, 6), (3, 4), (1, 2)), shifted)
    write(predictions / "other-shape_mask.nii.gz", np.ones((12, 14, 7), np.uint8))
    write(predictions / "four-d_mask.nii.gz", np.ones((*SHAPE, 2), np.uint8))
    (predictions / "no-nifti_mask.nii.gz").write_text("not a scan")
    write(
        predictions / "probabilities_mask.nii.gz", np.linspace(0, 1, math.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    )
    (truths / "bad-truth.nii.gz").write_bytes(b"")

    summary = evaluate_folders(predictions, truths, output, progress=False)
    assert summary["n_failed"] == 8
    assert summary["n_cases"] == 12
    assert summary["dice"]["n"] == 4
    assert summary["dice"]["mean"] == pytest.approx((2 / 3 + 1 + 0 + 1) / 4)
    reasons = {entry["case"]: entry["reason"] for entry in summary["failed"]}
    assert reasons.pop("missing") == "no prediction"
    assert "threshold" in reasons["probabilities"]
    for case, reason in reasons.items():
        assert case in reason, "the reason names the file"
        assert "\n" not in reason
    table = rows(output)
    assert table["shifted"]["status"] == "failed"
    assert table["shifted"]["dice"] == ""
    assert "## Failed cases" in (output / "metrics.md").read_text()


def test_slices_are_scored_apart_along_the_axis_that_is_asked_for(folders):
    """Axial: a has one positive slice of Dice 2/3, b six of 1, c two that were missed; 6 slices a case."""
    summary = evaluate_folders(*folders, progress=False)
    positive, everywhere = summary["slice_dice"]["positive"], summary["slice_dice"]["all"]
    assert positive["mean"] == pytest.approx((2 / 3 + 6) / 9)
    assert positive["n"] == 9
    # a: 5 slices empty in both, c: 4, d: 6
    assert everywhere["mean"] == pytest.approx((2 / 3 + 6 + 15) / 24)
    assert everywhere["n"] == 24
    row = rows(folders[2])["a"]
    assert float(row["dice_positive_slices"]) == pytest.approx(2 / 3)
    assert float(row["dice_all_slices"]) == pytest.approx((2 / 3 + 5) / 6)
    assert (row["n_positive_slices"], row["n_slices"]) == ("1", "6")
    assert rows(folders[2])["d"]["dice_positive_slices"] == ""
    record = json.loads((folders[2] / "metrics.json").read_text())
    assert record["summary"]["slice_dice"] == summary["slice_dice"]
    assert record["slice_axis"] == summary["slice_axis"] == "axial"
    assert record["units"]["dice_all_slices"] == "0..1"
    report = (folders[2] / "metrics.md").read_text()
    assert "Dice per axial slice, slices of all cases pooled" in report
    assert "| positive (lesion in the truth) | 0.741 |" in report
    assert "| all (empty in both = 1) | 0.903 |" in report

    # Sagittal: 12 slices a case. a: slice 2 missed, 3, 4 and 5 right, 6 and 7 false alarms, 6 empty; b: 10 right.
    summary = evaluate_folders(*folders, scoring=ScoringOptions(slice_axis="sagittal"), progress=False)
    assert summary["slice_dice"]["positive"]["mean"] == pytest.approx((3 + 10) / (4 + 10 + 2))
    assert summary["slice_dice"]["all"]["mean"] == pytest.approx((3 + 6 + 10 + 2 + 10 + 12) / 48)
    with pytest.raises(UsageError, match="slice axis 'up'"):
        ScoringOptions(slice_axis="up")


def test_probabilities_are_cut_above_the_threshold(tmp_path):
    truth = box((2, 6), (3, 4), (1, 2))
    write(tmp_path / "truths" / "a.nii.gz", truth)
    write(tmp_path / "maps" / "a_probability.nii.gz", (0.2 + 0.6 * truth).astype(np.float32))
    write(tmp_path / "maps" / "a_mask.nii.gz", np.ones(SHAPE, np.uint8))
    arguments = (tmp_path / "maps", tmp_path / "truths", tmp_path / "out")
    assert evaluate_folders(*arguments, mask=MaskOptions(threshold=0.5), progress=False)["dice"]["mean"] == 1
    assert evaluate_folders(*arguments, mask=MaskOptions(threshold=0.1), progress=False)["precision"]["mean"] < 0.01


def test_predictions_without_truth_are_told(folders):
    write(folders[0] / "stranger_mask.nii.gz", box((2, 6), (3, 4), (1, 2)))
    summary = evaluate_folders(*folders, progress=False)
    assert summary["predictions_without_truth"] == ["stranger_mask.nii.gz"]
    assert summary["n_failed"] == 0
    assert json.loads((folders[2] / "metrics.json").read_text())["summary"]["predictions_without_truth"]


def test_time_points_of_one_person_are_averaged_first(tmp_path):
    half = box((4, 8), (3, 4), (1, 2))
    truth = box((2, 6), (3, 4), (1, 2))
    for name, prediction in (("sub-1_ses-1", truth), ("sub-1_ses-2", half), ("sub-2_ses-1", truth)):
        write(tmp_path / "t" / name.split("_")[0] / f"{name}_label-L_desc-T1lesion_mask.nii.gz", truth)
        write(tmp_path / "p" / f"{name}_space-MNI_T1w_mask.nii.gz", prediction)
    summary = evaluate_folders(tmp_path / "p", tmp_path / "t", tmp_path / "o", progress=False)
    assert (summary["n_cases"], summary["n_people"]) == (3, 2)
    assert summary["dice"]["mean"] == pytest.approx(2.5 / 3)
    assert summary["per_person"]["dice"]["mean"] == pytest.approx((0.75 + 1) / 2)


def test_splits_give_their_own_means_and_choose_cases(folders, tmp_path):
    predictions, truths, output = folders
    splits = {"train": ["a", "b"], "test": ["c"]}
    summary = evaluate_folders(predictions, truths, output, splits=splits, progress=False)
    assert summary["by_split"]["train"]["dice"]["mean"] == pytest.approx((2 / 3 + 1) / 2)
    only = evaluate_folders(predictions, truths, output, splits=splits, only_split="test", progress=False)
    assert only["n_cases"] == 1
    # The other predictions have a truth: they are not strangers.
    assert only["predictions_without_truth"] == []
    with pytest.raises(UsageError, match="use one of: train, test"):
        evaluate_folders(predictions, truths, output, splits=splits, only_split="tset", progress=False)
    with pytest.raises(DataError, match="case z of split test has no truth"):
        evaluate_folders(predictions, truths, output, splits={"test": ["z"]}, only_split="test", progress=False)


def test_splits_are_read_from_a_file(folders, tmp_path):
    path = tmp_path / "splits.json"
    path.write_text(json.dumps({"seed": 0, "splits": {"train": ["a", "gone"], "test": ["b", "c"]}}))
    summary = evaluate_folders(*folders, splits=path, progress=False)
    assert {split: block["n_cases"] for split, block in summary["by_split"].items()} == {"train": 1, "test": 2}
    for damaged in ("{", "[]", '{"splits": {"train": "a"}}', '{"splits": 3}'):
        path.write_text(damaged)
        with pytest.raises(DataError, match="splits"):
            evaluate_folders(*folders, splits=path, progress=False)
    with pytest.raises(DataError, match="nowhere"):
        evaluate_folders(*folders, splits=tmp_path / "nowhere.json", progress=False)


def test_overlays_are_drawn_on_the_scans(folders, tmp_path):
    predictions, truths, output = folders
    evaluate_folders(predictions, truths, output, progress=False)
    bare = (output / "overlays.png").read_bytes()
    generator = np.random.default_rng(0)
    for case in "abc":
        write(tmp_path / "scans" / f"{case}.nii.gz", generator.uniform(1, 100, SHAPE).astype(np.float32))
    summary = evaluate_folders(predictions, truths, output, scans=tmp_path / "scans", progress=False)
    assert summary["notes"] == []
    assert (output / "overlays.png").read_bytes() != bare
    # A scan on another grid is not drawn, and that is said.
    write(tmp_path / "scans" / "c.nii.gz", np.ones((5, 5, 5), np.float32))
    summary = evaluate_folders(predictions, truths, output, scans=tmp_path / "scans", progress=False)
    assert len(summary["notes"]) == 1
    assert "c: drawn without its scan" in summary["notes"][0]


def test_a_second_run_leaves_nothing_of_the_first(folders):
    predictions, truths, output = folders
    evaluate_folders(predictions, truths, output, progress=False)
    assert (output / "overlays.png").is_file()
    for path in predictions.iterdir():
        path.write_bytes(b"broken")
    summary = evaluate_folders(predictions, truths, output, progress=False)
    assert summary["n_failed"] == 4
    assert summary["dice"]["mean"] is None
    # No case to draw: the picture of the earlier run would be an old result shown as a new one.
    assert {path.name for path in output.iterdir()} == FILES - {"overlays.png"}


def test_nothing_in_common_is_one_error_and_no_output(folders, tmp_path):
    predictions, _, output = folders
    write(tmp_path / "others" / "z.nii.gz", np.zeros(SHAPE, np.uint8))
    with pytest.raises(DataError, match="no prediction belongs to a truth"):
        evaluate_folders(predictions, tmp_path / "others", output, progress=False)
    assert not output.exists()


def test_empty_folders(folders, tmp_path):
    predictions, truths, output = folders
    (tmp_path / "empty").mkdir()
    for arguments in ((tmp_path / "empty", truths), (predictions, tmp_path / "empty")):
        with pytest.raises(DataError, match="empty: no scan"):
            evaluate_folders(*arguments, output, progress=False)
    assert not output.exists()


def test_duplicates(folders):
    predictions, truths, output = folders
    write(predictions / "again" / "a_mask.nii.gz", np.zeros(SHAPE, np.uint8))
    with pytest.raises(DataError, match="both case a"):
        evaluate_folders(predictions, truths, output, progress=False)


def test_an_output_that_cannot_be_made(folders, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="choose another output"):
        evaluate_folders(*folders[:2], tmp_path / "file", progress=False)


def test_the_command_and_its_exit_status(folders):
    predictions, truths, output = folders

    def run(*arguments):
        command = [sys.executable, "-m", "hf_lesionseg.cli", "evaluate", predictions, truths, "-o", output, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = run()
    assert done.returncode == 0, done.stderr
    assert "Dice (DSC)" in done.stdout
    assert "4 cases of 4 people" in " ".join(done.stdout.split())
    (predictions / "a_mask.nii.gz").unlink()
    failed = run()
    assert failed.returncode == 1
    assert "failed: a: no prediction" in failed.stdout
    wrong = run("--threshold", "7")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: threshold=7.0")
    assert len(wrong.stderr.splitlines()) == 1
