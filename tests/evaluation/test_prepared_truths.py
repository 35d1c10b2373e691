"""Truths from a folder of ``lesionseg prepare``: names, people, splits, backgrounds, and the word "synthetic"."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.datasets.prepared.records import CaseRecord, Origin
from hf_lesionseg.datasets.prepared.splits import Splits, save_splits
from hf_lesionseg.datasets.prepared.writing import prepare_cases
from hf_lesionseg.errors import DataError
from hf_lesionseg.evaluation import evaluate_folders
from hf_lesionseg.evaluation.gallery import draw_gallery
from hf_lesionseg.evaluation.matching import find_masks, find_truths, match_predictions
from hf_lesionseg.evaluation.scoring import score_case
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor

SHAPE = (40, 48, 8)
AFFINE = np.diag([2.0, 2.0, 4.0, 1.0])
CASES = {"c0001s0001t01": "c0001s0001", "c0001s0001t02": "c0001s0001", "c0002s0001t01": "c0002s0001"}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Scans and masks named as in ATLAS R1.2: the files carry more than the case's id."""
    folder = tmp_path_factory.mktemp("source")
    generator = np.random.default_rng(0)
    for number, case in enumerate(CASES):
        scan = np.zeros(SHAPE, np.float32)
        scan[5:35, 5:43] = generator.uniform(40, 90, (30, 38, 8))
        mask = np.zeros(SHAPE, np.uint8)
        mask[10 : 16 + 4 * number, 20:30, 3:6] = 1
        nib.save(nib.Nifti1Image(scan, AFFINE), folder / f"{case}_t1w_stx.nii.gz")
        nib.save(nib.Nifti1Image(mask, AFFINE), folder / f"{case}_LesionSmooth_stx.nii.gz")
    return folder


def prepare(source, output, synthetic):
    records = [
        CaseRecord(
            id=case,
            person=person,
            images={"t1w": source / f"{case}_t1w_stx.nii.gz"},
            masks=[source / f"{case}_LesionSmooth_stx.nii.gz"],
        )
        for case, person in CASES.items()
    ]
    processor = LesionImageProcessor(size={"height": 48, "width": 48})
    prepare_cases(records, output, processor, Origin("tiny", synthetic, source=source), progress=False)
    splits = {"train": ["c0001s0001t01", "c0001s0001t02"], "test": ["c0002s0001t01"]}
    save_splits(output / "splits.json", Splits(splits, {"train": 1, "test": 1}, {"train": 0.5, "test": 0.5}, seed=0))
    return output


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory):
    return prepare(source, tmp_path_factory.mktemp("prepared"), synthetic=True)


@pytest.fixture
def predictions(source, tmp_path):
    """As ``lesionseg segment`` names its masks: after the scan's file, not after the case."""
    folder = tmp_path / "predictions"
    folder.mkdir()
    for case in CASES:
        shutil.copy(source / f"{case}_LesionSmooth_stx.nii.gz", folder / f"{case}_t1w_stx_mask.nii.gz")
    return folder


def test_segmented_scans_are_matched_through_the_names_of_their_files(prepared, predictions, tmp_path):
    summary = evaluate_folders(predictions, prepared, tmp_path / "out", progress=False)
    assert summary["n_failed"] == 0
    assert summary["dice"]["mean"] == 1
    assert (summary["n_cases"], summary["n_people"]) == (3, 2)
    assert summary["by_split"]["test"]["n_cases"] == 1
    volumes = {case.id: case.lesion_ml for case in PreparedDataset(prepared).cases}
    assert summary["truth_ml"]["max"] == pytest.approx(max(volumes.values()))


def test_synthetic_truths_are_called_so(source, prepared, predictions, tmp_path):
    evaluate_folders(predictions, prepared, tmp_path / "synthetic", progress=False)
    real = prepare(source, tmp_path / "real-data", synthetic=False)
    evaluate_folders(predictions, real, tmp_path / "real", progress=False)
    for name in ("metrics.md", "dice_distribution.png", "volumes.png", "overlays.png"):
        assert (tmp_path / "synthetic" / name).read_bytes() != (tmp_path / "real" / name).read_bytes(), name
    assert "synthetic" in (tmp_path / "synthetic" / "metrics.md").read_text()
    assert json.loads((tmp_path / "synthetic" / "metrics.json").read_text())["synthetic"] is True
    assert json.loads((tmp_path / "real" / "metrics.json").read_text())["synthetic"] is False


def test_one_split_is_scored_without_predictions_for_the_others(prepared, predictions, tmp_path):
    for case in ("c0001s0001t01", "c0001s0001t02"):
        (predictions / f"{case}_t1w_stx_mask.nii.gz").unlink()
    summary = evaluate_folders(predictions, prepared, tmp_path / "all", progress=False)
    assert summary["n_failed"] == 2
    summary = evaluate_folders(predictions, prepared, tmp_path / "test", only_split="test", progress=False)
    assert (summary["n_cases"], summary["n_failed"]) == (1, 0)


def test_a_name_that_fits_two_cases_is_no_name(source, tmp_path):
    """ATLAS R1.1 calls both time points' files alike; only the case's own id tells them apart."""
    records = []
    for point, case in (("t01", "c0001s0001t01"), ("t02", "c0001s0001t02")):
        (tmp_path / point).mkdir()
        scan = tmp_path / point / "031768_t1w_deface_stx.nii.gz"
        shutil.copy(source / f"{case}_t1w_stx.nii.gz", scan)
        mask = source / f"{case}_LesionSmooth_stx.nii.gz"
        records.append(CaseRecord(id=f"031768_{point}", person="031768", images={"t1w": scan}, masks=[mask]))
    folder = tmp_path / "prepared"
    processor = LesionImageProcessor()
    prepare_cases(records, folder, processor, Origin("tiny", False, source=tmp_path), progress=False)
    truths = find_truths(folder)
    assert truths.splits is None
    assert {truth.person for truth in truths.cases} == {"031768"}
    matched, strangers = match_predictions(truths.cases, {"031768_t1w_deface_stx": tmp_path / "a.nii.gz"})
    assert (matched, strangers) == ({}, ["a.nii.gz"])
    assert list(match_predictions(truths.cases, {"031768_t02": tmp_path / "b.nii.gz"})[0]) == ["031768_t02"]


def test_overlays_are_drawn_on_the_prepared_slices(prepared, predictions, tmp_path):
    truths = find_truths(prepared)
    matched, _ = match_predictions(truths.cases, find_masks(predictions)[0])
    cases = [score_case(truth, matched[truth.case]) for truth in truths.cases]
    assert draw_gallery(cases, truths, matched, tmp_path / "overlays.png") == []
    broken = tmp_path / "broken"
    shutil.copytree(prepared, broken)
    (broken / "cases" / "c0002s0001t01" / "pixel_values.npy").unlink()
    notes = draw_gallery(cases, find_truths(broken), matched, tmp_path / "overlays.png")
    assert len(notes) == 1
    assert "c0002s0001t01: drawn without its scan" in notes[0]


def test_a_damaged_truth_is_a_failed_case(prepared, predictions, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(prepared, broken)
    (broken / "cases" / "c0002s0001t01" / "truth.nii.gz").unlink()
    summary = evaluate_folders(predictions, broken, tmp_path / "out", progress=False)
    assert [entry["case"] for entry in summary["failed"]] == ["c0002s0001t01"]
    (broken / "dataset.json").write_text("{}")
    with pytest.raises(DataError, match=r"dataset\.json"):
        evaluate_folders(predictions, broken, tmp_path / "out", progress=False)
