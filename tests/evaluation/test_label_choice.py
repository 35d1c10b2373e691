"""Values of truths and predictions: labels, probabilities, images, and truths in the place of predictions."""

import json
import os
import shutil

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.errors import DataError, UsageError
from hf_lesionseg.evaluation import ScoringOptions, evaluate_folders, print_summary
from hf_lesionseg.evaluation.label_choice import choose_labels
from hf_lesionseg.evaluation.matching import TruthSet
from hf_lesionseg.models.mask_options import MaskOptions

SHAPE = (14, 12, 6)
AFFINE = np.diag([2.0, 2.0, 4.0, 1.0])


def save(path, data, dtype=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data, AFFINE)
    image.header.set_data_dtype(dtype or data.dtype)
    nib.save(image, path)


def labels_of(*values, shift=0):
    """A map with a block of 16 voxels for each value; ``shift`` moves them by so many voxels."""
    data = np.zeros(SHAPE, np.float32)
    for number, value in enumerate(values):
        data[2 * number + 1 : 2 * number + 3, 2 + shift : 6 + shift, 3:5] = value
    return data


@pytest.fixture
def score(tmp_path):
    """Return a function that scores predictions against truths, given as arrays, and gives the summary."""

    def run(predictions, truths, dtype=np.uint8, mask=None, **options):
        for folder, volumes, suffix in (("p", predictions, "_mask"), ("t", truths, "")):
            for number, data in enumerate(volumes):
                save(tmp_path / folder / f"c{number}{suffix}.nii.gz", data, dtype)
        return evaluate_folders(
            tmp_path / "p", tmp_path / "t", tmp_path / "o", progress=False, mask=mask, scoring=ScoringOptions(**options)
        )

    return run


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_labels_are_chosen_on_both_sides_slope_or_not(score, dtype):
    maps = [labels_of(1, 2, 7), labels_of(1, 2, 7)]
    shifted = [labels_of(1, 2, 7, shift=2), labels_of(1, 2, 7)]
    summary = score(shifted, maps, dtype, label="2", distances=False)
    assert summary["dice"]["mean"] == pytest.approx((0.5 + 1) / 2)
    assert summary["truth_ml"]["mean"] == pytest.approx(0.256)
    assert not any("label" in note for note in summary["notes"])


def test_labels_that_count_as_one_are_told_with_the_option(score, tmp_path, capsys):
    summary = score([labels_of(1, 2)] * 2, [labels_of(1, 2, 5)] * 2)
    truths, predictions = summary["notes"][:2]
    assert truths.startswith(f"{tmp_path / 't'}: labels 1, 2 and 5 count as one in the truths; --label chooses")
    assert predictions.startswith(f"{tmp_path / 'p'}: labels 1 and 2 count as one in the predictions; --prediction-lab")
    print_summary(summary)
    assert "labels 1, 2 and 5 count as one" in " ".join(capsys.readouterr().out.split())
    assert json.loads((tmp_path / "o/metrics.json").read_text())["summary"]["notes"] == summary["notes"]


def test_binary_predictions_of_one_label_of_the_truth(score):
    truths, binary = [labels_of(1, 2), labels_of(1, 2)], [labels_of(0, 1), labels_of(0, 255)]
    summary = score(binary, truths, label="2", prediction_label="1,255")
    assert summary["dice"]["mean"] == 1
    with pytest.raises(DataError, match=r"p: label 2 occurs in none of its 2 predictions, which hold 1 and 255"):
        score(binary, truths, label="2")


def test_a_label_that_no_truth_has_stops_and_keeps_what_is_there(score, tmp_path):
    score([labels_of(1)], [labels_of(1)])
    before = (tmp_path / "o/metrics.json").read_bytes()
    with pytest.raises(DataError, match=r"t: label 3 occurs in none of its 1 truths, which hold 1; choose another"):
        score([labels_of(1)], [labels_of(1)], label=3)
    assert (tmp_path / "o/metrics.json").read_bytes() == before
    summary = score([labels_of(), labels_of()], [labels_of(1, 2), labels_of(2)], label=1)
    assert any("label 1 occurs in no voxel of 1 of 2 truths: c1" in note for note in summary["notes"])
    assert summary["n_empty_prediction"] == 2


@pytest.mark.parametrize("label", ["0", "two", "1.5", ""])
def test_what_is_no_label_is_wrong_usage(score, label):
    for name in ("label", "prediction_label"):
        with pytest.raises(UsageError, match="label"):
            score([labels_of(1)], [labels_of(1)], **{name: label})


def test_prepared_truths_have_one_lesion():
    """They are 0 and 1 whatever they were made of: a label is chosen when they are prepared."""
    prepared = TruthSet((), prepared=object())
    with pytest.raises(UsageError, match="prepared truths hold one lesion; --prediction-label"):
        choose_labels("2", None, prepared, ("p", "t"))
    assert choose_labels(None, "2", prepared, ("p", "t")).prediction == (2,)


def scan(dtype=np.float32):
    return np.random.default_rng(0).normal(300, 90, SHAPE).astype(dtype)


def test_images_and_probabilities_are_failed_cases_by_name(score):
    blurred = np.add.outer(np.linspace(0, 0.5, 14), np.linspace(0, 0.5, 72)).reshape(SHAPE).astype(np.float32)
    mask = labels_of(1)
    predictions = [scan(), np.rint(scan()), np.rint(blurred * 255), blurred, mask, mask]
    summary = score(predictions, [*[mask] * 4, scan(), mask], np.float32)
    assert summary["n_failed"] == 5
    reasons = [entry["reason"] for entry in summary["failed"]]
    for number, (folder, what) in enumerate([*[("p", "image")] * 3, ("p", "probabilities"), ("t", "image")]):
        assert f"{folder}/c{number}" in reasons[number]
        assert "looks like" in reasons[number]
        assert what in reasons[number]
    assert summary["dice"]["n"] == 1


