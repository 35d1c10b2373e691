"""Train the rows of a paper's table under one budget and print the paper's figures beside ours.

Every run is a subprocess with a folder of its own, named after what decides its result, so that tables which share a
network share its runs, and a run that was stopped goes on where it was.
"""

import hashlib
import json
import math
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import yaml
from rich.console import Console
from transformers import AutoConfig, AutoModelForSemanticSegmentation

from ..datasets.prepared import PreparedDataset
from ..datasets.slices import SliceDataset
from ..errors import LesionSegError, UsageError
from ..evaluation.figures import compare_runs
from ..imaging.atomic import write_aside
from ..inference.loading import load_model
from ..models.image_processing_lesion import LesionImageProcessor
from .history import read_history
from .paper_tables import COLUMNS
from .recipe import load_recipe
from .table_report import markdown_table, print_table
from .table_scores import score_run, scored_cases

PUBLISHED_WIDTH = 64  # feature maps of the stem of every published ResNet
_VALIDATIONS = 6  # in each run
_SCORES = "scores.json"
#: Fields of a recipe that came after the first tables; nothing by default.
_LATER_FIELDS = ("slice_range", "augmentation", "milestones", "warmup_epochs", "target_channels")


@dataclass(frozen=True)
class Budget:
    """What every row of a table may spend.

    Parameters
    ----------
    steps : int
        Optimizer steps.
    seeds : tuple of int
        One run for each.
    base_width : int
        Feature maps of the encoders' stem where the paper has 64; widths of other networks are brought down in
        proportion.
    batch_size : int
    learning_rate : float
        At the beginning; it falls as the recipe says, at the same shares of the training, or along a cosine where the
        budget has fewer epochs than the recipe.
    scale : float
        Size of the slices by that of the papers': networks with a first stage have lengths in pixels, such as a margin
        of 15, that are meant for slices of 512 x 512.
    encoder_weights : str, optional
        Published ResNets to start from, such as ``microsoft/resnet-{depth}``, in rows whose recipe has some; by default
        the recipe's, at the width that there are some for, and none at others.
    """

    steps: int = 1500
    seeds: tuple[int, ...] = (0,)
    base_width: int = 16
    batch_size: int = 8
    learning_rate: float = 1e-3
    scale: float = 1.0
    encoder_weights: str | None = None

    def __post_init__(self):
        for name in ("steps", "base_width", "batch_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; give 1 or more")
        if not 0 < self.learning_rate < 10:
            raise UsageError(f"learning_rate is {self.learning_rate}; give a number above 0 and below 10")
        if not 0 < self.scale <= 4:
            raise UsageError(f"scale is {self.scale}; give a number above 0 and up to 4")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise UsageError(f"seeds are {self.seeds}; give one or more, each once")

    def in_proportion(self):
        """Settings in pixels or cells of the networks with a first stage, brought to the size of the slices."""
        return {
            "margin": max(1, round(15 * self.scale)),
            "heatmap_sigma": max(0.75, 2 * self.scale),
            "minimum_component_pixels": max(1, round(10 * self.scale**2)),
        }

    def narrowed(self, defaults):
        """Widths of a network's configuration, brought down as the budget's is from 64."""
        widths = {name: getattr(defaults, name) for name in ("base_width", "growth_rate") if hasattr(defaults, name)}
        return {name: max(1, round(width * self.base_width / PUBLISHED_WIDTH)) for name, width in widths.items()}

    def weights_to_start_from(self, recipe):
        """What the encoders start from; None for nothing."""
        if recipe.encoder_weights is None:
            return None
        if self.encoder_weights is None:
            return recipe.encoder_weights if self.base_width == PUBLISHED_WIDTH else None
        return None if self.encoder_weights == "none" else self.encoder_weights


def generate_organs(folder, *, count=90, size=128, slices=16, seed=0):
    """Generate and prepare the organs that stand in for Pancreas-CT, unless they are there already.

    Returns
    -------
    PreparedDataset
    """
    options = ("--count", count, "--size", size, "--slices", slices, "--seed", seed, "--recipe", "l-snet-pancreas")
    _run("prepare", "synthetic-organs", "-o", folder, *options)
    return PreparedDataset(folder)


