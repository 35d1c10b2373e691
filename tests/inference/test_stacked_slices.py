"""A one-channel scan through a network that takes three: slices stacked on the way in, the mask as ever."""

import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from transformers import pipeline

from hf_lesionseg import CLCINetConfig, CLCINetForSemanticSegmentation, LesionImageProcessor
from hf_lesionseg.errors import ModelError
from hf_lesionseg.hub.model_check import check_model_folder
from hf_lesionseg.hub.remote_code import add_remote_code, check_remote_code
from hf_lesionseg.inference import load_model


@pytest.fixture(scope="module")
def stacked_folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("stacked")
    CLCINetForSemanticSegmentation(CLCINetConfig(base_width=2, num_channels=3)).save_pretrained(folder)
    LesionImageProcessor(
        channel_names=("ct",), normalization="window", intensity_range=(-100, 240), slice_stack="neighbours"
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def ct(tmp_path):
    volume = np.full((20, 24, 5), -1000, np.int16)
    volume[4:16, 4:20] = np.random.default_rng(0).integers(-20, 120, (12, 16, 5))
    nib.save(nib.Nifti1Image(volume, np.diag([-1.0, 1, 3, 1])), tmp_path / "ct.nii.gz")
    return tmp_path / "ct.nii.gz"


def test_pipeline_equals_the_network_by_hand(stacked_folder, ct):
    loaded = load_model(stacked_folder)
    features = loaded.processor.preprocess(ct, return_tensors="pt")
    assert features["pixel_values"].shape == (5, 3, 24, 20)
    with torch.no_grad():
        output = loaded.model(pixel_values=features["pixel_values"])
    (expected,) = loaded.processor.post_process_segmentation(output, features["geometry"], return_probability=True)
    result = pipeline("lesion-segmentation", model=str(stacked_folder), device="cpu")(ct, return_probability=True)
    assert result["mask"].shape == (20, 24, 5)
    np.testing.assert_allclose(result["probability"], expected["probability"], atol=1e-5)


def test_segment_command(stacked_folder, ct, tmp_path):
    from hf_lesionseg.cli import main

    with pytest.raises(SystemExit) as end:
        main(["segment", str(ct), "--model", str(stacked_folder), "-o", str(tmp_path / "masks")])
    assert not end.value.code
    mask = nib.load(tmp_path / "masks" / "ct_mask.nii.gz")
    assert mask.shape == (20, 24, 5)
    np.testing.assert_array_equal(mask.affine, np.diag([-1.0, 1, 3, 1]))


def test_a_network_of_other_channels_is_refused(stacked_folder, tmp_path):
    check_model_folder(stacked_folder)
    folder = shutil.copytree(stacked_folder, tmp_path / "model")
    LesionImageProcessor(channel_names=("ct",)).save_pretrained(folder)
    with pytest.raises(ModelError, match=r"takes 3 channels and its image processor gives 1 \(ct\)"):
        load_model(folder)
    with pytest.raises(ModelError, match=r"gives 1 channels \(ct; slice_stack 'single'\), the network takes 3"):
        check_model_folder(folder)


@pytest.mark.slow  # a fresh process
def test_the_code_on_the_hub_stacks_too(stacked_folder, tmp_path):
    folder = shutil.copytree(stacked_folder, tmp_path / "model")
    assert "slice_stack.py" in {path.name for path in add_remote_code(folder)}
    assert check_remote_code(folder)["processor"].endswith("LesionImageProcessor")
