"""The reasons to stop a run before its last epoch: nothing gained, enough steps, no time left."""

import time

import torch


class Clock:
    """Seconds of a run.

    Attributes
    ----------
    before : float
        Seconds of the runs that this one resumes.
    """

    def __init__(self):
        self._started = time.monotonic()
        self.before = 0.0

    def of_this_run(self):
        return time.monotonic() - self._started

    def in_all(self):
        return self.before + self.of_this_run()


class StopRules:
    """Tell after each step and epoch why a run ends there, or nothing: "".

    Parameters
    ----------
    training : TrainingSetup
    clock : Clock
    """

    def __init__(self, training, clock):
        self._recipe, self._accelerator, self._clock = training.recipe, training.accelerator, clock
        self._max_steps, self._max_minutes = training.arguments.max_steps, training.arguments.max_minutes

    def before_start(self, state):
        """Say whether a resumed run has nothing left to do; the clock does not count, so each run takes a step."""
        return early_stop(state, self._recipe) or self._enough_steps(state)

    def after_step(self, state):
        return self._enough_steps(state) or self._out_of_time()

    def after_epoch(self, state):
        """The reason of its last step, if any; else that validations brought nothing."""
        return state.finished or early_stop(state, self._recipe)

    def _enough_steps(self, state):
        reached = self._max_steps is not None and state.step >= self._max_steps
        return f"--max-steps {self._max_steps}" if reached else ""

    def _out_of_time(self):
        late = self._max_minutes is not None and self._clock.of_this_run() > 60 * self._max_minutes
        return f"--max-minutes {self._max_minutes}" if self._any_process(late) else ""

    def _any_process(self, flag):
        """Whether any process raises ``flag``: the same answer in all of them, so that they stop at the same step."""
        accelerator = self._accelerator
        if accelerator.num_processes == 1:
            return flag
        return accelerator.reduce(torch.tensor(float(flag), device=accelerator.device), reduction="sum").item() > 0


def early_stop(state, recipe):
    """Why training should stop for want of improvement, or nothing."""
    patience = recipe.early_stopping_patience
    if patience and state.validations_without_best >= patience:
        return f"no better {recipe.monitor} in {patience} validations"
    return ""
