"""What a network learned from goes into its configuration, and no folder of this machine into its records."""

import json
import shutil

import pytest

from hf_lesionseg.inference import load_model
from hf_lesionseg.training.arguments import TrainingArguments
from hf_lesionseg.training.ensemble import make_ensemble
from hf_lesionseg.training.loop import train

SHORT = {"epochs": 1, "max_steps": 1}


def training_data(folder):
    return json.loads((folder / "config.json").read_text()).get("training_data")


@pytest.fixture
def real(prepared, tmp_path):
    """The same data, as ones that are not generated."""
    folder = shutil.copytree(prepared, tmp_path / "real")
    record = json.loads((folder / "dataset.json").read_text())
    assert record["synthetic"]
    (folder / "dataset.json").write_text(json.dumps(record | {"synthetic": False}))
    return folder


def test_a_network_of_generated_data_carries_it(run):
    folder, summary = run(**SHORT)
    assert training_data(folder) == load_model(folder).model.config.training_data == "generated"
    assert summary["notice"].startswith("SYNTHETIC LESIONS")
    assert "**SYNTHETIC LESIONS.**" in (folder / "README.md").read_text()
    again, _ = run("run", resume_from_checkpoint="latest", **SHORT | {"max_steps": 2})
    assert training_data(again) == "generated"


def test_training_on_scans_afterwards_is_told(run, real, settings, tmp_path):
    first, _ = run(**SHORT)
    options = settings | SHORT | {"model_name_or_path": str(first)}
    summary = train(TrainingArguments(str(real), str(tmp_path / "tuned"), **options))
    assert training_data(tmp_path / "tuned") == "generated, then scans"
    assert "notice" not in summary
    assert "SYNTHETIC" not in (tmp_path / "tuned" / "README.md").read_text()
    train(TrainingArguments(str(real), str(tmp_path / "scans"), **settings | SHORT))
    assert training_data(tmp_path / "scans") == "scans"


def test_no_record_names_a_folder_of_this_machine(run, tmp_path, monkeypatch):
    first, _ = run("first", **SHORT)
    monkeypatch.chdir(tmp_path)
    for name, start in (("absolute", str(first)), ("relative", "./first")):
        folder, summary = run(name, model_name_or_path=start, **SHORT)
        assert summary["started_from"] == "first"
        files = [path for path in folder.rglob("*") if path.is_file() and "checkpoints" not in path.parts]
        assert {"README.md", "training_summary.json", "config.json"} <= {path.name for path in files}
        assert [path.name for path in files if str(tmp_path.parent).encode() in path.read_bytes()] == []
        assert "`first`" in (folder / "README.md").read_text()


def test_an_ensemble_with_a_member_of_generated_data_carries_it(run, real, settings, tmp_path):
    generated, _ = run("generated", **SHORT)
    scans = tmp_path / "scans"
    train(TrainingArguments(str(real), str(scans), **settings | SHORT | {"seed": 1}))
    make_ensemble([scans, generated], tmp_path / "both")
    assert training_data(tmp_path / "both") == "generated"
    assert load_model(tmp_path / "both").identity()["training_data"] == "generated"
    assert "**SYNTHETIC LESIONS.**" in (tmp_path / "both" / "README.md").read_text()
    # A member of an earlier version is known by its record.
    config = json.loads((generated / "config.json").read_text())
    del config["training_data"]
    (generated / "config.json").write_text(json.dumps(config))
    make_ensemble([generated, scans], tmp_path / "older")
    assert training_data(tmp_path / "older") == "generated"
