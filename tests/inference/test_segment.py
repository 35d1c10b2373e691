"""Whole cases through ``segment_cases``: what is written, and that nothing half-done ever is."""

import hashlib
import json
import os
import resource
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from hf_lesionseg.errors import OutputError, ScanError, UsageError
from hf_lesionseg.inference import Computing, LoadedModel, MaskOptions, ModelSource, segment_cases
from hf_lesionseg.inference.preview import write_preview
from hf_lesionseg.inference.record import STAGES

ENDINGS = ("_lesions.json", "_mask.nii.gz", "_preview.png", "_record.json")


def listing(folder):
    """Every name below a folder, hidden ones too."""
    return sorted(path.name for path in folder.rglob("*"))


def outputs_of(*stems):
    return sorted(stem + ending for stem in stems for ending in ENDINGS)


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_scan_that_is_not_mni_gets_its_mask_back_on_its_own_grid(loaded, write_head, out):
    head = write_head("ein Kopf ü.nii.gz", codes="PIL")
    run = segment_cases([head.path], loaded, out)
    assert run.exit_status == 0
    assert listing(out) == outputs_of("ein Kopf ü")

    scan, mask = nib.load(head.path), nib.load(out / "ein Kopf ü_mask.nii.gz")
    assert mask.shape == scan.shape
    assert mask.affine.tobytes() == scan.affine.tobytes()
    for field in ("sform_code", "qform_code", "pixdim", "xyzt_units", "descrip"):
        assert mask.header[field].tobytes() == scan.header[field].tobytes()
    assert mask.get_data_dtype() == np.uint8
    values = np.asarray(mask.dataobj)
    assert set(np.unique(values)) == {0, 1}
    overlap = np.count_nonzero(values & head.blob)
    assert 2 * overlap / (values.sum() + head.blob.sum()) > 0.8

    lesions = read_json(out / "ein Kopf ü_lesions.json")
    assert lesions["total_volume_ml"] == pytest.approx(values.sum() * head.voxel_ml)
    assert lesions["n_lesions"] == len(lesions["lesions"]) >= 1
    assert lesions["connectivity"] == 26
    first = lesions["lesions"][0]
    assert np.linalg.norm(np.array(first["centroid_mm"]) - head.centre_mm) < 2
    inside = tuple(
        slice(start, stop) for start, stop in zip(first["box_voxel"]["start"], first["box_voxel"]["stop"], strict=True)
    )
    assert np.count_nonzero(values[inside]) >= first["n_voxels"]
    with Image.open(out / "ein Kopf ü_preview.png") as preview:
        assert preview.format == "PNG"
        assert preview.size[0] > 1000


