"""Two real processes share the cases of one run."""

import os
import pickle
import subprocess
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from accelerate import PartialState

from hf_lesionseg.errors import LaunchError, ScanError
from hf_lesionseg.inference import ModelSource, segment_cases
from hf_lesionseg.inference.backends import ExportedSource
from hf_lesionseg.inference.outcomes import CaseOutcome
from hf_lesionseg.inference.processes import Processes, _sendable
from hf_lesionseg.testing.two_processes import LAUNCH

NAMES = ("a", "b", "c", "d", "e")


def segment_in_two(paths, model_folder, out, *words):
    port = str(20000 + os.getpid() % 20000)
    command = [*LAUNCH, "--main_process_port", port, "-m", "hf_lesionseg.cli", "segment", *paths, "-m", model_folder]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [*map(str, command), "-o", str(out), "--device", "cpu", *words],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_cases_are_shared_out_and_told_once(model_folder, loaded, write_head, out, tmp_path):
    paths = [write_head(f"{name}.nii").path for name in NAMES]
    paths[1].write_bytes(paths[1].read_bytes()[:500])
    run = segment_in_two(paths, model_folder, out)
    assert run.returncode == 1  # a case failed
    assert run.stdout.count("4 of 5 cases") == 1
    rows = [line.split()[1] for line in run.stdout.splitlines() if " done " in line or " failed " in line]
    assert rows == list(NAMES)
    assert [line for line in run.stderr.splitlines() if line.startswith("error: ")] == [
        line for line in run.stderr.splitlines() if line.startswith(f"error: {paths[1]}: ")
    ]
    done = sorted(path.name for path in out.glob("*_mask.nii.gz"))
    assert done == [f"{name}_mask.nii.gz" for name in NAMES if name != "b"]
    assert not [path for path in out.iterdir() if path.name.startswith(".")]

    alone = segment_cases(paths[:1] + paths[2:], loaded, tmp_path / "alone", preview=False)
    for outcome in alone.outcomes:
        ours, theirs = (np.asarray(nib.load(folder / f"{outcome.case}_mask.nii.gz").dataobj)
                        for folder in (tmp_path / "alone", out))  # fmt: skip
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture
def fresh_state():
    """Accelerate keeps one state per process."""
    PartialState._reset_state()
    yield
    PartialState._reset_state()


def test_processes_that_do_not_find_each_other_are_refused(monkeypatch, fresh_state):
    alone = PartialState(cpu=True)
    assert alone.num_processes == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(LaunchError, match="started 2 processes, but each runs alone"):
        Processes.find("cpu")


def test_shares_are_all_cases_once():
    shares = []
    for index in range(3):
        processes = Processes()
        processes.process_index, processes.num_processes = index, 3
        shares.append(processes.share(range(8)))
    assert sorted(number for share in shares for number in share) == list(range(8))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_each_process_has_its_own_gpu_but_onnxruntime_none():
    second = Processes(SimpleNamespace(process_index=1, num_processes=2, is_main_process=False, device="cuda:1"))
    assert ModelSource("network").for_process(second).device == "cuda:1"
    assert ModelSource("network", device="cpu").for_process(second).device == "cpu"
    assert ExportedSource("exported").for_process(second) == ExportedSource("exported")


def test_an_error_that_cannot_be_sent_is_sent_as_its_reason():
    class Local(Exception):
        pass

    def failed(error):
        return CaseOutcome("a", "a.nii", "failed", "a.nii: no", error)

    assert str(_sendable(failed(Local("x"))).error) == "a.nii: no"
    sent = pickle.loads(pickle.dumps(_sendable(failed(ScanError("a.nii: no")))))
    assert isinstance(sent.error, ScanError)
