"""``lesionseg perfusion``: maps of a raw series as files, with the picture and the record of how they were made."""

import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.datasets.synthetic.perfusion.generate import generate_perfusion
from hf_lesionseg.errors import GridMismatchError, OutputError, ScanError, UsageError
from hf_lesionseg.imaging import PerfusionOptions, perfusion_maps, read_perfusion_series
from hf_lesionseg.inference.perfusion_maps import UNITS, write_perfusion_maps

ENDINGS = ("cbf.nii.gz", "cbv.nii.gz", "mtt.nii.gz", "perfusion.json", "perfusion.png", "tmax.nii.gz")


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """A generated series of 64 x 64 x 2 voxels and 40 frames."""
    pytest.importorskip("nilearn")
    folder = tmp_path_factory.mktemp("generated") / "source"
    generate_perfusion(folder, patients=1, seed=1, size=64, num_slices=2, num_frames=40, progress=False)
    (path,) = folder.rglob("SMIR*4DPWI*.nii")
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header), folder / "ctp.nii.gz")
    return folder / "ctp.nii.gz"


@pytest.fixture(scope="module")
def written(series, tmp_path_factory):
    return write_perfusion_maps(series, tmp_path_factory.mktemp("maps") / "new")


def save_like(series, path, data):
    image = nib.load(series)
    nib.save(nib.Nifti1Image(data, image.affine), path)
    return path


def test_files_hold_the_maps_on_the_grid_of_the_series(series, written):
    maps, image = perfusion_maps(read_perfusion_series(series)), nib.load(series)
    assert tuple(sorted(path.name for path in written["record"].parent.iterdir())) == tuple(
        f"ctp_{ending}" for ending in ENDINGS
    )
    for name, unit in UNITS.items():
        found = nib.load(written[name])
        assert (found.shape, found.get_data_dtype()) == ((64, 64, 2), np.float32)
        np.testing.assert_array_equal(found.affine, image.affine)
        np.testing.assert_array_equal(np.asarray(found.dataobj), getattr(maps, name))
        assert found.header["descrip"].item().decode() == f"{name.upper()} in {unit}, hf_lesionseg"
    assert written["picture"].read_bytes()[:4] == b"\x89PNG"


def test_the_record_tells_how(series, written):
    record = json.loads(written["record"].read_text())
    data = np.asarray(nib.load(series).dataobj, np.float64)
    voxels = tuple(np.transpose(record["arterial_input"]["voxels"]))
    rise = data[voxels].mean(axis=0)
    rise -= rise[: record["arterial_input"]["baseline_frames"]].mean()
    np.testing.assert_allclose(record["curves"]["arterial_hu_above_baseline"], rise, atol=0.01)
    assert len(record["first_pass"]["sampled_frames"]) == 11
    assert record["input"]["shape"] == [64, 64, 2, 40]
    assert record["peak_memory"]["ram_mb"] > 10
    flow = np.asarray(nib.load(written["cbf"]).dataobj)
    assert record["median_of_brain"]["cbf"] == pytest.approx(float(np.median(flow[flow > 0])), abs=0.01)


def test_an_artery_and_a_brain_can_be_given(series, written, tmp_path):
    found = json.loads(written["record"].read_text())["arterial_input"]["voxels"]
    artery = np.zeros((64, 64, 2), np.uint8)
    artery[tuple(np.transpose(found[:2]))] = 1
    brain = np.asarray(nib.load(written["cbv"]).dataobj) > 0
    brain[:, :20] = False
    files = write_perfusion_maps(
        series,
        tmp_path / "out",
        brain=save_like(series, tmp_path / "brain.nii.gz", brain.astype(np.uint8)),
        arterial_input=save_like(series, tmp_path / "artery.nii.gz", artery),
    )
    record = json.loads(files["record"].read_text())
    assert sorted(record["arterial_input"]["voxels"]) == sorted(found[:2])
    assert record["masks"]["arterial_input"]["file"].endswith("artery.nii.gz")
    volume = np.asarray(nib.load(files["cbv"]).dataobj)
    assert not volume[~(brain | (artery > 0))].any()
    assert volume[brain].any()


def test_values_of_given_masks_are_looked_at(series, written, tmp_path):
    """A parcellation as brain is told; a map in the place of a mask is refused."""
    tissue = np.asarray(nib.load(written["cbv"]).dataobj) > 0
    parts = tissue.astype(np.uint8)
    parts[30:] *= 2
    files = write_perfusion_maps(series, tmp_path / "a", brain=save_like(series, tmp_path / "parts.nii.gz", parts))
    assert any("labels 1 and 2 count as one" in told for told in json.loads(files["record"].read_text())["warnings"])
    with pytest.raises(ScanError, match=r"ctp_cbv\.nii\.gz: looks like an image, not a mask"):
        write_perfusion_maps(series, tmp_path / "b", brain=written["cbv"])


