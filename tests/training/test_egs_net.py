"""EGS-Net in the real training loop: on data with true DWI, on data without, resumed, and by two processes."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig

from hf_lesionseg.datasets.prepared.records import CaseRecord, Origin
from hf_lesionseg.datasets.prepared.splits import make_splits, save_splits
from hf_lesionseg.datasets.prepared.writing import prepare_cases
from hf_lesionseg.errors import ModelError, RecipeError
from hf_lesionseg.inference.loading import load_model
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.testing import two_processes as launch
from hf_lesionseg.training.arguments import TrainingArguments
from hf_lesionseg.training.checkpoints import list_checkpoints
from hf_lesionseg.training.history import read_history
from hf_lesionseg.training.loop import train
from hf_lesionseg.training.network import build_network, describe_stages
from hf_lesionseg.training.recipe import load_recipe

TRAIN_SCRIPT = Path(__file__).parents[2] / "scripts" / "train.py"
MODEL = {
    "base_width": 2,
    "perceptual_widths": [2, 2, 2],
    "channel_names": ["frame", "cbf"],
    "extractor_channels": ["frame"],
    "map_channels": ["cbf"],
    "dwi_weight": 0.1,
}
RECIPE = {
    "model_type": "egs-net",
    "target_channels": ["dwi"],
    "augmentation": {"rotation": {"degrees": 10}},
    "optimizer": "rmsprop",
    "learning_rate": 0.002,
    "scheduler": "constant",
    "epochs": 2,
    "batch_size": 3,
}


def make_data(folder, *, dwi):
    """Five people whose frame, CBF and DWI are of one anatomy; the lesion is dark in CBF and bright on DWI."""
    records = []
    for index in range(5):
        rng = np.random.default_rng(index)
        anatomy = np.kron(rng.uniform(40, 60, (4, 4, 3)), np.ones((5, 6, 1)))
        mask = np.zeros((20, 24, 3), np.uint8)
        mask[3 + index : 9 + index, 6:13, 1:3] = 1
        volumes = {"frame": anatomy - 10 * mask, "cbf": anatomy - 30 * mask, "dwi": anatomy + 40 * mask}
        paths = {}
        for name, volume in (*volumes.items(), ("mask", mask)):
            paths[name] = folder / f"p{index}_{name}.nii.gz"
            data = mask if name == "mask" else (volume + rng.normal(0, 2, mask.shape)).astype(np.float32)
            nib.save(nib.Nifti1Image(data, np.diag([1, 1, 2, 1])), paths[name])
        truth = paths.pop("mask")
        records.append(CaseRecord(id=f"p{index}", person=f"p{index}", images=paths, masks=[truth]))
    processor = LesionImageProcessor(channel_names=("frame", "cbf"), normalization="z-score")
    targets = ("dwi",) if dwi else ()
    output = folder / "prepared"
    origin = Origin("tiny", synthetic=True)
    dataset = prepare_cases(records, output, processor, origin, target_channels=targets, progress=False)
    save_splits(output / "splits.json", make_splits(dataset.cases, {"train": 3, "validation": 1, "test": 1}, seed=0))
    return output


@pytest.fixture(scope="module")
def with_dwi(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("with"), dwi=True)


@pytest.fixture(scope="module")
def without_dwi(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("without"), dwi=False)


@pytest.fixture
def recipe(tmp_path):
    def write(name="tiny", model=None, **changes):
        path = tmp_path / f"{name}.yaml"
        path.write_text(json.dumps(RECIPE | {"model": MODEL | (model or {})} | changes))  # JSON is YAML
        return str(path)

    return write


@pytest.fixture
def start(recipe, tmp_path):
    def run(data, name="run", model=None, recipe_changes=None, **options):
        arguments = {"recipe": recipe(model=model, **(recipe_changes or {})), "logging_steps": 1, "cpu": True}
        output = tmp_path / name
        return output, train(TrainingArguments(str(data), str(output), **(arguments | options)))

    return run


def kind(output, name):
    return [record for record in read_history(output / "history.jsonl") if record["kind"] == name]


def weights(output):
    return load_file(list_checkpoints(output / "checkpoints")[-1] / "model.safetensors")


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_learns_from_the_true_dwi_of_the_data(start, with_dwi, capsys):
    output, summary = start(with_dwi)
    assert "training: extractor + generator + segmentor, the generator on true DWI\n" in capsys.readouterr().out
    steps = kind(output, "step")
    assert all(step["dwi_loss"] > 0 and step["feature_loss"] >= 0 for step in steps)
    (stages,) = kind(output, "stages")
    assert (stages["targets"], stages["reason"]) == (["dwi"], None)
    assert -1 <= kind(output, "epoch")[-1]["validation_dwi_correlation"] <= 1
    assert set(summary["dwi_correlation"]) == {"validation", "test"}
    assert None not in summary["dwi_correlation"].values()
    config = json.loads((output / "config.json").read_text())
    assert (config["num_channels"], config["channel_names"]) == (2, ["frame", "cbf"])
    card = (output / "README.md").read_text()
    assert "Trained: extractor + generator + segmentor, the generator on true DWI." in card
    assert "Not the whole network" not in card
    # where it is used, nothing asks for a DWI
    processor = load_model(output, device="cpu").processor
    assert tuple(processor.channel_names) == ("frame", "cbf")


def test_without_dwi_trains_extractor_and_segmentor_and_says_so(start, without_dwi, capsys):
    output, summary = start(without_dwi)
    text = capsys.readouterr().out
    assert "training: extractor + segmentor WITHOUT true DWI: there is no generator\n" in text
    assert "WARNING: the data have no dwi, so that there is no generator" in text
    assert json.loads((output / "config.json").read_text())["generator"] is False
    assert "dwi_loss" not in kind(output, "step")[0]
    (stages,) = kind(output, "stages")
    assert stages["reason"] == summary["stages"]["reason"]
    assert "--dwi FOLDER" in stages["reason"]
    assert summary["dwi_correlation"] == {"validation": None, "test": None}
    card = (output / "README.md").read_text()
    assert "Trained: extractor + segmentor WITHOUT true DWI" in card
    assert "**Not the whole network**: the data have no dwi" in card


def test_what_needs_the_dwi_by_name_refuses_data_without(start, recipe, without_dwi, tmp_path):
    with pytest.raises(RecipeError, match="asks for generator: True, which learns from dwi, and the data have none"):
        start(without_dwi, "explicit", model={"generator": True})
    chosen = load_recipe(recipe())
    build_network(chosen, channels=2, targets=("dwi",)).save_pretrained(tmp_path / "whole")
    LesionImageProcessor(channel_names=("frame", "cbf")).save_pretrained(tmp_path / "whole")
    with pytest.raises(ModelError, match="learns from dwi, which the data do not have"):
        build_network(chosen, str(tmp_path / "whole"), channels=2, targets=())


def test_the_third_mode_has_to_be_asked_for(recipe):
    """A generator that learns from the segmentation's loss alone."""
    chosen = load_recipe(recipe(model={"generator": True, "dwi_loss": False}))
    config = build_network(chosen, channels=2, targets=()).config
    assert (config.generator, config.target_channels) == (True, ())
    told = describe_stages(chosen, config, ())
    assert "the segmentation loss alone reaches the generator" in told["stages"]
    assert told["reason"] is None
    assert describe_stages(load_recipe("clci-net-atlas"), AutoConfig.for_model("clci-net"), ()) is None


