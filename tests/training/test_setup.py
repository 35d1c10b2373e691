"""What a run trains with: built by one function, the same for the loop and for whoever takes steps by hand."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hf_lesionseg.training.arguments import TrainingArguments
from hf_lesionseg.training.checkpoints import list_checkpoints
from hf_lesionseg.training.data import load_data
from hf_lesionseg.training.history import read_history
from hf_lesionseg.training.setup import set_up, training_slices

ADDED = "optimizer: adamw\nweight_decay: 0.25\nema_decay: 0.9\nscheduler: cosine\nmax_gradient_norm: 0.5\n"


@pytest.fixture
def recipe(settings, tmp_path):
    path = tmp_path / "decayed.yaml"
    path.write_text(Path(settings["recipe"]).read_text() + ADDED)
    return str(path)


def test_steps_taken_by_hand_are_those_of_the_loop(run, prepared, settings, recipe, tmp_path):
    output, _ = run(recipe=recipe, epochs=1)
    arguments = TrainingArguments(str(prepared), str(tmp_path / "none"), **settings | {"recipe": recipe, "epochs": 1})
    training = set_up(arguments, load_data(arguments))
    losses = []
    for number, batch in enumerate(training.batches_of(epoch=0)):
        losses.append(training.step(batch, epoch=0, number=number).item())
        training.scheduler.step()
    assert losses == [each["loss"] for each in read_history(output / "history.jsonl") if each["kind"] == "step"]
    last = load_file(list_checkpoints(output / "checkpoints")[-1] / "model.safetensors")
    assert all(torch.equal(last[name], value) for name, value in training.network.state_dict().items())
    best = load_file(output / "model.safetensors")
    assert all(torch.equal(best[name], value) for name, value in training.kept.state_dict().items())
    assert not (tmp_path / "none").exists()


def test_the_optimizer_is_the_recipe_s(prepared, settings, recipe):
    arguments = TrainingArguments(str(prepared), "none", **settings | {"recipe": recipe})
    training = set_up(arguments, load_data(arguments))
    assert isinstance(training.optimizer.optimizer, torch.optim.AdamW)
    assert training.optimizer.param_groups[0]["weight_decay"] == 0.25
    assert (training.learning_rate, training.recipe.max_gradient_norm) == (0.01, 0.5)


def test_slices_can_be_counted_without_a_network(prepared, settings):
    arguments = TrainingArguments(str(prepared), "none", **settings)
    data = load_data(arguments)
    assert len(training_slices(arguments.load_recipe(), data)) == 24  # four people, six slices each
    assert {split: len(cases) for split, cases in data.cases.items()} == {"train": 4, "validation": 2, "test": 1}
