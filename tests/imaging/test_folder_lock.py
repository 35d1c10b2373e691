"""One run at a time in a folder: real processes that live, die and come from elsewhere."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from hf_lesionseg.errors import FolderInUseError, OutputError, UsageError
from hf_lesionseg.imaging import folder_lock
from hf_lesionseg.imaging.atomic import FileSystemWarning
from hf_lesionseg.imaging.folder_lock import LOCK_FILE, locked_folder, one_run_at_a_time

HOLD = """
    import sys, time
    from hf_lesionseg.imaging.folder_lock import locked_folder
    with locked_folder(sys.argv[1], "lesionseg train"):
        print("held", flush=True)
        time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds ``tmp_path / "out"``."""
    command = [sys.executable, "-c", textwrap.dedent(HOLD), tmp_path / "out"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_the_lock_is_there_while_it_is_held_and_tells_who_holds_it(tmp_path):
    with locked_folder(tmp_path / "a" / "out", "lesionseg segment") as folder:
        record = json.loads((folder / LOCK_FILE).read_text())
        assert (record["run"], record["pid"]) == ("lesionseg segment", os.getpid())
        assert record["host"]
        (folder / "result").touch()
    assert names(tmp_path / "a" / "out") == ["result"]


def test_a_second_run_is_told_of_the_first_in_one_sentence(tmp_path, holder):
    with pytest.raises(FolderInUseError) as told, locked_folder(tmp_path / "out", "lesionseg train"):
        pass
    assert "out: lesionseg train writes there since 20" in str(told.value)
    assert f"(process {holder.pid} on " in str(told.value)
    assert "\n" not in str(told.value)
    assert told.value.exit_status == 2
    assert names(tmp_path / "out") == [LOCK_FILE], "the first run's lock stays"


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:  # until it is dead, and not waited for yet: a zombie
        if "Z" in Path(f"/proc/{holder.pid}/stat").read_text().rpartition(")")[2].split()[0]:
            break
        time.sleep(0.01)
    with locked_folder(tmp_path / "out", "lesionseg train"):
        pass
    holder.wait()
    assert names(tmp_path / "out") == []


def change_lock(folder, **values):
    path = folder / LOCK_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_number_that_another_process_has_by_now_is_a_dead_one(tmp_path, holder):
    change_lock(tmp_path / "out", process="another boot 1")
    with locked_folder(tmp_path / "out", "lesionseg train"):
        assert json.loads((tmp_path / "out" / LOCK_FILE).read_text())["pid"] == os.getpid()


def test_of_a_process_on_another_host_nobody_can_tell(tmp_path, holder):
    change_lock(tmp_path / "out", host="elsewhere", pid=2**22 + 1)
    with pytest.raises(FolderInUseError, match=r"on elsewhere.*if that run has ended, delete .*lock"):
        locked_folder(tmp_path / "out", "lesionseg train").__enter__()
    (tmp_path / "out" / LOCK_FILE).unlink()
    with locked_folder(tmp_path / "out", "lesionseg train"):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_lock_that_tells_nothing_stands_until_it_is_old(tmp_path, content):
    (tmp_path / LOCK_FILE).write_text(content)
    with pytest.raises(FolderInUseError, match="another run writes there"):
        locked_folder(tmp_path, "lesionseg train").__enter__()
    if content in ("", "{"):
        os.utime(tmp_path / LOCK_FILE, (time.time() - 3600,) * 2)
        with locked_folder(tmp_path, "lesionseg train"):
            pass
        assert names(tmp_path) == []


def test_of_many_that_find_a_stale_lock_one_gets_it(tmp_path):
    """Ten processes at a barrier: nobody else is in the folder while one is."""
    program = """
        import sys, time, pathlib
        from hf_lesionseg.errors import FolderInUseError
        from hf_lesionseg.imaging.folder_lock import locked_folder
        folder = pathlib.Path(sys.argv[1])
        print("ready", flush=True); sys.stdin.readline()
        try:
            with locked_folder(folder, "test"):
                (folder / "inside").touch(exist_ok=False)
                time.sleep(0.3)
                (folder / "inside").unlink()
                print("got it")
        except FolderInUseError:
            print("refused")
    """
    stale = {"run": "lesionseg train", "host": folder_lock.socket.gethostname(), "pid": 2**22 + 1, "process": "x 1"}
    (tmp_path / LOCK_FILE).write_text(json.dumps(stale))
    command = [sys.executable, "-c", textwrap.dedent(program), tmp_path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    runs = [subprocess.Popen(command, **pipes) for _ in range(10)]
    for run in runs:
        assert run.stdout.readline() == "ready\n"
    for run in runs:
        run.stdin.write("\n")
        run.stdin.flush()
    told = [run.communicate(timeout=60) for run in runs]
    assert {error for _, error in told} == {""}
    assert [output for output, _ in told].count("got it\n") >= 1
    assert names(tmp_path) == []


def test_a_run_that_calls_another_is_one_and_another_thread_is_not(tmp_path):
    refused = []

    def elsewhere():
        try:
            locked_folder(tmp_path, "other").__enter__()
        except FolderInUseError as error:
            refused.append(error)

    with locked_folder(tmp_path, "outer"):
        with locked_folder(tmp_path / ".", "inner"):
            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join()
        assert (tmp_path / LOCK_FILE).is_file(), "the outer one still holds it"
    assert len(refused) == 1
    assert names(tmp_path) == []


def test_a_failed_run_leaves_no_folder_of_its_own_but_its_results(tmp_path):
    for name, writes in (("empty", False), ("some", True)):
        with pytest.raises(ValueError, match="fails"), locked_folder(tmp_path / name, "test") as folder:  # noqa: PT012
            if writes:
                (folder / "result").touch()
            raise ValueError("fails")
    assert names(tmp_path) == ["some"]
    assert names(tmp_path / "some") == ["result"]


@pytest.mark.parametrize("name", ["mask.nii.gz", "MASK.NII", "map.mha", "results.json"])
def test_the_name_of_a_file_is_no_folder(tmp_path, name):
    with pytest.raises(UsageError, match=r"is the name of a file .* name a folder"):
        locked_folder(tmp_path / name, "test").__enter__()
    assert names(tmp_path) == []
    (tmp_path / name).mkdir()  # whoever made one means it
    with locked_folder(tmp_path / name, "test"):
        pass


def test_a_file_or_a_place_that_cannot_be_written_is_told_as_such(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a file stands where a folder should be"):
        locked_folder(tmp_path / "file", "test").__enter__()
    with pytest.raises(OutputError, match="/proc/self: cannot be written"):
        locked_folder("/proc/self", "test").__enter__()


def test_without_locks_a_run_goes_on_and_says_so(tmp_path, monkeypatch):
    def fail(*_args, **_kwargs):
        raise OSError(folder_lock.errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(folder_lock.os, "open", fail)
    with pytest.warns(FileSystemWarning, match="no lock can be kept there"), locked_folder(tmp_path, "test"):
        assert names(tmp_path) == []


def test_a_function_is_held_to_its_folder_however_it_is_called(tmp_path):
    @one_run_at_a_time("test")
    def write(source, output, *, more=1):
        """Say where."""
        assert (output / LOCK_FILE).is_file()
        return source, more

    assert write("s", tmp_path, more=2) == ("s", 2)
    assert write(output=tmp_path, source="s") == ("s", 1)
    assert write.__doc__ == "Say where."
