"""The options of a training run; the recipe holds everything else. The command line is made from these fields."""

from dataclasses import dataclass, field, fields

from ..errors import UsageError

_FOLDS, _NETWORK, _RUNNING = "Cross-validation", "Network", "Running"
_RECIPE, _RESUMING, _PUBLISHING = "Recipe overrides (default: the recipe's value)", "Resuming", "Publishing"


def _option(default, panel, text, *flags, metavar=None):
    """A field with its help; ``flags`` only where they are not the field's name with dashes."""
    return field(default=default, metadata={"help": text, "panel": panel, "flags": flags, "metavar": metavar})


def _required(text, *flags):
    return field(metadata={"help": text, "panel": None, "flags": flags, "metavar": "DIR"})


@dataclass
class TrainingArguments:
    """Options of ``lesionseg train`` and ``scripts/train.py``. Those of the recipe's names replace its values."""

    data_dir: str = _required("Folder of prepared data, from `lesionseg prepare`.", "--data")
    output_dir: str = _required(
        "Folder for the trained network, its card, its curves and its checkpoints.", "--output", "-o"
    )
    recipe: str = _option(
        "clci-net-atlas", None, "Recipe to train by: a name from the list below, or a .yaml file.", metavar="NAME"
    )

    fold: str | None = _option(
        None,
        _FOLDS,
        "Fold to hold out (0, 1, ...): the network trains on the other people and is scored on these. `all` trains one "
        "fold after another into OUTPUT/fold-0, fold-1, ..., skips the folds that have finished, pools the scores and "
        "makes OUTPUT an ensemble.",
        metavar="N|all",
    )
    folds: int = _option(
        4,
        _FOLDS,
        "Number of folds. DATA/folds-N.json keeps them; `lesionseg folds` or the first --fold writes it.",
        metavar="N",
    )

    model_name_or_path: str | None = _option(
        None,
        _NETWORK,
        "Network whose weights training starts from: a folder, the name of a packaged one (`lesionseg models`), or a "
        "Hub id (org/name). Default: new weights.",
        "--model",
        "-m",
        metavar="NETWORK",
    )
    encoder_weights: str | None = _option(
        None,
        _NETWORK,
        "ResNet whose weights a new network's encoders start from: a Hub id or a folder, where {depth} stands for each "
        "encoder's depth; `none` for new weights. Default: the recipe's.",
        metavar="ID|DIR",
    )
    base_width: int | None = _option(
        None, _NETWORK, "Feature maps in the first level of a new network. Default: the recipe's.", metavar="N"
    )

    epochs: int | None = _option(None, _RECIPE, "Epochs to train.", metavar="N")
    batch_size: int | None = _option(None, _RECIPE, "Slices per step and process.", metavar="N")
    learning_rate: float | None = _option(None, _RECIPE, "Learning rate at the start.", metavar="RATE")
    weight_decay: float | None = _option(None, _RECIPE, "Weight decay of the optimizer.", metavar="DECAY")
    gradient_accumulation_steps: int | None = _option(
        None, _RECIPE, "Batches whose gradients add up to one optimizer step.", metavar="N"
    )
    max_gradient_norm: float | None = _option(None, _RECIPE, "Norm to clip the gradient to.", metavar="NORM")
    mixed_precision: str | None = _option(
        None, _RECIPE, "Precision of the network: no (float32), bf16 or fp16.", metavar="NAME"
    )
    slices: str | None = _option(
        None, _RECIPE, "Slices to train on: all, tissue or lesion (those that show it).", metavar="NAME"
    )
    empty_slice_fraction: float | None = _option(
        None, _RECIPE, "Share of the slices without lesion that each epoch draws, 0 to 1.", metavar="SHARE"
    )
    validation_every: int | None = _option(None, _RECIPE, "Epochs from one validation to the next.", metavar="N")
    monitor: str | None = _option(
        None,
        _RECIPE,
        "Figure that decides which weights are kept: validation_loss, validation_dice_loss, validation_dice or "
        "validation_detection.",
        metavar="NAME",
    )
    early_stopping_patience: int | None = _option(
        None, _RECIPE, "Validations without a new best after which training stops.", metavar="N"
    )

    max_steps: int | None = _option(
        None, _RUNNING, "Optimizer steps after which training stops. Default: no limit.", metavar="N"
    )
    max_minutes: float | None = _option(
        None,
        _RUNNING,
        "Minutes after which training stops with a checkpoint, so that you can resume it. Default: no limit.",
        metavar="MINUTES",
    )
    eval_batch_size: int = _option(16, _RUNNING, "Slices per network call in validation.", metavar="N")
    activation_checkpointing: bool = _option(
        False, _RUNNING, "Save memory: compute activations again in the backward pass."
    )
    num_workers: int = _option(
        0, _RUNNING, "Processes that read slices; 0 reads them in the training process.", "--workers", metavar="N"
    )
    seed: int = _option(0, _RUNNING, "Seed of weights, shuffling and dropout.", metavar="N")
    deterministic: bool = _option(False, _RUNNING, "Refuse operations that differ from run to run.")
    cpu: bool = _option(False, _RUNNING, "Train on the CPU, even on a machine with a GPU.")
    logging_steps: int = _option(
        10, _RUNNING, "Optimizer steps from one line of history.jsonl to the next.", metavar="N"
    )
    with_tracking: bool = _option(
        False, _RUNNING, "Track the run with trackio on this machine; nothing goes to a Space."
    )
    project: str = _option("hf-lesionseg", _RUNNING, "Project that trackio files the run under.", metavar="NAME")

    resume_from_checkpoint: str | None = _option(
        None,
        _RESUMING,
        "Checkpoint to go on from: `latest`, or its folder. `latest` starts a new run if no checkpoint exists.",
        metavar="latest|DIR",
    )
    overwrite_output_dir: bool = _option(
        False, _RESUMING, "Replace the earlier run in OUTPUT with a new one.", "--overwrite"
    )
    checkpointing_steps: str = _option(
        "epoch",
        _RESUMING,
        "Optimizer steps from one checkpoint to the next, or `epoch` for one at the end of each.",
        metavar="N|epoch",
    )
    checkpoints_total_limit: int = _option(2, _RESUMING, "Checkpoints to keep; older ones are deleted.", metavar="N")

    push_to_hub: bool = _option(False, _PUBLISHING, "Publish the best network with its card when training ends.")
    hub_model_id: str | None = _option(None, _PUBLISHING, "Hub repository to publish to.", metavar="ORG/NAME")
    hub_token: str | None = _option(
        None, _PUBLISHING, "Hub token with write access. Default: the one of `hf auth login`.", metavar="TOKEN"
    )
    hub_private: bool = _option(False, _PUBLISHING, "Make a new Hub repository private.")

    def __post_init__(self):
        if self.folds < 2:
            raise UsageError(f"--folds is {self.folds}; give 2 or more")
        if self.fold not in (None, "all") and not (str(self.fold).isdigit() and int(self.fold) < self.folds):
            raise UsageError(f"--fold is {self.fold!r}; give 0 to {self.folds - 1}, or `all`")
        if self.push_to_hub and not self.hub_model_id:
            raise UsageError("--push-to-hub needs --hub-model-id org/name")
        if self.checkpointing_steps != "epoch" and not (
            str(self.checkpointing_steps).isdigit() and int(self.checkpointing_steps) > 0
        ):
            raise UsageError(
                f"--checkpointing-steps is {self.checkpointing_steps!r}; give a number of steps or 'epoch'"
            )
        if self.model_name_or_path and self.base_width is not None:
            raise UsageError("--base-width shapes a new network, but --model brings its own widths; leave one out")
        if self.model_name_or_path and self.encoder_weights is not None:
            raise UsageError("--encoder-weights fills a new network, but --model brings all its weights; leave one out")
        if self.num_workers < 0:
            raise UsageError(f"{flag_of('num_workers')} is {self.num_workers}; give 0 or more")
        for name in ("max_steps", "max_minutes"):
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                raise UsageError(f"{flag_of(name)} is {getattr(self, name)}; it must be positive")
        for name in ("eval_batch_size", "checkpoints_total_limit", "logging_steps"):
            if getattr(self, name) < 1:
                raise UsageError(f"{flag_of(name)} is {getattr(self, name)}; it must be 1 or more")

    def load_recipe(self):
        """The recipe, with the values that were given on the command line in their place."""
        from .recipe import load_recipe  # not before a command runs: `lesionseg --help` answers at once

        base = load_recipe(self.recipe)
        shared = {entry.name for entry in fields(base)} & {entry.name for entry in fields(self)}
        overrides = {name: getattr(self, name) for name in shared}
        if self.base_width is not None:
            overrides["model"] = base.model | {"base_width": self.base_width}
        return load_recipe(self.recipe, **overrides)


def flags_of(entry) -> tuple[str, ...]:
    """How the command line spells a field of :class:`TrainingArguments`."""
    return entry.metadata["flags"] or (f"--{entry.name.replace('_', '-')}",)


def flag_of(name: str) -> str:
    """The first spelling of a field, by its name, for messages."""
    return next(flags_of(entry)[0] for entry in fields(TrainingArguments) if entry.name == name)
