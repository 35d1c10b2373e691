"""A real scan on its way through the house: read, prepared, trained on, segmented, evaluated.

Case 0009 of ISLES 2022 (Hernandez Petzsche et al., Scientific Data 9:762, 2022; CC BY-SA 4.0): DWI and ADC of
112 x 112 x 73 voxels of 2 mm, stored left to right, with 4.18 mL of infarct in 18 parts. Overfitting one case says
nothing of a network's quality; it does say that no step between file and file moves, flips or loses a voxel.
"""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch

from hf_lesionseg.datasets.prepare import prepare
from hf_lesionseg.datasets.readers.isles2022 import ISLES2022
from hf_lesionseg.errors import DataError
from hf_lesionseg.evaluation.lesionwise import count_lesions
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor

RECIPE = """\
model_type: attention-unet
model: {base_width: 8, loss: dice}
processor:
  channel_names: [dwi, adc]
  size: {height: 96, width: 80}
split: {train: 1, validation: 1}
slices: tissue
empty_slice_fraction: 0.1
learning_rate: 3.0e-3
scheduler: linear
monitor: validation_dice
batch_size: 8
epochs: 100
validation_every: 20
early_stopping_patience: null
"""


@pytest.fixture
def source(isles22_0009, tmp_path):
    """The case as GitHub has it, and once more as another person's, since a training wants a validation."""
    for sub in ("sub-strokecase0009", "sub-strokecase0010"):
        stem = f"{sub}/ses-0001/{sub}_ses-0001"
        for kind in ("dwi", "adc", "flair", "msk"):
            path = tmp_path / "source" / ("derivatives" if kind == "msk" else "rawdata") / f"{stem}_{kind}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(isles22_0009 / f"{kind}.nii.gz", path)
    return tmp_path / "source"


def test_truth_survives_the_way_to_slices_and_back(isles22_0009, source, tmp_path):
    dataset = prepare(ISLES2022(), source, tmp_path / "out", fractions={"train": 1}, progress=False)
    case, truth = dataset.cases[0], nib.load(isles22_0009 / "msk.nii.gz")
    assert nib.aff2axcodes(truth.affine) == ("L", "A", "S")
    assert (case.id, case.person) == ("sub-strokecase0009_ses-0001", "sub-strokecase0009")
    assert case.shape == (73, 2, 112, 112)
    assert case.lesion_ml == pytest.approx(4.18, abs=0.01)
    lesion = np.asarray(truth.dataobj) > 0
    assert count_lesions(lesion, lesion).truth == 18
    logits = torch.from_numpy(case.labels().astype(np.float32))[:, None] * 20 - 10
    (restored,) = dataset.processor().post_process_segmentation(logits, case.geometry)
    np.testing.assert_array_equal(restored["mask"] > 0, lesion)


def test_flair_has_a_grid_of_its_own(source, tmp_path):
    processor = LesionImageProcessor(channel_names=("dwi", "flair"))
    with pytest.raises(DataError, match=r"_flair\.nii\.gz.*register and resample"):
        prepare(ISLES2022(), source, tmp_path / "out", processor=processor, progress=False)


@pytest.mark.slow
def test_a_network_trained_on_it_alone_finds_it_again(isles22_0009, source, tmp_path, capsys):
    """By the command line from end to end, about two minutes on one core; Dice 0.914 where this was written."""
    from hf_lesionseg.cli import main

    def lesionseg(*arguments):
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        told = capsys.readouterr()
        assert not end.value.code, told.err
        return told.out

    recipe, data, model = tmp_path / "overfit.yaml", tmp_path / "data", tmp_path / "model"
    recipe.write_text(RECIPE)
    lesionseg("prepare", "isles2022", source, "-o", data, "--recipe", recipe)
    lesionseg("train", "--recipe", recipe, "--data", data, "--output", model, "--seed", 0, "--cpu")
    channels = ",".join(f"{kind}={isles22_0009 / kind}.nii.gz" for kind in ("dwi", "adc"))
    lesionseg("segment", channels, "--model", model, "-o", tmp_path / "masks", "--device", "cpu")

    (mask,) = (tmp_path / "masks").glob("*_mask.nii.gz")
    truth, found = nib.load(isles22_0009 / "msk.nii.gz"), nib.load(mask)
    np.testing.assert_array_equal(found.affine, nib.load(isles22_0009 / "dwi.nii.gz").affine)
    lesion, predicted = (np.asarray(image.dataobj) > 0 for image in (truth, found))
    dice = 2 * (lesion & predicted).sum() / (lesion.sum() + predicted.sum())
    assert dice > 0.9

    for folder, path in (("predictions", mask), ("truths", isles22_0009 / "msk.nii.gz")):
        (tmp_path / folder).mkdir()
        shutil.copyfile(path, tmp_path / folder / "case_mask.nii.gz")
    text = lesionseg("evaluate", tmp_path / "predictions", tmp_path / "truths", "-o", tmp_path / "scores",
                     "--preset", "isles2022")  # fmt: skip
    assert "Counted as ISLES 2022 does" in text
    (row,) = json.loads((tmp_path / "scores" / "metrics.json").read_text())["cases"]
    assert row["dice"] == pytest.approx(dice)
    assert (row["truth_lesions"], row["truth_ml"]) == (18, pytest.approx(4.18, abs=0.01))
    assert row["hd95_mm"] < 20
    assert row["lesion_f1"] > 0.5
