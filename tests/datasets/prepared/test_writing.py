"""Preparing cases: what lies on disk, what a killed run leaves, and what is refused."""

import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.datasets.prepared.records import CaseRecord, Origin
from hf_lesionseg.datasets.prepared.splits import make_splits, save_splits
from hf_lesionseg.datasets.prepared.writing import prepare_cases
from hf_lesionseg.datasets.workers import run_tasks
from hf_lesionseg.errors import DataError, OutputError
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.models.volume_geometry import SliceGeometry


def prepare(records, folder, processor, **options):
    return prepare_cases(records, folder, processor, Origin("test", synthetic=True), progress=False, **options)


def test_arrays_are_the_slices_of_the_scan(prepared, tmp_path):
    case = prepared.cases[3]
    scan = nib.load(tmp_path / "scans" / "case003_T1w.nii.gz").get_fdata()
    mask = nib.load(tmp_path / "scans" / "case003_mask.nii.gz").get_fdata()
    planes = scan.transpose(2, 1, 0) / 100
    values = case.pixel_values()
    assert values.dtype == np.float32
    assert values.shape == (6, 1, 24, 20) == case.shape
    np.testing.assert_allclose(values[:, 0], planes, atol=5e-4)  # float16
    np.testing.assert_array_equal(case.labels(), mask.transpose(2, 1, 0))
    np.testing.assert_array_equal(case.pixel_values(2), values[2])
    np.testing.assert_array_equal(case.labels(slice(1, 4)), case.labels()[1:4])
    truth = case.truth()
    np.testing.assert_array_equal(truth.data, mask)
    np.testing.assert_array_equal(truth.affine, np.diag([1, 1, 2, 1]))
    assert case.lesion_slices.tolist() == [2, 3]
    assert case.tissue_slices.tolist() == [1, 2, 3, 4, 5]
    assert case.voxel_ml == pytest.approx(0.002)
    assert case.lesion_ml == pytest.approx(mask.sum() * 0.002)
    assert isinstance(case.geometry, SliceGeometry)
    assert case.sources == ("case003_T1w.nii.gz",)
    assert np.load(case.folder / "pixel_values.npy", mmap_mode="r").dtype == np.float16
    assert np.load(case.folder / "labels.npy", mmap_mode="r").dtype == np.uint8


def test_the_folder_opens_again(prepared):
    again = PreparedDataset(prepared.folder)
    assert [case.id for case in again.cases] == [f"case{number:03d}" for number in range(6)]
    assert (again.name, again.synthetic, again.channel_names) == ("bright blocks", True, ("t1w",))
    assert isinstance(again.processor(), LesionImageProcessor)
    assert again.processor().to_dict() == prepared.processor().to_dict()
    with pytest.raises(DataError, match=r"splits.json: does not exist; run `lesionseg prepare`"):
        again.select("train")
    save_splits(again.folder / "splits.json", make_splits(again.cases, {"train": 4, "validation": 2}, 0))
    assert len(again.select("train")) == 4
    with pytest.raises(DataError, match="has no split 'test', but train, validation"):
        again.select("test")


def test_two_channels(make_records, tmp_path):
    one = make_records(1)[0]
    records = [CaseRecord("a", "a", {"t1w": one.images["t1w"], "flair": one.images["t1w"]}, one.masks)]
    processor = LesionImageProcessor(channel_names=("flair", "t1w"))
    case = prepare(records, tmp_path / "out", processor).cases[0]
    assert case.shape == (6, 2, 24, 20)
    np.testing.assert_array_equal(case.pixel_values()[:, 0], case.pixel_values()[:, 1])
    with pytest.raises(DataError, match="case case000 has no flair"):
        prepare([one], tmp_path / "other", processor)


def test_workers_give_the_same_bytes_and_report_their_own_exceptions(make_records, small_processor, tmp_path):
    records = make_records(4)
    records[2].masks[0].write_bytes(b"no mask")
    here = prepare(records, tmp_path / "here", small_processor)
    there = prepare(records, tmp_path / "there", small_processor, workers=2)
    files = sorted(path.relative_to(here.folder) for path in here.folder.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(there.folder) for path in there.folder.rglob("*") if path.is_file())
    assert len(files) == 2 + 3 * 4
    for file in files:
        assert (here.folder / file).read_bytes() == (there.folder / file).read_bytes(), file
    (rejected,) = there.rejected
    assert rejected["path"].endswith("case002_T1w.nii.gz")
    assert "case002_mask.nii.gz" in rejected["reason"]


