"""From a model folder to the Hub and back: fresh processes, empty caches, a server on HTTP.

Each process imports torch and transformers anew, so one journey does many things and the tests look at its report.
"""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
from huggingface_hub import HfApi, constants

from hf_lesionseg.hub.publish import publish
from hf_lesionseg.testing.loopback_hub import LoopbackHub

REPO, TOKEN = "org/clci-net", "hf_loopback"


@pytest.fixture(scope="module")
def expected(model_folder, scan_file):
    """Logits and mask of the network before it was published."""
    import torch

    from hf_lesionseg import CLCINetForSemanticSegmentation, LesionImageProcessor

    processor = LesionImageProcessor.from_pretrained(model_folder)
    inputs = processor.preprocess(str(scan_file), return_tensors="pt")
    with torch.inference_mode():
        logits = CLCINetForSemanticSegmentation.from_pretrained(model_folder).eval()(inputs["pixel_values"]).logits
    mask = processor.post_process_segmentation(logits, inputs["geometry"])[0]["mask"]
    assert 0.02 < mask.mean() < 0.98, "a mask of one value would be equal to anything"
    return SimpleNamespace(logits=logits.numpy(), mask=mask)


@pytest.fixture(scope="module")
def published(model_folder, tmp_path_factory):
    """A Hub where ``v1`` is an older version of the network than ``main``; yields server, store and token."""
    root = tmp_path_factory.mktemp("round-trip")
    older = shutil.copytree(model_folder, root / "older")
    weights = safetensors.torch.load_file(older / "model.safetensors")
    weights["head.bias"] += 1
    safetensors.torch.save_file(weights, older / "model.safetensors", metadata={"format": "pt"})
    with pytest.MonkeyPatch.context() as patch, LoopbackHub(root / "hub", token=TOKEN) as hub:
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        publish(older, REPO, endpoint=hub.endpoint, token=TOKEN)
        HfApi(endpoint=hub.endpoint, token=TOKEN).create_tag(REPO, tag="v1")
        publish(model_folder, REPO, endpoint=hub.endpoint, token=TOKEN)
        yield hub


@pytest.fixture(scope="module")
def journey(published, scan_file, tmp_path_factory, run_python):
    """A user with the package: cold, warm, an old revision, mistakes, the card's examples; then offline."""
    folder = tmp_path_factory.mktemp("journey")
    common = {"home": folder / "home", "OMP_NUM_THREADS": "1"}
    first = len(published.requests)
    online = run_python(
        "journey_with_package.py", REPO, scan_file, folder / "online.npz", endpoint=published.endpoint, **common
    )
    offline = run_python(
        "journey_with_package.py", REPO, scan_file, folder / "offline.npz", "--offline",
        endpoint="http://127.0.0.1:9", HF_HUB_OFFLINE="1", **common,
    )  # fmt: skip
    return SimpleNamespace(
        online=online,
        offline=offline,
        requests=published.requests[first:],
        arrays=dict(np.load(folder / "online.npz")),
        offline_arrays=dict(np.load(folder / "offline.npz")),
    )


def downloads(requests, file):
    return [request for request in requests if request.method == "GET" and request.path.endswith(f"/{file}")]


def split_log(requests, *stages):
    """Cut the server's log at the requests that the process made for this purpose."""
    parts, rest = [], list(requests)
    for name in stages:
        at = next(i for i, request in enumerate(rest) if request.path == f"/stage/{name}")
        parts.append(rest[:at])
        rest = rest[at + 1 :]
    return [*parts, rest]


def test_auto_model_gives_the_packages_class_and_equal_logits(journey, expected):
    assert journey.online["classes"] == [
        "hf_lesionseg.models.modeling_clci_net.CLCINetForSemanticSegmentation",
        "LesionImageProcessor",
    ]
    assert journey.online["warm"] == "CLCINetForSemanticSegmentation"
    np.testing.assert_allclose(journey.arrays["logits"], expected.logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(journey.arrays["mask"], expected.mask)


def test_weights_are_downloaded_once(journey):
    cold, warm, _ = split_log(journey.requests, "warm", "other")
    assert len(downloads(cold, "model.safetensors")) == 1
    assert downloads(cold, "model.safetensors")[0].sent > 100_000
    assert warm, "a warm load asks the Hub for the newest revision"
    assert not downloads(warm, "model.safetensors")
    assert not [request for request in warm if request.method == "GET" and "/resolve/" in request.path]


def test_a_revision_is_what_it_was(journey, expected):
    np.testing.assert_allclose(journey.arrays["tagged"], expected.logits + 1, rtol=1e-5, atol=1e-5)


def test_offline_from_the_cache(journey, expected):
    np.testing.assert_allclose(journey.offline_arrays["logits"], expected.logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(journey.offline_arrays["mask"], expected.mask)
    assert re.search("offline|cached", journey.offline["missing"])


def test_mistakes_are_named(journey):
    assert "org/never-seen is not a local folder and is not a valid model identifier" in journey.online["missing"]
    assert "v9 is not a valid git identifier" in journey.online["revision"]
    assert "Invalid credentials in Authorization header" in journey.online["token"]


def test_the_examples_of_the_card_give_the_mask(journey, expected):
    np.testing.assert_array_equal(journey.arrays["card_steps"], expected.mask)
    np.testing.assert_array_equal(journey.arrays["card_pipeline"], expected.mask)


@pytest.fixture(scope="module")
def environment_without_package(tmp_path_factory):
    """A virtual environment that has everything installed here, by links, but for this package."""
    folder = tmp_path_factory.mktemp("environment")
    libraries = folder / "libraries"
    libraries.mkdir()
    for name in ("torch", "transformers"):
        for entry in Path(importlib.util.find_spec(name).origin).parents[1].iterdir():
            # "__editable__...hf_lesionseg...", "hf_lesionseg-0.1.0.dist-info", and .pth files that lead back to us
            ours = "lesionseg" in entry.name.lower() or entry.suffix in (".pth", ".egg-link")
            if not ours and not (libraries / entry.name).exists():
                (libraries / entry.name).symlink_to(entry)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (site_packages,) = (folder / "venv").glob("[Ll]ib/**/site-packages")
    (site_packages / "libraries.pth").write_text(f"{libraries}\n")
    (python,) = (folder / "venv").glob("*/python")
    return python


def test_trust_remote_code_in_an_environment_without_the_package(
    published, environment_without_package, scan_file, expected, run_python, tmp_path
):
    report = run_python(
        "journey_without_package.py", REPO, scan_file, tmp_path / "out.npz",
        endpoint=published.endpoint, home=tmp_path / "home", python=environment_without_package, with_package=False,
        OMP_NUM_THREADS="1",
    )  # fmt: skip
    assert report["prefix"] == str(environment_without_package.parents[1])
    assert report["package"] is False
    assert all(name.startswith("transformers_modules.org.clci_hyphen_net.") for name in report["classes"].values())
    assert report["classes"]["AutoModelForSemanticSegmentation"] == report["classes"]["AutoModel"]
    assert report["classes"]["AutoModel"].endswith(".modeling_clci_net.CLCINetForSemanticSegmentation")
    assert report["classes"]["AutoImageProcessor"].endswith(".image_processing_lesion.LesionImageProcessor")
    arrays = np.load(tmp_path / "out.npz")
    np.testing.assert_allclose(arrays["logits"], expected.logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(arrays["mask"], expected.mask)
