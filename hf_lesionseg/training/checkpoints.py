"""Checkpoints of a training run: complete or absent, and refused where they do not belong.

A checkpoint is ``checkpoints/step_N`` with Accelerate's files (weights, optimizer, random states) and
``training_state.json``. It is written to ``.step_N.partial`` and renamed when all processes are done, so a killed run
leaves either the whole of it or none.
"""

import json
import math
import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError

from safetensors import SafetensorError

from ..errors import CheckpointError, OutputError

STATE_FILE = "training_state.json"


@dataclass
class TrainingState:
    """Where a run stands; all of it is in every checkpoint.

    ``step`` counts optimizer steps, ``epoch`` finished epochs, ``batches`` the batches of the epoch under way and
    ``loss_sum`` the sum of their losses.
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

    @staticmethod
    def monitored(record, monitor):
        """The monitored figure of a validation, as something that falls when training goes well."""
        return record["validation_loss"] if monitor == "validation_loss" else -record["validation_dice"]

    def note(self, record, monitor):
        """Count a validation; return whether it is the best so far."""
        value = self.monitored(record, monitor)
        if not value < self.best_value:
            self.validations_without_best += 1
            return False
        self.best_value, self.best_epoch, self.best_step = value, self.epoch + 1, self.step
        self.best_loss, self.best_dice = record["validation_loss"], record["validation_dice"]
        self.validations_without_best = 0
        return True


def save_checkpoint(accelerator, folder, state, scheduler, identity, limit):
    """Write ``folder/step_N`` for the current step, then drop all but the ``limit`` newest.

    Parameters
    ----------
    folder : Path
        The run's ``checkpoints`` folder.
    state : TrainingState
    scheduler : torch.optim.lr_scheduler.ReduceLROnPlateau
    identity : dict
        What a run must share with the checkpoint to resume from it.
    """
    final = folder / f"step_{state.step}"
    partial = folder / f".{final.name}.partial"
    try:
        if accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(partial))
        if accelerator.is_main_process:
            record = {"state": asdict(state), "scheduler": scheduler.state_dict(), "identity": identity}
            (partial / STATE_FILE).write_text(json.dumps(record, indent=1))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            for path in partial.iterdir():
                with path.open("rb") as written:
                    os.fsync(written.fileno())
            if final.exists():  # the same step again, after resuming from an older checkpoint
                shutil.rmtree(final)
            partial.rename(final)
            for old in list_checkpoints(folder)[:-limit]:
                shutil.rmtree(old)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(
            f"{final}: cannot write the checkpoint ({error.strerror}); free space or choose another "
            "--output_dir, then go on with --resume_from_checkpoint latest"
        ) from error
    accelerator.wait_for_everyone()


def list_checkpoints(folder):
    """Complete checkpoints under ``folder``, oldest first."""
    found = [path for path in Path(folder).glob("step_*") if re.fullmatch(r"step_\d+", path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step_")))


def find_checkpoint(wanted, folder):
    """Resolve ``--resume_from_checkpoint``: ``latest`` (``None`` where there is none yet) or a folder.

    Raises
    ------
    CheckpointError
        If a named folder is no checkpoint.
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


def load_checkpoint(accelerator, path, scheduler, identity):
    """Restore weights, optimizer, random states and scheduler; return the :class:`TrainingState`.

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
    for name, value in identity.items():
        if saved.get(name) != value:
            raise CheckpointError(
                f"{path}: was written with {name} = {saved.get(name)!r}, this run has {value!r}; "
                "resume with the same settings, or start anew in another --output_dir"
            )
    try:
        accelerator.load_state(str(path))
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, SafetensorError, UnpicklingError) as error:
        raise CheckpointError(f"{path}: cannot be loaded ({error}); resume from another step") from error
    scheduler.load_state_dict(record["scheduler"])
    return TrainingState(**record["state"])
