"""The pages of docs/, followed to the letter."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

REPOSITORY = Path(__file__).parent.parent
#: Added to every training command: a few steps show that it works.
SMALL = "--epochs 1 --max_steps 2 --eval_batch_size 4 --cpu"


def code_of(page, opening):
    """The blocks of a page that open with ```` ```opening ````, by what follows on that line."""
    text = (REPOSITORY / "docs" / page).read_text("utf-8")
    return dict(re.findall(rf"```{opening}(.*)\n((?:.*\n)*?)```", text))


def files_of(page):
    """Contents of the files that a page tells to write, by their paths."""
    blocks = code_of(page, "python ") | code_of(page, "yaml ")
    return {name.removeprefix("file="): text for name, text in blocks.items() if name.startswith("file=")}


@pytest.fixture
def hub(tmp_path):
    """The endpoint of an empty Hub on loopback."""
    command = [sys.executable, REPOSITORY / "tests/hub/loopback_hub.py", "--port", "0", "--root", tmp_path / "hub"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    yield server.stdout.readline().strip()
    server.terminate()
    server.wait()


@pytest.fixture
def workplace(tmp_path):
    """A folder with what the pages assume: a scan and a small BIDS study, prepared."""
    from hf_lesionseg.datasets.bids import prepare_bids

    generator = np.random.default_rng(0)
    for person in range(1, 7):
        folder = tmp_path / "my-study" / f"sub-{person:02d}" / "anat"
        folder.mkdir(parents=True)
        lesion = np.zeros((24, 20, 4), np.uint8)
        lesion[4 : 8 + person, 3:8, 1:3] = 1
        scan = generator.uniform(10, 60, lesion.shape).astype(np.float32) + 30 * lesion
        nib.save(nib.Nifti1Image(scan, np.eye(4)), folder / f"sub-{person:02d}_T1w.nii.gz")
        nib.save(nib.Nifti1Image(lesion, np.eye(4)), folder / f"sub-{person:02d}_label-lesion_mask.nii.gz")
    shutil.copy(folder / "sub-06_T1w.nii.gz", tmp_path / "scan.nii.gz")
    prepare_bids(tmp_path / "my-study", tmp_path / "prepared", progress=False)
    return tmp_path


@pytest.mark.slow  # trains, publishes and segments in processes of their own
@pytest.mark.timeout(600)
def test_add_a_network(workplace, hub, tmp_path_factory):
    """In a copy of the package: nothing but two files, a line and a recipe makes a network of it."""
    page, package = "add-a-network.md", workplace / "copy" / "hf_lesionseg"
    shutil.copytree(REPOSITORY / "hf_lesionseg", package, ignore=shutil.ignore_patterns("__pycache__"))
    files = files_of(page)
    assert len(files) == 3
    for name, text in files.items():
        (package.parent / name if name.startswith("hf_lesionseg/") else workplace / name).write_text(text)
    (line,) = code_of(page, "python registry").values()
    registry = package / "models" / "__init__.py"
    opening = "MODEL_REGISTRY = {\n"
    before = registry.read_text()
    assert before.count(opening) == 1
    registry.write_text(before.replace(opening, opening + line))

    environment = os.environ | {
        "PYTHONPATH": str(package.parent),
        "HF_ENDPOINT": hub,
        "HF_TOKEN": "hf_docs",
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "HF_HOME": str(tmp_path_factory.mktemp("home")),
    }
    (commands,) = code_of(page, "bash").values()
    for command in commands.splitlines():
        words = command.split() + (SMALL.split() if " train " in command else [])
        assert words[0] == "lesionseg"
        done = subprocess.run(
            [sys.executable, "-m", "hf_lesionseg.cli", *words[1:]],
            cwd=workplace, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    mask = nib.load(workplace / "masks" / "scan_mask.nii.gz")
    assert mask.shape == (24, 20, 4)
    card = (workplace / "runs" / "tiny-net" / "README.md").read_text()
    assert "tiny-net" in card
