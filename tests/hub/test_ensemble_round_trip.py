"""An ensemble on the Hub: one commit, loaded whole or member by member, its probability the mean of theirs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from huggingface_hub import HfApi, ModelCard, constants

from hf_lesionseg.errors import ModelError
from hf_lesionseg.evaluation.scored_case import case_metrics, case_to_row
from hf_lesionseg.hub.publish import publish
from hf_lesionseg.hub.remote_code import remote_code_files
from hf_lesionseg.inference import load_model
from hf_lesionseg.testing.loopback_hub import LoopbackHub
from hf_lesionseg.training.ensemble import make_ensemble

REPO, TOKEN, FOLDS = "org/clci-ensemble", "hf_loopback", 3


@pytest.fixture(scope="module")
def ensemble(model_folder, tmp_path_factory):
    """Three folds of one cross-validation, assembled; weights at random."""
    root = tmp_path_factory.mktemp("ensemble")
    for number in range(FOLDS):
        folder = shutil.copytree(model_folder, root / f"run{number}")
        weights = safetensors.torch.load_file(folder / "model.safetensors")
        torch.manual_seed(number)
        weights["head.weight"] += 0.3 * torch.randn_like(weights["head.weight"])
        weights["head.bias"] += number - 1
        safetensors.torch.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        mask = np.zeros((6, 6, 6), np.uint8)
        mask[: 2 + number] = 1
        scored = case_metrics(f"case-of-fold-{number}", (mask, np.roll(mask, 1, 0)), voxel_ml=0.5, person=f"p{number}")
        fold = {"number": number, "of": FOLDS, "seed": 0, "fingerprint": "f"}
        record = {"format_version": 1, "fold": fold, "synthetic": True, "cases": [case_to_row(scored)]}
        (folder / "held_out.json").write_text(json.dumps(record))
        summary = json.loads((folder / "training_summary.json").read_text())
        (folder / "training_summary.json").write_text(json.dumps(summary | {"fold": fold}))
    make_ensemble([root / f"run{number}" for number in range(FOLDS)], root / "whole")
    return root / "whole"


@pytest.fixture(scope="module")
def published(ensemble, tmp_path_factory):
    with (
        pytest.MonkeyPatch.context() as patch,
        LoopbackHub(tmp_path_factory.mktemp("hub"), token=TOKEN) as hub,
    ):
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        publish(ensemble, REPO, endpoint=hub.endpoint, token=TOKEN)
        yield hub


def mean_of(arrays):
    return np.mean([arrays[f"fold-{number}"].astype(np.float64) for number in range(FOLDS)], axis=0)


def test_one_commit_holds_all_and_no_more(published, tmp_path):
    api = HfApi(endpoint=published.endpoint, token=TOKEN)
    member = ("config.json", "preprocessor_config.json", "model.safetensors", "training_summary.json", "history.jsonl",
              "splits.json", "held_out.json")  # fmt: skip
    code = {path.name for kind in ("clci-net", "fold-ensemble") for path in remote_code_files(kind)}
    assert set(api.list_repo_files(REPO)) == {
        ".gitattributes", "README.md", "config.json", "preprocessor_config.json", "training_summary.json",
        "cross_validation.json", "cross_validation.csv", "cross_validation.md", *code,
        *(f"fold-{number}/{name}" for number in range(FOLDS) for name in member),
    }  # fmt: skip
    assert len(api.list_repo_commits(REPO)) == 2  # the first makes the repository
    card = ModelCard(Path(api.hf_hub_download(REPO, "README.md", cache_dir=tmp_path)).read_text("utf-8"))
    assert "an ensemble of 3" in card.text
    assert "Cross-validation, synthetic data" in card.text
    assert "| fold-0 | fold-1 | fold-2 | all cases |" in card.text
    assert {result.dataset_split for result in card.data.eval_results} == {"cross-validation"}


@pytest.mark.parametrize("flag", [(), ("--without-package",)], ids=["with the package", "by its own code"])
def test_from_a_cold_cache_it_predicts_the_mean_of_its_members(published, scan_file, run_python, tmp_path, flag):
    report = run_python(
        "journey_of_an_ensemble.py", REPO, scan_file, tmp_path / "out.npz", *flag,
        endpoint=published.endpoint, home=tmp_path / "home", OMP_NUM_THREADS="1",
    )  # fmt: skip
    arrays = dict(np.load(tmp_path / "out.npz"))
    mean = mean_of(arrays)
    assert np.ptp(mean) > 0.05
    assert np.abs(arrays["fold-0"] - mean).max() > 0.05, "members that agree would be equal to anything"
    np.testing.assert_allclose(arrays["whole"], mean, rtol=1e-5, atol=1e-6)
    origin = "transformers_modules." if flag else "hf_lesionseg."
    assert all(name.startswith(origin) for name in report["classes"])
    assert [name.rpartition(".")[2] for name in report["classes"]] == [
        "FoldEnsembleForSemanticSegmentation", *["CLCINetForSemanticSegmentation"] * FOLDS,
    ]  # fmt: skip
    if not flag:
        np.testing.assert_allclose(arrays["pipeline"], mean, rtol=1e-5, atol=1e-6)
        assert report["identity"]["members"] == ["fold-0", "fold-1", "fold-2"]
        assert report["identity"]["commit"] == HfApi(endpoint=published.endpoint, token=TOKEN).model_info(REPO).sha
        assert report["record"] == report["identity"]


def test_names_stay_at_home_and_a_single_network_replaces_an_ensemble(ensemble, model_folder, hub):
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    publish(ensemble, REPO, endpoint=hub.endpoint, token=hub.token)
    publish(ensemble, REPO, endpoint=hub.endpoint, token=hub.token, splits=False)
    files = api.list_repo_files(REPO)
    assert not [path for path in files if path.endswith(("held_out.json", "splits.json", "cross_validation.json"))]
    assert "cross_validation.md" in files
    publish(model_folder, REPO, endpoint=hub.endpoint, token=hub.token)
    files = api.list_repo_files(REPO)
    assert "model.safetensors" in files
    assert not [path for path in files if path.startswith(("fold-", "cross_validation", "modeling_fold"))]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: shutil.rmtree(folder / "fold-1"), "member fold-1 of this ensemble is missing"),
        (lambda folder: (folder / "fold-2" / "config.json").unlink(), "fold-2: no config.json"),
        (lambda folder: (folder / "fold-0" / "model.safetensors").unlink(), "fold-0: no model.safetensors"),
        (lambda folder: _set(folder / "config.json", members=[]), "names no member"),
        (lambda folder: _set(folder / "config.json", members=["fold-0", "fold-0"]), "name each subfolder once"),
        (lambda folder: _set(folder / "config.json", member_type="ms-dcnn"), "member fold-0 is a clci-net, not"),
        (lambda folder: _set(folder / "config.json", num_channels=2), "member fold-0 takes 1 channels, not 2"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "preprocessor_config.json is missing"),
        (lambda folder: (folder / "fold-1" / "model.safetensors").write_bytes(b"x"), "is cut off within its header"),
    ],
)
def test_an_ensemble_that_is_broken_is_told_so(ensemble, tmp_path, damage, told):
    folder = shutil.copytree(ensemble, tmp_path / "broken")
    damage(folder)
    with pytest.raises(ModelError, match=told):
        load_model(folder)


def _set(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
