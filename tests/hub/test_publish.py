"""Publishing to a Hub over HTTP: what arrives, what does not, and what is left when the connection breaks."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from huggingface_hub import HfApi, ModelCard, constants

from hf_lesionseg.errors import HubError, ModelError, UsageError
from hf_lesionseg.hub import publish as publishing
from hf_lesionseg.hub.publish import publish, write_dry_run
from hf_lesionseg.hub.remote_code import remote_code_files

REPO = "org/clci-net"


@pytest.fixture
def folder(model_folder, tmp_path):
    return shutil.copytree(model_folder, tmp_path / "run")


@pytest.fixture
def api(hub):
    return HfApi(endpoint=hub.endpoint, token=hub.token)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Pauses between retries pass at once, ours and the client's; the retries are real."""
    clock = SimpleNamespace(sleep=lambda seconds: None)
    monkeypatch.setattr(publishing, "time", clock)
    monkeypatch.setattr("huggingface_hub.utils._http.time", clock)


@pytest.fixture
def push(hub):
    def push(folder, repo_id=REPO, **options):
        return publish(folder, repo_id, **{"endpoint": hub.endpoint, "token": hub.token, **options})

    return push


@pytest.fixture
def download(api, tmp_path):
    """Bytes of a file on ``main``."""
    return lambda path: Path(api.hf_hub_download(REPO, path, cache_dir=tmp_path / "cache")).read_bytes()


def weight_uploads(hub):
    return [request.status for request in hub.requests if request.method == "PUT" and "/_lfs/" in request.path]


def change_weights(folder, change):
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    change(weights)
    safetensors.torch.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_what_belongs_is_published_in_one_commit(hub, api, push, folder, download):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert push(folder, commit_message="First") == f"{hub.endpoint}/{REPO}"
    assert set(api.list_repo_files(REPO)) == {
        ".gitattributes", "README.md", "config.json", "preprocessor_config.json", "model.safetensors",
        "training_summary.json", "history.jsonl", "splits.json", "figures/curves.png", "figures/overlays.png",
        *(path.name for path in remote_code_files("clci-net")),
    }  # fmt: skip
    assert [commit.title for commit in api.list_repo_commits(REPO)] == ["First", "initial commit"]
    assert "AutoModel" in api.model_info(REPO).config["auto_map"]
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    card = ModelCard(download("README.md").decode())
    assert f'AutoModel.from_pretrained("{REPO}")' in card.text
    assert api.model_info(REPO).model_index[0]["name"] == "clci-net"


def test_publishing_again_without_a_change_makes_no_commit(hub, api, push, folder):
    push(folder)
    first, uploads = api.model_info(REPO).sha, len(weight_uploads(hub))
    push(folder)
    assert api.model_info(REPO).sha == first
    assert len(weight_uploads(hub)) == uploads


def test_ids_of_people_can_stay_at_home(api, push, folder, download):
    push(folder)
    push(folder, splits=False)
    files = api.list_repo_files(REPO)
    assert "splits.json" not in files
    assert "figures/overlays.png" not in files
    assert "figures/curves.png" in files
    summary = download("training_summary.json").decode()
    assert "no prediction" not in summary
    assert '"case"' not in summary
    assert json.loads(summary)["metrics"]["test"]["n_failed"] == 1
    assert json.loads(summary)["data"]["cases"]["train"] == 4
    card = download("README.md").decode()
    assert "splits.json" not in card
    assert "overlays.png" not in card


def test_remote_code_is_optional_and_leaves_nothing_behind(api, push, folder, download):
    push(folder)
    push(folder, remote_code=False)
    assert not [path for path in api.list_repo_files(REPO) if path.endswith(".py")]
    assert "auto_map" not in api.model_info(REPO).config
    assert ModelCard(download("README.md").decode()).data.library_name == "hf-lesionseg"


