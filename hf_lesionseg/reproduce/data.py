"""The data of a table: prepared ones, or generated ones that stand in for them."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from transformers import AutoConfig

from ..datasets.prepared import PreparedDataset
from ..imaging.atomic import link_or_copy, write_aside
from ..models.image_processing_lesion import LesionImageProcessor
from ..training.network import WITH_TARGETS, lacking_targets
from ..training.recipe import load_recipe
from .command import run_command

_ATLAS_SLICES = 189  # what the slice ranges of the recipes count
_STROKE_MM = 3  # voxels of generated strokes
_STROKE_SPLIT = {"train": 9, "validation": 1, "test": 2}  # the papers train on 55 or 60 %, of many more
_GRID = ("channel_names", "slice_axis", "training_spacing", "size")
_INTENSITIES = ("normalization", "intensity_range", "percentiles")
_FIELD_OF_VIEW_MM = 220  # of generated perfusion


def generate_organs(folder, *, count=90, size=128, slices=16, seed=0):
    """Generate and prepare the organs that stand in for Pancreas-CT, unless they are there already.

    Returns
    -------
    PreparedDataset
    """
    options = ("--count", count, "--size", size, "--slices", slices, "--seed", seed, "--recipe", "l-snet-pancreas")
    run_command("prepare", "synthetic-organs", "-o", folder, *options)
    return PreparedDataset(folder)


def generate_strokes(folder, *, count=90, seed=0, recipe="clci-net-atlas"):
    """Generate and prepare the strokes that stand in for ATLAS, at 3 mm, unless they are there already.

    Their intensities are normalised as the recipe does it with ATLAS.

    Returns
    -------
    PreparedDataset
    """
    path = _write_recipe(folder, model_type="clci-net", processor=processor_of_strokes(recipe), split=_STROKE_SPLIT)
    options = ("--count", count, "--spacing", _STROKE_MM, "--seed", seed, "--recipe", path)
    run_command("prepare", "synthetic", "-o", folder, *options)
    return PreparedDataset(folder)


def processor_of_strokes(recipe):
    """Settings that generated strokes are prepared by: their own grid, and a recipe's intensities."""
    grid, full = load_recipe("clci-net-demo").processor, load_recipe(recipe).processor
    return {name: grid[name] for name in _GRID} | {name: full[name] for name in _INTENSITIES if name in full}


def generate_perfusion(folder, *, count=60, size=64, seed=0, recipe="ms-dcnn-isles2018", channels=()):
    """Generate and prepare the CT perfusion that stands in for ISLES 2018, unless it is there already.

    Parameters
    ----------
    recipe : str
        Its channels, normalisation and split are taken; the window is that of the generated slices.
    channels : tuple of str
        To take in place of the recipe's.

    Returns
    -------
    PreparedDataset
    """
    full = load_recipe(recipe)
    settings = full.to_dict()
    settings["processor"] |= {"size": {"height": size, "width": size}}
    if not settings["processor"].get("resize"):  # which takes whole planes of any spacing
        settings["processor"] |= {"training_spacing": [_FIELD_OF_VIEW_MM / size] * 2}
    if channels:  # the true DWI as what is taken in is nothing to learn from
        settings["processor"]["channel_names"] = list(channels)
        if not isinstance(settings["processor"]["normalization"], str):  # of channels that are not taken
            settings["processor"]["normalization"] = "z-score"
        settings.pop("target_channels", None)
    path = _write_recipe(folder, **{name: value for name, value in settings.items() if name != "name"})
    _share_source(Path(folder))
    options = ("--count", count, "--size", size, "--seed", seed, "--workers", os.cpu_count() or 1, "--recipe", path)
    run_command("prepare", "synthetic-perfusion", "-o", folder, *options)
    return PreparedDataset(folder)


def _share_source(folder):
    """Let a new folder prepare the cases that were generated for another recipe, instead of generating them again."""
    others = [path for path in folder.parent.glob("perfusion-*/source") if path.is_dir() and path.parent != folder]
    if others and not (folder / "source").exists():
        folder.mkdir(parents=True, exist_ok=True)
        link_or_copy(Path("..") / others[0].parent.name / "source", folder / "source")


