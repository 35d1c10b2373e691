"""`lesionseg train` on a folder of heads: rendered slices, moving average, exact resume."""

import json

import pytest
import yaml
from accelerate.state import AcceleratorState
from safetensors.numpy import load_file

from hf_lesionseg.datasets.prepare import prepare
from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.datasets.synthetic.heads.prepare import Heads
from hf_lesionseg.errors import RecipeError, UsageError
from hf_lesionseg.training.arguments import TrainingArguments
from hf_lesionseg.training.loop import train
from hf_lesionseg.training.recipe import load_recipe


@pytest.fixture(autouse=True)
def fresh_accelerator():
    """Accelerate keeps one state per process; each test is a run of its own."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "tiny-heads.yaml"
    settings = {
        "model_type": "clci-net",
        "model": {"base_width": 2, "loss": "bce-dice"},
        "processor": {"training_spacing": [5.0, 5.0], "size": {"height": 48, "width": 48}, "slice_stack": "neighbours"},
        "heads": {"slices": 12, "without_lesion": [0.3, 0.6], "difficulty": [0, 1]},
        "learning_rate": 1e-3,
        "batch_size": 4,
        "epochs": 2,
        "scheduler": "cosine",
        "ema_decay": 0.9,
        "monitor": "validation_detection",
        "early_stopping_patience": None,
    }
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture(scope="module")
def prepared(head_sources, recipe, tmp_path_factory):
    pytest.importorskip("SimpleITK")
    from hf_lesionseg import LesionImageProcessor

    processor = LesionImageProcessor(**load_recipe(str(recipe)).processor)
    output = tmp_path_factory.mktemp("heads") / "prepared"
    heads = Heads(**vars(head_sources), count=2, spacing=(5.0, 6.0))
    return prepare(heads, None, output, processor=processor, progress=False)


def run(prepared, recipe, output, **options):
    arguments = TrainingArguments(
        data_dir=str(prepared.folder), output_dir=str(output), recipe=str(recipe), cpu=True, **options
    )
    return train(arguments)


def test_a_resumed_run_equals_an_uninterrupted_one(prepared, recipe, tmp_path):
    whole = run(prepared, recipe, tmp_path / "whole")
    run(prepared, recipe, tmp_path / "parts", max_steps=2)
    parts = run(prepared, recipe, tmp_path / "parts", resume_from_checkpoint="latest", num_workers=1)
    assert whole["run"]["steps"] == parts["run"]["steps"] == 6
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert (tensor == second[name]).all(), name
    records = [json.loads(line) for line in (tmp_path / "whole" / "history.jsonl").read_text().splitlines()]
    epochs = [record for record in records if record["kind"] == "epoch"]
    assert all("validation_detection" in record for record in epochs)
    assert whole["data"]["synthetic"]


def test_the_folder_knows_its_catalogue(prepared, tmp_path, head_sources):
    assert prepared.heads is not None
    assert len(prepared.select("validation")) == 2
    assert not prepared.select("train")
    assert PreparedDataset(prepared.folder).fingerprint() == prepared.fingerprint()
    with pytest.raises(UsageError, match="--catalogue"):
        prepare(Heads(**vars(head_sources), catalogue=prepared.folder), None, tmp_path, processor=prepared.processor())


def test_a_report_is_rendered_from_the_catalogue_and_has_none(prepared, tmp_path):
    heads = Heads(catalogue=prepared.folder, count=2, split_of_heads="report", spacing=(5.0, 6.0))
    report = prepare(heads, None, tmp_path / "report", processor=prepared.processor(), progress=False)
    assert report.heads is None
    assert [case.notes["split"] for case in report.select("test")] == ["report", "report"]
    people = {entry["id"]: entry["split"] for entry in prepared.heads.record["anatomies"]}
    assert {people[case.notes["brain"]] for case in report.cases} == {"report"}


@pytest.mark.parametrize("heads", [{"slices": 0}, {"difficulty": [0, 2]}, {"difficulty": 1}, {"hardness": [0, 1]}])
def test_impossible_settings_of_heads_are_named(recipe, heads):
    with pytest.raises(RecipeError, match="heads has"):
        load_recipe(str(recipe), heads=heads)
