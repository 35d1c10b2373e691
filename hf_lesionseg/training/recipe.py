"""Recipes: everything a paper says about training, as one small YAML file.

``load_recipe("clci-net-atlas")`` reads one that comes with the package, ``load_recipe("my-recipe.yaml")`` a file.
"""

import contextlib
import difflib
import typing
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path

import yaml

from ..errors import RecipeError, UsageError

_CHOICES = {
    "slices": ("all", "tissue", "lesion"),
    "optimizer": ("adam", "adamw", "rmsprop"),
    "scheduler": ("plateau", "step", "multistep", "linear", "cosine", "constant"),
    "monitor": ("validation_loss", "validation_dice_loss", "validation_dice", "validation_detection"),
    "mixed_precision": ("no", "bf16", "fp16"),
}
#: field -> (whether a value is possible, what is); NaN fails every comparison.
_RANGES = {
    "learning_rate": (lambda value: 0 < value < 10, "above 0 and below 10"),
    "weight_decay": (lambda value: 0 <= value < 10, "0 or more"),
    "empty_slice_fraction": (lambda value: 0 <= value <= 1, "0 to 1"),
    "copies": (lambda value: value >= 1, "1 or more"),
    "batch_size": (lambda value: value >= 1, "1 or more"),
    "epochs": (lambda value: value >= 1, "1 or more"),
    "gradient_accumulation_steps": (lambda value: value >= 1, "1 or more"),
    "validation_every": (lambda value: value >= 1, "1 or more"),
    "plateau_factor": (lambda value: 0 < value < 1, "above 0 and below 1"),
    "plateau_patience": (lambda value: value >= 1, "1 or more"),
    "plateau_min_delta": (lambda value: 0 <= value < 1e6, "0 or more"),
    "step_factor": (lambda value: 0 < value < 1, "above 0 and below 1"),
    "step_epochs": (lambda value: value >= 1, "1 or more"),
    "milestones": (
        lambda value: all(type(epoch) is int and epoch >= 1 for epoch in value) and sorted(set(value)) == value,
        "whole epochs of 1 or more, ascending",
    ),
    "warmup_epochs": (lambda value: value >= 0, "0 or more"),
    "early_stopping_patience": (lambda value: value is None or value >= 1, "1 or more, or null"),
    "ema_decay": (lambda value: value is None or 0 < value < 1, "above 0 and below 1, or null"),
    "max_gradient_norm": (lambda value: value is None or 0 < value < 1e9, "above 0, or null"),
}


