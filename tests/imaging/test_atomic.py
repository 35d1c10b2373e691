"""Nothing half-written: read-only places, full disks, Ctrl-C, kill -9."""

import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager

import numpy as np
import pytest

from hf_lesionseg.errors import OutputError
from hf_lesionseg.imaging import read_scan, replace_folder_aside, write_aside, write_mask, write_volume


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_file_appears_whole_and_alone(tmp_path):
    target = tmp_path / "a" / "b" / "mask.nii.gz"
    with write_aside(target) as aside:
        assert aside.parent == target.parent
        assert aside.name.endswith(".nii.gz")
        aside.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert names(target.parent) == ["mask.nii.gz"]


def test_permissions_follow_the_umask(tmp_path):
    with write_aside(tmp_path / "record.json") as aside:
        aside.write_text("{}")
    (tmp_path / "plain.json").write_text("{}")
    assert (tmp_path / "record.json").stat().st_mode == (tmp_path / "plain.json").stat().st_mode


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError, MemoryError])
def test_interrupted_write_leaves_the_former_file(tmp_path, error):
    target = tmp_path / "mask.nii.gz"
    target.write_text("former")
    with pytest.raises(error), write_aside(target) as aside:  # noqa: PT012
        aside.write_text("half")
        raise error
    assert target.read_text() == "former"
    assert names(tmp_path) == ["mask.nii.gz"]


def test_ctrl_c_inside_a_real_write(save, brain, tmp_path):
    path = save(np.random.default_rng(0).uniform(1, 9, (128, 128, 160)).astype(np.float32), name="in/scan.nii")
    program = """
        import sys
        from hf_lesionseg.imaging import read_scan, write_volume
        scan = read_scan(sys.argv[1])
        while True:
            write_volume(sys.argv[2], scan.data, like=scan)
    """
    folder = tmp_path / "out"
    folder.mkdir()
    command = [sys.executable, "-c", textwrap.dedent(program), path, folder / "map.nii.gz"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as writer:
        deadline = time.monotonic() + 60
        while not any(entry.stat().st_size > 1 << 16 for entry in folder.glob(".partial-*")):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        writer.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in writer.communicate(timeout=60)[1]
    assert names(folder) in ([], ["map.nii.gz"])
    if names(folder):  # an earlier round of the loop, whole
        np.testing.assert_array_equal(read_scan(folder / "map.nii.gz").data, read_scan(path).data)


def test_killed_writer_leaves_no_file_of_that_name(tmp_path):
    program = """
        import os, signal, sys
        from hf_lesionseg.imaging import write_aside
        with write_aside(sys.argv[1]) as aside:
            aside.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program), tmp_path / "mask.nii.gz"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "mask.nii.gz").exists()
    assert all(name.startswith(".partial-") for name in names(tmp_path))


def test_folder_whose_parent_is_a_file(save, brain, tmp_path):
    scan = read_scan(save(brain))
    (tmp_path / "occupied").touch()
    target = tmp_path / "occupied" / "mask.nii.gz"
    with pytest.raises(OutputError, match="choose another output folder") as error:
        write_mask(target, brain > 50, like=scan)
    assert str(target) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")  # noqa: PTH112
def test_file_system_that_takes_no_files(save, brain):
    scan = read_scan(save(brain))
    with pytest.raises(OutputError, match=r"/proc/self/mask\.nii\.gz: cannot be written"):
        write_mask("/proc/self/mask.nii.gz", brain > 50, like=scan)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(save, brain, tmp_path):
    scan = read_scan(save(brain))
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(OutputError, match="no permission to write there"):
        write_mask(folder / "mask.nii.gz", brain > 50, like=scan)


def test_a_folder_has_that_name(save, brain, tmp_path):
    scan = read_scan(save(brain))
    (tmp_path / "mask.nii.gz").mkdir()
    with pytest.raises(OutputError, match="a folder has this name"):
        write_mask(tmp_path / "mask.nii.gz", brain > 50, like=scan)


def test_name_too_long(tmp_path):
    with pytest.raises(OutputError, match="too long"), write_aside(tmp_path / ("x" * 300)):
        pass


@pytest.fixture
def full_disk(tmp_path):
    """A file system of 256 KiB, where one can be mounted."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine does not let tests mount a file system; the file size limit is tested instead")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_full_disk(full_disk, save, brain):
    scan = read_scan(save(np.tile(brain, (8, 8, 8)), name="scan.nii.gz"))
    with pytest.raises(OutputError, match="disk is full; free some space"):
        write_volume(full_disk / "map.nii", scan.data, like=scan)
    assert names(full_disk) == []


@contextmanager
def small_files_only():
    """The system refuses to let a file grow beyond 64 KiB, as a quota or a full disk would."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


@pytest.mark.parametrize("name", ["map.nii", "map.nii.gz"])
def test_system_refuses_in_mid_write(save, tmp_path, name):
    volume = np.random.default_rng(0).uniform(0, 1, (40, 40, 40)).astype(np.float32)
    scan = read_scan(save(volume, name="in/scan.nii"))
    with small_files_only(), pytest.raises(OutputError, match=r"cannot be written: .*ulimit"):
        write_volume(tmp_path / "out" / name, volume, like=scan)
    assert names(tmp_path / "out") == []


def test_numpy_reports_a_full_disk_without_a_number(tmp_path):
    with small_files_only(), pytest.raises(OutputError), write_aside(tmp_path / "pixel_values.npy") as aside:
        np.save(aside, np.zeros(1 << 17))
    assert names(tmp_path) == []


def test_failure_to_read_inside_the_block_is_not_an_output_error(tmp_path):
    with pytest.raises(FileNotFoundError), write_aside(tmp_path / "copy.nii.gz") as aside:
        aside.write_bytes((tmp_path / "source.nii.gz").read_bytes())
    assert names(tmp_path) == []


def test_folder_appears_whole_and_replaces_the_former_one(tmp_path):
    target = tmp_path / "checkpoints" / "step_10"
    for step in ("first", "second"):
        with replace_folder_aside(target) as aside:
            (aside / "part").mkdir()
            (aside / "part" / step).write_text(step)
    assert names(target / "part") == ["second"]
    assert names(target.parent) == ["step_10"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_interrupted_folder_leaves_the_former_one(tmp_path, error):
    target = tmp_path / "step_10"
    target.mkdir()
    (target / "weights").write_text("former")
    with pytest.raises(error), replace_folder_aside(target) as aside:  # noqa: PT012
        (aside / "weights").write_text("half")
        raise error
    assert (target / "weights").read_text() == "former"
    assert names(tmp_path) == ["step_10"]


def test_folder_in_the_place_of_a_file(tmp_path):
    (tmp_path / "step_10").touch()
    refused = pytest.raises(OutputError, match="a file stands where a folder should be")
    with refused, replace_folder_aside(tmp_path / "step_10"):
        pass
    assert names(tmp_path) == ["step_10"]


def test_full_disk_as_safetensors_tells_it(tmp_path):
    from safetensors import SafetensorError

    with pytest.raises(OutputError, match="disk is full"), replace_folder_aside(tmp_path / "step_10"):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert names(tmp_path) == []
