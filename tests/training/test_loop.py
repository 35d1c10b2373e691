"""The training loop in one process: what it leaves, and that resuming changes nothing."""

import json
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from hf_lesionseg.cli.train import main
from hf_lesionseg.errors import CheckpointError, DataError, LaunchError, ModelError, OutputError, UsageError
from hf_lesionseg.training.arguments import TrainingArguments
from hf_lesionseg.training.checkpoints import STATE_FILE, find_checkpoint, list_checkpoints
from hf_lesionseg.training.history import read_history
from hf_lesionseg.training.launch import check_launch
from hf_lesionseg.training.loop import train

TRAIN_SCRIPT = Path(__file__).parents[2] / "scripts" / "train.py"


def losses(output):
    return [(record["step"], record["loss"]) for record in history(output, "step")]


def history(output, kind):
    return [record for record in read_history(output / "history.jsonl") if record["kind"] == kind]


def weights(folder):
    return load_file(folder / "model.safetensors")


def assert_same_run(output, expected):
    assert losses(output) == losses(expected)
    assert history(output, "epoch") == history(expected, "epoch")
    last, reference = (list_checkpoints(folder / "checkpoints")[-1] for folder in (output, expected))
    assert last.name == reference.name
    for name, tensor in weights(last).items():
        assert torch.equal(tensor, weights(reference)[name]), name


@pytest.fixture(scope="module")
def whole(prepared, settings, tmp_path_factory):
    """An uninterrupted run of two epochs, six steps each."""
    output = tmp_path_factory.mktemp("whole")
    options = settings | {"checkpoints_total_limit": 100, "checkpointing_steps": "2"}
    return output, train(TrainingArguments(str(prepared), str(output / "run"), **options))


def test_all_files_of_a_run_can_be_read_like_any_new_file(whole):
    output = whole[0] / "run"
    (whole[0] / "plain").touch()
    usual = (whole[0] / "plain").stat().st_mode
    files = [path for path in output.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"model.safetensors", "config.json", "optimizer.bin", "history.jsonl"}
    assert [str(path) for path in files if path.stat().st_mode != usual] == []


def test_it_leaves_a_complete_model_folder(whole):
    output, summary = whole[0] / "run", whole[1]
    assert AutoModel.from_pretrained(output).config.base_width == 2
    assert AutoImageProcessor.from_pretrained(output).size == {"height": 32, "width": 32}
    assert json.loads((output / "training_summary.json").read_text()) == json.loads(json.dumps(summary))
    assert {path.name for path in (output / "figures").iterdir()} >= {"curves.png", "volumes.png", "overlays.png"}
    assert "synthetic" in (output / "README.md").read_text()
    assert summary["data"]["cases"] == {"train": 4, "validation": 2, "test": 1}
    assert summary["metrics"]["test"]["n_cases"] == 1
    assert not list(output.glob(".*partial"))
    steps = [step for step, _ in losses(output)]
    assert steps == list(range(1, 13))  # 4 cases x 6 slices / 4 = 6 steps an epoch
    assert summary["run"]["steps"] == 12


def test_it_learns(run):
    output, summary = run(epochs=25, validation_every=25, early_stopping_patience=None, batch_size=8)
    curve = [loss for _, loss in losses(output)]
    assert sum(curve[-6:]) < 0.6 * sum(curve[:6])
    assert summary["metrics"]["validation"]["dice"]["mean"] > 0.5


@pytest.mark.parametrize("stop", [1, 3, 6, 8])
def test_a_resumed_run_equals_an_uninterrupted_one(run, whole, stop):
    """Stopped after 1 and 3 steps of the first epoch, at its end, and in the second."""
    options = {"checkpoints_total_limit": 100, "checkpointing_steps": "2"}
    run(max_steps=stop, **options)
    output, _ = run(resume_from_checkpoint="latest", **options)
    assert_same_run(output, whole[0] / "run")


def test_a_finished_run_resumes_to_itself(whole, run, tmp_path):
    shutil.copytree(whole[0] / "run", tmp_path / "run")
    output, summary = run(resume_from_checkpoint="latest", checkpointing_steps="2", checkpoints_total_limit=100)
    assert_same_run(output, whole[0] / "run")
    assert summary["metrics"]["test"] == whole[1]["metrics"]["test"]


