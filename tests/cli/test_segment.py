"""``lesionseg segment`` from its arguments to its exit status."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nibabel as nib
import pytest

ENDINGS = ("_lesions.json", "_mask.nii.gz", "_preview.png", "_record.json")


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_through_the_console_entry_in_a_process_of_its_own(model_folder, write_scan, tmp_path):
    """The one test that pays for a fresh process: nothing imported, another folder, odd names, one broken case."""
    scan, broken, last = write_scan("in put/Käse 1.nii.gz"), tmp_path / "in put/b.nii.gz", write_scan("in put/c.nii")
    broken.write_bytes(scan.read_bytes()[:-200])
    out = tmp_path / "out put"
    console = Path(sys.executable).with_name("lesionseg")
    command = [console] if console.exists() else [sys.executable, "-m", "hf_lesionseg.cli"]
    repository = Path(__file__).parents[2]
    run = subprocess.run(
        [*command, "segment", scan, broken, last, "--model", model_folder, "-o", out],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(repository), "COLUMNS": "200", "PYTHONIOENCODING": "utf-8"},
    )
    assert run.returncode == 1, run.stderr
    assert listing(out) == sorted(stem + ending for stem in ("Käse 1", "c") for ending in ENDINGS)
    errors = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {broken}: ")
    assert "Traceback" not in run.stderr
    assert "2 of 3 cases" in run.stdout
    (row,) = [line for line in run.stdout.splitlines() if "failed" in line]
    assert " b " in row
    mask, source = nib.load(out / "Käse 1_mask.nii.gz"), nib.load(scan)
    assert mask.shape == source.shape
    assert mask.affine.tobytes() == source.affine.tobytes()


def test_all_done_is_status_0_and_a_table(lesionseg, model_folder, write_scan, tmp_path):
    status, text, errors = lesionseg("segment", write_scan(), "-m", model_folder, "-o", tmp_path / "out")
    assert status == 0
    assert [line.split(": ", 2)[2] for line in errors.splitlines()] == [
        f"{tmp_path / 'scan.nii.gz'}: the tissue is 48 mm long, less than any head: check the voxel size"
    ]
    assert "1 of 1 cases" in text
    assert "done" in text


def test_options_reach_the_run(lesionseg, model_folder, write_scan, tmp_path):
    options = ["--threshold", "0.9", "--minimum-lesion-ml", "0.5", "--precision", "bfloat16", "--batch-size", "2"]
    options += ["--keep-largest", "3", "--median-filter", "5", "--memory-format", "contiguous"]
    status, _, _ = lesionseg(
        "segment", write_scan(), "-m", model_folder, "-o", tmp_path, *options, "--deterministic", "--device", "cpu"
    )
    assert status == 0
    record = json.loads((tmp_path / "scan_record.json").read_text())
    assert record["settings"] == {
        "threshold": 0.9,
        "minimum_lesion_ml": 0.5,
        "keep_largest": 3,
        "median_filter": 5,
        "precision": "bfloat16",
        "deterministic": True,
        "memory_format": "contiguous",
    }
    assert record["execution"]["memory_format"] == "contiguous"
    assert record["slices"]["batch_size"] == 2


def test_results_are_kept_or_replaced_as_asked(lesionseg, model_folder, write_scan, tmp_path):
    again = ("segment", write_scan(), "-m", model_folder, "-o", tmp_path / "out")
    assert lesionseg(*again)[0] == 0
    status, _, errors = lesionseg(*again)
    assert status == 2
    assert errors.startswith("error: ")
    assert "--overwrite" in errors
    status, text, _ = lesionseg(*again, "--skip-existing")
    assert (status, "kept" in text) == (0, True)
    status, text, _ = lesionseg(*again, "--overwrite")
    assert (status, "done" in text) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["a/scan.nii.gz", "b/scan.nii", "-m", "x", "-o", "out"], 2, "would both write scan_mask.nii.gz"),
        (
            ["scan.nii", "-m", "x", "-o", "out", "--threshold", "7"],
            2,
            "threshold=7.0: give a probability",
        ),
        (["scan.nii", "-m", "no/such/model", "-o", "out"], 2, "no/such/model: no such folder, and not a Hub id"),
        (["scan.nii", "-m", "x", "-o", "out", "--overwrite", "--skip-existing"], 2, "exclude each other; give one"),
    ],
)
def test_errors_before_any_case(lesionseg, monkeypatch, tmp_path, write_scan, arguments, status, message):
    monkeypatch.chdir(tmp_path)
    for name in ("scan.nii", "a/scan.nii.gz", "b/scan.nii"):
        write_scan(name)
    got, text, errors = lesionseg("segment", *arguments)
    assert (got, text) == (status, "")
    assert message in errors
    assert errors.count("\n") == 1


def test_every_case_failed_is_status_1_too(lesionseg, model_folder, tmp_path):
    (tmp_path / "broken.nii").write_bytes(b"text")
    status, text, errors = lesionseg("segment", tmp_path / "broken.nii", "-m", model_folder, "-o", tmp_path / "out")
    assert status == 1
    assert "0 of 1 cases" in text
    assert errors.startswith(f"error: {tmp_path / 'broken.nii'}: ")


def test_names_that_look_like_markup_are_shown_as_they_are(lesionseg, model_folder, write_scan, tmp_path):
    status, text, _ = lesionseg("segment", write_scan("case[red].nii"), "-m", model_folder, "-o", tmp_path / "out")
    assert status == 0
    assert "case[red]" in text


def test_ctrl_c_keeps_what_is_done_and_leaves_nothing_half_written(lesionseg, model_folder, write_scan, tmp_path):
    scans = [write_scan(f"s{index:02}.nii", slices=40) for index in range(40)]
    out = tmp_path / "out"

    def interrupt_when_one_is_done():
        while not (out / "s00_record.json").exists():
            time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt_when_one_is_done, daemon=True)
    watcher.start()
    status, _, errors = lesionseg("segment", *scans, "-m", model_folder, "-o", out)
    watcher.join()
    assert status == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    written = listing(out)
    stems = {name.split("_")[0] for name in written}
    assert written == sorted(stem + ending for stem in stems for ending in ENDINGS)
    assert 1 <= len(stems) < 40
