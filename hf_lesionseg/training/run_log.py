"""What a run reports while it trains: ``history.jsonl``, a tracker if you ask for one, lines on the terminal."""

from accelerate.utils import tqdm

from .history import History, read_history
from .launch import start_tracking
from .validation import told_metrics
from .watch import CollapseWatch, scalars


class RunLog:
    """Tell of steps and epochs; the main process alone writes.

    Parameters
    ----------
    training : TrainingSetup
    state : TrainingState
        As the run begins.
    clock : Clock
    resumes : bool
        Go on with the history that there is, as far as ``state`` is.
    """

    def __init__(self, training, state, clock, *, resumes):
        self._training, self._clock = training, clock
        self._collapse, self._history, self._bar = CollapseWatch(), None, None
        if training.accelerator.is_main_process:
            self._history = History(training.output / "history.jsonl", state.step if resumes else None, state.epoch)
            if training.stages:
                self._begin_stages(training.stages, resumes)
        if training.arguments.with_tracking:
            settings = training.recipe.to_dict() | {"seed": training.arguments.seed}
            start_tracking(training.accelerator, training.arguments.project, settings)

    def progress(self, batches, state):
        """Pass the batches of an epoch through, behind a bar."""
        training = self._training
        with tqdm(
            batches, desc=f"epoch {state.epoch + 1}/{training.recipe.epochs}", total=len(training.loader),
            initial=state.batches, unit="batch", leave=False, disable=not training.accelerator.is_main_process,
        ) as self._bar:  # fmt: skip
            yield from self._bar

    def step(self, state, losses):
        """Report a step, every ``logging_steps`` of them: its losses, one for each phase, and what is watched."""
        training = self._training
        self._bar.set_postfix(loss=f"{state.mean_loss:.4f}", refresh=False)
        if state.step % training.arguments.logging_steps:
            return
        by_phase = {f"loss_{phase}": loss for phase, loss in zip(training.phases, losses, strict=False)}
        parts = scalars(training.watched)
        record = {"loss": sum(losses), **by_phase, **parts, "learning_rate": training.learning_rate}
        self._write("step", "train", state, record)
        if self._history is not None:
            for text in self._collapse.look(parts, state.step):
                self._history.append(kind="warning", step=state.step, epoch=state.epoch + 1, text=text)

    def epoch(self, state, record):
        """Tell of an epoch, or of the part of it that was trained before the run was stopped."""
        self._write("epoch", "epoch", state, record)
        epochs, seconds = self._training.recipe.epochs, self._clock.in_all()
        shown = f"epoch {state.epoch + 1}/{epochs}  {_shown(record)}  {seconds:.0f} s"
        self._training.accelerator.print(shown, flush=True)

    def _write(self, kind, prefix, state, record):
        record, accelerator = {"epoch": state.epoch + 1, **record}, self._training.accelerator
        if self._history is not None:
            self._history.append(kind=kind, step=state.step, **record)
        if accelerator.trackers:
            accelerator.log({f"{prefix}/{name}": value for name, value in record.items()}, step=state.step)

    def _begin_stages(self, stages, resumes):
        """Say what the stages are trained on; loudly, where that is less than the recipe's network could."""
        print(f"training: {stages['stages']}", flush=True)
        if stages["reason"]:
            print(f"WARNING: {stages['reason']}", flush=True)
        if resumes:
            self._collapse.recall(read_history(self._history.path))
        else:
            self._history.append(kind="stages", step=0, epoch=0, **stages)


def _shown(record):
    """The figures of an epoch in one line."""
    shown = f"loss {record['loss']:.4f}"
    if "validation_dice" in record:
        shown += f"  validation loss {record['validation_loss']:.4f}  3-D Dice {record['validation_dice']:.4f}"
        shown += told_metrics(record)
    if "validation_false_ml" in record:
        shown += f"  with lesion {record['validation_dice_with_lesion']:.4f}"
        shown += f"  false mL {record['validation_false_ml']:.2f}"
    if "validation_miou" in record:
        shown += f"  first-stage mIoU {record['validation_miou']:.4f}"
    return f"{shown}  learning rate {record['learning_rate']:.1e}"