@pytest.mark.slow
def test_without_dwi_a_resumed_run_is_built_in_the_same_way(start, without_dwi):
    start(without_dwi, epochs=1)
    output, _ = start(without_dwi, epochs=2, resume_from_checkpoint="latest")
    assert len(kind(output, "stages")) == 1
    assert len(kind(output, "epoch")) == 2


@pytest.mark.slow
def test_a_network_without_generator_leaves_the_dwi_of_the_data_alone(start, with_dwi):
    output, summary = start(with_dwi, model={"generator": False}, epochs=1)
    assert "dwi_loss" not in kind(output, "step")[0]
    assert summary["stages"]["reason"] is None


@pytest.mark.slow
def test_a_run_stopped_in_mid_epoch_resumes_exactly(start, with_dwi):
    whole, _ = start(with_dwi, "whole", checkpointing_steps="1")
    cut, _ = start(with_dwi, "cut", checkpointing_steps="1", max_steps=4)
    assert len(kind(cut, "step")) == 4
    cut, _ = start(with_dwi, "cut", checkpointing_steps="1", resume_from_checkpoint="latest")
    assert [step["loss"] for step in kind(cut, "step")] == [step["loss"] for step in kind(whole, "step")]
    assert_equal(weights(whole), weights(cut))


@pytest.mark.slow
def test_collapse_is_in_the_history_once_even_over_a_resume(start, with_dwi):
    options = {"learning_rate": 0.05, "model": {"feature_weight": 50.0, "perceptual_widths": [2, 2]}}
    with pytest.warns(UserWarning, match="_feature_norm has collapsed from"):
        output, _ = start(with_dwi, epochs=6, **options)
    told = kind(output, "warning")
    assert 1 <= len(told) <= 2
    assert all("features no longer teach anything" in record["text"] for record in told)
    output, _ = start(with_dwi, epochs=7, resume_from_checkpoint="latest", **options)
    assert kind(output, "warning") == told


