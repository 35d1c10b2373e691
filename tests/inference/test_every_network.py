"""Every registered network from its folder to a mask: loaded, run and recorded, with and without this package."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.hub.remote_code import add_remote_code, check_remote_code
from hf_lesionseg.inference import load_model, segment_cases
from hf_lesionseg.models import MODEL_REGISTRY
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.testing.networks import tiny_model


def processor_for(channels):
    """One that gives the network as many channels as it takes, from a single scan where it can."""
    if channels in (1, 3):
        return LesionImageProcessor(slice_stack="single" if channels == 1 else "repeat")
    return LesionImageProcessor(channel_names=[f"map{number}" for number in range(channels)])


@pytest.fixture(params=sorted(MODEL_REGISTRY))
def folder(request, tmp_path):
    """A small network of this type with its image processor, as `save_pretrained` leaves them."""
    model = tiny_model(request.param).eval()
    model.save_pretrained(tmp_path / "model")
    processor_for(model.config.num_channels).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def case(folder, tmp_path):
    """A scan, or a folder of scans, for the network's processor."""
    names = LesionImageProcessor.from_pretrained(folder).channel_names
    affine = np.array([[-2.0, 0, 0, 40], [0, 2, 0, -30], [0, 0, 4, 5], [0, 0, 0, 1]])
    (tmp_path / "case").mkdir()
    for number, name in enumerate(names):
        scan = np.random.default_rng(number).uniform(1, 90, (40, 36, 3)).astype(np.float32)
        nib.save(nib.Nifti1Image(scan, affine), tmp_path / "case" / f"{name}.nii.gz")
    return tmp_path / "case" / f"{names[0]}.nii.gz" if len(names) == 1 else tmp_path / "case"


def test_segments_a_scan(folder, case, tmp_path):
    run = segment_cases([case], load_model(folder), tmp_path / "masks")
    assert run.exit_status == 0, run.outcomes
    files = run.outcomes[0].files
    mask, record = nib.load(files["mask"]), json.loads(Path(files["record"]).read_text())
    assert mask.shape == (40, 36, 3)
    assert mask.affine[0, 0] == -2
    assert set(np.unique(np.asarray(mask.dataobj))) <= {0, 1}
    if record["regions"] is not None and record["regions"]["no_region"] == "best-cell":
        # Untrained, its heat map is low everywhere: each of the three slices has the region of its best cell.
        assert (record["regions"]["slices_without_region"], record["regions"]["slices_by_fallback"]) == (0, 3)
    assert record["model"]["model_type"] == json.loads((folder / "config.json").read_text())["model_type"]


@pytest.mark.slow  # a fresh process for each network
def test_loads_as_remote_code(folder):
    add_remote_code(folder)
    loaded = check_remote_code(folder)
    assert all(name.startswith("transformers_modules.") for name in loaded.values())
