"""Ways to run the training loop on a tiny prepared data set."""

import pytest
from accelerate.state import AcceleratorState

from hf_lesionseg.training.arguments import TrainingArguments, flag_of
from hf_lesionseg.training.loop import train

# Batch norm's momentum of the paper takes hundreds of steps to forget its initial statistics.
RECIPE = """
model_type: clci-net
model: {base_width: 2, batch_norm_momentum: 0.2}
epochs: 2
batch_size: 4
learning_rate: 0.01
"""


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
        words += [flag_of(name)] if value is True else [flag_of(name), str(value)]
    return words
