"""From a training run to the folder of a packaged network: what is stored, recorded, compared and refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hf_lesionseg.errors import ModelError
from hf_lesionseg.inference import load_model
from hf_lesionseg.pretrained import packaged_model
from hf_lesionseg.training import packaging
from hf_lesionseg.training.packaging import Words, package_network

WORDS = Words(marks="strokes", takes="T1w MRI")
EPOCHS = (
    {"kind": "epoch", "step": 500, "epoch": 1, "loss": 1.0},
    {"kind": "epoch", "step": 1000, "epoch": 2, "validation_detection": 0.5, "validation_dice": 0.6},
    {"kind": "epoch", "step": 2000, "epoch": 4, "validation_detection": 0.4, "validation_dice": 0.7},
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run that goes on, with the packaged network's weights in float32; one made head is enough."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("config.json", "preprocessor_config.json"):
        shutil.copy(Path(packaged_model()) / name, folder)
    weights = load_file(Path(packaged_model()) / "model.safetensors")
    save_file({name: value.float() if value.is_floating_point() else value for name, value in weights.items()},
              folder / "model.safetensors", metadata={"format": "pt"})  # fmt: skip
    (folder / "history.jsonl").write_text("".join(json.dumps(each) + "\n" for each in EPOCHS))
    monkeypatch.setattr(packaging, "_HEADS", packaging._HEADS[-1:])
    return folder


def change(run, edit):
    weights = load_file(run / "model.safetensors")
    edit(weights)
    save_file(weights, run / "model.safetensors", metadata={"format": "pt"})


def head_of(weights):
    """Name of the last layer's bias, which decides how much is marked."""
    return [name for name, value in weights.items() if name.endswith("bias") and value.numel() == 1][-1]


def mark_everything(weights):
    weights[head_of(weights)] += 100


def test_a_run_that_goes_on_becomes_a_whole_folder(run, tmp_path):
    change(run, mark_everything)
    target = tmp_path / "mine"
    record = package_network(run, target, replace(WORDS, notes=["Calls the choroid plexus a stroke."]))
    assert record == json.loads((target / "packaged.json").read_text())
    assert (record["training"]["step"], record["training"]["epoch"]) == (1000, 2), "the best by the recipe's monitor"
    assert record["training"]["recipe"]["name"] == "clci-net-heads"
    assert record["weights"]["dice_against_float32"] == [1.0]
    stored, loaded = load_file(target / "model.safetensors"), load_model(target).model
    assert {value.dtype for value in stored.values() if value.ndim > 1} == {torch.float16}
    assert {value.dtype for value in stored.values() if value.ndim == 1} == {torch.float32}
    assert loaded.dtype == torch.float32
    assert (target / "model.safetensors").stat().st_mode & 0o777 == 0o644
    card = (target / "README.md").read_text()
    assert "- Calls the choroid plexus a stroke." in card
    assert "| detection | 0.500 |" in card


def test_masks_that_differ_are_refused(run, tmp_path, monkeypatch):
    change(run, mark_everything)
    monkeypatch.setattr(packaging, "AGREEMENT", 1.01)
    with pytest.raises(ModelError, match=r"agree at a Dice of 1.0000 only, 1.01 is wanted"):
        package_network(run, tmp_path / "mine", WORDS)
    assert not (tmp_path / "mine").exists()


def test_a_network_that_marks_nothing_proves_nothing(run, tmp_path):
    change(run, lambda weights: weights[head_of(weights)].sub_(100))
    with pytest.raises(ModelError, match="marks nothing on any of 1 made heads"):
        package_network(run, tmp_path / "mine", WORDS)


def test_weights_that_do_not_fit_are_refused(run, tmp_path, monkeypatch):
    name = next(iter(name for name, value in load_file(run / "model.safetensors").items() if value.ndim == 4))
    monkeypatch.setattr(packaging, "LARGEST_BYTES", 1000)
    with pytest.raises(ModelError, match="bytes in float16, 1000 at most"):
        package_network(run, tmp_path / "mine", WORDS)
    change(run, lambda weights: weights[name].mul_(1e8))
    with pytest.raises(ModelError, match=f"{name} does not fit into float16"):
        package_network(run, tmp_path / "mine", WORDS)


def test_a_run_without_a_validation_is_refused(run, tmp_path):
    change(run, mark_everything)
    (run / "history.jsonl").write_text(json.dumps(EPOCHS[0]) + "\n")
    with pytest.raises(ModelError, match=r"no validation is recorded in history\.jsonl"):
        package_network(run, tmp_path / "mine", WORDS)


def test_earlier_stages_are_recorded_and_trained_first(run, tmp_path):
    change(run, mark_everything)
    first = shutil.copytree(run, tmp_path / "first")
    (first / "history.jsonl").write_text(json.dumps(EPOCHS[2]) + "\n")
    earlier = [(first, "clci-net-heads")]
    record = package_network(run, tmp_path / "mine", WORDS, recipe="clci-net-heads-finetune", earlier=earlier)
    assert [stage["step"] for stage in record["training"]["earlier"]] == [2000]
    assert record["training"]["step"] == 2000, "the best by validation_dice, which its recipe monitors"
    card = (tmp_path / "mine" / "README.md").read_text()
    one = "lesionseg train --recipe clci-net-heads --data heads -o runs/stage-1 --seed 0"
    two = "lesionseg train --recipe clci-net-heads-finetune --model runs/stage-1 --data heads"
    assert 0 < card.index(one) < card.index(two)
    assert "the last of 2 stages" in card


def test_an_ended_run_brings_its_summary_and_a_report_its_figure(run, tmp_path):
    change(run, mark_everything)
    recipe = {"name": "clci-net-heads"}
    (run / "training_summary.json").write_text(json.dumps({
        "recipe": recipe, "paper": "", "started_from": None, "cases": {"test": ["..."]}, "data": {"name": "heads",
        "synthetic": True, "cases": {}, "people": {}, "volume_ml": {}}, "metrics": {}, "model": {"parameters": 1},
        "best": {"step": 7, "epoch": 3, "monitor": "validation_dice", "validation_loss": 0.1, "validation_dice": 0.2},
        "run": {"seed": 5, "seconds": 7200, "finished": "12 epochs", "steps": 9, "epochs": 3, "device": "cpu",
                "processes": 1, "mixed_precision": "no", "versions": {}},
    }))  # fmt: skip
    report = tmp_path / "report.json"
    report.write_text(json.dumps({
        "synthetic": True, "threshold": 0.5, "minimum_lesion_ml": 0.1, "heads": 2, "by_volume": [], "by_stroke": {},
        "lesion_free": {"n": 0}, "real_lesion_free": [], "by_condition": {}, "reliability": [], "cases": [],
    }))  # fmt: skip
    report.with_suffix(".png").write_bytes(b"picture")
    record = package_network(run, tmp_path / "mine", WORDS, report=report)
    training = record["training"]
    assert (training["seed"], training["step"], training["epoch"], training["hours"]) == (5, 7, 3, 2.0)
    assert "cases" not in json.loads((tmp_path / "mine" / "training_summary.json").read_text())
    assert (tmp_path / "mine" / "report.json").is_file()
    assert "](report.png)" in (tmp_path / "mine" / "README.md").read_text()
