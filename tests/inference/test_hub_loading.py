"""Networks by Hub id, from the project's own Hub on loopback, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.testing.loopback_hub import LoopbackHub

HERE = Path(__file__).parent

TOKEN = "hf_loopback"


@pytest.fixture(scope="module")
def report(model_folder, tmp_path_factory):
    """What the journey saw; see ``journey_over_the_hub.py``."""
    folder = tmp_path_factory.mktemp("hub")
    voxels = np.random.default_rng(0).uniform(1, 100, (24, 20, 3)).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), folder / "scan.nii.gz")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    with LoopbackHub(folder / "store", token=TOKEN) as hub:
        hub_settings = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "HF_HOME": str(folder / "home")}
        run = subprocess.run(
            [sys.executable, HERE / "journey_over_the_hub.py", model_folder, folder / "scan.nii.gz", folder / "out"],
            env=inherited | hub_settings | {"HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(HERE.parents[1])},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert run.returncode == 0, run.stderr[-4000:]
    return json.loads(run.stdout.splitlines()[-1])


def test_a_network_by_its_id_is_known_by_its_commit(report):
    assert report["cold"]["id"] == "org/tiny"
    assert report["cold"]["commit"] == report["pushed"]
    assert report["cold"]["weights_sha256"] is None
    assert report["record"] == report["cold"]


def test_a_commit_stays_what_it_was(report):
    assert report["pinned"] == report["pushed"]
    assert report["newer"].startswith("ModelError: org/tiny: model_type None is not one of this package's")


def test_a_push_in_the_middle_of_loading_mixes_nothing(report):
    assert report["threshold_then"] == 0.5
    assert report["threshold_now"] == 0.9


def test_offline_from_the_cache(report):
    assert report["offline"] == report["pushed"]
    assert report["offline_absent"].startswith("ModelError: org/absent: no such folder, not in the local cache")


def test_what_the_hub_does_not_have(report):
    assert report["unknown"].startswith("MissingModelError: org/absent: no such folder, and no such model on the Hub")
    assert report["no_config"].startswith("ModelError: org/empty: this repository has no config.json")
    assert report["revision"].startswith("MissingModelError: org/tiny: has no revision 'v9'")


def test_a_wrong_token_is_named_as_such(report):
    assert report["token"].startswith("ModelError: org/hidden: ")
    assert "hf auth login" in report["token"]
