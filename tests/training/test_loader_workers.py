"""Processes that read slices: their end and their own errors are told in one line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from hf_lesionseg.errors import DataError, ScanError
from hf_lesionseg.training.loader_workers import explained_workers

TRAIN_SCRIPT = Path(__file__).parents[2] / "scripts" / "train.py"


class Raises(torch.utils.data.Dataset):
    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 2

    def __getitem__(self, index):
        raise self.error


def read_all(error):
    with explained_workers():
        list(torch.utils.data.DataLoader(Raises(error), num_workers=1))


def test_an_error_of_ours_comes_out_as_it_was():
    with pytest.raises(ScanError, match=r"^a\.nii: is damaged; copy it again$"):
        read_all(ScanError("a.nii: is damaged; copy it again"))


def test_other_errors_keep_their_traceback():
    with pytest.raises(IndexError, match="in DataLoader worker process 0"):
        read_all(IndexError("somewhere"))
    with pytest.raises(RuntimeError, match="CUDA"), explained_workers():
        raise RuntimeError("CUDA out of memory")


def test_too_little_shared_memory_is_told_as_such():
    text = "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that ..."
    with pytest.raises(DataError, match=r"/dev/shm has \(docker run --shm-size"), explained_workers():
        raise RuntimeError(text)


def test_a_worker_killed_by_the_system_is_told_in_one_line(prepared, command_line, tmp_path):
    options = ["--workers", "1", "--epochs", "2000", "--validation-every", "2000"]
    command = [sys.executable, TRAIN_SCRIPT, "--data", prepared, "--output", tmp_path / "run", *command_line]
    run = subprocess.Popen(
        [*command, *options], env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True
    )
    history, deadline = tmp_path / "run" / "history.jsonl", time.monotonic() + 200
    while not (history.is_file() and history.stat().st_size) and time.monotonic() < deadline:
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.05)
    while run.poll() is None and time.monotonic() < deadline:
        for child in psutil.Process(run.pid).children():
            if child.name() == psutil.Process(run.pid).name():
                child.send_signal(signal.SIGKILL)
        time.sleep(0.02)
    _, told = run.communicate(timeout=60)
    assert run.returncode == 1, told[-2000:]
    assert told.count("error:") == 1, told[-2000:]
    line = told.partition("error:")[2].splitlines()[0]  # behind the bar of the epoch that ended there
    assert line.startswith(" a process that reads slices was killed (DataLoader worker (pid")
    assert "go on with fewer --workers, or 0, and --resume-from-checkpoint latest" in line
    assert "Traceback" not in told.partition("error:")[2]
