"""A network under torch.compile: same masks, one graph for batches of any length, compile time told apart."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch

from hf_lesionseg.errors import UsageError
from hf_lesionseg.inference import Computing, segment_cases
from hf_lesionseg.inference.backends import CompiledNetwork, network_for
from hf_lesionseg.inference.loading import LoadedModel
from hf_lesionseg.inference.prepared import prepare_network
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.testing.networks import tiny_model

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")


def loaded(model_type, **settings):
    return LoadedModel(tiny_model(model_type, **settings).eval(), LesionImageProcessor.clci_net_recipe(), model_type)


def test_what_finds_regions_is_not_compiled():
    with pytest.raises(UsageError, match="l-snet cannot be compiled as one graph"):
        network_for(loaded("l-snet"), Computing(compile=True))


def test_nothing_changes_where_nothing_is_asked():
    network = loaded("unet-bn")
    assert network_for(network, Computing()) is network.model
    assert "compile" not in Computing().settings()


def test_the_record_says_what_was_compiled():
    network = loaded("unet-bn")
    plain = prepare_network(network.model, "contiguous")
    assert plain.folded["batch_norms"] > 0
    compiled = network_for(network, Computing(compile=True))
    found = prepare_network(compiled)
    assert found.network is compiled
    assert found.to_dict() == plain.to_dict()


@needs_compiler
@pytest.mark.slow  # the compiler
def test_compiled_masks_equal_eager_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    scan = np.random.default_rng(0).uniform(10, 90, (40, 50, 5)).astype(np.float32)  # 5 slices: batches of 4 and of 1
    for name in ("a", "b"):
        nib.save(nib.Nifti1Image(scan, np.diag([4.0, 4.0, 4.0, 1])), tmp_path / f"{name}.nii.gz")
    cases = [tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"]
    network = loaded("fcn-8s")
    plain = segment_cases(cases, network, tmp_path / "plain", preview=False)
    compiled = segment_cases(cases, network, tmp_path / "compiled", computing=Computing(compile=True), preview=False)
    assert [outcome.reason for outcome in (*plain.outcomes, *compiled.outcomes)] == [None] * 4
    for name in ("a", "b"):
        ours, theirs = (
            np.asarray(nib.load(tmp_path / folder / f"{name}_mask.nii.gz").dataobj) for folder in ("plain", "compiled")
        )
        assert (ours != theirs).mean() < 1e-3
    first, second = (json.loads((tmp_path / "compiled" / f"{name}_record.json").read_text()) for name in ("a", "b"))
    assert first["backend"] == {
        "name": "torch.compile", "version": torch.__version__, "cache": str(tmp_path / "cache"),
    }  # fmt: skip
    assert first["settings"]["compile"] is True
    assert first["seconds"]["compile"] > first["seconds"]["network"]
    assert second["seconds"]["compile"] < first["seconds"]["compile"] / 10  # nothing was compiled again
    assert compiled.outcomes[0].compile_seconds == pytest.approx(first["seconds"]["compile"], abs=0.001)
    assert any((tmp_path / "cache").iterdir())


@needs_compiler
@pytest.mark.slow
def test_one_graph_serves_batches_of_any_length(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    from torch._dynamo.utils import counters

    model = tiny_model("fcn-8s").eval()
    network = CompiledNetwork(model).eval()
    counters.clear()
    with torch.inference_mode():
        for length in (4, 3, 1, 2):
            images = torch.rand(length, model.config.num_channels, 64, 48)
            torch.testing.assert_close(network(images).logits, model(images).logits, rtol=1e-3, atol=1e-5)
    assert counters["stats"]["unique_graphs"] == 1
