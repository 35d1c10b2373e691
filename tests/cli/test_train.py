"""``lesionseg train``: options made from `TrainingArguments`, which reach the training, one by one."""

import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import typer

from hf_lesionseg.cli import app
from hf_lesionseg.cli.train import main
from hf_lesionseg.training.arguments import TrainingArguments, flag_of, flags_of
from hf_lesionseg.training.recipe import packaged_recipes

SCRIPT = Path(__file__).parents[2] / "scripts" / "train.py"
OTHER = {
    "fold": "1",
    "mixed_precision": "bf16",
    "slices": "lesion",
    "monitor": "validation_dice",
    "checkpointing_steps": "7",
    "resume_from_checkpoint": "latest",
}


def given_to_training(monkeypatch, words):
    found = []
    monkeypatch.setattr("hf_lesionseg.training.start.run_training", found.append)
    assert main(list(map(str, words))) == 0
    return found[0]


def test_every_field_has_one_option_and_every_option_its_field():
    params = typer.main.get_command(app).commands["train"].params
    assert [(each.name, tuple(each.opts)) for each in params] == [
        (entry.name, flags_of(entry)) for entry in fields(TrainingArguments)
    ]
    assert not [option for each in params for option in each.opts if "_" in option]


def test_defaults_are_those_of_the_python_object(monkeypatch, tmp_path):
    found = given_to_training(monkeypatch, ["--data", tmp_path, "-o", tmp_path / "run"])
    assert found == TrainingArguments(str(tmp_path), str(tmp_path / "run"))


@pytest.mark.parametrize("name", [each.name for each in fields(TrainingArguments) if each.default is not MISSING])
def test_an_option_reaches_its_field(monkeypatch, tmp_path, name):
    kind = next(entry.type for entry in fields(TrainingArguments) if entry.name == name)
    default = getattr(TrainingArguments("a", "b"), name)
    value = OTHER.get(name, True if kind is bool else 3 if kind in (int, int | None) else 0.5)
    value = "text" if kind in (str, str | None) and name not in OTHER else value
    words = [flag_of(name)] if kind is bool else [flag_of(name), value]
    if name == "push_to_hub":
        words += ["--hub-model-id", "org/name"]
    found = given_to_training(monkeypatch, ["--data", tmp_path, "-o", tmp_path / "run", *words])
    assert getattr(found, name) == value != default


def test_help_is_in_groups_and_lists_every_recipe(lesionseg, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    status, text, _ = lesionseg("train", "--help")
    assert status == 0
    panels = ("Cross-validation", "Network", "Recipe overrides", "Running", "Resuming", "Publishing", "Recipes:")
    places = [text.index(panel) for panel in panels]
    assert places == sorted(places)
    assert [name for name in packaged_recipes() if f"{name}: " not in text] == []


def test_the_script_takes_the_same_options_and_returns_the_same_status(tmp_path):
    words = [sys.executable, SCRIPT, "--data", tmp_path / "absent", "-o", tmp_path / "run"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {tmp_path / 'absent'}: no such folder; check the path\n"


def test_the_former_spelling_is_refused_with_the_new_one(lesionseg):
    status, _, errors = lesionseg("train", "--max_steps", "3")
    assert status == 2
    assert "--max-steps" in errors


def test_ctrl_c_says_how_to_go_on(lesionseg, monkeypatch, tmp_path):
    def run(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("hf_lesionseg.training.start.run_training", run)
    status, text, errors = lesionseg("train", "--data", tmp_path, "-o", tmp_path / "run")
    assert (status, text) == (130, "")
    assert errors == "interrupted; go on with --resume-from-checkpoint latest\n"
