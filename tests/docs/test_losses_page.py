"""The table of docs/reference/losses.md says of each loss what the code does."""

import re
from pathlib import Path

import yaml

from hf_lesionseg.models import MODEL_REGISTRY
from hf_lesionseg.models.losses import LOSSES, complete_settings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "losses.md"


def test_the_table_has_every_loss_with_its_settings_and_defaults():
    rows = re.findall(r"^\| `([\w-]+)` \| (.*?) ?\| ", PAGE.read_text("utf-8"), re.MULTILINE)
    told = {
        name: {key: yaml.safe_load(text) for key, text in re.findall(r"`(\w+)` ([^,]+)", cell)} for name, cell in rows
    }
    told = {
        name: {key: float(value) if value else value for key, value in known.items()} for name, known in told.items()
    }
    assert told == {name: complete_settings(name) for name in LOSSES}


def test_the_table_names_the_default_of_the_papers_networks():
    text = PAGE.read_text("utf-8")
    names = {
        "clci-net": "CLCI-Net",
        "res-unet": "Residual U-Net",
        "ms-dcnn": "MS-DCNN",
        "l-snet": "L-SNet",
        "egs-net": "EGS-Net",
    }
    for model_type, network in MODEL_REGISTRY.items():
        if model_type in names:
            loss = network.config_class()().loss
            row = next(line for line in text.splitlines() if line.startswith(f"| `{loss}`"))
            assert names[model_type] in row.split("|")[-2]
