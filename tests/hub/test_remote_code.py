"""The source files beside the weights: complete, unchanged, and enough to load without the package."""

import ast
import json
import shutil
import sys

import pytest
from transformers.dynamic_module_utils import get_relative_import_files

from hf_lesionseg.errors import ModelError
from hf_lesionseg.hub import remote_code
from hf_lesionseg.hub.remote_code import MODELS_FOLDER, add_remote_code, auto_map, check_remote_code, remote_code_files
from hf_lesionseg.models import MODEL_REGISTRY

ALLOWED = {"torch", "transformers", "huggingface_hub", "numpy", "scipy", "nibabel"}


@pytest.fixture
def folder(model_folder, tmp_path):
    return shutil.copytree(model_folder, tmp_path / "run")


@pytest.mark.parametrize("model_type", MODEL_REGISTRY)
def test_all_imported_files_are_found_as_transformers_finds_them(model_type):
    files = set(remote_code_files(model_type))
    for part in auto_map(model_type):
        for entry in part.values():
            file = MODELS_FOLDER / f"{entry.partition('.')[0]}.py"
            assert file in files
            assert set(get_relative_import_files(str(file))) <= {str(path) for path in files}


@pytest.mark.parametrize("model_type", MODEL_REGISTRY)
def test_published_files_import_nothing_that_a_user_may_lack(model_type):
    for file in remote_code_files(model_type):
        for node in ast.parse(file.read_text("utf-8")).body:  # top level: what is inside `try:` may be missing
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            strangers = {name.partition(".")[0] for name in names} - ALLOWED - set(sys.stdlib_module_names)
            assert not strangers, f"{file.name} imports {strangers}"


def test_adding_twice_changes_nothing(folder):
    copies = add_remote_code(folder)
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert {path.name for path in copies} >= {
        "configuration_clci_net.py",
        "modeling_clci_net.py",
        "layers.py",
        "image_processing_lesion.py",
        "volume_geometry.py",
    }
    assert add_remote_code(folder) == copies
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    for copy in copies:
        assert copy.read_bytes() == (MODELS_FOLDER / copy.name).read_bytes()


def test_auto_map_names_every_factory_and_keeps_the_settings(folder):
    before = json.loads((folder / "config.json").read_text())
    add_remote_code(folder)
    config = json.loads((folder / "config.json").read_text())
    assert config.pop("auto_map") == {
        "AutoConfig": "configuration_clci_net.CLCINetConfig",
        "AutoModel": "modeling_clci_net.CLCINetForSemanticSegmentation",
        "AutoModelForSemanticSegmentation": "modeling_clci_net.CLCINetForSemanticSegmentation",
    }
    assert config == before
    processor = json.loads((folder / "preprocessor_config.json").read_text())
    assert processor["auto_map"] == {"AutoImageProcessor": "image_processing_lesion.LesionImageProcessor"}


@pytest.mark.parametrize("line", ["from . import layers", "from ..errors import ModelError", "from .a.b import c"])
def test_an_import_that_the_hub_cannot_follow_is_refused(line, tmp_path, monkeypatch):
    for file in MODELS_FOLDER.glob("*.py"):
        shutil.copy(file, tmp_path)
    with (tmp_path / "losses.py").open("a") as losses:
        losses.write(f"\n{line}\n")
    monkeypatch.setattr(remote_code, "MODELS_FOLDER", tmp_path)
    with pytest.raises(ModelError, match=r"losses\.py:\d+: this relative import cannot be published"):
        remote_code_files("clci-net")


def test_an_unknown_network_is_refused(folder):
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="'bert' is not a network of this package"):
        add_remote_code(folder)


@pytest.mark.slow  # two fresh processes; test_round_trip.py covers the way over the Hub
def test_check_loads_without_the_package_and_tells_what_is_missing(folder):
    add_remote_code(folder)
    loaded = check_remote_code(folder)
    assert all(name.startswith("transformers_modules.") for name in loaded.values())
    assert loaded["model"].endswith("modeling_clci_net.CLCINetForSemanticSegmentation")
    (folder / "layers.py").unlink()
    with pytest.raises(ModelError, match=r"does not load with trust_remote_code=True \(.*layers"):
        check_remote_code(folder)