def test_what_is_no_artery_is_refused(series, tmp_path):
    tissue = np.zeros((64, 64, 2), np.uint8)
    tissue[:3, :3] = 1  # air
    mask = save_like(series, tmp_path / "air.nii.gz", tissue)
    with pytest.raises(ScanError, match=r"ctp\.nii\.gz: the arterial input rises by .* too little for an artery"):
        write_perfusion_maps(series, tmp_path / "out", arterial_input=mask)
    other = save_like(series, tmp_path / "other.nii.gz", tissue[:60])
    with pytest.raises(GridMismatchError, match=r"other\.nii\.gz: shape \(60, 64, 2\)"):
        write_perfusion_maps(series, tmp_path / "out", arterial_input=other)
    assert not (tmp_path / "out").exists()


def test_a_cutoff_and_less_smoothing_change_flow_but_not_volume_of_the_brain(series, written, tmp_path):
    options = PerfusionOptions(regularization="cutoff", svd_cutoff=0.2, venous_scaling=False)
    files = write_perfusion_maps(series, tmp_path, options=options, frame_seconds=0.5)
    record, before = (json.loads(each["record"].read_text()) for each in (files, written))
    assert record["options"]["svd_cutoff"] == 0.2
    assert record["frame_seconds"] == 0.5
    assert record["median_of_brain"]["mtt"] < before["median_of_brain"]["mtt"]


def test_earlier_maps_are_kept_unless_asked(series, tmp_path):
    stages = []
    write_perfusion_maps(series, tmp_path, progress=lambda *step: stages.append(step))
    assert [stage for stage, done, total in stages if done == total] == ["smoothing", "deconvolution"]
    stamp = (tmp_path / "ctp_cbf.nii.gz").stat().st_mtime_ns
    with pytest.raises(UsageError, match=r"ctp_cbf\.nii\.gz exists already"):
        write_perfusion_maps(series, tmp_path)
    assert (tmp_path / "ctp_cbf.nii.gz").stat().st_mtime_ns == stamp
    write_perfusion_maps(series, tmp_path, overwrite=True)


def test_a_run_that_fails_keeps_what_an_earlier_one_wrote(series, written, tmp_path):
    earlier = {path.name: path.read_bytes() for path in written.values()}
    for name, content in earlier.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "ctp_perfusion.json").unlink()
    (tmp_path / "ctp_perfusion.json").mkdir()  # a file cannot take its place: the run fails at its end
    with pytest.raises(OutputError, match=r"ctp_perfusion\.json: cannot be written"):
        write_perfusion_maps(series, tmp_path, overwrite=True)
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert kept == {name: content for name, content in earlier.items() if not name.endswith(".json")}


def test_a_picture_that_cannot_be_written_costs_nobody_the_maps(series, written, tmp_path):
    (tmp_path / "ctp_perfusion.png").mkdir()
    found = write_perfusion_maps(series, tmp_path, overwrite=True)
    assert set(found) == set(written) - {"picture"}
    assert "no picture could be drawn" in found["record"].read_text()
    assert found["cbf"].read_bytes() == written["cbf"].read_bytes()


def lesionseg(*arguments):
    command = [sys.executable, "-m", "hf_lesionseg.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_line_in_a_process_of_its_own(series, tmp_path):
    done = lesionseg("perfusion", series, "-o", tmp_path / "maps", "--smoothing-mm", 1)
    assert done.returncode == 0, done.stderr
    assert "arterial input: " in done.stdout
    assert "median of the brain: cbf " in done.stdout
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [f"ctp_{ending}" for ending in ENDINGS]


def test_who_knows_the_order_of_the_frames_is_believed(series, tmp_path):
    image = nib.load(series)
    first, *others = range(image.shape[-1])
    exchanged = [*others[20:], first, *others[:20]]  # a scan that a sorting rule has cut in two
    scan = tmp_path / "cut.nii.gz"
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[..., exchanged], image.affine), scan)
    refused = lesionseg("perfusion", scan, "-o", tmp_path / "maps")
    assert refused.returncode == 1
    assert "`lesionseg perfusion` and `segment` take --trust-frame-order" in " ".join(refused.stderr.split())
    done = lesionseg("perfusion", scan, "-o", tmp_path / "maps", "--trust-frame-order")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "maps" / "cut_perfusion.json").read_text())["trust_frame_order"] is True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[..., :3], "3 frames, but a first pass of contrast needs 6"),
        (lambda data: data[..., 0], "is one volume, not a series"),
        (lambda data: np.repeat(data[..., :1], 40, axis=3), "all 40 frames are equal"),
        (lambda data: data[..., ::-1], "the frames run backwards"),
        (lambda data: data - 3000, "no voxel is above 0 HU"),
    ],
    ids=["three-frames", "one-volume", "flat", "backwards", "negative"],
)
def test_a_bad_series_is_refused_by_name_and_leaves_nothing(series, tmp_path, change, message):
    image = nib.load(series)
    bad = tmp_path / "bad.nii.gz"
    nib.save(nib.Nifti1Image(np.ascontiguousarray(change(np.asarray(image.dataobj))), image.affine), bad)
    with pytest.raises(ScanError, match=rf"bad\.nii\.gz: .*{message}"):
        write_perfusion_maps(bad, tmp_path / "maps")
    assert not (tmp_path / "maps").exists()


def test_impossible_options_are_wrong_usage(series, tmp_path):
    done = lesionseg("perfusion", series, "-o", tmp_path / "maps", "--svd-cutoff", 2)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: svd_cutoff 2.0: give a share")
