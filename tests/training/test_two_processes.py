"""Two real processes with gloo: the documented launch, kill -9, and the launches that must be refused."""

import json
import os
import signal
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from hf_lesionseg.imaging.folder_lock import locked_folder
from hf_lesionseg.testing import two_processes
from hf_lesionseg.training.arguments import flag_of
from hf_lesionseg.training.checkpoints import list_checkpoints
from hf_lesionseg.training.history import read_history

TRAIN_SCRIPT = Path(__file__).parents[2] / "scripts" / "train.py"
start = partial(two_processes.start, TRAIN_SCRIPT)
finish = two_processes.finish


def losses(output):
    records = read_history(output / "history.jsonl")
    return [(record["step"], record["loss"]) for record in records if record["kind"] == "step"]


def test_two_processes_train_together_and_resume_after_kill_9(prepared, command_line, tmp_path):
    status, text = finish(start(prepared, tmp_path / "whole", command_line))
    assert status == 0, text
    summary = json.loads((tmp_path / "whole" / "training_summary.json").read_text())
    assert summary["run"]["processes"] == 2
    expected = losses(tmp_path / "whole")
    assert [step for step, _ in expected] == list(range(1, 7))  # 24 slices, 2 x 4 a step, 2 epochs

    output = tmp_path / "killed"
    process = start(prepared, output, command_line)
    deadline = time.monotonic() + 120
    while len(list_checkpoints(output / "checkpoints")) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for child in psutil.Process(process.pid).children(recursive=True):
        child.send_signal(signal.SIGKILL)
    process.send_signal(signal.SIGKILL)
    process.communicate()

    status, text = finish(start(prepared, output, [*command_line, "--resume-from-checkpoint", "latest"]))
    assert status == 0, text
    assert losses(output) == expected
    last = load_file(list_checkpoints(output / "checkpoints")[-1] / "model.safetensors")
    for name, tensor in load_file(
        list_checkpoints(tmp_path / "whole" / "checkpoints")[-1] / "model.safetensors"
    ).items():
        assert torch.equal(tensor, last[name]), name
    again = json.loads((output / "training_summary.json").read_text())
    assert again["metrics"] == summary["metrics"]


@pytest.mark.slow
def test_two_processes_that_accumulate_equal_one_that_accumulates_twice_as_long(prepared, settings, run, tmp_path):
    """Both see the same four batches before the first step, so they move the weights in the same direction."""
    recipe = tmp_path / "no-dropout.yaml"  # which differs from process to process
    recipe.write_text(Path(settings["recipe"]).read_text().replace("base_width: 2", "base_width: 2, dropout: 0"))
    options = {"recipe": str(recipe), "epochs": 1, "max_steps": 1}
    words = [word for name, value in options.items() for word in (flag_of(name), str(value))]
    words += ["--cpu", "--logging-steps", "1", "--gradient-accumulation-steps", "2"]
    status, text = finish(start(prepared, tmp_path / "two", words))
    assert status == 0, text
    one, _ = run("one", gradient_accumulation_steps=4, **options)
    still, _ = run("still", gradient_accumulation_steps=4, learning_rate=1e-30, **options)
    other, _ = run("other", **options)
    assert losses(tmp_path / "two")[0][1] == pytest.approx(losses(one)[0][1], rel=1e-5)

    moves = [learned_weights(output) - learned_weights(still) for output in (tmp_path / "two", one, other)]
    two, one, other = (move / move.norm() for move in moves)
    assert two @ one > 0.95  # Adam's first step is the sign of the gradient, of which rounding decides a few
    assert two @ other < 0.9


def learned_weights(output):
    """All weights with a gradient of more than rounding, in one vector; biases before a batch norm have none."""
    weights = load_file(output / "model.safetensors")
    return torch.cat([value.flatten() for name, value in weights.items() if name.endswith("weight")]).double()


@pytest.mark.slow
def test_two_independent_processes_are_refused(prepared, command_line, tmp_path):
    """Without ACCELERATE_USE_CPU and --cpu this launch gives two processes that both believe to be rank 0."""
    status, text = finish(start(prepared, tmp_path / "run", command_line, use_cpu=False, cpu_option=False))
    assert status != 0
    assert "each runs alone as rank 0" in text
    assert not (tmp_path / "run").exists()


def test_two_processes_are_one_run_and_both_leave_where_another_is_at_work(prepared, command_line, tmp_path):
    with locked_folder(tmp_path / "taken", "lesionseg train"):
        status, text = finish(start(prepared, tmp_path / "taken", command_line))
    assert status != 0
    assert "taken: lesionseg train writes there since 20" in text
    assert f"(process {os.getpid()} on " in text
    assert list((tmp_path / "taken").iterdir()) == []
