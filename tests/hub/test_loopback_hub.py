"""The loopback server speaks the Hub's protocol: asked by the Hub's own client."""

import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, constants, hf_hub_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from hf_lesionseg.testing.loopback_hub import LoopbackHub

REPO, TOKEN = "org/network", "hf_loopback"


@pytest.fixture
def api(hub):
    return HfApi(endpoint=hub.endpoint, token=TOKEN)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "folder" / "figures").mkdir(parents=True)
    (tmp_path / "folder" / "config.json").write_text('{"model_type": "clci-net"}')
    (tmp_path / "folder" / "README.md").write_text(
        "---\ntags: [nifti]\npipeline_tag: image-segmentation\n---\n# Card\n"
    )
    (tmp_path / "folder" / "figures" / "curve.png").write_bytes(b"png")
    (tmp_path / "folder" / "model.safetensors").write_bytes(os.urandom(3_000_000))
    return tmp_path / "folder"


@pytest.fixture
def no_waiting(monkeypatch):
    """The client's pauses between its retries pass at once; the retries are real."""
    clock = SimpleNamespace(sleep=lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.utils._http.time", clock)


def upload(api, folder):
    api.create_repo(REPO, exist_ok=True)
    return api.upload_folder(repo_id=REPO, folder_path=folder)


def lfs_uploads(hub):
    return [request for request in hub.requests if request.method == "PUT" and request.path.startswith("/_lfs/")]


def test_what_was_uploaded_comes_down_unchanged(hub, api, folder, tmp_path):
    upload(api, folder)
    for name in ("config.json", "figures/curve.png", "model.safetensors"):
        fetched = hf_hub_download(REPO, name, endpoint=hub.endpoint, token=TOKEN, cache_dir=tmp_path / "cache")
        assert Path(fetched).read_bytes() == (folder / name).read_bytes()
    info = api.model_info(REPO)
    assert info.config == {"model_type": "clci-net"}
    assert info.pipeline_tag == "image-segmentation"
    assert "nifti" in info.tags
    tree = {entry.path: entry for entry in api.list_repo_tree(REPO)}
    assert set(tree) == {".gitattributes", "README.md", "config.json", "model.safetensors", "figures"}
    assert tree["model.safetensors"].lfs.size == 3_000_000
    assert tree["config.json"].lfs is None


def test_unchanged_files_are_not_sent_again(hub, api, folder):
    first = upload(api, folder)
    sent = len(lfs_uploads(hub))
    assert upload(api, folder).oid == first.oid
    assert len(lfs_uploads(hub)) == sent
    assert len(api.list_repo_commits(REPO)) == 2


def test_a_commit_deletes_files_and_refuses_what_was_never_uploaded(hub, api, folder):
    upload(api, folder)
    api.delete_file("config.json", REPO)
    assert "config.json" not in api.list_repo_files(REPO)
    line = b'{"key": "lfsFile", "value": {"path": "a.bin", "algo": "sha256", "oid": "%s", "size": 1}}' % (b"0" * 64)
    request = urllib.request.Request(
        f"{hub.endpoint}/api/models/{REPO}/commit/main", data=line, headers={"Authorization": f"Bearer {TOKEN}"}
    )
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request)
    assert "a.bin" not in api.list_repo_files(REPO)


def test_branches_and_tags_keep_what_they_point_to(api, folder):
    first = upload(api, folder).oid
    api.create_tag(REPO, tag="v1")
    api.create_branch(REPO, branch="trial")
    api.upload_file(repo_id=REPO, path_or_fileobj=b"new", path_in_repo="new.txt")
    api.upload_file(repo_id=REPO, path_or_fileobj=b"x", path_in_repo="trial.txt", revision="trial")
    assert api.model_info(REPO, revision="v1").sha == first
    assert "new.txt" not in api.list_repo_files(REPO, revision="trial")
    assert "trial.txt" not in api.list_repo_files(REPO)
    assert {ref.name for ref in api.list_repo_refs(REPO).branches} == {"main", "trial"}
    api.delete_tag(REPO, tag="v1")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(REPO, revision="v1")


def test_errors_are_those_of_the_hub(hub, api, folder):
    upload(api, folder)
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("org/missing")
    with pytest.raises(RemoteEntryNotFoundError):
        api.hf_hub_download(REPO, "missing.txt")
    with pytest.raises(HfHubHTTPError, match="403"):
        api.create_repo("stranger/network")
    with pytest.raises(HfHubHTTPError, match="401"):
        HfApi(endpoint=hub.endpoint, token="hf_wrong").model_info(REPO)
    api.create_repo("org/secret", private=True)
    with pytest.raises(RepositoryNotFoundError):
        HfApi(endpoint=hub.endpoint, token=False).model_info("org/secret")
    assert api.model_info("org/secret").private


def test_a_range_of_a_file(hub, api, folder):
    upload(api, folder)
    request = urllib.request.Request(
        f"{hub.endpoint}/{REPO}/resolve/main/model.safetensors", headers={"Range": "bytes=100-199"}
    )
    with urllib.request.urlopen(request) as response:
        assert response.status == 206
        assert response.headers["Content-Range"] == "bytes 100-199/3000000"
        assert response.read() == (folder / "model.safetensors").read_bytes()[100:200]


def test_a_dropped_upload_leaves_no_blob_and_is_repeated_by_the_client(hub, api, folder, no_waiting):
    hub.faults.drop_uploads = 2
    upload(api, folder)
    weights = [request.status for request in lfs_uploads(hub)]
    assert sorted(weights) == [0, 0, 200, 200]  # two cut, then weights and figure
    assert not list((hub.store.blobs).glob("*.aside"))


def test_injected_server_errors_pass(hub, api, folder, no_waiting):
    hub.faults.errors = [["POST", "/preupload/", 503, 2]]
    upload(api, folder)
    assert [request.status for request in hub.requests if "/preupload/" in request.path] == [503, 503, 200]


def test_without_lfs_a_client_may_leave_xet_on(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    with LoopbackHub(tmp_path / "plain", token=TOKEN, lfs=False) as hub:
        api = HfApi(endpoint=hub.endpoint, token=TOKEN)
        upload(api, folder)
        assert not lfs_uploads(hub)
        fetched = api.hf_hub_download(REPO, "model.safetensors", cache_dir=tmp_path / "cache")
        assert Path(fetched).read_bytes() == (folder / "model.safetensors").read_bytes()


def test_the_command_prints_its_endpoint_first_and_keeps_its_store(tmp_path):
    def start():
        return subprocess.Popen(
            [sys.executable, "-m", "hf_lesionseg.testing.loopback_hub", "--port", "0", "--root", tmp_path / "store"],
            stdout=subprocess.PIPE,
            text=True,
        )

    for round_ in range(2):
        with start() as server:
            try:
                endpoint = server.stdout.readline().strip()
                assert endpoint.startswith("http://127.0.0.1:")
                api = HfApi(endpoint=endpoint, token="hf_any")
                if round_ == 0:
                    api.create_repo(REPO)
                    api.create_commit(REPO, [CommitOperationAdd("a.txt", b"kept")], commit_message="Add a.txt")
                else:
                    assert "a.txt" in api.list_repo_files(REPO)
            finally:
                server.terminate()