@pytest.mark.parametrize(("factor", "told"), [(255, "from 0 to 255"), (100, "from 0 to 100"), (1, None)])
def test_a_threshold_applies_to_probabilities_only(score, factor, told):
    summary = score([labels_of(0.9, 1) * factor], [labels_of(1, 1)], np.float32, mask=MaskOptions(threshold=0.5))
    if told is None:
        assert summary["dice"]["mean"] == 1
    else:
        assert summary["n_failed"] == 1
        assert f"{told} cannot be probabilities" in summary["failed"][0]["reason"]


def test_probabilities_have_no_labels(score):
    maps, truths = [labels_of(0, 0.9)], [labels_of(1, 2)]
    summary = score(maps, truths, np.float32, mask=MaskOptions(threshold=0.5), label=2)
    assert (summary["dice"]["mean"], summary["notes"]) == (1, [])
    with pytest.raises(UsageError, match="probabilities have no labels"):
        score(maps, truths, np.float32, mask=MaskOptions(threshold=0.5), prediction_label=2)


def test_an_interpolated_truth_is_told(score):
    summary = score([labels_of(1)], [labels_of(0.3, 0.8)], np.float32)
    assert "16 voxels between 0 and 0.5 count as lesion" in summary["notes"][0]


@pytest.mark.parametrize("spelling", ["same", "link", "dots"])
def test_one_folder_for_both_is_refused_unless_asked_for(tmp_path, spelling):
    save(tmp_path / "t/c0.nii.gz", labels_of(1))
    other = {"same": tmp_path / "t", "dots": tmp_path / "t/../t", "link": tmp_path / "link"}[spelling]
    if spelling == "link":
        other.symlink_to(tmp_path / "t")
    with pytest.raises(UsageError, match=r"every score would be perfect.*--self-check"):
        evaluate_folders(other, tmp_path / "t", tmp_path / "o", progress=False)
    summary = evaluate_folders(other, tmp_path / "t", tmp_path / "o", self_check=True, progress=False)
    assert (summary["dice"]["mean"], summary["notes"]) == (1, [])
    assert json.loads((tmp_path / "o/metrics.json").read_text())["self_check"] is True


@pytest.mark.parametrize("way", ["symbolic link", "hard link", "folder within", "copy named as truth"])
def test_truths_among_the_predictions_are_refused_unless_asked_for(tmp_path, way):
    truths, predictions = tmp_path / "t", tmp_path / "p"
    if way == "folder within":  # the masks of a study's folder are its predictions
        truths, predictions = tmp_path / "p", tmp_path / "p/predicted"
        save(predictions / "c0_mask.nii.gz", labels_of(1))
    else:
        save(truths / "c0.nii.gz", labels_of(1))
        save(truths / "c1.nii.gz", labels_of(1))
        save(predictions / "c0_mask.nii.gz", labels_of(1, shift=1))
        if way == "symbolic link":
            (predictions / "c1.nii.gz").symlink_to(truths / "c1.nii.gz")
            (predictions / "c0_mask.nii.gz").rename(predictions / "c0.nii.gz")
        elif way == "hard link":
            os.link(truths / "c1.nii.gz", predictions / "c1_mask.nii.gz")
        else:
            shutil.copy(truths / "c1.nii.gz", predictions / "c1_truth.nii.gz")
    with pytest.raises(DataError, match=r"c[01]\S*nii\.gz: is (the|a copy of the) truth of case c[01].*--self-check"):
        evaluate_folders(predictions, truths, tmp_path / "o", progress=False)
    assert not (tmp_path / "o").exists()
    evaluate_folders(predictions, truths, tmp_path / "o", self_check=True, progress=False)


def test_truths_that_are_left_aside_do_no_harm(tmp_path):
    """A folder of predictions and truths, of which the predictions are named as such."""
    save(tmp_path / "study/t/c0.nii.gz", labels_of(1))
    save(tmp_path / "study/c0_mask.nii.gz", labels_of(1, shift=2))
    summary = evaluate_folders(tmp_path / "study", tmp_path / "study/t", tmp_path / "o", progress=False)
    assert summary["dice"]["mean"] == pytest.approx(0.5)


def test_copies_of_truths_are_told(score):
    summary = score([labels_of(1), labels_of(), labels_of(1, shift=1)], [labels_of(1), labels_of(), labels_of(1)])
    assert summary["notes"] == ["predictions that are their truths byte for byte, perhaps copies: c0"]


def test_a_link_without_content_is_a_failed_case_by_name(score, tmp_path):
    score([labels_of(1)] * 2, [labels_of(1)] * 2, distances=False)
    (tmp_path / "p/c0_mask.nii.gz").unlink()
    (tmp_path / "p/c0_mask.nii.gz").symlink_to("../.git/annex/objects/xx/SHA256E-s1.nii.gz")
    summary = evaluate_folders(
        tmp_path / "p", tmp_path / "t", tmp_path / "o", progress=False, scoring=ScoringOptions(distances=False)
    )
    assert summary["n_failed"] == 1
    reasons = [case["reason"] for case in json.loads((tmp_path / "o/metrics.json").read_text())["cases"]]
    assert "is a link of git-annex" in reasons[0]