def test_a_killed_run_leaves_no_half_case_and_the_next_goes_on(make_records, small_processor, tmp_path):
    records = make_records(40)
    output = tmp_path / "out"
    script = textwrap.dedent("""
        import pickle, sys
        from hf_lesionseg.datasets.prepared.records import Origin
        from hf_lesionseg.datasets.prepared.writing import prepare_cases
        records, output, processor = pickle.load(open(sys.argv[1], "rb"))
        prepare_cases(records, output, processor, Origin("test", synthetic=True), progress=False)
    """)
    (tmp_path / "job").write_bytes(pickle.dumps((records, output, small_processor)))
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path / "job"])
    deadline = time.monotonic() + 400
    while len(list((output / "cases").glob("case*"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = sorted((output / "cases").glob("case*"))
    assert 3 <= len(finished) < 40, "the run was to be killed in its middle"
    for folder in finished:
        assert {path.name for path in folder.iterdir()} == {
            "case.json",
            "labels.npy",
            "pixel_values.npy",
            "truth.nii.gz",
        }
    with pytest.raises(DataError, match="is not finished; run the same `lesionseg prepare` again"):
        PreparedDataset(output)

    (output / "cases" / ".partial-0123abcd-case039").mkdir(exist_ok=True)  # what a kill in mid-write leaves
    written = {folder.name: (folder / "pixel_values.npy").stat().st_mtime_ns for folder in finished}
    dataset = prepare(records, output, small_processor)
    assert len(dataset.cases) == 40
    for name, before in written.items():
        assert (output / "cases" / name / "pixel_values.npy").stat().st_mtime_ns == before, "a finished case was redone"
    assert not list(output.rglob(".partial*")), "what the kill left is cleared away"


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files by the Unix call")
def test_a_disk_that_fills_up_stops_the_run_and_leaves_no_half_case(make_records, small_processor, tmp_path):
    """The system's own limit on a file's size: case.json and the labels fit, the slices do not."""
    script = textwrap.dedent("""
        import pickle, resource, sys
        from hf_lesionseg.datasets.prepared.records import Origin
        from hf_lesionseg.datasets.prepared.writing import prepare_cases
        records, output, processor = pickle.load(open(sys.argv[1], "rb"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        prepare_cases(records, output, processor, Origin("test", synthetic=True), progress=False)
    """)
    (tmp_path / "job").write_bytes(pickle.dumps((make_records(2), tmp_path / "out", small_processor)))
    result = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "job"], capture_output=True, text=True, check=False
    )
    assert "OutputError" in result.stderr
    assert "case000: cannot be written" in result.stderr
    assert not list((tmp_path / "out" / "cases").iterdir())


def test_a_changed_scan_is_prepared_again(make_records, small_processor, tmp_path):
    records = make_records(2)
    before = prepare(records, tmp_path / "out", small_processor).cases[1].pixel_values()
    image = nib.load(records[1].images["t1w"])
    brighter = nib.Nifti1Image(np.asarray(image.dataobj)[:, :, ::-1] + 5, image.affine)
    nib.save(brighter, records[1].images["t1w"])
    after = prepare(records, tmp_path / "out", small_processor).cases[1].pixel_values()
    assert not np.array_equal(before, after)


def keeping_size_and_time(path, change):
    """Change a file's bytes so that neither its size nor its time tells of it."""
    before = path.stat()
    change(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_a_corrected_mask_of_equal_size_is_prepared_again_and_nothing_else(make_records, small_processor, tmp_path):
    records = make_records(3)
    plain = tmp_path / "scans" / "plain.nii"
    nib.save(nib.load(records[1].masks[0]), plain)
    records[1] = CaseRecord(records[1].id, records[1].person, records[1].images, (plain,))
    before = prepare(records, tmp_path / "out", small_processor)
    written = {case.id: (case.folder / "truth.nii.gz").stat().st_mtime_ns for case in before.cases}

    def grow(path):
        image = nib.load(path)
        lesion = np.asarray(image.dataobj).copy()
        lesion[10:13, 6:13, 2:4] = 1
        nib.save(nib.Nifti1Image(lesion, image.affine), path)

    keeping_size_and_time(plain, grow)
    after = prepare(records, tmp_path / "out", small_processor)
    assert after.cases[1].lesion_ml == pytest.approx(after.cases[1].truth().data.sum() * 0.002)
    assert after.cases[1].lesion_ml == pytest.approx(before.cases[1].lesion_ml + 3 * 7 * 2 * 0.002)
    again = {case.id: (case.folder / "truth.nii.gz").stat().st_mtime_ns for case in after.cases}
    assert {case for case in again if again[case] != written[case]} == {records[1].id}
    assert after.content() != before.content()


def test_the_voxels_of_a_pair_and_a_sidecar_count_as_content(make_records, small_processor, tmp_path):
    (record,) = make_records(1)
    header, voxels = tmp_path / "scans" / "pair.hdr", tmp_path / "scans" / "pair.img"
    nib.save(nib.Nifti1Pair(nib.load(record.masks[0]).get_fdata().astype(np.uint8), np.diag([1, 1, 2, 1])), header)
    record = CaseRecord(record.id, record.person, record.images, (header,))
    first = prepare([record], tmp_path / "out", small_processor)
    keeping_size_and_time(voxels, lambda path: path.write_bytes(b"\0" * 8 + path.read_bytes()[:-8]))
    second = prepare([record], tmp_path / "out", small_processor)
    assert second.content() != first.content()
    (tmp_path / "scans" / "pair.json").write_text('{"RepetitionTime": 1.0}')
    assert prepare([record], tmp_path / "out", small_processor).content() != second.content()


@pytest.mark.parametrize("name", ["case.json", "pixel_values.npy", "labels.npy", "truth.nii.gz"])
@pytest.mark.parametrize("damage", [os.unlink, lambda path: path.write_bytes(b"")])
def test_a_case_that_a_stop_of_the_machine_damaged_is_prepared_again(
    make_records, small_processor, tmp_path, name, damage
):
    records = make_records(2)
    before = prepare(records, tmp_path / "out", small_processor).cases[1]
    expected = {path.name: path.read_bytes() for path in before.folder.iterdir()}
    damage(before.folder / name)
    after = prepare(records, tmp_path / "out", small_processor).cases[1]
    assert {path.name: path.read_bytes() for path in after.folder.iterdir()} == expected


@pytest.mark.parametrize("name", ["dataset.json", "preprocessor_config.json"])
def test_a_damaged_record_of_the_data_set_is_named_and_can_be_deleted(make_records, small_processor, tmp_path, name):
    records = make_records(2)
    cases = prepare(records, tmp_path / "out", small_processor).cases
    written = (cases[0].folder / "case.json").stat().st_mtime_ns
    (tmp_path / "out" / name).write_text('{"name"')
    with pytest.raises(DataError, match=f"{name}: cannot be read .*; delete it and prepare again; cases are kept"):
        prepare(records, tmp_path / "out", small_processor)
    (tmp_path / "out" / name).unlink()
    assert len(prepare(records, tmp_path / "out", small_processor).cases) == 2
    assert (cases[0].folder / "case.json").stat().st_mtime_ns == written


def test_what_a_version_without_hashes_prepared_is_prepared_again(make_records, small_processor, tmp_path):
    case = prepare(make_records(1), tmp_path / "out", small_processor).cases[0]
    path = case.folder / "case.json"
    description = json.loads(path.read_text())
    del description["sha256"]
    path.write_text(json.dumps(description | {"bytes": [1, 2]}))
    assert prepare(make_records(1), tmp_path / "out", small_processor).content() is not None


def test_other_settings_and_other_data_are_refused(make_records, small_processor, tmp_path):
    records = make_records(2)
    dataset = prepare(records, tmp_path / "out", small_processor)
    with pytest.raises(DataError, match=r"other settings of the processor \(intensity_range\)"):
        prepare(
            records,
            tmp_path / "out",
            LesionImageProcessor(normalization="fixed-range", intensity_range=(0, 50)),
        )
    with pytest.raises(DataError, match="holds test, not ATLAS"):
        prepare_cases(records, tmp_path / "out", small_processor, Origin("ATLAS", synthetic=False))
    assert PreparedDataset(tmp_path / "out").fingerprint() == dataset.fingerprint()
    foreign = tmp_path / "model"
    foreign.mkdir()
    (foreign / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(DataError, match=r"holds model.safetensors, which is not prepared data"):
        prepare(records, foreign, small_processor)
    assert [path.name for path in foreign.iterdir()] == ["model.safetensors"]


def test_folders_that_are_no_prepared_data_are_refused(prepared, tmp_path):
    with pytest.raises(DataError, match="holds no prepared data"):
        PreparedDataset(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="make them with `lesionseg prepare`"):
        PreparedDataset(tmp_path / "empty")
    path = prepared.folder / "dataset.json"
    whole = path.read_text()
    for text, message in (
        ("{", "cannot be read"),
        ('{"name": "nnU-Net"}', "is not of format 1"),
        (json.dumps({**json.loads(whole), "cases": [{"id": "x"}]}), "is damaged"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            PreparedDataset(prepared.folder)
    path.write_text(whole)
    (prepared.cases[0].folder / "pixel_values.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match=r"pixel_values.npy: cannot be read .* delete this case"):
        PreparedDataset(prepared.folder).cases[0].pixel_values()


def test_when_every_case_fails_the_first_reason_is_told(make_records, small_processor, tmp_path):
    records = make_records(2)
    for record in records:
        record.images["t1w"].write_bytes(b"")
    with pytest.raises(DataError, match=r"test: no case could be prepared; .*case000_T1w"):
        prepare(records, tmp_path / "out", small_processor)


def test_ids_that_clash_or_are_no_names_are_refused(make_records, small_processor, tmp_path):
    one = make_records(1)[0]
    for ids, message in ((("a", "A"), "is used twice"), (("a/b",), "cannot name a folder"), ((".a",), "cannot name")):
        with pytest.raises(DataError, match=message):
            prepare([CaseRecord(each, "x", one.images, one.masks) for each in ids], tmp_path / "o", small_processor)


def test_values_beyond_float16_are_kept_in_float32(make_records, tmp_path):
    records = make_records(2)
    image = nib.load(records[0].images["t1w"])
    scan = np.asarray(image.dataobj, np.float32) * np.float32(1e5)
    nib.save(nib.Nifti1Image(scan, image.affine), records[0].images["t1w"])
    dataset = prepare(records, tmp_path / "out", LesionImageProcessor(normalization="none"))
    assert [case.id for case in dataset.cases] == ["case000", "case001"]
    stored = [np.load(case.folder / "pixel_values.npy", mmap_mode="r").dtype for case in dataset.cases]
    assert stored == [np.float32, np.float16]
    np.testing.assert_array_equal(dataset.cases[0].pixel_values()[:, 0], scan.transpose(2, 1, 0))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_stops_the_run(make_records, small_processor, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    with pytest.raises(OutputError, match="cannot be written"):
        prepare(make_records(1), tmp_path / "locked" / "out", small_processor)


def test_a_file_where_the_folder_should_be_stops_the_run(make_records, small_processor, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="a file stands where a folder should be"):
        prepare(make_records(1), tmp_path / "out", small_processor)


def test_the_fingerprint_tells_data_sets_apart(make_records, small_processor, tmp_path):
    records = make_records(3)
    whole = prepare(records, tmp_path / "a", small_processor).fingerprint()
    assert prepare(records, tmp_path / "b", small_processor).fingerprint() == whole
    assert prepare(records[:2], tmp_path / "c", small_processor).fingerprint() != whole
    assert prepare(records, tmp_path / "d", LesionImageProcessor()).fingerprint() != whole


def test_a_killed_worker_is_told_as_such():
    with pytest.raises(DataError, match="a worker process was killed, as the system does where memory runs out"):
        list(run_tasks(_kill_itself, [(signal.SIGKILL,)], 1, "preparing", progress=False))
    with pytest.raises(DataError, match=r"preparing: a worker process crashed \(SIGSEGV\)"):
        list(run_tasks(_kill_itself, [(signal.SIGSEGV,)], 1, "preparing", progress=False))


def _kill_itself(number):
    os.kill(os.getpid(), number)