@dataclass(frozen=True)
class Recipe:
    """How one network is trained.

    Parameters
    ----------
    name : str
        File name without its ending.
    paper : str
        Source, for the model card.
    model_type : str
        A network of this package, such as "clci-net".
    model : dict
        Settings of the network's configuration that differ from its defaults.
    encoder_weights : str or None
        Hub id or folder of the ResNet whose weights the encoders of a new network start from, such as
        "microsoft/resnet-{depth}", where {depth} stands for the depth of each encoder. None, or "none" where it
        replaces another value, starts from scratch.
    processor : dict
        Settings of the :class:`LesionImageProcessor` that ``lesionseg prepare`` uses.
    target_channels : list of str
        Images that ``lesionseg prepare`` keeps beside the network's channels, for the network to learn from: ["dwi"]
        for EGS-Net, which makes such an image of what it takes. None of ``processor``'s channels: nothing asks for them
        where the network is used.
    split : dict
        Shares of people in train, validation and test; they need not add up to one.
    slices : {"all", "tissue", "lesion"}
        Which slices to train on.
    slice_range : list of two int, or None
        The first slice to train on and the one behind the last, counted along the processor's ``slice_axis`` from
        below, behind or left; the validation loss is that of these slices too. Metrics are of whole scans, as the
        network will be used. For data in one space, such as ATLAS.
    empty_slice_fraction : float
        Share of the slices without lesion that is drawn anew in each epoch.
    heads : dict
        For a catalogue of heads (``lesionseg prepare heads``), whose training slices are rendered: ``slices``, how many
        an epoch takes; ``without_lesion`` and ``difficulty``, [at the beginning, from the middle on];
        ``hard_negatives``, the share of the slices without lesion that are drawn from the catalogue's hard ones;
        ``shown``, how many epochs in a row show the same slices, changed a little.
    copies : int
        How often an epoch takes each slice, changed anew each time.
    augmentation : dict
        Random changes of the training slices' geometry, in their order: names of
        :data:`~hf_lesionseg.datasets.augmentation.AUGMENTATIONS`, each with its settings.
    optimizer : {"adam", "adamw", "rmsprop"}
    learning_rate, weight_decay : float
    batch_size : int
        Slices per process and step.
    gradient_accumulation_steps : int
        Steps whose gradients are added up before the weights move; 1 for networks that are trained in phases.
    max_gradient_norm : float or None
        Clip the gradient to this norm.
    epochs : int
    validation_every : int
        Epochs between two validations.
    monitor : {"validation_loss", "validation_dice_loss", "validation_dice", "validation_detection"}
        Decides which weights are kept, when the learning rate falls and when training stops early. "validation_loss" is
        the network's own loss (:mod:`~hf_lesionseg.training.volume_loss`), "validation_dice_loss" the Dice loss of each
        volume whatever the network is trained with.
        "validation_detection" is the mean Dice of scans with a lesion, less what scans without one are falsely given.
    scheduler : {"plateau", "step", "multistep", "linear", "cosine", "constant"}
        "linear" and "cosine" fall to zero over ``epochs``, step by step.
    plateau_factor, plateau_patience, plateau_min_delta
        Multiply the learning rate by the factor at the ``plateau_patience``-th validation in a row that did not improve
        by ``plateau_min_delta`` (absolute), as Keras' ReduceLROnPlateau counts.
    step_factor, step_epochs
        "step" multiplies the learning rate by the factor after every ``step_epochs`` epochs.
    milestones : list of int
        "multistep" multiplies it by ``step_factor`` after each of these numbers of epochs.
    warmup_epochs : int
        The learning rate rises, step by step and linearly, to its full value over so many epochs; not with "plateau".
    early_stopping_patience : int or None
        Stop when this many validations in a row brought no new best.
    ema_decay : float or None
        Validate and keep a moving average of the weights, of which each step keeps this share.
    mixed_precision : {"no", "bf16", "fp16"}
    channels_last : bool or None
        Keep feature maps channels last in memory; None, the default, where that is faster and safe
        (:mod:`~hf_lesionseg.models.memory_format`).
    """

    name: str
    model_type: str
    paper: str = ""
    model: dict = field(default_factory=dict)
    encoder_weights: str | None = None
    processor: dict = field(default_factory=dict)
    target_channels: list = field(default_factory=list)
    split: dict = field(default_factory=lambda: {"train": 0.6, "validation": 0.2, "test": 0.2})
    slices: str = "all"
    slice_range: list | None = None
    empty_slice_fraction: float = 1.0
    heads: dict = field(default_factory=dict)
    copies: int = 1
    augmentation: dict = field(default_factory=dict)
    optimizer: str = "adam"
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    batch_size: int = 8
    gradient_accumulation_steps: int = 1
    max_gradient_norm: float | None = None
    epochs: int = 100
    validation_every: int = 1
    monitor: str = "validation_loss"
    scheduler: str = "plateau"
    plateau_factor: float = 0.2
    plateau_patience: int = 3
    plateau_min_delta: float = 1e-3
    step_factor: float = 0.1
    step_epochs: int = 25
    milestones: list = field(default_factory=list)
    warmup_epochs: int = 0
    early_stopping_patience: int | None = 5
    ema_decay: float | None = None
    mixed_precision: str = "no"
    channels_last: bool | None = None

    def __post_init__(self):
        for known in fields(self):
            self._check_type(known.name, known.type)
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise RecipeError(f"recipe {self.name}: {name} is {getattr(self, name)!r}; use one of {allowed}")
        for name, (possible, wanted) in _RANGES.items():
            if not possible(getattr(self, name)):
                raise RecipeError(f"recipe {self.name}: {name} is {getattr(self, name)}; use {wanted}")
        if self.scheduler == "multistep" and not self.milestones:
            raise RecipeError(f"recipe {self.name}: scheduler multistep needs milestones, such as [180, 300]")
        if self.scheduler == "plateau" and self.warmup_epochs:
            raise RecipeError(
                f"recipe {self.name}: warmup_epochs is {self.warmup_epochs}, but the scheduler plateau follows "
                "validations; use 0, or another scheduler"
            )
        if self.slice_range is not None:
            whole = all(type(number) is int and number >= 0 for number in self.slice_range)
            if not whole or len(self.slice_range) != 2 or self.slice_range[0] >= self.slice_range[1]:
                raise RecipeError(
                    f"recipe {self.name}: slice_range is {self.slice_range}; use [first, one past the last], such as "
                    "[70, 90], or null"
                )
        self._check_targets()
        self._check_heads()
        self.slice_augmentation()  # refuses what it does not know

    def slice_augmentation(self):
        """What changes the training slices, or None."""
        if not self.augmentation:
            return None
        from ..datasets.augmentation import SliceAugmentation

        try:
            return SliceAugmentation(self.augmentation)
        except UsageError as error:
            raise RecipeError(f"recipe {self.name}: {error}") from error

    def _check_heads(self):
        def share(value):
            return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1

        def pair(value):
            return isinstance(value, list) and len(value) == 2 and all(map(share, value))

        fits = {
            "slices": lambda value: type(value) is int and value >= 1,
            "without_lesion": pair,
            "difficulty": pair,
            "hard_negatives": share,
            "shown": lambda value: type(value) is int and value >= 1,
        }
        for name, value in self.heads.items():
            if name not in fits or not fits[name](value):
                raise RecipeError(
                    f"recipe {self.name}: heads has {name}: {value}; give slices (1 or more), without_lesion and "
                    "difficulty ([at the beginning, from the middle on], 0 to 1), hard_negatives (0 to 1) and shown "
                    "(1 or more)"
                )

    def _check_targets(self):
        names, taken = self.target_channels, (*self.processor.get("channel_names", ()), "pixel_values", "labels")
        # They become arguments of the network's forward.
        if not all(isinstance(name, str) and name.isidentifier() for name in names) or len(set(names)) != len(names):
            raise RecipeError(f"recipe {self.name}: target_channels is {names}; name each image once, such as [dwi]")
        for name in names:
            if name in taken:
                raise RecipeError(
                    f"recipe {self.name}: {name!r} is among target_channels and what the network takes; it learns to "
                    "make its targets, so take it out of one of them"
                )

    def _check_type(self, name, annotation):
        value = getattr(self, name)
        allowed = typing.get_args(annotation) or (annotation,)
        if float in allowed and isinstance(value, int) and not isinstance(value, bool):
            return
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            wanted = " or ".join("null" if kind is type(None) else kind.__name__ for kind in allowed)
            raise RecipeError(f"recipe {self.name}: {name} is {value!r}; it must be of type {wanted}")

    def to_dict(self):
        return asdict(self)


