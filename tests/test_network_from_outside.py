"""A network of another package: its two files and its entry, and everything of this package works with it."""

import importlib
import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSemanticSegmentation

from hf_lesionseg import LesionImageProcessor, Network, register_network
from hf_lesionseg.errors import ModelError
from hf_lesionseg.hub.model_card import write_model_card
from hf_lesionseg.hub.model_check import check_model_folder
from hf_lesionseg.hub.remote_code import add_remote_code
from hf_lesionseg.inference import load_model, segment_cases
from hf_lesionseg.models import MODEL_REGISTRY
from hf_lesionseg.testing.networks import tiny_batch, tiny_model
from hf_lesionseg.training.network import build_network
from hf_lesionseg.training.recipe import load_recipe

CONFIGURATION = """
from huggingface_hub.dataclasses import strict

from hf_lesionseg.models.configuration_segmenter import SegmenterConfig


@strict
class ToyConfig(SegmenterConfig):
    model_type = "toy"
    base_width: int = 16
    stride = 1
"""

MODELING = """
from torch import nn

from hf_lesionseg.models.one_stage import OneStageSegmenter

from .settings import ToyConfig


class Layers(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.only = nn.Conv2d(config.num_channels, config.num_logits, 3, padding=1)

    def forward(self, images):
        logits = self.only(images)
        return logits, (logits,)


class ToyForSemanticSegmentation(OneStageSegmenter):
    config: ToyConfig
    config_class = ToyConfig
    base_model_prefix = "toy"

    @staticmethod
    def build_network(config):
        return Layers(config)
"""

ENTRY = Network(
    "toy",
    "ToyConfig",
    "ToyForSemanticSegmentation",
    modules=("toys_of_ours.settings", "toys_of_ours.layers"),
    name="Toy",
    pitfalls=("It sees three pixels at a time.",),
    tiny={"base_width": 2},
)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The package ``toys_of_ours``, installed as far as Python can tell, and its network registered."""
    package = tmp_path / "site" / "toys_of_ours"
    package.mkdir(parents=True)
    for name, text in (("__init__", ""), ("settings", CONFIGURATION), ("layers", MODELING)):
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setitem(MODEL_REGISTRY, ENTRY.model_type, ENTRY)  # taken back afterwards
    register_network(ENTRY)
    yield ENTRY
    for name in [name for name in sys.modules if name.partition(".")[0] == "toys_of_ours"]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def folder(toy, tmp_path):
    """As ``save_pretrained`` leaves it."""
    tiny_model("toy").eval().save_pretrained(tmp_path / "model")
    LesionImageProcessor().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_the_auto_classes_and_the_shared_tests_know_it(toy):
    config = AutoConfig.for_model("toy")
    for factory in (AutoModel, AutoModelForSemanticSegmentation):
        assert type(factory.from_config(config)) is toy.model_class()
    assert torch.isfinite(tiny_model("toy")(**tiny_batch("toy")).loss)


def test_a_recipe_trains_it(toy, tmp_path):
    (tmp_path / "toy.yaml").write_text("model_type: toy\nmodel: {base_width: 2}\n")
    assert type(build_network(load_recipe(str(tmp_path / "toy.yaml")), channels=1)) is toy.model_class()


def test_it_segments_a_scan(folder, tmp_path):
    scan = np.random.default_rng(0).uniform(1, 90, (30, 32, 2)).astype(np.float32)
    nib.save(nib.Nifti1Image(scan, np.diag([2.0, 2, 4, 1])), tmp_path / "scan.nii.gz")
    run = segment_cases([tmp_path / "scan.nii.gz"], load_model(folder), tmp_path / "masks")
    assert run.exit_status == 0, run.outcomes
    record = json.loads(Path(run.outcomes[0].files["record"]).read_text())
    assert record["model"]["model_type"] == "toy"


def test_its_card_says_what_is_special_and_its_source_stays_where_it_is(folder):
    check_model_folder(folder)
    card = write_model_card(folder, "org/toy").read_text("utf-8")
    assert "# Toy for lesion segmentation" in card
    assert ENTRY.pitfalls[0] in card
    with pytest.raises(ModelError, match=r"'toy' is defined in toys_of_ours\.layers.*--no-remote-code"):
        add_remote_code(folder)
