"""The runs of a table: each has a folder named after what decides its result, so that tables share what they can.

A run that was stopped goes on where it was; one that is finished is not trained again.
"""

import hashlib
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from transformers import AutoConfig

from ..datasets.prepared import PreparedDataset
from ..imaging.atomic import write_aside
from ..training.arguments import TrainingArguments, flag_of
from ..training.data import load_data
from ..training.recipe import load_recipe
from ..training.setup import training_slices
from .budget import Budget
from .command import run_command
from .data import prepared_otherwise, slices_at_the_same_height

_LATE = "--max-minutes"  # how training says that it was stopped for want of time
SCORES = "scores.json"


@dataclass(frozen=True)
class Run:
    """One network of a table, with all that decides its result, ready to be trained.

    Attributes
    ----------
    folder : Path
        Holds ``recipe.yaml`` and a folder for each seed.
    settings : dict
        Settings of its recipe.
    dataset : PreparedDataset
    budget : Budget
    steps : int
        Steps of the optimizer.
    other_settings : str
        In which settings the data were prepared otherwise than the recipe says; of generated data it is meant so.
    """

    folder: Path
    settings: dict
    dataset: PreparedDataset
    budget: Budget
    steps: int
    other_settings: str = ""

    def seed_folder(self, seed):
        """Where the model of a seed is."""
        return self.folder / f"seed-{seed}"

    def steps_done(self, seed):
        """Optimizer steps of a run that has ended, also for want of time; None of one that has not."""
        run = _summary(self.seed_folder(seed))
        return run and run["steps"]

    def is_finished(self, seed):
        """Whether a run has ended by itself, not because its time was up."""
        run = _summary(self.seed_folder(seed))
        return bool(run) and not run["finished"].startswith(_LATE)

    def write_recipe(self, folder=None):
        """Write ``recipe.yaml`` into the run's folder, or another one; returns its path."""
        folder = folder or self.folder
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "recipe.yaml"
        with write_aside(path) as aside:
            aside.write_text(yaml.safe_dump(self.settings, sort_keys=False))
        return path

    def options(self, seed, folder=None):
        """The training arguments of a seed, by name; its recipe is written into the run's folder, or another one."""
        folder = folder or self.folder
        return {
            "recipe": str(self.write_recipe(folder)),
            "data_dir": str(self.dataset.folder),
            "output_dir": str(folder / f"seed-{seed}"),
            "max_steps": self.steps,
            "seed": seed,
        }

    def train(self, seed, minutes=None):
        """Train, or go on with it, for so many minutes at most; returns the folder of the model."""
        folder = self.seed_folder(seed)
        if self.is_finished(seed):
            return folder
        (folder / SCORES).unlink(missing_ok=True)  # of the weights before
        options = self.options(seed) | {"resume_from_checkpoint": "latest"}
        if minutes is not None:
            options["max_minutes"] = f"{minutes:.4f}"
        words = [word for name, value in options.items() for word in (flag_of(name), value)]
        run_command("train", *words, processes=self.budget.processes)
        return folder


def plan_run(table, row, dataset, runs, budget):
    """The run of one row of a table.

    Parameters
    ----------
    table : Table
    row : Row
    dataset : PreparedDataset
    runs : path
        Folder of all runs.
    budget : Budget

    Returns
    -------
    Run
    """
    recipe = load_recipe(table.recipe_of(row))
    slices = {
        "slice_range": slices_at_the_same_height(recipe.slice_range, dataset),
        "empty_slice_fraction": budget.empty_slices_of(recipe),
        "copies": 1 if budget.steps else recipe.copies,  # else they decide nothing but what counts as an epoch
    }
    batches = _batches_of_an_epoch(replace(recipe, **slices), dataset, budget)
    steps = budget.steps or recipe.epochs * batches
    others = prepared_otherwise(recipe, dataset)
    told = "" if dataset.synthetic or row.channels or not others else f"prepared with another {' and '.join(others)}"
    settings = {
        **recipe.to_dict(),
        **slices,
        "model_type": row.model_type,
        "model": _network(row, recipe, dataset, budget, steps),
        "batch_size": budget.batch_of(recipe),
        "learning_rate": budget.rate_of(recipe, row.narrow_rate or table.narrow_rate),
        "encoder_weights": budget.weights_to_start_from(recipe),
        "channels_last": True,  # as fast or faster for all of them; training ignores it where it is not safe
        "processor": recipe.processor | others,
        **_schedule(recipe, math.ceil(steps / batches)),
    }
    if row.channels:
        settings["target_channels"] = []
    if budget.validations:
        settings["validation_every"] = max(1, settings["epochs"] // budget.validations)
    identity = [settings, steps, dataset.fingerprint()]
    if budget.processes > 1:
        identity.append(budget.processes)
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    name = f"{row.model_type}-{key}"
    return Run(Path(runs) / name, settings | {"name": name}, dataset, budget, steps, told)


def _network(row, recipe, dataset, budget, steps):
    """A row's settings of its network, at the width of the budget and the size of the slices."""
    defaults = AutoConfig.for_model(row.model_type)
    lengths = {name: value for name, value in budget.in_proportion().items() if hasattr(defaults, name)}
    if hasattr(defaults, "dwi_weight"):  # of a 2-norm over the slice, which grows with the root of its pixels
        published, prepared = _pixels(recipe.processor["size"]), _pixels(dataset.processor().settings()["size"])
        lengths["dwi_weight"] = defaults.dwi_weight * math.sqrt(published / prepared)
    model = budget.narrowed(defaults) | lengths | row.model
    if hasattr(defaults, "batch_norm_momentum"):
        # Keras' 0.01 lags behind the weights in a run of a few hundred steps.
        model.setdefault("batch_norm_momentum", max(defaults.batch_norm_momentum, min(0.1, 20 / steps)))
    return model


def _pixels(size):
    return size["height"] * size["width"]


def _batches_of_an_epoch(recipe, dataset, budget):
    """How many each process goes through, of the slices that training would take."""
    slices = training_slices(recipe, load_data(TrainingArguments(data_dir=str(dataset.folder), output_dir="")))
    return math.ceil(len(slices) / (budget.batch_of(recipe) * budget.processes))


def _schedule(recipe, epochs):
    """The learning rate's course over so many epochs."""
    share, schedule = epochs / recipe.epochs, {}
    if epochs < recipe.epochs:  # too few to fall in steps, to wait, or to end with a high rate
        schedule = {"scheduler": "cosine", "early_stopping_patience": None}
    elif recipe.scheduler == "step":  # at the same shares of the training as in the paper
        schedule["step_epochs"] = round(share * recipe.step_epochs)
    elif recipe.scheduler == "multistep":
        schedule["milestones"] = [round(share * epoch) for epoch in recipe.milestones]
    if recipe.warmup_epochs:
        schedule["warmup_epochs"] = round(share * recipe.warmup_epochs)
    return schedule | {"epochs": epochs}


def _summary(folder):
    """The summary of a training that has ended, or None."""
    path = folder / "training_summary.json"
    return json.loads(path.read_text())["run"] if path.is_file() else None