_FLOATS = {entry.name for entry in fields(Recipe) if float in (typing.get_args(entry.type) or (entry.type,))}


def packaged_recipes():
    """Names of the recipes that come with the package."""
    folder = resources.files(__package__) / "recipes"
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_recipe(name, **overrides):
    """Read a recipe by its name or from a YAML file.

    Parameters
    ----------
    name : str or Path
        A name of :func:`packaged_recipes`, or the path of a ``.yaml`` file.
    **overrides
        Values that replace those of the file; ``None`` leaves the file's value.

    Raises
    ------
    RecipeError
        If there is no such recipe, it is not YAML, or a field is unknown or impossible.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise RecipeError(f"{path}: no such recipe file")
        try:
            text, origin = path.read_text(encoding="utf-8"), str(path)
        except UnicodeDecodeError as error:
            raise RecipeError(f"{path}: is not text in UTF-8 ({error.reason}); save it as UTF-8") from error
    elif str(name) in packaged_recipes():
        text = (resources.files(__package__) / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
        origin = str(name)
    else:
        raise RecipeError(
            f"no recipe is called {str(name)!r}; use one of {packaged_recipes()} or the path of a .yaml file"
        )
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{origin}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{origin}: a recipe is a mapping of fields to values")
    values = {"name": path.stem if path.suffix else str(name)} | values
    if values.get("mixed_precision") is False:
        values["mixed_precision"] = "no"  # which YAML reads as a boolean
    for key in _FLOATS & set(values):
        if isinstance(values[key], str):  # YAML takes 1e-4 for a string, 1.0e-4 for a number
            with contextlib.suppress(ValueError):
                values[key] = float(values[key])
    values |= {key: value for key, value in overrides.items() if value is not None}
    if values.get("encoder_weights") == "none":
        values["encoder_weights"] = None
    known = [entry.name for entry in fields(Recipe)]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known fields: {', '.join(known)}"
            raise RecipeError(f"{origin}: unknown field {key!r}; {hint}")
    if "model_type" not in values:
        raise RecipeError(f"{origin}: the field 'model_type' is missing; name a network such as clci-net")
    return Recipe(**values)
