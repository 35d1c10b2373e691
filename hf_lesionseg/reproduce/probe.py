"""Measure what runs cost: each is set up as for training and takes some steps, in a process that leaves nothing.

That process is ``python -m hf_lesionseg.reproduce.probe RUNS COSTS``: it reads the training arguments of each run as
JSON, and writes what it measured as JSON.
"""

import itertools
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import LesionSegError
from ..training.arguments import TrainingArguments
from ..training.data import load_data
from ..training.setup import set_up
from ..training.validation import validate_case
from .command import environment, launched

_WARM_UP = 2  # steps in which memory is claimed and kernels are chosen
_MOST_STEPS = 50
_DRAWN = 3  # cases on the sheets of overlays of a run and of a table


@dataclass(frozen=True)
class Cost:
    """Seconds that a run of one seed takes.

    Attributes
    ----------
    step : float
        Time of an optimizer step, with its share of the checkpoint that each epoch writes.
    before : float
        Time of the process until its first step, and of the validations between steps.
    after : float
        Time after the last step: the scores of the best weights, figures, the table's scores.
    """

    step: float
    before: float
    after: float

    def total(self, steps):
        """Return the time of a run of so many steps."""
        return self.before + steps * self.step + self.after


def measure_runs(runs, seconds=4.0):
    """What each of several runs costs, from a short training.

    Parameters
    ----------
    runs : list of Run
        Runs with the same number of processes.
    seconds : float
        To spend on the steps of each.

    Returns
    -------
    list of Cost

    Raises
    ------
    LesionSegError
        If one of them cannot be trained.
    """
    processes = runs[0].budget.processes
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        asked, costs = Path(folder) / "runs.json", Path(folder) / "costs.json"
        options = [run.options(run.budget.seeds[0], Path(folder) / str(number)) for number, run in enumerate(runs)]
        asked.write_text(json.dumps({"runs": options, "seconds": seconds}))
        command = launched(__name__, [str(asked), str(costs)], processes)
        done = subprocess.run(command, check=False, env=environment(processes), capture_output=True, text=True)
        if done.returncode:
            raise LesionSegError(f"the networks cannot be trained: status {done.returncode}: {done.stderr[-2000:]}")
        found = json.loads(costs.read_text())
    start = time.monotonic() - started - found["seconds"]
    return [_cost(run, start, **each) for run, each in zip(runs, found["runs"], strict=True)]


def _cost(run, start, step, case, checkpoint, batches):
    validation, test = (len(run.dataset.select(split)) for split in ("validation", "test"))
    validations = run.budget.validations + 2  # some more, since they follow epochs
    before = start + case * validations * validation / run.budget.processes
    # The table measures the test cases once more, with distances, and both draw some of them; figures and the card take
    # about as long as a start.
    return Cost(step + checkpoint / batches, before, start + case * (validation + 2 * test + 2 * min(test, _DRAWN)))


def measure_training(training, seconds):
    """Seconds of what a run does, measured by doing some of it.

    Parameters
    ----------
    training : TrainingSetup
    seconds : float
        To spend on steps, about.

    Returns
    -------
    dict
        ``step``, ``case`` and ``checkpoint``: of an optimizer step, of segmenting and scoring a case, and of writing a
        checkpoint into the arguments' ``output_dir``; ``batches``, the number of those of an epoch.
    """
    step = _seconds_of_a_step(training, seconds)
    begun = time.monotonic()
    case = max(training.data.dataset.cases, key=lambda case: case.num_slices)
    validate_case(
        training.network, training.data.processor, case, batch_size=16, slice_range=training.recipe.slice_range
    )
    validated = time.monotonic()
    training.accelerator.save_state(training.arguments.output_dir)
    checkpoint = time.monotonic() - validated
    return {"step": step, "case": validated - begun, "checkpoint": checkpoint, "batches": len(training.loader)}


def _seconds_of_a_step(training, seconds):
    training.model.train()
    begun, steps = 0.0, 0
    for epoch in itertools.count():
        for number, batch in enumerate(training.batches_of(epoch)):
            if steps == _WARM_UP:
                begun = time.monotonic()
            training.step(batch, epoch, number)
            steps += 1
            spent = _longest(time.monotonic() - begun, training.accelerator)
            if steps > _WARM_UP and (spent > seconds or steps >= _MOST_STEPS):
                return spent / (steps - _WARM_UP)


def _longest(seconds, accelerator):
    """The longest of all processes' times, the same in each: they have to stop at the same step."""
    return accelerator.gather(torch.tensor([seconds], device=accelerator.device)).max().item()


def main(asked, costs):
    """Measure the runs of a JSON file, and write what they cost into another."""
    started = time.monotonic()
    asked = json.loads(Path(asked).read_text())
    found = []
    for options in asked["runs"]:
        arguments = TrainingArguments(**options)
        training = set_up(arguments, load_data(arguments))
        found.append(measure_training(training, asked["seconds"]))
    if training.accelerator.is_main_process:
        Path(costs).write_text(json.dumps({"runs": found, "seconds": time.monotonic() - started}))


if __name__ == "__main__":
    main(*sys.argv[1:])
