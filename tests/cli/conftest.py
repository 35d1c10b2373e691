"""The command line in this process, an untrained network and small scans."""

import nibabel as nib
import numpy as np
import pytest


@pytest.fixture
def lesionseg(capsys):
    """Return a function that runs ``lesionseg`` and gives its exit status, output and errors."""
    from hf_lesionseg.cli import main

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return end.value.code or 0, told.out, told.err

    return run


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A network of width 2 with random weights, and an image processor for planes of any size."""
    import torch

    from hf_lesionseg import CLCINetConfig, CLCINetForSemanticSegmentation, LesionImageProcessor

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    CLCINetForSemanticSegmentation(CLCINetConfig(base_width=2)).save_pretrained(folder)
    LesionImageProcessor().save_pretrained(folder)
    return folder


@pytest.fixture
def write_scan(tmp_path):
    """Return a function that writes a small left-handed scan of 2 x 2 x 4 mm below ``tmp_path`` and gives its path."""

    def write(name="scan.nii.gz", slices=6):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        voxels = np.random.default_rng(0).uniform(1, 100, (20, slices, 24)).astype(np.float32)
        affine = np.array([[0, 0, -2, 20], [-2, 0, 0, 5], [0, 4, 0, -7], [0, 0, 0, 1]], dtype=float)
        nib.save(nib.Nifti1Image(voxels, affine), path)
        return path

    return write
