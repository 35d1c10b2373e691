"""Checkpoints of a training run: complete or absent, and refused where they do not belong.

A checkpoint is ``checkpoints/step_N`` with Accelerate's files (weights, optimizer, random states), the best weights so
far and ``training_state.json``. It is written to ``.step_N.partial`` and renamed when all processes are done, so a
killed run leaves either the whole of it or none. Accelerate keeps the optimizer and the random states as pickles:
resume from your own checkpoints only. They are never published.
"""

import json
import math
import shutil
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError

from safetensors import SafetensorError

from ..errors import CheckpointError, ModelError, OutputError
from ..imaging.atomic import flush_to_disk
from ..models.file_modes import give_usual_modes

STATE_FILE = "training_state.json"
BEST = "best"
#: The model folder's files that belong to the best weights; the weights come first when they are put in place.
BEST_FILES = ("model.safetensors", "config.json", "preprocessor_config.json")


@dataclass
class TrainingState:
    """Where a run stands; all of it is in every checkpoint.

    ``step`` counts optimizer steps (all phases of a batch are one), ``epoch`` finished epochs, ``batches`` the batches
    of the epoch under way and ``loss_sum`` the sum of their losses.
    """

    step: int = 0
    epoch: int = 0
    batches: int = 0
    loss_sum: float = 0.0
    best_value: float = math.inf
    best_epoch: int = 0
    best_step: int = 0
    best_loss: float = math.nan
    best_dice: float = math.nan
    validations_without_best: int = 0
    seconds: float = 0.0
    finished: str = ""

    @property
    def mean_loss(self):
        """Mean loss of the batches of the epoch under way."""
        return self.loss_sum / self.batches

    def count_step(self, loss, batches):
        """Count an optimizer step and the mean loss of its batches."""
        if not math.isfinite(loss):
            raise ModelError(
                f"the loss is {loss} at step {self.step + 1}; start anew with a lower --learning-rate "
                "or with --mixed-precision no"
            )
        self.step += 1
        self.loss_sum += loss * batches

    def begin_next_epoch(self):
        self.epoch, self.batches, self.loss_sum = self.epoch + 1, 0, 0.0

    @staticmethod
    def monitored(record, monitor):
        """The monitored figure of a validation, as something that falls when training goes well."""
        return record[monitor] if monitor.endswith("_loss") else -record[monitor]

    def note(self, record, monitor):
        """Count a validation; return whether it is the best so far."""
        value = self.monitored(record, monitor)
        if not math.isfinite(value):
            raise ModelError(
                f"{monitor} is {value} after epoch {self.epoch + 1}: no weights can be kept; start anew with a lower "
                "--learning-rate, and see that the validation cases have lesions"
            )
        if not value < self.best_value:
            self.validations_without_best += 1
            return False
        self.best_value, self.best_epoch, self.best_step = value, self.epoch + 1, self.step
        self.best_loss, self.best_dice = record["validation_loss"], record["validation_dice"]
        self.validations_without_best = 0
        return True