def _write_recipe(folder, **settings):
    """A recipe file beside a folder that is to be prepared by it."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.parent / f"{folder.name}.yaml"
    with write_aside(path) as aside:
        aside.write_text(yaml.safe_dump(json.loads(json.dumps(settings)), sort_keys=False))
    return path


@dataclass(frozen=True)
class Synthetic:
    """How much is generated.

    Parameters
    ----------
    output : Path
        Folder of the folders.
    cases : int
        Volumes; of perfusion half as many people, who take longer to generate and to score.
    size : int
        Rows and columns of slices of organs.
    perfusion_size : int
        Size of slices of perfusion.
    """

    output: Path
    cases: int = 90
    size: int = 128
    perfusion_size: int = 64
    _ready: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    def of_row(self, table, row):
        """The data that a row is trained on, generated unless they are there."""
        recipe, output = table.recipe_of(row), Path(self.output)
        if table.generator == "organs":
            name, generate, options = "organs", generate_organs, {"size": self.size}
        elif table.generator == "strokes":
            # Rows of CLCI-Net's tables have recipes of their own, and one way to normalise.
            normalization = load_recipe(recipe).processor["normalization"]
            name = "strokes" if normalization == "fixed-range" else f"strokes-{normalization}"
            generate, options = generate_strokes, {"recipe": table.recipe}
        else:
            name, generate = f"perfusion-{'-'.join(row.channels) or recipe}", generate_perfusion
            options = {"size": self.perfusion_size, "recipe": recipe, "channels": row.channels}
        if name not in self._ready:
            count = self.cases if table.generator != "perfusion" else max(1, self.cases // 2)
            self._ready[name] = generate(output / name, count=count, **options)
        return self._ready[name]


@dataclass(frozen=True)
class Prepared:
    """Folders made by ``lesionseg prepare``.

    A row takes one that has its channels, in their order: the first that was prepared by its recipe, else the first.
    """

    datasets: tuple[PreparedDataset, ...]

    @classmethod
    def of_folders(cls, folders):
        """The data of these folders.

        Raises
        ------
        DataError
            If one of them holds none.
        """
        return cls(tuple(map(PreparedDataset, folders)))

    def of_row(self, table, row):
        """The data that a row is trained on, or None where no folder has its channels."""
        recipe, wanted = load_recipe(table.recipe_of(row)), channels_of_row(table, row)
        fitting = [each for each in self.datasets if each.channel_names == wanted]
        exact = [each for each in fitting if not prepared_otherwise(recipe, each)]
        return next(iter(exact or fitting), None)


def channels_of_row(table, row):
    """Names of the images that a row takes in."""
    return tuple(row.channels or load_recipe(table.recipe_of(row)).processor["channel_names"])


def lacking_for_row(table, row, dataset):
    """Why a row cannot be trained on some data, and the remedy; nothing where it can.

    Parameters
    ----------
    table : Table
    row : Row
    dataset : PreparedDataset, or None
        With the row's channels; None where no folder has them.
    """
    if dataset is None:
        channels = ", ".join(channels_of_row(table, row))
        if row.channels:
            return f"no folder of data has the channel {channels} alone; give one more after --data"
        return (
            f"no folder of data has the channels {channels}; prepare one by --recipe {table.recipe_of(row)} and give "
            "it after --data"
        )
    lacking = lacking_targets(AutoConfig.for_model(row.model_type, **row.model), dataset.target_channels)
    if not lacking:
        return ""
    return f"it learns from {' and '.join(lacking)}, and {dataset.folder} has none; prepare the data {WITH_TARGETS}"


def prepared_otherwise(recipe, dataset):
    """The processor's settings of some data that are not those of a recipe, by name; none where it says nothing."""
    found, wanted = dataset.processor().settings(), LesionImageProcessor(**recipe.processor).settings()
    return json.loads(json.dumps({name: found[name] for name in recipe.processor if found[name] != wanted[name]}))


def slices_at_the_same_height(slice_range, dataset):
    """A range that counts the 189 slices of ATLAS, in generated scans of fewer slices of the same head."""
    if not slice_range or not dataset.synthetic:
        return slice_range
    share = min(case.num_slices for case in dataset.cases) / _ATLAS_SLICES
    first, behind = (round(number * share) for number in slice_range)
    return [first, max(behind, first + 1)]
