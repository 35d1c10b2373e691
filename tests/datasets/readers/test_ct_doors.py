"""The same CT through every door: the unit decides how it is treated, not the reader that found it."""

import functools
import json

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.datasets.prepare import prepare
from hf_lesionseg.datasets.readers.bids import BIDS
from hf_lesionseg.datasets.readers.nnunet import NNUNet

AFFINE = np.diag([4.0, 4.0, 5.0, 1.0])


def ct(padding):
    rng = np.random.default_rng(0)
    volume = np.full((24, 24, 6), -1000, np.int16)
    volume[4:20, 4:20] = rng.integers(20, 60, (16, 16, 6))
    volume[4, 4:20] = 1200
    volume[:2] = padding
    return volume


@pytest.fixture
def doors(tmp_path):
    """The same five scans and labels, as BIDS and as nnU-Net have them; the padding differs from scan to scan."""
    (tmp_path / "nn").mkdir()
    (tmp_path / "nn" / "dataset.json").write_text(json.dumps({"channel_names": {"0": "CT"}, "labels": {"lesion": 1}}))
    label = np.zeros((24, 24, 6), np.uint8)
    label[8:12, 8:12, 2:4] = 1
    for number, padding in enumerate((-1000, -1024, -2000, -3024, -32768)):
        files = {
            f"nn/imagesTr/c{number}_0000.nii.gz": ct(padding),
            f"nn/labelsTr/c{number}.nii.gz": label,
            f"bids/sub-{number}/ct/sub-{number}_ct.nii.gz": ct(padding),
            f"bids/derivatives/l/sub-{number}/ct/sub-{number}_label-lesion_mask.nii.gz": label,
        }
        for name, data in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(data, AFFINE), path)
    return tmp_path


def test_equal_slices_whatever_the_door_and_the_padding(doors):
    by_bids = prepare(BIDS(channels=("ct",)), doors / "bids", doors / "b", progress=False)
    by_nnunet = prepare(NNUNet(), doors / "nn", doors / "n", progress=False)
    expected = np.clip((ct(-1000).transpose(2, 1, 0) + 100) / 340, 0, 1)
    for dataset in (by_bids, by_nnunet):
        assert dataset.processor().normalization == "window"
        for case in dataset.cases:
            np.testing.assert_allclose(case.planes()[:, 0], expected, atol=5e-4)


def bids_processor(folder, channels):
    return BIDS(channels=channels).default_processor(folder)


def nnunet_processor(folder, channels):
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps({"channel_names": dict(enumerate(channels))}))
    return NNUNet().default_processor(folder)


@pytest.mark.parametrize("door", [bids_processor, nnunet_processor])
@pytest.mark.parametrize("name", ["ct", "ncct", "cta"])
def test_one_window_for_all_names_of_ct(door, name, tmp_path):
    processor = functools.partial(door, tmp_path)
    found = processor((name,))
    assert (found.normalization, found.intensity_range) == ("window", (-100.0, 240.0))
    mixed = processor((name, "flair"))
    assert mixed.normalization == {name: "window", "flair": "percentile"}
    assert processor(("t1w", "flair")).normalization == "percentile"
