"""A real Hub on loopback, a small network with a made-up training record, and processes that begin from nothing.

``HF_ENDPOINT`` and its kind are read when ``huggingface_hub`` is imported. So calls in this process name the endpoint
themselves, and everything that only the environment can set runs in a process of its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hf_lesionseg.testing.loopback_hub import LoopbackHub

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]

TOKEN = "hf_loopback"


@pytest.fixture(autouse=True)
def lfs_instead_of_xet(monkeypatch):
    """As ``HF_HUB_DISABLE_XET=1`` in this process: large files go by LFS, which the loopback server speaks."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)


@pytest.fixture(autouse=True)
def no_token_of_this_machine(monkeypatch, tmp_path):
    """Neither read nor touch the login of the person who runs the tests."""
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))


@pytest.fixture
def hub(tmp_path):
    with LoopbackHub(tmp_path / "hub", token=TOKEN) as running:
        yield running


@pytest.fixture(scope="session")
def run_python(tmp_path_factory):
    """Run a script of this folder in a fresh process with its own Hub cache; return what it printed last, as JSON."""

    def run(script, *arguments, endpoint, home, python=sys.executable, with_package=True, **environment):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PYTHON"))}
        environment = inherited | {
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(home),
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
            **({"PYTHONPATH": str(REPOSITORY)} if with_package else {}),
            **environment,
        }
        process = subprocess.run(
            [str(python), str(HERE / script), *map(str, arguments)],
            cwd=tmp_path_factory.mktemp("elsewhere"),
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert process.returncode == 0, process.stderr[-4000:]
        return json.loads(process.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="session")
def scan_file(tmp_path_factory):
    """A small head-like volume, left-handed and oblique, 4 slices high."""
    import nibabel

    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.linspace(-1, 1, 44), np.linspace(-1, 1, 52), indexing="ij")
    head = (x**2 + y**2 < 0.7)[..., None]
    volume = (head * (60 + 10 * rng.standard_normal((44, 52, 4)))).clip(0, 100).astype(np.float32)
    affine = np.diag([-1.0, 1.0, 2.0, 1.0])
    affine[:3, :3] @= np.array([[0.995, -0.0998, 0], [0.0998, 0.995, 0], [0, 0, 1]])
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(volume, affine), path)
    return path


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory, scan_file):
    """What training leaves, with a random network of base width 4; tests that change it take a copy."""
    import torch
    from PIL import Image

    from hf_lesionseg import CLCINetConfig, CLCINetForSemanticSegmentation, LesionImageProcessor
    from hf_lesionseg.models.outputs import lesion_probability

    folder = tmp_path_factory.mktemp("model") / "run"
    torch.manual_seed(0)
    model = CLCINetForSemanticSegmentation(CLCINetConfig(base_width=4)).eval()
    processor = LesionImageProcessor(size={"height": 48, "width": 48})
    with torch.inference_mode():
        logits = model(processor.preprocess(str(scan_file), return_tensors="pt")["pixel_values"]).logits
    processor.threshold = threshold_in_gap(lesion_probability(logits).numpy())
    model.save_pretrained(folder)
    processor.save_pretrained(folder)

    (folder / "training_summary.json").write_text(json.dumps(training_summary()))
    (folder / "splits.json").write_text(json.dumps({"train": ["sub-r001s001"], "test": ["sub-r009s002"]}))
    (folder / "history.jsonl").write_text('{"kind": "epoch", "step": 10, "epoch": 1, "loss": 0.9}\n')
    (folder / "figures").mkdir()
    for name in ("curves", "overlays"):
        Image.new("RGB", (4, 4)).save(folder / "figures" / f"{name}.png")
    (folder / "checkpoints" / "step_10").mkdir(parents=True)
    (folder / "checkpoints" / "step_10" / "model.safetensors").write_bytes(b"not for the Hub")
    (folder / "scan_of_a_patient.nii.gz").write_bytes(b"not for the Hub either")
    return folder


def threshold_in_gap(probability):
    """A threshold that cuts the values about in half and lies near none, so that rounding moves no voxel across."""
    values = np.unique(probability)
    middle = values[int(len(values) * 0.4) : int(len(values) * 0.6)]
    widest = np.diff(middle).argmax()
    return float(middle[widest : widest + 2].mean())


def training_summary(synthetic=True):
    """The record of a training run; its scores come from real masks through the package's own metrics."""
    from hf_lesionseg.evaluation.scored_case import case_metrics, failed_case
    from hf_lesionseg.evaluation.summary import summarize

    def case(name, overlap):
        truth, prediction = np.zeros((10, 10, 10), np.uint8), np.zeros((10, 10, 10), np.uint8)
        truth[:4, 0], prediction[4 - overlap : 8 - overlap, 0] = 1, 1
        return case_metrics(name, (prediction, truth), voxel_ml=0.5, person=name)

    test = [case("a", 4), case("b", 2), failed_case("c", "c.nii.gz: no prediction")]
    return {
        "recipe": {
            "name": "clci-net-atlas",
            "model_type": "clci-net",
            "paper": "Yang et al., CLCI-Net, MICCAI 2019, arXiv:1907.07008",
            "model": {"base_width": 4},
            "processor": {"slice_axis": "axial"},
            "learning_rate": 1e-4,
            "batch_size": 8,
            "mixed_precision": "no",
            "max_gradient_norm": None,
        },
        "paper": "Yang et al., CLCI-Net, MICCAI 2019, arXiv:1907.07008",
        "started_from": None,
        "data": {
            "name": "Generated strokes | ATLAS-like",
            "synthetic": synthetic,
            "licence": "as the MNI152NLin2009aSym template",
            "cases": {"train": 4, "validation": 2, "test": 3},
            "people": {"train": 3, "validation": 2, "test": 3},
            "split_seed": 7,
            "rejected": 1,
            "volume_ml": {"train": [1.0, 3.0, 8.0, 0.0], "validation": [2.0, 5.0], "test": [2.0, 20.0, 20.0]},
        },
        "best": {
            "epoch": 3,
            "step": 1234,
            "monitor": "validation_loss",
            "validation_loss": 0.4321,
            "validation_dice": 0.654,
        },
        "metrics": {"validation": summarize([case("v", 3)]), "test": summarize(test)},
        "cases": {"test": [entry.to_dict() for entry in test]},
        "run": {
            "steps": 2000,
            "epochs": 5,
            "seconds": 4215.0,
            "device": "cpu",
            "finished": "5 epochs",
            "processes": 1,
            "mixed_precision": "no",
            "versions": {"torch": "2.13.0", "transformers": "5.23.0"},
        },
        "model": {"model_type": "clci-net", "parameters": 577413, "base_width": 4},
    }
