"""What a network of CT perfusion must refuse by name, one case at a time, while the others go on."""

import re

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.errors import DataError
from hf_lesionseg.inference import load_model, segment_cases
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.testing.networks import tiny_model

MAPS = ("tmax", "cbf", "cbv", "mtt")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ms-dcnn")
    tiny_model("ms-dcnn").eval().save_pretrained(folder)
    LesionImageProcessor(channel_names=MAPS, normalization="z-score").save_pretrained(folder)
    return load_model(folder)


def save(path, data, spacing=(2.0, 2, 5)):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.diag([*spacing, 1.0])), path)
    return path


def a_map(seed=0, shape=(32, 32, 2)):
    return np.random.default_rng(seed).uniform(1, 9, shape).astype(np.float32)


def bolus(frames=40):
    """Tissue of 35 HU through which a bolus of 8 HU passes, with the noise of a scanner."""
    time = np.arange(frames)
    passing = 8 * np.where(time > 8, ((time - 8) / 6) ** 2 * np.exp(2 - (time - 8) / 3), 0)
    noise = np.random.default_rng(0).normal(0, 1, (32, 32, 2, frames))
    return (35 + passing + noise).astype(np.float32)


def missing_map(folder):
    for name in MAPS[:3]:
        save(folder / f"p_{name}.nii.gz", a_map())
    return folder


def other_grid(folder):
    for name in MAPS:
        save(folder / f"p_{name}.nii.gz", a_map(), spacing=(2.0, 2, 6 if name == "mtt" else 5))
    return folder


def other_shape(folder):
    for name in MAPS:
        save(folder / f"p_{name}.nii.gz", a_map(shape=(32, 30 if name == "cbv" else 32, 2)))
    return folder


def negative_flow(folder):
    for name in MAPS:
        save(folder / f"p_{name}.nii.gz", a_map() * (-1 if name == "cbf" else 1))
    return folder


def isles_2022(folder):
    stem = "sub-strokecase0009_ses-0001"
    for kind in ("adc", "dwi", "flair"):
        save(folder / "ses-0001" / f"{stem}_{kind}.nii.gz", a_map())
    return folder


def frames_by_chance(data):
    return data[..., np.random.default_rng(1).permutation(data.shape[-1])]


def of_series(change):
    return lambda folder: save(folder / "ctp.nii.gz", np.ascontiguousarray(change(bolus())))


BAD = {
    "missing map": (missing_map, r"channel mtt is missing; this network needs .*raw perfusion series as ctp=FILE"),
    "another grid": (other_grid, r"p_mtt\.nii\.gz: .*grid differ.*onto one grid"),
    "another shape": (other_shape, r"p_cbv\.nii\.gz: shape \(32, 30, 2\)"),
    "negative flow": (negative_flow, r"p_cbf\.nii\.gz: no value of cbf is above 0 .*slope and intercept"),
    "another challenge": (isles_2022, r"channel tmax is missing.*named as in ISLES 2022"),
    "three time points": (of_series(lambda data: data[..., 8:11]), r"ctp\.nii\.gz: 3 frames.*give the whole series"),
    "negative everywhere": (of_series(lambda data: data - 1024), r"ctp\.nii\.gz: no voxel is above 0 HU.*intercept"),
    "flat": (of_series(lambda data: np.repeat(data[..., :1], 40, axis=3)), r"ctp\.nii\.gz: all 40 frames are equal"),
    "noise": (of_series(lambda data: data - bolus().mean(axis=(0, 1, 2)) + 35), r"ctp\.nii\.gz: the .*curve.* flat"),
    "all NaN": (of_series(lambda data: data * np.nan), r"ctp\.nii\.gz: no voxel is finite"),
    "order": (of_series(frames_by_chance), r"ctp\.nii\.gz: .*jumps up and down.*sort them by acquisition time"),
    "backwards": (of_series(lambda data: data[..., 9::-1].repeat(4, axis=-1)), r"ctp\.nii\.gz: "),
    "no artery": (of_series(lambda data: data), r"ctp\.nii\.gz: no vessel is seen.*or maps"),
    "one volume": (of_series(lambda data: data[..., :1]), r"ctp\.nii\.gz: this network needs 4 channels.*4-D"),
}


@pytest.mark.parametrize("kind", list(BAD))
def test_refused_by_name_while_the_others_go_on(network, tmp_path, kind):
    make, reason = BAD[kind]
    good = tmp_path / "good"
    for seed, name in enumerate(MAPS):
        save(good / f"{name}.nii.gz", a_map(seed))
    bad = make(tmp_path / "bad")
    run = segment_cases([bad, good], network, tmp_path / "masks")
    assert [outcome.status for outcome in run.outcomes] == ["failed", "done"]
    assert run.exit_status == 1
    assert re.search(reason, run.failed[0].reason), run.failed[0].reason
    assert "unexpected" not in run.failed[0].reason
    assert {path.name.split("_")[0] for path in (tmp_path / "masks").iterdir()} == {"good"}


def test_a_case_of_isles_2022_is_no_case_of_isles_2018(tmp_path):
    from hf_lesionseg.datasets.readers.isles2018 import ISLES2018

    isles_2022(tmp_path / "sub-strokecase0009")
    with pytest.raises(DataError, match=r"holds no case of ISLES 2018; .*use `lesionseg prepare isles2022`"):
        ISLES2018().find(tmp_path, MAPS)
