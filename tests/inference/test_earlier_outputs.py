"""Outputs that lie there already: kept, replaced or refused, and never shown as those of another scan."""

import json

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.errors import OutputError, UsageError
from hf_lesionseg.inference import MaskOptions, segment_cases


def listing(folder):
    """Every name below a folder, hidden ones too."""
    return sorted(path.name for path in folder.rglob("*"))


def test_earlier_outputs_are_only_replaced_when_asked(loaded, write_head, out):
    head = write_head()
    segment_cases([head.path], loaded, out)
    before = (out / "scan_record.json").stat().st_mtime_ns
    with pytest.raises(UsageError, match=r"scan_mask.nii.gz and 3 more exists already; .*--overwrite"):
        segment_cases([head.path], loaded, out)
    assert (out / "scan_record.json").stat().st_mtime_ns == before
    run = segment_cases([head.path], loaded, out, existing="overwrite", mask=MaskOptions(threshold=0.9))
    assert run.exit_status == 0
    assert json.loads((out / "scan_record.json").read_text("utf-8"))["settings"]["threshold"] == 0.9


def test_a_failed_case_leaves_no_earlier_mask_behind(loaded, write_head, out):
    head = write_head()
    segment_cases([head.path], loaded, out)
    head.path.write_bytes(b"not a scan any more")
    run = segment_cases([head.path], loaded, out, existing="overwrite")
    assert run.exit_status == 1
    assert listing(out) == []
    # Also when the scan has gone away altogether.
    segment_cases([write_head().path], loaded, out)
    head.path.unlink()
    assert segment_cases([head.path], loaded, out, existing="overwrite").exit_status == 1
    assert listing(out) == []


def test_skip_existing_keeps_only_what_would_come_out_the_same(loaded, write_head, out):
    head = write_head()
    (done,) = segment_cases([head.path], loaded, out).outcomes
    (kept,) = segment_cases([head.path], loaded, out, existing="keep").outcomes
    assert kept.status == "kept"
    assert (kept.n_lesions, kept.total_volume_ml) == (done.n_lesions, done.total_volume_ml)

    before = listing(out)
    (other,) = segment_cases([head.path], loaded, out, existing="keep", mask=MaskOptions(threshold=0.7)).outcomes
    assert (other.status, type(other.error)) == ("failed", OutputError)
    assert "another scan, network or settings than now" in other.reason
    assert listing(out) == before  # what the user asked to keep

    write_head(codes="LAS")
    (changed,) = segment_cases([head.path], loaded, out, existing="keep").outcomes
    assert "another scan" in changed.reason

    (out / "scan_preview.png").unlink()
    (partial,) = segment_cases([head.path], loaded, out, existing="keep").outcomes
    assert "scan_preview.png: missing beside other outputs" in partial.reason


def test_skip_existing_looks_at_both_files_of_a_pair(loaded, write_head, out, tmp_path):
    pair = nib.Nifti1Pair(np.asarray(nib.load(write_head().path).dataobj, np.float32), np.eye(4))
    nib.save(pair, tmp_path / "pair.hdr")
    segment_cases([tmp_path / "pair.hdr"], loaded, out)
    voxels = tmp_path / "pair.img"
    voxels.write_bytes(voxels.read_bytes()[:-4] + np.float32(7.0).tobytes())
    (changed,) = segment_cases([tmp_path / "pair.hdr"], loaded, out, existing="keep").outcomes
    assert "another scan" in changed.reason


def test_skip_existing_runs_what_is_not_there_yet(loaded, write_head, out):
    segment_cases([write_head("a.nii").path], loaded, out)
    run = segment_cases([write_head("a.nii").path, write_head("b.nii").path], loaded, out, existing="keep")
    assert [outcome.status for outcome in run.outcomes] == ["kept", "done"]
