"""Exported networks: every registered one at sizes that its graph was not made at, and the command line on them."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from hf_lesionseg.errors import ModelError, UsageError
from hf_lesionseg.export.command import export_model
from hf_lesionseg.export.formats import FORMATS, ExportedFolder
from hf_lesionseg.export.graph import smallest_side, trace
from hf_lesionseg.export.parity import SIZES, check_parity
from hf_lesionseg.inference.backends import load_exported
from hf_lesionseg.inference.loading import LoadedModel
from hf_lesionseg.models import MODEL_REGISTRY
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.testing.networks import tiny_batch, tiny_model

WITH_ONNX = all(__import__("importlib").util.find_spec(name) for name in FORMATS["onnx"].needs)
needs_onnx = pytest.mark.skipif(not WITH_ONNX, reason="the extra onnx is not installed")

EXPORTABLE = [name for name, network in MODEL_REGISTRY.items() if not network.finds_regions]
QUICK = {"unet-bn", "pspnet"}
TRACED = [
    pytest.param(name, marks=[pytest.mark.slow] if MODEL_REGISTRY[name].slow_to_trace else []) for name in EXPORTABLE
]
IN_ONNX = [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in EXPORTABLE]


def loaded(model_type):
    model = tiny_model(model_type).eval()
    return LoadedModel(model, LesionImageProcessor.clci_net_recipe(), f"tiny {model_type}")


@pytest.mark.parametrize("model_type", TRACED)
def test_one_graph_serves_every_size(model_type):
    model = tiny_model(model_type).eval()
    program = trace(model)
    run = program.module()
    check_parity(model, lambda images: run(pixel_values=torch.from_numpy(images)).detach().numpy(), model_type)
    targets = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert not [name for name in targets if name.startswith("hf_lesionseg")]  # other runtimes know none of them


@pytest.mark.parametrize("model_type", TRACED)
def test_a_jit_trace_serves_every_size(model_type):
    model = tiny_model(model_type).eval()

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, images):
            return self.model(pixel_values=images).logits

    with torch.no_grad():
        traced = torch.jit.trace(Logits(), tiny_batch(model_type, 64, 64)["pixel_values"], check_trace=False)
        check_parity(model, lambda images: traced(torch.from_numpy(images)).numpy(), model_type)


@needs_onnx
@pytest.mark.parametrize("model_type", IN_ONNX)
def test_onnx_file_equals_its_network(model_type, tmp_path):
    exported = export_model(loaded(model_type), tmp_path / "out")
    assert [tuple(compared["size"]) for compared in exported.content["parity"]] == list(SIZES)
    assert {path.name for path in exported.folder.iterdir()} == {
        "model.onnx", "config.json", "preprocessor_config.json", "export.json",
    }  # fmt: skip
    model, run = tiny_model(model_type).eval(), FORMATS["onnx"].open(exported.file)
    side = smallest_side(model.config)  # the smallest that it promises
    images = tiny_batch(model_type, side, side, 1)["pixel_values"]
    with torch.no_grad():
        np.testing.assert_allclose(run(images.numpy()), model(images).logits.numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_torch_export_file_needs_torch_alone(tmp_path):
    exported = export_model(loaded("clci-net"), tmp_path / "out", "torch-export")
    program = (
        "import sys, torch; logits = torch.export.load(sys.argv[1]).module()(pixel_values=torch.rand(3, 1, 50, 41)); "
        "assert logits.shape == (3, 1, 50, 41) and 'hf_lesionseg' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, exported.file], check=True, cwd=tmp_path)


def test_a_file_that_computes_something_else_is_not_kept(tmp_path, monkeypatch):
    other = trace(tiny_model("unet-bn", base_width=2).eval())
    kind = FORMATS["torch-export"]
    monkeypatch.setitem(
        FORMATS, "torch-export", type(kind)(kind.file, lambda program, path: kind.write(other, path), kind.open)
    )
    with pytest.raises(ModelError, match=r"model\.pt2: its logits differ from the network's by .* was not kept"):
        export_model(loaded("unet-bn"), tmp_path / "out", "torch-export")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("model_type", [name for name in MODEL_REGISTRY if name not in EXPORTABLE])
def test_networks_without_a_graph_say_why(model_type, tmp_path):
    with pytest.raises(ModelError, match=f"{model_type} cannot be exported; SciPy finds its regions"):
        export_model(loaded(model_type), tmp_path / "out", "torch-export")
    assert list(tmp_path.iterdir()) == []


def test_wrong_calls(tmp_path):
    with pytest.raises(UsageError, match="format 'tflite' is unknown; use onnx, torch-export"):
        export_model(loaded("unet-bn"), tmp_path / "out", "tflite")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="full exists already; choose a new folder"):
        export_model(loaded("unet-bn"), tmp_path / "full", "torch-export")
    with pytest.raises(ModelError, match=r"no export\.json in this folder"):
        ExportedFolder.read(tmp_path)
    (tmp_path / "export.json").write_text("{}")
    with pytest.raises(ModelError, match="none of this package's"):
        ExportedFolder.read(tmp_path)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """A network as torch and as ONNX have it, and a scan."""
    import nibabel as nib

    root = tmp_path_factory.mktemp("networks")
    model, processor = tiny_model("unet-bn").eval(), LesionImageProcessor.clci_net_recipe()
    with torch.no_grad():
        model.network.head.bias.sub_(_median_logit(model))  # so that a part of the scan is lesion
    model.save_pretrained(root / "torch")
    processor.save_pretrained(root / "torch")
    scan = np.random.default_rng(0).uniform(10, 90, (60, 70, 6)).astype(np.float32)
    nib.save(nib.Nifti1Image(scan, np.diag([3.0, 3.0, 3.0, 1])), root / "scan.nii.gz")
    if WITH_ONNX:
        export_model(root / "torch", root / "onnx")
    return root


def _median_logit(model):
    with torch.no_grad():
        logits = model(torch.rand(1, 1, 224, 176, generator=torch.Generator().manual_seed(0))).logits
    return logits.median()


def run(*words):
    from typer.testing import CliRunner

    from hf_lesionseg.cli.app import app

    return CliRunner().invoke(app, [str(word) for word in words])


def segmented(folder):
    import nibabel as nib

    record = json.loads((folder / "scan_record.json").read_text())
    return np.asarray(nib.load(folder / "scan_mask.nii.gz").dataobj) > 0, record


@needs_onnx
def test_masks_of_onnxruntime_agree_with_torchs(networks, tmp_path):
    for name, options in (("torch", ()), ("onnx", ("--backend", "onnxruntime"))):
        done = run("segment", networks / "scan.nii.gz", "-m", networks / name, "-o", tmp_path / name, *options)
        assert done.exit_code == 0, done.output
    (ours, plain), (theirs, record) = segmented(tmp_path / "torch"), segmented(tmp_path / "onnx")
    assert 0.05 < ours.mean() < 0.95
    assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) >= 0.999
    assert plain["backend"]["name"] == "torch"
    assert record["backend"]["name"] == "onnxruntime"
    assert record["model"]["exported_from"]["weights_sha256"] == plain["model"]["weights_sha256"]
    assert record["model"]["parameters"] == plain["model"]["parameters"]
    assert record["model"]["weights_sha256"] != plain["model"]["weights_sha256"]
    assert record["fingerprint"] != plain["fingerprint"]


@needs_onnx
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--backend", "tensorrt"), "backend 'tensorrt' is unknown; use torch, onnxruntime"),
        (("--backend", "onnxruntime", "--precision", "bfloat16"), "the exported file computes in float32"),
        (("--backend", "onnxruntime", "--compile"), "compile is torch's"),
        (("--backend", "onnxruntime", "--memory-format", "contiguous"), "memory format 'contiguous' is torch's"),
        (("--backend", "onnxruntime", "--device", "cuda"), "computes on the processor; use auto or cpu"),
        ((), "holds an exported network; run it by the backend onnxruntime"),
    ],
)
def test_what_an_exported_network_cannot_do(networks, tmp_path, options, reason):
    done = run("segment", networks / "scan.nii.gz", "-m", networks / "onnx", "-o", tmp_path / "out", *options)
    assert done.exit_code in (1, 2)
    assert reason in done.stderr


@needs_onnx
def test_damaged_exports_are_refused(networks, tmp_path):
    folder = tmp_path / "onnx"
    shutil.copytree(networks / "onnx", folder)
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-9])
    done = run("segment", networks / "scan.nii.gz", "-m", folder, "-o", tmp_path / "out", "--backend", "onnxruntime")
    assert done.exit_code == 1
    assert "model.onnx: is not the file that export.json describes" in done.stderr
    (folder / "model.onnx").unlink()
    done = run("segment", networks / "scan.nii.gz", "-m", folder, "-o", tmp_path / "out", "--backend", "onnxruntime")
    assert "model.onnx: is missing" in done.stderr


@needs_onnx
def test_slices_smaller_than_the_graph_takes_are_refused(networks):
    network = load_exported(networks / "onnx").model
    assert network(torch.rand(1, 1, 17, 20)).logits.shape == (1, 1, 17, 20)
    with pytest.raises(ModelError, match="sides of 17 to 4096 pixels, and these have 16x20; use the backend torch"):
        network(torch.rand(1, 1, 16, 20))


@needs_onnx
def test_export_command_tells_the_parity(networks, tmp_path):
    done = run("export", networks / "torch", "-o", tmp_path / "out", "--format", "torch-export")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("logits differ by") == 3
    assert done.stdout.replace("\n", "").endswith("model.pt2")