def generate_strokes(folder, *, count=90, seed=0):
    """Generate and prepare the strokes that stand in for ATLAS, at 3 mm, unless they are there already.

    They are split as the recipe ``clci-net-atlas`` splits ATLAS.

    Returns
    -------
    PreparedDataset
    """
    folder = Path(folder)
    small, split = load_recipe("clci-net-demo"), load_recipe("clci-net-atlas").split
    plain = {name: value for name, value in small.processor.items() if name not in ("threshold", "minimum_lesion_ml")}
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.parent / f"{folder.name}.yaml"
    with write_aside(path) as aside:
        aside.write_text(yaml.safe_dump({"model_type": small.model_type, "processor": plain, "split": split}))
    _run("prepare", "synthetic", "-o", folder, "--count", count, "--spacing", 3, "--seed", seed, "--recipe", path)
    return PreparedDataset(folder)


def reproduce(table, dataset, output, budget, *, rows=None, console=None):
    """Train and score every row of a table; write and print the table.

    Parameters
    ----------
    table : Table
    dataset : PreparedDataset
        With the splits train, validation and test.
    output : path
        ``runs/`` holds the runs of all tables; ``<table>.md``, ``.json`` and ``-curves.png`` are written beside it.
    budget : Budget
    rows : sequence of str, optional
        Names of the rows to run; all by default.
    console : rich.console.Console, optional

    Returns
    -------
    dict
        What the JSON file holds.

    Raises
    ------
    UsageError
        For an unknown row.
    LesionSegError
        If a run fails.
    """
    output, console = Path(output), console or Console()
    chosen = [row for row in table.rows if rows is None or row.name in rows]
    unknown = sorted(set(rows or ()) - {row.name for row in table.rows})
    if unknown:
        raise UsageError(f"{table.id} has no row {unknown[0]!r}; its rows: {', '.join(row.name for row in table.rows)}")
    recipe = load_recipe(table.recipe)
    total, number, results = len(chosen) * len(budget.seeds), 0, []
    for row in chosen:
        scores, folders = [], []
        for seed in budget.seeds:
            number += 1
            console.print(f"{table.id}: {row.name}, seed {seed} (run {number} of {total})", style="bold")
            folder = run_row(row, load_recipe(row.recipe or table.recipe), dataset, output / "runs", budget, seed)
            folders.append(folder)
            scores.append(score_folder(folder, dataset, budget, console))
        results.append(
            {
                "row": row.name,
                "model_type": row.model_type,
                "model": row.model,
                "encoder_weights": budget.weights_to_start_from(load_recipe(row.recipe or table.recipe)),
                "reported": row.reported,
                "runs": [str(folder.relative_to(output)) for folder in folders],
                "scores": scores,
                "columns": {column: _column(column, row, scores) for column in table.columns},
            }
        )
    record = {
        "table": table.id,
        "title": table.title,
        "source": table.source,
        "data": dataset.name,
        "synthetic": dataset.synthetic,
        "data_fingerprint": dataset.fingerprint(),
        "paper_data": table.data,
        "budget": asdict(budget) | {"encoder_weights": budget.weights_to_start_from(recipe)},
        "rows": results,
    }
    with write_aside(output / f"{table.id}.json") as aside:
        aside.write_text(json.dumps(record, indent=1) + "\n")
    with write_aside(output / f"{table.id}.md") as aside:
        aside.write_text(markdown_table(record))
    histories = {row["row"]: [read_history(output / run / "history.jsonl") for run in row["runs"]] for row in results}
    compare_runs(histories, output / f"{table.id}-curves.png", title=table.title, synthetic=dataset.synthetic)
    print_table(record, console)
    return record