def test_the_record_says_what_was_run_on_what(loaded, model_folder, write_head, out):
    head = write_head(codes="LPS")
    (outcome,) = segment_cases(
        [head.path], loaded, out, mask=MaskOptions(threshold=0.4), computing=Computing(batch_size=7)
    ).outcomes
    record = read_json(outcome.files["record"])
    (scan,) = record["inputs"]
    assert scan["sha256"] == hashlib.sha256(head.path.read_bytes()).hexdigest()
    assert scan["file"] == str(head.path)
    assert scan["channel"] == "t1w"
    assert scan["shape"] == list(head.image.shape)
    assert np.array_equal(scan["affine"], nib.load(head.path).affine)
    assert record["model"]["id"] == str(model_folder)
    weights = (model_folder / "model.safetensors").read_bytes()
    assert record["model"]["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert record["model"]["model_type"] == "clci-net"
    assert record["processor"]["normalization"] == "fixed-range"
    assert record["settings"] == {
        "threshold": 0.4,
        "minimum_lesion_ml": 0.0,
        "keep_largest": 0,
        "median_filter": 0,
        "precision": "float32",
        "deterministic": False,
    }
    assert record["slices"] == {"total": 24, "without_tissue_skipped": 7, "batch_size": 7}
    assert record["versions"]["torch"] == torch.__version__
    assert record["execution"] == {
        "memory_format": "channels-last",
        "folded": {"batch_norms": 50, "upsamplings": 4},
        "network_as_it_is": None,
    }
    assert record["kernels"]["convlstm_cell"]["cpu"] in ("compiled", "jit", "reference")
    assert record["device"] == "cpu"
    assert list(record["seconds"]) == list(STAGES)
    assert all(seconds > 0 for seconds in record["seconds"].values())
    # This process holds torch: more than 100 MB, and what the system counts as its peak.
    assert 100 < record["peak_memory"]["ram_mb"] <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1.024e-3 + 1
    assert record["result"] == {"n_lesions": outcome.n_lesions, "total_volume_ml": outcome.total_volume_ml}
    assert outcome.seconds == pytest.approx(sum(record["seconds"].values()), abs=0.5)


def test_one_broken_case_does_not_cost_the_others(loaded, write_head, out, tmp_path):
    first, last = write_head("a.nii.gz"), write_head("c.nii", blob=False)
    broken = tmp_path / "b.nii.gz"
    broken.write_bytes(first.path.read_bytes()[:5000])
    seen = []
    run = segment_cases([first.path, broken, tmp_path / "absent.nii", last.path], loaded, out, on_case=seen.append)
    assert [outcome.status for outcome in run.outcomes] == ["done", "failed", "failed", "done"]
    assert seen == run.outcomes
    assert run.exit_status == 1
    assert listing(out) == outputs_of("a", "c")
    for outcome, path in zip(run.failed, (broken, tmp_path / "absent.nii"), strict=True):
        assert isinstance(outcome.error, ScanError)
        assert outcome.reason.startswith(str(path))
        assert outcome.files == {}


def test_a_healthy_scan_gets_an_empty_list_and_a_preview(loaded, write_head, out):
    head = write_head(blob=False)
    (outcome,) = segment_cases([head.path], loaded, out, mask=MaskOptions(minimum_lesion_ml=5)).outcomes
    assert (outcome.status, outcome.n_lesions, outcome.total_volume_ml) == ("done", 0, 0)
    assert read_json(outcome.files["lesions"])["lesions"] == []
    assert not np.asarray(nib.load(outcome.files["mask"]).dataobj).any()


class OneBad(torch.nn.Module):
    """The real network, which fails on its first volume in the way it is told."""

    def __init__(self, model, failure):
        super().__init__()
        self.model, self.config, self.device, self.dtype = model, model.config, model.device, model.dtype
        self.failure, self.calls = failure, 0

    def can_generate(self):
        return False

    def forward(self, pixel_values):
        self.calls += 1
        if self.calls == 1 and isinstance(self.failure, BaseException):
            raise self.failure
        output = self.model(pixel_values=pixel_values)
        if self.calls == 1:
            output.logits = output.logits * torch.nan
        return output


def failing(loaded, failure):
    return replace(loaded, model=OneBad(loaded.model, failure))


def test_an_unexpected_error_fails_its_case_only_and_is_kept(loaded, write_head, out):
    heads = [write_head("a.nii"), write_head("b.nii")]
    error = RuntimeError("weight is of another type")
    run = segment_cases([head.path for head in heads], failing(loaded, error), out)
    assert [outcome.status for outcome in run.outcomes] == ["failed", "done"]
    assert run.outcomes[0].error is error
    assert "unexpected RuntimeError: weight is of another type" in run.outcomes[0].reason
    assert listing(out) == outputs_of("b")


def test_nan_from_the_network_is_a_failed_case_and_no_empty_mask(loaded, write_head, out):
    run = segment_cases([write_head().path], failing(loaded, None), out)
    assert "NaN" in run.failed[0].reason
    assert listing(out) == []


def test_ctrl_c_ends_the_run_and_leaves_nothing_of_its_case(loaded, write_head, out):
    head = write_head()
    with pytest.raises(KeyboardInterrupt):
        segment_cases([head.path], failing(loaded, KeyboardInterrupt()), out)
    assert listing(out) == []


def test_ctrl_c_while_writing_leaves_nothing_either(loaded, write_head, out, monkeypatch):
    def interrupted(*args, **kwargs):
        assert any(name.startswith(".partial") for name in listing(out))
        raise KeyboardInterrupt

    monkeypatch.setattr("hf_lesionseg.inference.case_outputs.write_preview", interrupted)
    with pytest.raises(KeyboardInterrupt):
        segment_cases([write_head().path], loaded, out)
    assert listing(out) == []


def test_results_that_cannot_all_be_renamed_are_taken_back(loaded, write_head, out, monkeypatch):
    def drawn_while_someone_takes_the_last_name(*args, **kwargs):
        (out / "scan_record.json").mkdir()
        write_preview(*args, **kwargs)

    monkeypatch.setattr("hf_lesionseg.inference.case_outputs.write_preview", drawn_while_someone_takes_the_last_name)
    run = segment_cases([write_head().path], loaded, out)
    assert isinstance(run.failed[0].error, OutputError)
    assert "scan_record.json" in run.failed[0].reason
    assert listing(out) == ["scan_record.json"]


def test_two_inputs_of_one_name_are_refused_before_any_work(write_head, out):
    heads = [write_head("one/scan.nii.gz"), write_head("two/scan.nii")]
    with pytest.raises(UsageError, match=r"would both write scan_mask\.nii\.gz"):
        segment_cases([head.path for head in heads], "no/such/model", out)
    assert not out.exists()


def test_equal_runs_write_equal_masks_lesions_and_previews(loaded, write_head, tmp_path):
    head = write_head()
    for name in ("one", "two"):
        segment_cases([head.path], loaded, tmp_path / name, computing=Computing(deterministic=True))
    for ending in ("_mask.nii.gz", "_lesions.json", "_preview.png"):
        assert (tmp_path / "one" / f"scan{ending}").read_bytes() == (tmp_path / "two" / f"scan{ending}").read_bytes()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"existing": "merge"}, "existing='merge' is unknown; use refuse, overwrite, keep"),
        ({"device": "cuda:99"}, "device 'cuda:99' cannot be used here"),
    ],
)
def test_impossible_options_are_refused_before_any_output(model_folder, write_head, out, wrong, message):
    source = ModelSource(model_folder, device=wrong.pop("device", "cpu"))
    with pytest.raises(UsageError, match=message):
        segment_cases([write_head().path], source, out, **wrong)
    assert not out.exists() or listing(out) == []