@pytest.mark.slow
def test_two_processes_learn_from_the_dwi_and_resume(recipe, with_dwi, tmp_path):
    """Under DDP every weight gets a gradient, and norms' running statistics are those of one process in both."""
    words = ["--recipe", recipe(), "--cpu", "--logging-steps", "1"]
    status, text = launch.finish(launch.start(TRAIN_SCRIPT, with_dwi, tmp_path / "whole", words))
    assert status == 0, text
    assert text.count("training: extractor + generator + segmentor, the generator on true DWI") == 1
    summary = json.loads((tmp_path / "whole" / "training_summary.json").read_text())
    assert summary["run"]["processes"] == 2
    assert summary["dwi_correlation"]["test"] is not None
    steps = kind(tmp_path / "whole", "step")
    assert len(steps) == 4  # 9 slices, 2 x 3 a step, 2 epochs
    assert all(step["dwi_loss"] > 0 and step["true_feature_norm"] > 0 for step in steps)

    status, text = launch.finish(launch.start(TRAIN_SCRIPT, with_dwi, tmp_path / "cut", [*words, "--max-steps", "3"]))
    assert status == 0, text
    words += ["--resume-from-checkpoint", "latest"]
    status, text = launch.finish(launch.start(TRAIN_SCRIPT, with_dwi, tmp_path / "cut", words))
    assert status == 0, text
    assert [step["loss"] for step in kind(tmp_path / "cut", "step")] == [step["loss"] for step in steps]
    found = weights(tmp_path / "whole")
    assert_equal(found, weights(tmp_path / "cut"))
    running = {name: tensor for name, tensor in found.items() if "running_" in name}
    kinds = {name.split(".")[0] for name in running}
    assert kinds == {"extractor", "generator", "segmentor"}
    assert all(tensor.isfinite().all() for tensor in running.values())
    means = [tensor for name, tensor in running.items() if name.endswith("running_mean")]
    assert all(tensor.abs().max() > 0 for tensor in means)
    again = json.loads((tmp_path / "cut" / "training_summary.json").read_text())
    assert again["metrics"] == summary["metrics"]
    assert again["dwi_correlation"] == summary["dwi_correlation"]
