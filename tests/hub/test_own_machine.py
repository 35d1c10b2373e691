"""Nothing that is published tells where it lay, and what a network learned from goes along."""

import csv
import json
import shutil

import pytest

from hf_lesionseg.hub.publish import publish, write_dry_run
from hf_lesionseg.inference import load_model

PLACE = "/home/jane doe/private study"


@pytest.fixture
def folder(model_folder, tmp_path):
    """A run whose records name this machine wherever a record could."""
    folder = shutil.copytree(model_folder, tmp_path / "run")
    summary = json.loads((folder / "training_summary.json").read_text())
    summary["started_from"] = f"{PLACE}/older run"
    summary["recipe"]["encoder_weights"] = f"{PLACE}/resnet-{{depth}}"
    summary["metrics"]["test"]["failed"] = [{"case": "c", "reason": f"{PLACE}/c.nii.gz: cannot be read"}]
    summary["cases"]["test"][2]["reason"] = f"{tmp_path}/c.nii.gz: lies on another grid than {PLACE}/d.nii.gz"
    (folder / "training_summary.json").write_text(json.dumps(summary))
    metrics = {"predictions": "../results", "truths": f"{PLACE}/truths", "cases": [{"dice": 0.5}]}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "metrics.csv").write_text(f'case,reason,dice\nc,"{PLACE}/c.nii.gz: gone, or unreadable",\nd,,0.5\n')
    (folder / "history.jsonl").write_text(
        json.dumps({"kind": "warning", "text": f"{PLACE}/a.nii: dark"}) + '\n{"kind": "epoch", "loss": 0.9}\n{"kind'
    )
    return folder


def leaks(folder, words):
    return [
        path.name
        for path in folder.rglob("*")
        if path.is_file() and any(word.encode() in path.read_bytes() for word in words)
    ]


@pytest.mark.parametrize("splits", [True, False])
def test_nothing_that_is_staged_names_this_machine(folder, tmp_path, splits):
    words = ("jane", "private study", "/home/", str(tmp_path), "../results")
    assert len(leaks(folder, words)) == 4, "otherwise this shows nothing"
    sent = write_dry_run(folder, tmp_path / "sent", "org/name", splits=splits)
    assert {"README.md", "config.json", "training_summary.json", "history.jsonl"} <= set(sent)
    assert ("metrics.csv" in sent) == splits
    assert leaks(tmp_path / "sent", words) == []


def test_what_is_told_stays(folder, tmp_path):
    write_dry_run(folder, tmp_path / "sent", "org/name")
    summary = json.loads((tmp_path / "sent" / "training_summary.json").read_text())
    assert summary["started_from"] == "older run"
    assert summary["recipe"]["encoder_weights"] == "resnet-{depth}"
    assert summary["metrics"]["test"]["failed"][0]["reason"] == "c.nii.gz: cannot be read"
    assert summary["data"] == json.loads((folder / "training_summary.json").read_text())["data"]
    assert "Training began with the weights of `older run`." in (tmp_path / "sent" / "README.md").read_text()
    with (tmp_path / "sent" / "metrics.csv").open(newline="") as file:
        assert [row["reason"] for row in csv.DictReader(file)] == ["c.nii.gz: gone, or unreadable", ""]
    assert json.loads((tmp_path / "sent" / "metrics.json").read_text())["truths"] == "truths"
    history = (tmp_path / "sent" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in history[:2]] == ["warning", "epoch"]
    assert history[2] == '{"kind'  # of a run that was killed


def test_the_folder_itself_is_not_changed(folder, tmp_path):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    write_dry_run(folder, tmp_path / "sent", "org/name")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_card_of_ones_own_is_its_authors(folder, tmp_path):
    (folder / "README.md").write_text("---\nlicense: mit\n---\nScans lie in /data/ours/raw.\n")
    write_dry_run(folder, tmp_path / "sent", "org/name")
    assert "/data/ours/raw" in (tmp_path / "sent" / "README.md").read_text()


def test_generated_data_are_told_by_configuration_and_card(folder, tmp_path):
    """The folder is of a version whose configurations did not say it; its record does."""
    assert "training_data" not in json.loads((folder / "config.json").read_text())
    write_dry_run(folder, tmp_path / "sent", "org/name")
    assert json.loads((tmp_path / "sent" / "config.json").read_text())["training_data"] == "generated"
    assert "**SYNTHETIC LESIONS.**" in (tmp_path / "sent" / "README.md").read_text()


def test_a_card_without_a_record_still_tells_of_generated_data(folder, tmp_path):
    (folder / "training_summary.json").unlink()
    config = json.loads((folder / "config.json").read_text()) | {"training_data": "generated"}
    (folder / "config.json").write_text(json.dumps(config))
    write_dry_run(folder, tmp_path / "sent", "org/name")
    card = (tmp_path / "sent" / "README.md").read_text()
    assert "**SYNTHETIC LESIONS.**" in card
    assert "- synthetic-data" in card


def test_what_it_learned_from_survives_push_and_load(folder, hub, tmp_path, monkeypatch):
    from huggingface_hub import snapshot_download

    publish(folder, "org/name", endpoint=hub.endpoint, token=hub.token)
    found = snapshot_download("org/name", endpoint=hub.endpoint, token=hub.token, cache_dir=tmp_path / "cache")
    loaded = load_model(found)
    assert loaded.identity()["training_data"] == "generated"
    loaded.model.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["training_data"] == "generated"
