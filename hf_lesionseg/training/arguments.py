"""What a training run can be told on the command line; the recipe holds everything else."""

from dataclasses import dataclass, field, fields

from ..errors import UsageError
from .recipe import load_recipe


def _option(default, text):
    return field(default=default, metadata={"help": text})


@dataclass
class TrainingArguments:
    """Options of ``lesionseg train`` and ``scripts/train.py``. Those of the recipe's names replace its values."""

    data_dir: str = field(metadata={"help": "Folder made by `lesionseg prepare`."})
    output_dir: str = field(metadata={"help": "Folder for the model, its card, curves and checkpoints."})
    recipe: str = _option("clci-net-atlas", "Name of a packaged recipe, or a .yaml file.")
    fold: str | None = _option(
        None,
        "Cross-validate: hold out this fold of --folds (0, 1, ...), by person, and score the network on it. `all` "
        "trains one fold after another into OUTPUT_DIR/fold-0, fold-1, ..., goes on where it was stopped, pools the "
        "scores and makes OUTPUT_DIR an ensemble of them.",
    )
    folds: int = _option(
        4, "Number of folds; kept in DATA_DIR/folds-N.json, made there by `lesionseg folds` or the first --fold."
    )
    model_name_or_path: str | None = _option(
        None,
        "Start from the weights of this folder, packaged network (`lesionseg models`) or Hub id, not from scratch.",
    )
    encoder_weights: str | None = _option(
        None,
        "Hub id or folder of the ResNet whose weights a new network's encoders start from; {depth} in it stands for "
        "each encoder's depth. `none` starts from scratch. Replaces the recipe's.",
    )
    base_width: int | None = _option(None, "Feature maps of the network's first level; replaces the recipe's.")

    epochs: int | None = _option(None, "Replaces the recipe's.")
    batch_size: int | None = _option(None, "Slices per process and step; replaces the recipe's.")
    learning_rate: float | None = _option(None, "Replaces the recipe's.")
    weight_decay: float | None = _option(None, "Replaces the recipe's.")
    gradient_accumulation_steps: int | None = _option(None, "Replaces the recipe's.")
    max_gradient_norm: float | None = _option(None, "Clip gradients to this norm; replaces the recipe's.")
    mixed_precision: str | None = _option(None, "no, bf16 or fp16; replaces the recipe's.")
    slices: str | None = _option(None, "Train on all, tissue or lesion slices; replaces the recipe's.")
    empty_slice_fraction: float | None = _option(
        None, "Share of the slices without lesion that each epoch draws, 0 to 1; replaces the recipe's."
    )
    validation_every: int | None = _option(None, "Epochs between validations; replaces the recipe's.")
    monitor: str | None = _option(
        None, "validation_loss, validation_dice_loss, validation_dice or validation_detection; replaces the recipe's."
    )
    early_stopping_patience: int | None = _option(None, "Validations without a new best; replaces the recipe's.")

    max_steps: int | None = _option(None, "Stop after this many optimizer steps in all.")
    max_minutes: float | None = _option(None, "Stop after this many minutes, with a checkpoint; resume goes on.")
    eval_batch_size: int = _option(16, "Slices per network call in validation.")
    activation_checkpointing: bool = _option(False, "Recompute activations in the backward pass to save memory.")
    num_workers: int = _option(0, "Processes that read slices; 0 reads in the training process.")
    seed: int = _option(0, "Seed of weights, shuffling and dropout.")
    deterministic: bool = _option(False, "Refuse operations whose result differs from run to run.")
    cpu: bool = _option(False, "Train on the CPU even where there is a GPU.")

    checkpointing_steps: str = _option("epoch", "Write a checkpoint every N optimizer steps, or `epoch`.")
    checkpoints_total_limit: int = _option(2, "Keep this many checkpoints.")
    resume_from_checkpoint: str | None = _option(
        None, "`latest`, or the folder of a checkpoint. `latest` without any starts anew."
    )
    logging_steps: int = _option(10, "Write the loss to history.jsonl every N optimizer steps.")
    with_tracking: bool = _option(False, "Track with trackio, on this machine only: never to a Space.")
    project: str = _option("hf-lesionseg", "Project name for tracking.")
    overwrite_output_dir: bool = _option(False, "Start anew in a folder that holds a finished or broken run.")

    push_to_hub: bool = _option(False, "Publish the best model with its card when training ends.")
    hub_model_id: str | None = _option(None, "Where to publish: org/name.")
    hub_token: str | None = _option(None, "Token with write access; default: the one of `hf auth login`.")
    hub_private: bool = _option(False, "Publish to a private repository.")

    def __post_init__(self):
        if self.folds < 2:
            raise UsageError(f"--folds is {self.folds}; give 2 or more")
        if self.fold not in (None, "all") and not (str(self.fold).isdigit() and int(self.fold) < self.folds):
            raise UsageError(f"--fold is {self.fold!r}; give 0 to {self.folds - 1}, or `all`")
        if self.push_to_hub and not self.hub_model_id:
            raise UsageError("--push_to_hub needs --hub_model_id org/name")
        if self.checkpointing_steps != "epoch" and not (
            str(self.checkpointing_steps).isdigit() and int(self.checkpointing_steps) > 0
        ):
            raise UsageError(
                f"--checkpointing_steps is {self.checkpointing_steps!r}; give a number of steps or 'epoch'"
            )
        if self.model_name_or_path and self.base_width is not None:
            raise UsageError("--base_width goes with a new network; --model_name_or_path brings its own widths")
        if self.model_name_or_path and self.encoder_weights is not None:
            raise UsageError("--encoder_weights goes with a new network; --model_name_or_path brings all its weights")
        if self.num_workers < 0:
            raise UsageError(f"--num_workers is {self.num_workers}; give 0 or more")
        for name in ("max_steps", "max_minutes"):
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                raise UsageError(f"--{name} is {getattr(self, name)}; it must be positive")
        for name in ("eval_batch_size", "checkpoints_total_limit", "logging_steps"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name} is {getattr(self, name)}; it must be 1 or more")

    def load_recipe(self):
        """The recipe, with the values that were given on the command line in their place."""
        base = load_recipe(self.recipe)
        shared = {entry.name for entry in fields(base)} & {entry.name for entry in fields(self)}
        overrides = {name: getattr(self, name) for name in shared}
        if self.base_width is not None:
            overrides["model"] = base.model | {"base_width": self.base_width}
        return load_recipe(self.recipe, **overrides)
