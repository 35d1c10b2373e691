"""Every command of the README runs, as it is written there but for the size of the training."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

REPOSITORY = Path(__file__).parent.parent
#: Added to every training command: the paper's network and its 100 epochs would take weeks.
SMALL = "--base_width 2 --max_steps 2 --epochs 1 --eval_batch_size 4"
#: Added to every table that is reproduced: one row of it, hardly trained.
ONE_ROW = "--rows {row} --steps 1 --base_width 4 --batch_size 2 --cases 12 --size 64"
#: Proven elsewhere: `make` by CI and by hand, the installs by the wheel tests of tests/ops.
ELSEWHERE = ("pip install", "make ")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", (REPOSITORY / "README.md").read_text(), flags=re.DOTALL)


def commands():
    lines = [line.split("  #")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith(ELSEWHERE)]


def test_the_readme_has_commands():
    joined = "\n".join(commands())
    for word in ("segment", "prepare", "train", "evaluate", "push", "accelerate launch"):
        assert word in joined
    known = ("lesionseg", "accelerate", "python")
    assert all(command.split()[0] in known or "=" in command for command in commands())


def test_ci_runs_the_test_command_of_the_readme(tmp_path):
    (tmp_path / "make").write_text('#!/bin/sh\necho "called: make $*"\n')
    (tmp_path / "make").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", REPOSITORY / ".ci" / "run"],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "called: make test" in done.stdout


def save(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.diag([8.0, 8, 8, 1])), path)


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
    (folder / "cases.csv").write_text("case,person\n" + "".join(f"{n},person{n}\n" for n in range(1, 5)))


@pytest.fixture
def workplace(tmp_path):
    """A folder with what the README assumes: a scan, its true mask, and a (tiny) copy of ATLAS R2.0."""
    generator = np.random.default_rng(0)
    for person in range(9):
        scan = generator.uniform(10, 60, (24, 28, 5)).astype(np.float32)
        mask = np.zeros(scan.shape, np.uint8)
        mask[6:12, 8 + person : 15 + person, 1:4] = 1
        scan[mask > 0] += 30
        name = f"sub-r001s{person + 1:03d}"
        anat = tmp_path / "ATLAS_2" / "Training" / "R001" / name / "ses-1" / "anat"
        stem = f"{name}_ses-1_space-MNI152NLin2009aSym"
        save(anat / f"{stem}_T1w.nii.gz", scan)
        save(anat / f"{stem}_label-L_desc-T1lesion_mask.nii.gz", mask)
    write_organs(tmp_path, generator)
    write_acute_strokes(tmp_path, generator)
    save(tmp_path / "scan.nii.gz", scan)
    save(tmp_path / "truths" / "scan.nii.gz", mask)
    (tmp_path / "scripts").symlink_to(REPOSITORY / "scripts")
    return tmp_path


@pytest.fixture
def hub(tmp_path_factory):
    """A Hub on loopback, on which org/clci-net is published."""
    from transformers import logging

    from hf_lesionseg.hub.publish import publish
    from hf_lesionseg.models.configuration_clci_net import CLCINetConfig
    from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
    from hf_lesionseg.models.modeling_clci_net import CLCINetForSemanticSegmentation

    logging.set_verbosity_error()
    model = tmp_path_factory.mktemp("model")
    CLCINetForSemanticSegmentation(CLCINetConfig(base_width=2)).save_pretrained(model)
    LesionImageProcessor.clci_net_recipe().save_pretrained(model)
    server = subprocess.Popen(
        [
            sys.executable,
            REPOSITORY / "tests/hub/loopback_hub.py",
            "--port",
            "0",
            "--root",
            tmp_path_factory.mktemp("hub"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    endpoint = server.stdout.readline().strip()
    environment = {"HF_ENDPOINT": endpoint, "HF_TOKEN": "hf_readme", "HF_HUB_DISABLE_XET": "1"}
    try:
        from huggingface_hub import constants

        constants.HF_HUB_DISABLE_XET, before = True, constants.HF_HUB_DISABLE_XET
        publish(model, "org/clci-net", token="hf_readme", endpoint=endpoint)
        constants.HF_HUB_DISABLE_XET = before
        yield environment
    finally:
        server.terminate()
        server.wait()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_command_and_the_python_examples(workplace, hub, tmp_path_factory):
    environment = os.environ | hub | {
        "HF_HOME": str(tmp_path_factory.mktemp("home")),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    for command in commands():
        if " train" in command or "train.py" in command:
            command += f" {SMALL}"
            if "--cpu" not in command:
                command += " --cpu"
            if "accelerate" in command and "runs/clci-net" in command:
                command += " --overwrite_output_dir"
        if "reproduce.py" in command:
            command += " " + ONE_ROW.format(row="Baseline" if "clci-net" in command else "U-Net")
        done = subprocess.run(command, shell=True, cwd=workplace, env=environment, capture_output=True, text=True,
                              check=False)  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    assert (workplace / "masks" / "scan_mask.nii.gz").is_file()
    assert (workplace / "scores" / "metrics.json").is_file()

    checks = ("assert mask.shape == (24, 28, 5), mask.shape", "assert pasted.shape == images.shape, pasted.shape")
    for example, check in zip(blocks("python"), checks, strict=True):
        done = subprocess.run([sys.executable, "-c", f"{example}\n{check}\n"], cwd=workplace, env=environment,
                              capture_output=True, text=True, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