def wait_for(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_kill_9_in_mid_epoch_loses_only_the_steps_since_the_checkpoint(prepared, whole, run, command_line, tmp_path):
    output = tmp_path / "run"
    options = ["--checkpointing-steps", "2", "--checkpoints-total-limit", "100"]
    process = subprocess.Popen(
        [sys.executable, TRAIN_SCRIPT, "--data", prepared, "--output", output, *command_line, *options],
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    wait_for(lambda: list_checkpoints(output / "checkpoints")[1:], process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = list_checkpoints(output / "checkpoints")
    assert all((path / STATE_FILE).is_file() for path in before)
    output, _ = run(resume_from_checkpoint="latest", checkpointing_steps="2", checkpoints_total_limit=100)
    assert_same_run(output, whole[0] / "run")


def test_gradient_accumulation_takes_fewer_steps_and_resumes(run):
    options = {"gradient_accumulation_steps": 2, "epochs": 1, "checkpointing_steps": "1"}
    expected, _ = run("whole", **options)
    assert [step for step, _ in losses(expected)] == [1, 2, 3]
    single, _ = run("single", epochs=1, max_steps=1)
    double, _ = run("double", epochs=1, max_steps=2, learning_rate=1e-12)
    assert losses(expected)[0][1] != losses(single)[0][1]
    # The loss of a step is the mean over its batches.
    assert losses(expected)[0][1] == pytest.approx(sum(loss for _, loss in losses(double)) / 2, rel=1e-5)
    run(max_steps=1, **options)
    output, _ = run(resume_from_checkpoint="latest", **options)
    assert_same_run(output, expected)


def test_mixed_precision_and_activation_checkpointing(run):
    _, summary = run(mixed_precision="bf16", activation_checkpointing=True, epochs=1)
    assert summary["run"]["mixed_precision"] == "bf16"


def test_starts_from_given_weights(run, whole):
    output, summary = run(model_name_or_path=str(whole[0] / "run"), epochs=1, max_steps=1, learning_rate=1e-9)
    best = weights(whole[0] / "run")
    for name, tensor in weights(output).items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(tensor, best[name], rtol=1e-4, atol=1e-6)
    assert summary["started_from"] == "run"  # the folder's name, not where it lies


def test_checkpoints_are_limited_and_partial_ones_never_found(run):
    output, _ = run(checkpointing_steps="1", checkpoints_total_limit=3)
    assert [path.name for path in list_checkpoints(output / "checkpoints")] == ["step_10", "step_11", "step_12"]
    (output / "checkpoints" / ".step_99.partial").mkdir()
    assert find_checkpoint("latest", output / "checkpoints").name == "step_12"


def test_a_checkpoint_of_another_run_is_refused(run):
    run(max_steps=2)
    for option in ({"base_width": 4}, {"batch_size": 2}, {"seed": 1}):
        with pytest.raises(CheckpointError, match=f"was written with (model.)?{next(iter(option))}"):
            run(resume_from_checkpoint="latest", **option)


def test_a_checkpoint_from_before_a_setting_was_there_is_one_with_its_default(run, whole):
    output, _ = run(max_steps=6)
    state = list_checkpoints(output / "checkpoints")[-1] / STATE_FILE
    record = json.loads(state.read_text())
    for name in ("copies", "warmup_epochs", "model.loss_settings", "data_files"):
        del record["identity"][name]
    state.write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match=r"was written with model\.base_width"):
        run(resume_from_checkpoint="latest", base_width=4)
    run(resume_from_checkpoint="latest")
    assert_same_run(output, whole[0] / "run")


def test_masks_corrected_since_a_checkpoint_are_refused(run, prepared, tmp_path):
    data = shutil.copytree(prepared, tmp_path / "data")
    run(max_steps=2, data_dir=str(data))
    record = json.loads((data / "dataset.json").read_text())
    record["cases"][0]["sha256"][1] = "0" * 64  # as `prepare` writes it for another mask of the same volume
    (data / "dataset.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match=r"on other prepared data \(their scans, masks .* \[data_files\]"):
        run(resume_from_checkpoint="latest", data_dir=str(data))


def test_a_damaged_checkpoint_is_named(run):
    output, _ = run(max_steps=2)
    (folder,) = list_checkpoints(output / "checkpoints")
    (folder / "model.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="step_2"):
        run(resume_from_checkpoint="latest")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        run(resume_from_checkpoint=str(output))


def test_an_earlier_run_is_not_overwritten_unasked(run):
    run(max_steps=1)
    with pytest.raises(UsageError, match="--overwrite"):
        run(max_steps=1)
    output, _ = run(max_steps=1, overwrite_output_dir=True)
    assert [step for step, _ in losses(output)] == [1]


def test_a_loss_that_is_not_finite_stops_the_run(run, whole, tmp_path):
    shutil.copytree(whole[0] / "run", tmp_path / "broken", ignore=shutil.ignore_patterns("checkpoints"))
    broken = {name: tensor * math.nan if tensor.is_floating_point() else tensor for name, tensor in
              weights(tmp_path / "broken").items()}  # fmt: skip
    save_file(broken, tmp_path / "broken" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="a lower --learning-rate"):
        run(model_name_or_path=str(tmp_path / "broken"))


def test_a_stop_in_mid_epoch_does_not_change_the_best_weights_of_the_resumed_run(run, whole):
    """Stopping validates weights that the uninterrupted run never validated; resuming forgets them."""
    run(max_steps=8)
    output, summary = run(resume_from_checkpoint="latest")
    best, expected = weights(output), weights(whole[0] / "run")
    assert all(torch.equal(best[name], expected[name]) for name in expected)
    assert summary["best"] == whole[1]["best"]


def test_resuming_where_nothing_is_left_takes_no_step(run):
    run(max_steps=2)
    output, summary = run(max_steps=2, resume_from_checkpoint="latest")
    assert summary["run"]["steps"] == 2
    assert [step for step, _ in losses(output)] == [1, 2]


def test_resuming_from_an_older_step_drops_the_newer_ones(run):
    options = {"checkpointing_steps": "2", "checkpoints_total_limit": 3}
    output, _ = run(**options)
    older = list_checkpoints(output / "checkpoints")[0]
    assert older.name == "step_8"
    run(resume_from_checkpoint=str(older), max_steps=10, **options)
    assert [path.name for path in list_checkpoints(output / "checkpoints")] == ["step_8", "step_10"]


def test_resuming_into_another_folder_brings_the_best_weights(run):
    output, summary = run()
    checkpoint = list_checkpoints(output / "checkpoints")[-1]
    other, again = run("other", resume_from_checkpoint=str(checkpoint))
    assert all(torch.equal(weights(other)[name], tensor) for name, tensor in weights(output).items())
    assert again["best"] == summary["best"]


@pytest.mark.parametrize("obstacle", ["file", "limit"])
def test_a_folder_that_cannot_be_written_is_one_line(run, tmp_path, obstacle):
    if obstacle == "file":
        (tmp_path / "run").write_text("in the way")
        with pytest.raises(OutputError, match="run"):
            run(max_steps=1)
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OutputError, match="--resume-from-checkpoint latest"):
            run(max_steps=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list_checkpoints(tmp_path / "run" / "checkpoints") == []


def test_workers_and_a_time_limit(run):
    output, summary = run(num_workers=1, max_minutes=0.001)
    assert summary["run"]["finished"] == "--max-minutes 0.001"
    assert len(losses(output)) == 1
    assert len(list_checkpoints(output / "checkpoints")) == 1


def test_a_run_with_augmentation_and_a_schedule_by_steps_resumes(run, whole, settings, tmp_path):
    recipe = tmp_path / "linear.yaml"
    added = "scheduler: linear\nwarmup_epochs: 1\noptimizer: rmsprop\naugmentation: {flip: {}, rotation: {}}\n"
    recipe.write_text(Path(settings["recipe"]).read_text() + added)
    expected, _ = run("whole", recipe=str(recipe), epochs=1)
    assert losses(expected)[0] != losses(whole[0] / "run")[0]  # the same slices and weights, but for the augmentation
    run(recipe=str(recipe), epochs=1, max_steps=3)
    output, _ = run(recipe=str(recipe), epochs=1, resume_from_checkpoint="latest")
    assert_same_run(output, expected)


def test_processes_that_do_not_see_each_other_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(LaunchError, match="ACCELERATE_USE_CPU=true"):
        check_launch(num_processes=1)
    check_launch(num_processes=2)


def test_tracking_stays_on_this_machine(run, tmp_path, monkeypatch):
    pytest.importorskip("trackio")
    monkeypatch.setenv("TRACKIO_SPACE_ID", "someone/public")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.warns(UserWarning, match="TRACKIO_SPACE_ID is ignored"):
        run(max_steps=2, with_tracking=True, project="tiny-project")
    assert "TRACKIO_SPACE_ID" not in os.environ


def test_empty_data_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        train(TrainingArguments(str(tmp_path / "empty"), str(tmp_path / "out"), cpu=True))
    assert not (tmp_path / "out").exists()


def test_command_line_reports_in_one_line(tmp_path, capsys):
    arguments = ["--data", str(tmp_path), "--output", str(tmp_path / "out"), "--cpu"]
    assert main([*arguments, "--recipe", "none"]) == 2
    assert main(arguments) == 1
    errors = capsys.readouterr().err.strip().splitlines()
    assert [line.split(":")[0] for line in errors] == ["error", "error"]
