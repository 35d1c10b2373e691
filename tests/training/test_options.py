"""Options of a run that the other tests leave alone: deterministic, clipping, publishing at the end."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hf_lesionseg.testing.loopback_hub import LoopbackHub
from hf_lesionseg.training.loop import train


@pytest.fixture(scope="module")
def start(prepared, settings, tmp_path_factory):
    """Weights to start from: a run of one step."""
    from hf_lesionseg.training.arguments import TrainingArguments

    output = tmp_path_factory.mktemp("start") / "run"
    train(TrainingArguments(str(prepared), str(output), **(settings | {"epochs": 1, "max_steps": 1})))
    return output


def largest_move(output, start):
    before, after = (load_file(folder / "model.safetensors") for folder in (start, output))
    learned = [name for name in before if "running" not in name and "num_batches" not in name]
    return max((after[name] - before[name]).abs().max().item() for name in learned)


def test_the_gradient_norm_is_clipped(run, start):
    """A gradient far below Adam's epsilon of 1e-8 hardly moves a weight; unclipped, the first step is the rate."""
    options = {"model_name_or_path": str(start), "epochs": 1, "max_steps": 1, "learning_rate": 0.01}
    free, _ = run("free", **options)
    assert largest_move(free, start) == pytest.approx(0.01, rel=0.05)
    clipped, _ = run("clipped", max_gradient_norm=1e-12, **options)
    assert largest_move(clipped, start) < 1e-5


def test_deterministic_refuses_what_varies(run, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        run(deterministic=True, epochs=1, max_steps=1)
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = False


def test_a_recipe_that_would_prepare_otherwise_says_so(run, settings, tmp_path):
    recipe = tmp_path / "other.yaml"
    recipe.write_text(Path(settings["recipe"]).read_text() + "processor: {intensity_range: [0, 50], threshold: 0.5}\n")
    with pytest.warns(UserWarning, match=r"not prepared as recipe other says.*intensity_range=.*100.* instead of .*50"):
        run(recipe=str(recipe), epochs=1, max_steps=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*not prepared as recipe")
        run("same", epochs=1, max_steps=1)


def test_training_publishes_at_its_end(prepared, command_line, tmp_path):
    """As a user does it: one command, and the model is on the Hub with its card."""
    from huggingface_hub import HfApi

    with LoopbackHub(tmp_path / "hub", token="hf_loopback") as hub:
        process = subprocess.run(
            [
                *(sys.executable, "-m", "hf_lesionseg.cli", "train", "--data", prepared, *command_line),
                *("--output", tmp_path / "run", "--epochs", "1", "--max-steps", "1"),
                *("--push-to-hub", "--hub-model-id", "org/trained"),
            ],
            env=os.environ
            | {"HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "hf_loopback", "HF_HUB_OFFLINE": "0"}
            | {"HF_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert process.returncode == 0, process.stderr[-3000:]
        assert f"published: {hub.endpoint}/org/trained" in process.stdout
        files = HfApi(endpoint=hub.endpoint, token="hf_loopback").list_repo_files("org/trained")
    assert {"model.safetensors", "config.json", "preprocessor_config.json", "README.md"} <= set(files)
    assert not any(name.startswith("checkpoints") for name in files)
    assert json.loads((tmp_path / "run" / "training_summary.json").read_text())["run"]["steps"] == 1
