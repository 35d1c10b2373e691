"""A tiny prepared data set, and ways to run the training loop on it."""

import nibabel as nib
import numpy as np
import pytest
from accelerate.state import AcceleratorState

from hf_lesionseg.datasets.prepared.records import CaseRecord, Origin
from hf_lesionseg.datasets.prepared.splits import make_splits, save_splits
from hf_lesionseg.datasets.prepared.writing import prepare_cases
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.training.arguments import TrainingArguments
from hf_lesionseg.training.loop import train

# Batch norm's momentum of the paper takes hundreds of steps to forget its initial statistics.
RECIPE = """
model_type: clci-net
model: {base_width: 2, batch_norm_momentum: 0.2}
epochs: 2
batch_size: 4
learning_rate: 0.01
"""


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Seven people, one scan each of 20x24x6 voxels with a bright noisy block as its lesion."""
    folder = tmp_path_factory.mktemp("tiny")
    generator = np.random.default_rng(0)
    records = []
    for index in range(7):
        image = generator.uniform(20, 60, (20, 24, 6)).astype(np.float32)
        mask = np.zeros(image.shape, np.uint8)
        mask[4 + index : 9 + index, 6:13, 1:4] = 1
        image[mask > 0] += 35
        paths = []
        for kind, data in (("T1w", image), ("mask", mask)):
            paths.append(folder / f"p{index}_{kind}.nii.gz")
            nib.save(nib.Nifti1Image(data, np.diag([1, 1, 2, 1])), paths[-1])
        records.append(CaseRecord(id=f"p{index}", person=f"p{index}", images={"t1w": paths[0]}, masks=[paths[1]]))
    processor = LesionImageProcessor(
        size={"height": 32, "width": 32}, normalization="fixed-range", intensity_range=(0, 100)
    )
    dataset = prepare_cases(records, folder / "prepared", processor, Origin("tiny", synthetic=True))
    save_splits(
        folder / "prepared" / "splits.json",
        make_splits(dataset.cases, {"train": 4, "validation": 2, "test": 1}, seed=0),
    )
    return folder / "prepared"


@pytest.fixture(autouse=True)
def fresh_accelerator():
    """Accelerate keeps one state per process; each test is a run of its own."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def settings(tmp_path_factory):
    """Options of a run that takes seconds."""
    recipe = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    recipe.write_text(RECIPE)
    return {"recipe": str(recipe), "logging_steps": 1, "cpu": True, "eval_batch_size": 6}


@pytest.fixture
def run(prepared, settings, tmp_path):
    """Train into ``tmp_path / name``; return the folder and its summary."""

    def run_training(name="run", **options):
        output = tmp_path / name
        options = {"data_dir": str(prepared), "output_dir": str(output)} | settings | options
        return output, train(TrainingArguments(**options))

    return run_training


@pytest.fixture(scope="session")
def command_line(settings):
    """The settings as words of a command line."""
    words = []
    for name, value in settings.items():
        words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return words