@contextmanager
def writing(path):
    """Turn a failure to write under ``path`` into an :class:`OutputError`, whichever library reports it."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise OutputError(
            f"{path}: cannot be written ({reason}); free space or choose another --output, "
            "then go on with --resume-from-checkpoint latest"
        ) from error


def save_checkpoint(accelerator, folder, state, scheduler, identity, limit):
    """Write ``folder/step_N`` for the current step, then drop all but the ``limit`` newest.

    The best weights so far go along, so that a resumed run keeps the ones that its state speaks of.

    Parameters
    ----------
    folder : Path
        The ``checkpoints`` folder in the model folder of the run.
    state : TrainingState
    scheduler : torch.optim.lr_scheduler.LRScheduler
    identity : dict
        What a run must share with the checkpoint to resume from it.
    """
    final = folder / f"step_{state.step}"
    partial = folder / f".{final.name}.partial"
    with writing(final):
        if accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
            (partial / BEST).mkdir(parents=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(partial))
        if accelerator.is_main_process:
            record = {"state": asdict(state), "scheduler": scheduler.state_dict(), "identity": identity}
            (partial / STATE_FILE).write_text(json.dumps(record, indent=1))
            if state.best_step:
                for name in BEST_FILES:
                    shutil.copyfile(folder.parent / name, partial / BEST / name)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            files = [path for path in partial.rglob("*") if path.is_file()]
            give_usual_modes(files)
            for path in files:
                flush_to_disk(path)
            remove_checkpoint(final)  # of the same step: the one in an epoch's last step, or of an abandoned branch
            partial.rename(final)
            for old in list_checkpoints(folder)[:-limit]:
                remove_checkpoint(old)
    accelerator.wait_for_everyone()


def remove_checkpoint(path):
    """Delete a checkpoint so that a kill in between leaves no half of it under its name."""
    if path.exists():
        aside = path.with_name(f".{path.name}.old")
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
        shutil.rmtree(aside)


def restore_best(path, output):
    """Put the best weights of a checkpoint back into the model folder, and drop what came after the checkpoint."""
    with writing(output):
        for newer in list_checkpoints(output / "checkpoints"):
            if newer != path and int(newer.name.removeprefix("step_")) > int(path.name.removeprefix("step_")):
                remove_checkpoint(newer)
        for name in BEST_FILES:
            saved = path / BEST / name
            if saved.is_file():
                aside = output / f".{name}.partial"
                shutil.copyfile(saved, aside)
                aside.replace(output / name)
            else:
                (output / name).unlink(missing_ok=True)


def list_checkpoints(folder):
    """Complete checkpoints under ``folder``, oldest first."""
    found = [path for path in Path(folder).glob("step_*") if (path / STATE_FILE).is_file()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step_")))


def find_checkpoint(wanted, folder):
    """Resolve ``--resume-from-checkpoint``: ``latest`` (``None`` where there is none yet) or a folder.

    Raises
    ------
    CheckpointError
        If a named folder is not a checkpoint.
    """
    if wanted == "latest":
        found = list_checkpoints(folder)
        return found[-1] if found else None
    path = Path(wanted)
    if not (path / STATE_FILE).is_file():
        raise CheckpointError(
            f"{path}: not a checkpoint of this package ({STATE_FILE} is missing); use a step_N folder"
        )
    return path


def load_checkpoint(accelerator, path, scheduler, identity, defaults=()):
    """Restore weights, optimizer, random states and scheduler; return the :class:`TrainingState`.

    Parameters
    ----------
    accelerator : accelerate.Accelerator
    path : Path
    scheduler : torch.optim.lr_scheduler.LRScheduler
    identity : dict
        What has to be as it was when the checkpoint was written.
    defaults : dict, optional
        Values of settings that a checkpoint does not hold since it was written before there were such.

    Raises
    ------
    CheckpointError
        If the checkpoint is damaged, or of another network, data set, recipe or number of processes.
    """
    try:
        record = json.loads((path / STATE_FILE).read_text())
        saved = record["identity"]
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path / STATE_FILE}: cannot be read ({error}); resume from another step") from error
    saved = {**dict(defaults), **saved}
    for name, value in identity.items():
        if saved.get(name) != value:
            raise CheckpointError(f"{path}: {_what_changed(name, saved.get(name), value)}")
    try:
        accelerator.load_state(str(path))
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, SafetensorError, UnpicklingError) as error:
        raise CheckpointError(f"{path}: cannot be loaded ({error}); resume from another step") from error
    scheduler.load_state_dict(record["scheduler"])
    return TrainingState(**record["state"])


#: What a hash in a checkpoint's identity stands for; two hashes side by side say nothing to a person.
_HASHED = {
    "data": "on other prepared data (cases, lesions or processor have changed since)",
    "data_files": "on other prepared data (their scans, masks or JSON files have changed since)",
    "train_cases": "on other cases for training",
    "validation_cases": "with other cases for validation",
}


def _what_changed(name, before, now):
    if name in _HASHED:
        return (
            f"was written {_HASHED[name]} [{name}]; resume on the data that it was trained on, or start anew in "
            "another --output"
        )
    return (
        f"was written with {name} = {before!r}, this run has {now!r}; resume with the same settings, or start anew in "
        "another --output"
    )
