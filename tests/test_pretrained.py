"""The packaged network: there, whole, found by its name, and computed with in float32 wherever it is loaded."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import hf_lesionseg
from hf_lesionseg.cli import main
from hf_lesionseg.errors import ModelError
from hf_lesionseg.inference import load_model, segment_cases
from hf_lesionseg.inference.record import fingerprint
from hf_lesionseg.pretrained import DEFAULT, FOLDER, find_packaged, locate_model, packaged_model, packaged_networks

REPOSITORY = Path(__file__).parents[1]
FILES = {"config.json", "preprocessor_config.json", "model.safetensors", "README.md", "packaged.json"}


@pytest.fixture
def run(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return end.value.code or 0, told.out, told.err

    return run


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "t1.nii.gz"
    voxels = np.random.default_rng(0).uniform(1, 100, (20, 24, 6)).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, np.diag([4, 4, 4, 1])), path)
    return path


@pytest.mark.parametrize("network", packaged_networks(), ids=lambda network: network.name)
def test_each_folder_is_whole_and_small(network):
    assert {path.name for path in network.folder.iterdir()} >= FILES
    weights = network.folder / "model.safetensors"
    assert weights.stat().st_size <= 6_000_000
    record = network.record
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == record["weights"]["sha256"]
    assert min(record["weights"]["dice_against_float32"]) >= 0.999
    assert record["training"]["step"] > 0
    assert record["data"]["sources"], "sources with their licences"
    assert all(row["licence"] for row in record["data"]["sources"])
    card = (network.folder / "README.md").read_text("utf-8")
    assert card.split("---")[2].strip().startswith("**Research use only. Not a medical device.**")
    assert "synthetic" in card


def test_the_default_comes_first():
    assert next(network.name for network in packaged_networks()) == DEFAULT


def test_a_name_is_found_and_a_local_folder_goes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_packaged(DEFAULT).folder == FOLDER / DEFAULT
    assert locate_model(DEFAULT) == FOLDER / DEFAULT
    assert find_packaged(packaged_model()).name == DEFAULT, "also by its path"
    for other in ("org/clci-net", "stroke", "", tmp_path):
        assert find_packaged(other) is None
        assert locate_model(other) == other
    (tmp_path / DEFAULT).mkdir()
    assert find_packaged(DEFAULT) is None
    with pytest.raises(ModelError, match=rf"{DEFAULT}: no config.json in this folder"):
        load_model(DEFAULT)


def test_an_unknown_name_tells_the_known_ones():
    with pytest.raises(ModelError, match=rf"stroke-t9w: no network of that name .* packaged are: .*{DEFAULT}"):
        packaged_model("stroke-t9w")


def test_stored_in_half_and_loaded_in_full():
    from transformers import AutoModel

    stored = load_file(FOLDER / DEFAULT / "model.safetensors")
    assert {value.dtype for value in stored.values() if value.ndim > 1} == {torch.float16}
    for model in (load_model(DEFAULT).model, AutoModel.from_pretrained(packaged_model())):
        assert model.dtype == torch.float32
        for name, value in model.state_dict().items():
            assert value.dtype in (torch.float32, torch.int64)
            assert value.equal(stored[name].to(value.dtype))


def test_the_task_has_it_as_its_default_without_a_connection(scan):
    program = (
        "import hf_lesionseg\n"
        "from transformers import pipeline\n"
        "segmenter = pipeline('lesion-segmentation')\n"
        f"print(segmenter.model.dtype, segmenter({str(scan)!r})['mask'].shape)\n"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "torch.float32 (20, 24, 6)", done.stderr


def test_segment_needs_no_model_and_records_which_it_was(run, scan, tmp_path):
    status, _, errors = run("segment", scan, "-o", tmp_path / "out")
    assert status == 0, errors
    model = json.loads((tmp_path / "out" / "t1_record.json").read_text())["model"]
    assert (model["id"], model["packaged"], model["commit"]) == (DEFAULT, DEFAULT, None)
    assert model["weights_sha256"] == find_packaged(DEFAULT).record["weights"]["sha256"]
    status, _, errors = run("segment", scan, "--model", DEFAULT, "-o", tmp_path / "out", "--skip-existing")
    assert status == 0, errors


def test_no_model_is_the_packaged_one_also_beside_a_folder_of_its_name(run, scan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / DEFAULT).mkdir()
    assert run("segment", scan, "-o", tmp_path / "out")[0] == 0
    status, _, errors = run("segment", scan, "-m", DEFAULT, "-o", tmp_path / "other")
    assert (status, f"{DEFAULT}: no config.json in this folder" in errors) == (1, True)


def test_scans_of_another_kind_without_a_model_are_told_to_bring_theirs(run, scan, tmp_path):
    status, _, errors = run("segment", f"tmax={scan},cbf={scan}", "-o", tmp_path / "out")
    assert status == 2
    assert "'tmax' is not a channel of this network, which has t1w; " in errors
    assert "with --model" in errors


def test_a_copy_in_another_folder_gives_the_same_fingerprint(tmp_path):
    copy = shutil.copytree(packaged_model(), tmp_path / "copy")
    ours, theirs = load_model(DEFAULT), load_model(copy)
    assert (ours.packaged, theirs.packaged) == (DEFAULT, None)
    assert fingerprint({}, ours, {}) == fingerprint({}, theirs, {})


def test_python_takes_the_name_too(scan, tmp_path):
    run = segment_cases([scan], DEFAULT, tmp_path / "out")
    assert run.exit_status == 0


def test_models_lists_name_recipe_and_step(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    status, text, _ = run("models")
    assert status == 0
    training = find_packaged(DEFAULT).record["training"]
    for wanted in (f"{DEFAULT} (default)", training["recipe"]["name"], f"step {training['step']}", "synthetic"):
        assert wanted in text
    status, text, _ = run("models", "--json")
    (first, *_) = json.loads(text)
    assert (first["name"], first["default"], first["folder"]) == (DEFAULT, True, packaged_model())


def test_push_takes_the_name(run, tmp_path):
    status, text, errors = run("push", DEFAULT, "org/stroke-t1w", "--dry-run", tmp_path / "sent")
    assert status == 0, errors
    assert {"packaged.json", "model.safetensors", "README.md"} <= set(text.split())
    card = (tmp_path / "sent" / "README.md").read_text("utf-8")
    assert 'pipeline("lesion-segmentation", model="org/stroke-t1w")' in card
    assert "packaged_model" not in card


def test_training_starts_from_it():
    from hf_lesionseg.training.network import build_network
    from hf_lesionseg.training.recipe import load_recipe

    model = build_network(load_recipe("clci-net-heads-finetune"), DEFAULT, channels=3)
    assert model.dtype == torch.float32
    with pytest.raises(ModelError, match=rf"{DEFAULT}: takes 3 channels, the data have 1"):
        build_network(load_recipe("clci-net-heads-finetune"), DEFAULT, channels=1)


def test_the_recipe_that_adapts_it_prepares_what_it_takes():
    from hf_lesionseg import LesionImageProcessor
    from hf_lesionseg.training.recipe import load_recipe

    chosen_later = ("threshold", "minimum_lesion_ml")
    wanted = {k: v for k, v in load_model(DEFAULT).processor.settings().items() if k not in chosen_later}
    made = LesionImageProcessor(**load_recipe("clci-net-heads-finetune").processor).settings()
    assert {name: made[name] for name in wanted} == wanted


def test_it_travels_with_the_package(tmp_path):
    """setup.py's package data; the wheel itself is built by tests/ops/test_build.py."""
    source = tmp_path / "source"
    shutil.copytree(REPOSITORY / "hf_lesionseg", source / "hf_lesionseg", ignore=shutil.ignore_patterns("*.so"))
    shutil.copytree(REPOSITORY / "csrc", source / "csrc")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(REPOSITORY / name, source / name)
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path / "built")]
    environment = os.environ | {"HF_LESIONSEG_BUILD_KERNELS": "off"}
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    built, here = tmp_path / "built" / "hf_lesionseg" / "pretrained", Path(hf_lesionseg.pretrained.__file__).parent
    files = {path.relative_to(here) for path in here.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    copied = {path.relative_to(built) for path in built.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert copied == files