def test_files_that_others_put_there_stay(api, push, folder):
    push(folder)
    api.upload_file(repo_id=REPO, path_or_fileobj=b"x", path_in_repo="app.py")
    api.upload_file(repo_id=REPO, path_or_fileobj=b"x", path_in_repo="model-00001-of-00002.safetensors")
    push(folder, commit_message="Second")
    files = api.list_repo_files(REPO)
    assert "app.py" in files
    assert "model-00001-of-00002.safetensors" not in files  # would be loaded beside the new weights


def test_a_card_of_ones_own_is_kept(api, push, folder, download):
    (folder / "README.md").write_text("---\nlicense: mit\n---\nMy own words.\n")
    push(folder)
    assert "My own words." in download("README.md").decode()


def test_private_means_private(api, push, folder):
    push(folder, "org/hidden", private=True)
    assert api.model_info("org/hidden").private
    push(folder)
    with pytest.raises(HubError, match="exists and is public, but a private repository was asked for"):
        push(folder, private=True)


def test_a_broken_upload_leaves_the_old_version_and_is_completed_by_the_next_call(hub, api, push, folder, download):
    push(folder)
    old = api.model_info(REPO).sha
    change_weights(folder, lambda weights: weights["head.bias"].add_(1))
    (folder / "figures" / "overlays.png").write_bytes(b"another picture")
    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    hub.faults.errors = [["PUT", f"^/_lfs/{weights}", 500, 1000]]
    with pytest.raises(HubError, match=r"answered 500.*run the same command again"):
        push(folder)
    assert api.model_info(REPO).sha == old

    hub.faults.errors = []
    arrived = len(weight_uploads(hub))
    push(folder)
    assert weight_uploads(hub)[arrived:] == [200]  # the weights; the picture had arrived
    assert api.model_info(REPO).sha != old
    assert download("model.safetensors") == (folder / "model.safetensors").read_bytes()


def test_a_connection_that_keeps_dropping_is_a_hub_error_and_nothing_is_visible(hub, api, push, folder):
    hub.faults.drop_uploads = 1000
    with pytest.raises(HubError, match=r"connection to .* failed .*nothing half-published is visible"):
        push(folder)
    assert api.list_repo_files(REPO) == [".gitattributes"]
    assert not list(hub.store.blobs.glob("*.aside"))
    hub.faults.drop_uploads = 0
    push(folder)
    assert "model.safetensors" in api.list_repo_files(REPO)


def test_a_connection_that_drops_a_few_times_is_taken_up_again(hub, api, push, folder, caplog):
    hub.faults.drop_uploads = 4  # the client itself repeats these
    hub.faults.errors = [["POST", "/commit/", 503, 1]]  # but not this
    push(folder)
    assert "Trying again (2 of 3)" in caplog.text
    assert len(api.list_repo_commits(REPO)) == 2


def test_a_commit_whose_answer_is_lost_is_not_made_twice(hub, api, push, folder):
    hub.faults.drop_commit_answers = 1
    push(folder, commit_message="First")
    assert [commit.title for commit in api.list_repo_commits(REPO)] == ["First", "initial commit"]


def test_refusals_name_their_remedy(hub, push, folder, monkeypatch, tmp_path):
    with pytest.raises(HubError, match=r"does not accept the token .*hf auth login"):
        push(folder, token="hf_wrong")
    with pytest.raises(HubError, match="stranger/net: the token may not write there"):
        push(folder, "stranger/net")
    with pytest.raises(HubError, match="no token for the Hub; run `hf auth login`"):
        publish(folder, REPO, endpoint=hub.endpoint)
    monkeypatch.setattr("hf_lesionseg.hub.publish.ATTEMPTS", 1)
    with pytest.raises(HubError, match=r"the connection to http://127\.0\.0\.1:9 failed"):
        push(folder, endpoint="http://127.0.0.1:9")
    with pytest.raises(UsageError, match="give org/name"):
        push(folder, "a b/c")
    with pytest.raises(UsageError, match="names no owner"):
        push(folder, "clci-net")
    (folder / "README.md").write_text("---\nlicense: [mit\n---\n")
    with pytest.raises(HubError, match=r"answered 400 \(while parsing .*\); correct it and run again\.$"):
        push(folder)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        push(folder)


