"""Go on from a checkpoint: whose run it must be, where its output goes, load and save.

How a checkpoint lies on disk is in :mod:`~hf_lesionseg.training.checkpoints`.
"""

import json
import shutil
from pathlib import Path

from ..datasets.prepared.splits import ids_sha256
from ..errors import UsageError
from .checkpoints import TrainingState, find_checkpoint, load_checkpoint, restore_best, save_checkpoint, writing
from .model_folder import OUTPUT_FILES
from .recipe import Recipe

_NOT_OF_THE_NETWORK = (
    "transformers_version", "_name_or_path", "architectures", "dtype", "auto_map", "perfusion_maps", "training_data",
    "training_grid",
)  # fmt: skip
#: What of a recipe a resumed run may have otherwise; the precision is compared as the accelerator has it.
_MAY_CHANGE = {
    "name", "paper", "model", "encoder_weights", "processor", "target_channels", "split", "early_stopping_patience",
    "mixed_precision", "channels_last",
}  # fmt: skip
_RATE_KNOWS_NO_END = ("plateau", "step", "multistep", "constant")


def claim_output(accelerator, arguments):
    """Make the output folder this run's.

    Returns
    -------
    Path or None
        The checkpoint to resume from; None for a new run, in a folder that is free for it.

    Raises
    ------
    UsageError
        The folder holds an earlier run.
    CheckpointError
        The checkpoint that was named is none.
    """
    output, resume = Path(arguments.output_dir), None
    if arguments.resume_from_checkpoint:
        resume = find_checkpoint(arguments.resume_from_checkpoint, output / "checkpoints")
    taken = (output / "config.json").exists()
    begun = taken or (output / "history.jsonl").exists()
    if begun and not resume and not arguments.overwrite_output_dir and (taken or not arguments.resume_from_checkpoint):
        raise UsageError(
            f"{output}: holds an earlier run; go on with --resume-from-checkpoint latest where it has checkpoints, "
            "or start anew with --overwrite"
        )
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        with writing(output):
            if arguments.overwrite_output_dir and not resume:
                for name in ("checkpoints", "figures"):
                    shutil.rmtree(output / name, ignore_errors=True)
                for name in OUTPUT_FILES:
                    (output / name).unlink(missing_ok=True)
            output.mkdir(parents=True, exist_ok=True)
    accelerator.wait_for_everyone()
    return resume


class Checkpoints:
    """The checkpoints of a run.

    Parameters
    ----------
    training : TrainingSetup
    clock : Clock
    """

    def __init__(self, training, clock):
        self._training, self._clock = training, clock
        self._identity = identity_of(training)
        steps = training.arguments.checkpointing_steps
        self._every = 0 if steps == "epoch" else int(steps)

    def resume(self, checkpoint) -> TrainingState:
        """Load a checkpoint into network, optimizer, scheduler and output folder; where it is None, begin.

        Raises
        ------
        CheckpointError
            It is damaged, or of a run of another identity.
        """
        if checkpoint is None:
            return TrainingState()
        training = self._training
        state = load_checkpoint(
            training.accelerator, checkpoint, training.scheduler, self._identity, defaults_of(training)
        )
        if training.accelerator.is_main_process:
            restore_best(checkpoint, training.output)
        self._clock.before = state.seconds
        return state

    def save(self, state):
        """Write a checkpoint of the present step."""
        training, state.seconds = self._training, self._clock.in_all()
        save_checkpoint(
            training.accelerator, training.output / "checkpoints", state, training.scheduler, self._identity,
            training.arguments.checkpoints_total_limit,
        )  # fmt: skip

    def save_after_step(self, state):
        """Write one where ``--checkpointing-steps`` asks for it."""
        if self._every and state.step % self._every == 0:
            self.save(state)


def identity_of(training):
    """What a run must share with a checkpoint to resume from it."""
    data, accelerator = training.data, training.accelerator
    return {
        **_network_settings(training.network.config),
        **_recipe_settings(training.recipe),
        "mixed_precision": accelerator.mixed_precision,
        "data": data.dataset.fingerprint(),
        "data_files": data.dataset.content(),
        "train_cases": ids_sha256(case.id for case in data.cases["train"]),
        "validation_cases": ids_sha256(case.id for case in data.cases["validation"]),
        "processes": accelerator.num_processes,
        "seed": training.arguments.seed,
    }


def defaults_of(training):
    """Values of settings that a checkpoint does not hold since it was written before there were such."""
    return {
        **_network_settings(type(training.network.config)()),
        **_recipe_settings(Recipe(name="", model_type=training.recipe.model_type)),
        "data_files": training.data.dataset.content(),
    }


def _network_settings(config):
    """The settings of a network, each under a name of its own."""
    settings = json.loads(config.to_json_string(use_diff=False))
    return {f"model.{name}": settings[name] for name in sorted(settings) if name not in _NOT_OF_THE_NETWORK}


def _recipe_settings(recipe):
    free = _MAY_CHANGE | ({"epochs"} if recipe.scheduler in _RATE_KNOWS_NO_END else set())
    return {name: value for name, value in recipe.to_dict().items() if name not in free}