def run_row(row, recipe, dataset, runs, budget, seed):
    """Train one row with one seed, or go on with it; returns the folder of its model."""
    defaults = AutoConfig.for_model(row.model_type)
    lengths = {name: value for name, value in budget.in_proportion().items() if hasattr(defaults, name)}
    model = budget.narrowed(defaults) | lengths | row.model
    if hasattr(defaults, "batch_norm_momentum"):
        # Keras' 0.01 lags behind the weights in a run of a few hundred steps.
        model.setdefault("batch_norm_momentum", max(defaults.batch_norm_momentum, min(0.1, 20 / budget.steps)))
    settings = recipe.to_dict() | {
        "model_type": row.model_type,
        "model": model,
        "batch_size": budget.batch_size,
        "learning_rate": budget.learning_rate,
        "encoder_weights": budget.weights_to_start_from(recipe),
        "channels_last": True,  # as fast or faster for all of them
    }
    if dataset.synthetic:
        settings["processor"] = as_prepared(recipe, dataset)
    for name in _LATER_FIELDS:
        if not settings[name]:
            del settings[name]  # runs from before this field was keep their folders
    slices = SliceDataset(
        dataset.select("train"),
        slices=recipe.slices,
        slice_range=recipe.slice_range,
        empty_slice_fraction=recipe.empty_slice_fraction,
    )
    per_epoch = math.ceil(len(slices) / budget.batch_size)
    epochs = math.ceil(budget.steps / per_epoch)
    if recipe.scheduler in ("step", "plateau") and epochs < recipe.epochs:  # too few to fall in steps, or to wait
        settings |= {"scheduler": "cosine", "early_stopping_patience": None}
    elif recipe.scheduler == "step":  # at the same shares of the training as in the paper
        settings["step_epochs"] = round(epochs * recipe.step_epochs / recipe.epochs)
    settings |= {"epochs": epochs, "validation_every": max(1, epochs // _VALIDATIONS)}
    identity = [settings, budget.steps, dataset.fingerprint()]
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    folder = Path(runs) / f"{row.model_type}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{row.model_type}-{key}"
    settings["name"] = name
    with write_aside(folder / "recipe.yaml") as aside:
        aside.write_text(yaml.safe_dump(settings, sort_keys=False))
    run = folder / f"seed-{seed}"
    if not (run / "training_summary.json").is_file():
        _run(
            "train", "--recipe", folder / "recipe.yaml", "--data_dir", dataset.folder, "--output_dir", run,
            "--max_steps", budget.steps, "--seed", seed, "--resume_from_checkpoint", "latest",
        )  # fmt: skip
    return run


def as_prepared(recipe, dataset):
    """The recipe's settings of the processor, but for those that generated data were prepared with otherwise."""
    found, wanted = dataset.processor().settings(), LesionImageProcessor(**recipe.processor).settings()
    other = {name: found[name] for name in recipe.processor if found[name] != wanted[name]}
    return recipe.processor | json.loads(json.dumps(other))


def score_folder(folder, dataset, budget, console=None):
    """Scores of a trained model, read from its folder or measured and kept there."""
    path = Path(folder) / _SCORES
    if path.is_file():
        return json.loads(path.read_text())
    started = time.monotonic()
    model = load_model(folder).model
    count = sum(len(cases) for cases in scored_cases(dataset).values())
    smallest = budget.in_proportion()["minimum_component_pixels"]
    scores = score_run(model, dataset, minimum_pixels=smallest) | {"parameters": model.num_parameters()}
    with write_aside(path) as aside:
        aside.write_text(json.dumps(scores, indent=1) + "\n")
    if console is not None:
        console.print(f"scored {count} cases in {time.monotonic() - started:.0f} s: DSC {scores['dsc']:.4f}")
    return scores


def first_stage_parameters(row):
    """Parameters of a row's first stage at the width of the paper."""
    with torch.device("meta"):
        model = AutoModelForSemanticSegmentation.from_config(AutoConfig.for_model(row.model_type, **row.model))
    stage = getattr(model, "locator", None) or getattr(model, "first_stage", model)
    return sum(parameter.numel() for parameter in stage.parameters())


def _column(column, row, scores):
    """Mean over the seeds, in the paper's unit, and the standard deviation where there are several."""
    if column == "first_stage_parameters":
        return {"mean": first_stage_parameters(row), "std": None}
    values = [score[column] for score in scores]
    if any(value is None for value in values):
        return {"mean": None, "std": None}
    factor = 100 if COLUMNS[column][1] == "share" else 1
    spread = factor * statistics.stdev(values) if len(values) > 1 else None
    return {"mean": factor * statistics.fmean(values), "std": spread}


def _run(*arguments):
    """One command of the package in a process of its own, whose output is shown."""
    command = [sys.executable, "-m", "hf_lesionseg.cli", *map(str, arguments)]
    status = subprocess.run(command, check=False).returncode
    if status:
        raise LesionSegError(f"`lesionseg {' '.join(map(str, arguments))}` failed with status {status}; see above")
