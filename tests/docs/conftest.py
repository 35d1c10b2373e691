"""What the pages assume: a reader's folder with small data under the names that the pages use, and a Hub."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.testing.heads import write_head_files

REPOSITORY = Path(__file__).parents[2]
TOKEN = "hf_docs"


def save(path, data, size_mm=8.0):
    """Write a volume; voxels are wide, so that the recipes' slices of 1 mm are made of small files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.diag([size_mm, size_mm, size_mm, 1])), path)


def write_chronic_strokes(folder, generator):
    """Nine people as ATLAS R2.0 has them and, six of them, as a BIDS study; a scan and its truth apart."""
    for person in range(1, 10):
        scan = generator.uniform(10, 60, (24, 28, 5)).astype(np.float32)
        mask = np.zeros(scan.shape, np.uint8)
        mask[6:12, 7 + person : 14 + person, 1:4] = 1
        scan[mask > 0] += 30
        name = f"sub-r001s{person:03d}"
        stem = folder / f"ATLAS_2/Training/R001/{name}/ses-1/anat/{name}_ses-1_space-MNI152NLin2009aSym"
        save(Path(f"{stem}_T1w.nii.gz"), scan)
        save(Path(f"{stem}_label-L_desc-T1lesion_mask.nii.gz"), mask)
        if person <= 6:
            stem = f"sub-{person:02d}/anat/sub-{person:02d}"
            for suffix in ("T1w", "FLAIR"):
                save(folder / "my-study" / f"{stem}_{suffix}.nii.gz", scan, 2.0)
            save(folder / "my-study/derivatives/lesions" / f"{stem}_label-lesion_mask.nii.gz", mask, 2.0)
    save(folder / "scan.nii.gz", scan)
    save(folder / "truths" / "scan.nii.gz", mask)


def write_organs(folder, generator):
    """Four CT scans with an organ of 100 HU in fat, as converted Pancreas-CT and in nnU-Net's layout."""
    for number in range(1, 5):
        scan = np.full((20, 18, 5), -1000, np.int16)
        scan[2:18, 2:16] = generator.integers(-120, -80, (16, 14, 5))
        organ = np.zeros(scan.shape, np.uint8)
        organ[4 : 8 + number, 3:8, 1:4] = 1
        scan[organ > 0] = generator.integers(80, 120, int(organ.sum()))
        for path, data in (
            (f"Pancreas-CT/PANCREAS_{number:04d}.nii.gz", scan),
            (f"TCIA_pancreas_labels-02-05-2017/label{number:04d}.nii.gz", organ),
            (f"Dataset007_Pancreas/imagesTr/case{number}_0000.nii.gz", scan),
            (f"Dataset007_Pancreas/labelsTr/case{number}.nii.gz", organ),
        ):
            save(folder / path, data)
    description = '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "pancreas": 1}}'
    (folder / "Dataset007_Pancreas" / "dataset.json").write_text(description)
    shutil.copy(folder / "Pancreas-CT/PANCREAS_0004.nii.gz", folder / "abdomen.nii.gz")


def write_acute_strokes(folder, generator):
    """Four cases of each ISLES challenge, in one layout of theirs."""
    for number in range(1, 5):
        mask = np.zeros((20, 18, 5), np.uint8)
        mask[4 : 8 + number, 3:8, 1:4] = 1
        person = f"sub-strokecase{number:04d}"
        names = [f"TRAINING/case_{number}/SMIR.Brain.XX.O.{kind}.{339200 + 10 * number}.nii"
                 for kind in ("CT_Tmax", "CT_CBF", "CT_CBV", "CT_MTT", "OT")]  # fmt: skip
        names += [f"ISLES-2022/rawdata/{person}_ses-0001_{kind}.nii.gz" for kind in ("dwi", "adc", "msk")]
        names += [f"ISLES-2024/derivatives/{person}_ses-01_space-ncct_{kind}.nii.gz"
                  for kind in ("tmax", "cbf", "cbv", "mtt", "lesion-msk")]  # fmt: skip
        for name in names:
            is_mask = ".OT." in name or "msk" in name
            save(folder / name, mask if is_mask else generator.uniform(1, 90, mask.shape).astype(np.float32))
    (folder / "cases.csv").write_text("case,person\n" + "".join(f"case_{n},person{n}\n" for n in range(1, 5)))
    case = folder / "TRAINING" / "case_4"
    for kind in ("Tmax", "CBF", "CBV", "MTT"):
        shutil.copy(case / f"SMIR.Brain.XX.O.CT_{kind}.339240.nii", folder / f"{kind.lower()}.nii")


def write_perfusion_series(path):
    """A digital phantom's CT perfusion series, a frame a second."""
    from hf_lesionseg.datasets.synthetic.perfusion.phantom import draw_phantom

    phantom = draw_phantom(size=64, num_slices=2, num_frames=45)
    image = nib.Nifti1Image(np.round(phantom.data).astype(np.int16), np.diag([*phantom.spacing, 1]))
    image.header.set_zooms((*phantom.spacing, phantom.frame_seconds))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)


@pytest.fixture(scope="session")
def head_files(tmp_path_factory):
    """What heads are made of, small."""
    return write_head_files(tmp_path_factory.mktemp("heads"))


@pytest.fixture
def workplace(tmp_path, head_files):
    """The folder in which a page is followed."""
    generator = np.random.default_rng(0)
    for write in (write_chronic_strokes, write_organs, write_acute_strokes):
        write(tmp_path, generator)
    (tmp_path / "sources").symlink_to(head_files)
    (tmp_path / "scripts").symlink_to(REPOSITORY / "scripts")
    write_perfusion_series(tmp_path / "ctp.nii.gz")
    return tmp_path


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """Folder of an untrained CLCI-Net of width 2."""
    from transformers import logging

    from hf_lesionseg import CLCINetConfig, CLCINetForSemanticSegmentation, LesionImageProcessor

    logging.set_verbosity_error()
    folder = tmp_path_factory.mktemp("model")
    CLCINetForSemanticSegmentation(CLCINetConfig(base_width=2)).save_pretrained(folder)
    LesionImageProcessor.clci_net_recipe().save_pretrained(folder)
    return folder


@pytest.fixture
def hub_environment(tiny_model, tmp_path_factory, monkeypatch):
    """Environment of a process for which the Hub is one on loopback, on which org/clci-net is published."""
    from huggingface_hub import constants

    from hf_lesionseg.hub.publish import publish

    root = tmp_path_factory.mktemp("hub")
    command = [sys.executable, "-m", "hf_lesionseg.testing.loopback_hub", "--port", "0", "--root", root]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        endpoint = server.stdout.readline().strip()
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        publish(tiny_model, "org/clci-net", token=TOKEN, endpoint=endpoint)
        yield os.environ | {
            "HF_ENDPOINT": endpoint,
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(tmp_path_factory.mktemp("home")),
            "NO_PROXY": "127.0.0.1,localhost",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
    finally:
        server.terminate()
        server.wait()