def put_nan(weights):
    weights["head.bias"][0] = torch.nan


BREAKAGES = {
    "no folder": (shutil.rmtree, "no such folder"),
    "no config": (lambda folder: (folder / "config.json").unlink(), r"config\.json: missing"),
    "config is no JSON": (lambda folder: (folder / "config.json").write_text("{"), r"config\.json: not valid JSON"),
    "foreign network": (
        lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'),
        "'bert' is not a network of this package",
    ),
    "width of zero": (
        lambda folder: (folder / "config.json").write_text('{"model_type": "clci-net", "base_width": 0}'),
        "the network does not load",
    ),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "the network does not load"),
    "weights cut off": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000]),
        "is cut off within its header",
    ),
    "a weight missing": (
        lambda folder: change_weights(folder, lambda weights: weights.pop("head.bias")),
        r"1 missing keys in the weights, first head\.bias",
    ),
    "a weight not finite": (
        lambda folder: change_weights(folder, put_nan),
        r"1 weights hold NaN or infinity, first head\.bias",
    ),
    "other width": (
        lambda folder: (folder / "config.json").write_text('{"model_type": "clci-net", "base_width": 8}'),
        "the network does not load|mismatched keys",
    ),
    "no processor": (
        lambda folder: (folder / "preprocessor_config.json").unlink(),
        r"preprocessor_config\.json: missing",
    ),
    "other channels": (
        lambda folder: (folder / "preprocessor_config.json").write_text(
            '{"image_processor_type": "LesionImageProcessor", "channel_names": ["tmax", "cbf"]}'
        ),
        r"gives 2 channels \(tmax, cbf; slice_stack 'single'\), the network takes 1",
    ),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_broken_folder_is_refused_before_anything_is_sent(hub, push, folder, name):
    break_it, message = BREAKAGES[name]
    break_it(folder)
    with pytest.raises(ModelError, match=message):
        push(folder)
    assert hub.requests == []


@pytest.mark.slow  # two fresh processes
def test_the_command_prints_the_address_or_one_line_and_a_status(hub, api, folder, tmp_path):
    repository = Path(__file__).parents[2]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    environment |= {"PYTHONPATH": str(repository)}

    def command(*arguments):
        words = [sys.executable, "-m", "hf_lesionseg.cli", "push", *arguments]
        return subprocess.run(words, env=environment, capture_output=True, text=True)

    done = command(folder, REPO, "--token", hub.token, "--license", "mit")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{hub.endpoint}/{REPO}"
    assert "model.safetensors" in done.stderr  # the client's progress bar
    assert api.model_info(REPO).card_data.license == "mit"

    refused = command(folder, REPO, "--token", "hf_wrong")
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith("error: http://127.0.0.1")
    assert "Traceback" not in refused.stderr


def test_a_rehearsal_writes_what_is_published_and_sends_nothing(hub, push, download, folder, tmp_path):
    sent = len(hub.requests)
    files = write_dry_run(folder, tmp_path / "rehearsal", REPO, splits=False)
    assert len(hub.requests) == sent
    push(folder, splits=False)
    for name in files:
        assert (tmp_path / "rehearsal" / name).read_bytes() == download(name), name
    assert set(files) == set(HfApi(endpoint=hub.endpoint).list_repo_files(REPO, token=hub.token)) - {".gitattributes"}
    with pytest.raises(UsageError, match="not an empty folder"):
        write_dry_run(folder, tmp_path / "rehearsal", REPO)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError):
        write_dry_run(folder, tmp_path / "broken", REPO)
    assert not (tmp_path / "broken").exists()