def test_an_output_folder_that_is_a_file_is_an_error_at_once(write_head, out):
    out.write_text("mine")
    for folder in (out, out / "below"):
        with pytest.raises(OutputError, match="results"):
            segment_cases([write_head().path], "no/such/model", folder)
    assert out.read_text() == "mine"


@pytest.fixture
def as_another_user():
    """Give up root's right to write anywhere, where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.fixture
def read_only_folder():
    # Not below pytest's own folder, which only its owner may enter.
    above = Path(tempfile.mkdtemp())
    above.chmod(0o755)
    folder = above / "read-only"
    folder.mkdir()
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(above)


def test_a_read_only_output_folder_is_an_error_at_once(read_only_folder, as_another_user):
    for folder in (read_only_folder, read_only_folder / "below"):
        with pytest.raises(OutputError, match=r"read-only.*choose another output folder"):
            segment_cases(["scan.nii.gz"], "no/such/model", folder)
    assert list(read_only_folder.iterdir()) == []


def test_a_full_disk_fails_the_case_and_leaves_nothing_half_written(loaded, write_head, out):
    head = write_head()
    segment_cases([head.path], loaded, out)  # all lazy imports are done
    shutil.rmtree(out)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        run = segment_cases([head.path], loaded, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert run.exit_status == 1
    assert isinstance(run.failed[0].error, OutputError)
    assert "cannot be written" in run.failed[0].reason
    assert listing(out) == []


def test_a_preview_that_cannot_be_written_costs_nobody_the_mask(loaded, write_head, out):
    head = write_head()
    segment_cases([head.path], loaded, out)
    expected = (out / "scan_mask.nii.gz").read_bytes()
    shutil.rmtree(out)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # the mask fits, the preview does not
    try:
        (outcome,) = segment_cases([head.path], loaded, out).outcomes
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert outcome.status == "done"
    assert "no preview could be drawn (OutputError" in outcome.warnings[-1]
    assert listing(out) == [f"scan{ending}" for ending in ENDINGS if ending != "_preview.png"]
    assert (out / "scan_mask.nii.gz").read_bytes() == expected
    record = json.loads((out / "scan_record.json").read_text())
    assert record["preview"] is None
    assert list(outcome.warnings) == record["warnings"]
    (kept,) = segment_cases([head.path], loaded, out, existing="keep").outcomes
    assert (kept.status, "preview" in kept.files) == ("kept", False)


def test_a_preview_that_fails_costs_nobody_the_mask(loaded, write_head, out, monkeypatch):
    def without_memory(*args, **kwargs):
        raise MemoryError("Unable to allocate 183. GiB")

    monkeypatch.setattr("hf_lesionseg.inference.case_outputs.write_preview", without_memory)
    (outcome,) = segment_cases([write_head().path], loaded, out).outcomes
    assert outcome.status == "done"
    assert outcome.files["mask"].exists()
    assert "no preview could be drawn (MemoryError: Unable to allocate" in outcome.warnings[-1]


@pytest.mark.parametrize("size", [0.01, 40.0, 150.0])
def test_impossible_voxel_sizes_get_a_mask_and_a_small_preview(loaded, write_head, out, size):
    head = write_head()
    image = nib.load(head.path)
    path = head.path.with_name("odd.nii.gz")
    nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32), np.diag([size, size, 0.5 * size, 1])), path)
    (outcome,) = segment_cases([path], loaded, out).outcomes
    assert outcome.status == "done"
    with Image.open(outcome.files["preview"]) as preview:
        assert max(preview.size) < 3000


@pytest.fixture(scope="module")
def two_channels():
    """An untrained network of two channels."""
    from hf_lesionseg import CLCINetConfig, CLCINetForSemanticSegmentation, LesionImageProcessor

    torch.manual_seed(0)
    model = CLCINetForSemanticSegmentation(CLCINetConfig(num_channels=2, base_width=2)).eval()
    return LoadedModel(model, LesionImageProcessor(channel_names=("dwi", "adc")), "two-channels")


def test_channels_from_a_folder_or_by_name(two_channels, write_head, out, tmp_path):
    dwi, adc = write_head("case 1/p_dwi.nii.gz", codes="LPS"), write_head("case 1/p_adc.nii", codes="LPS", blob=False)
    named = f"dwi={dwi.path},adc={adc.path}"
    run = segment_cases([tmp_path / "case 1", named], two_channels, out)
    assert run.exit_status == 0
    assert listing(out) == outputs_of("case 1", "p")
    record = read_json(out / "p_record.json")
    assert [(entry["channel"], entry["file"]) for entry in record["inputs"]] == [
        ("dwi", str(dwi.path)),
        ("adc", str(adc.path)),
    ]
    assert (out / "case 1_mask.nii.gz").read_bytes() == (out / "p_mask.nii.gz").read_bytes()


def test_missing_modality_and_other_grid_fail_their_case(two_channels, write_head, out, tmp_path):
    write_head("lonely/p_dwi.nii")
    write_head("mixed/p_dwi.nii", codes="LPS")
    path = write_head("mixed/p_adc.nii", codes="LPS").path
    image = nib.load(path)
    shifted = nib.affines.from_matvec(np.eye(3), [0, 0, 9]) @ image.affine
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj).copy(), shifted), path)  # the file is mapped
    lonely, mixed = segment_cases([tmp_path / "lonely", tmp_path / "mixed"], two_channels, out).outcomes
    assert "channel adc is missing; this network needs dwi, adc" in lonely.reason
    assert "p_adc.nii" in mixed.reason
    assert "grid" in mixed.reason
    assert listing(out) == []


def test_an_unknown_channel_is_wrong_usage(two_channels, write_head, out):
    head = write_head()
    with pytest.raises(UsageError, match="'flair' is not a channel of this network, which has dwi, adc"):
        segment_cases([{"dwi": head.path, "flair": head.path}], two_channels, out)
    assert listing(out) == []


def test_warnings_of_the_file_are_in_outcome_and_record(loaded, write_head, out):
    head = write_head()
    data = np.asarray(head.image.dataobj).copy()
    data[0, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(data, head.image.affine), head.path)
    (outcome,) = segment_cases([head.path], loaded, out).outcomes
    assert outcome.warnings == (f"{head.path}: 1 NaN voxels read as 0",)
    assert read_json(outcome.files["record"])["warnings"] == list(outcome.warnings)


def test_progress_tells_case_and_slices(loaded, write_head, out):
    seen = []
    segment_cases(
        [write_head().path], loaded, out, computing=Computing(batch_size=10), on_slices=lambda *args: seen.append(args)
    )
    assert seen == [("scan", 10, 17), ("scan", 17, 17)]


@pytest.mark.parametrize("ending", ["mgz", "mha"])
def test_scans_of_other_formats_give_the_same_mask(loaded, write_head, tmp_path, ending):
    head = write_head(codes="LAS")
    image = nib.load(head.path)
    path = tmp_path / f"other.{ending}"
    if ending == "mha":
        sitk = pytest.importorskip("SimpleITK")
        sitk.WriteImage(sitk.ReadImage(str(head.path)), str(path))
    else:
        nib.MGHImage(np.asarray(image.dataobj, np.float32), image.affine).to_filename(path)
    first, second = segment_cases([head.path, path], loaded, tmp_path / "out", preview=False).outcomes
    assert second.status == "done", second.reason
    expected, found = nib.load(first.files["mask"]), nib.load(second.files["mask"])
    assert second.files["mask"].name == "other_mask.nii.gz"
    np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))
    np.testing.assert_allclose(found.affine, expected.affine, atol=1e-4)
