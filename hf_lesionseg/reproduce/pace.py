"""A table within a wall time: measure what each run costs, then give all of them the same number of steps.

    total = sum over runs of (start + validations + scoring + steps * seconds of a step)

is solved for the steps, with a reserve. When the machine turns out slower than it was, each run stops cleanly at its
share of the time that is left; the same command then goes on.
"""

import json
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ..errors import LesionSegError, UsageError
from .command import environment, launched

_SECONDS = {"s": 1, "m": 60, "h": 3600}
_DRAWN = 3  # cases on the sheets of overlays of a run and of a table
_RESERVE = 0.12  # of the time, for what was measured too short
FEWEST_STEPS = 10  # of less nothing could be read
_PROBE = "hf_lesionseg.reproduce.probe"


def parse_duration(text):
    """Seconds of a duration such as ``20m``, ``90s``, ``1h`` or ``1h30m``; a bare number is minutes.

    Raises
    ------
    UsageError
        If it is none, or nothing.

    Examples
    --------
    >>> parse_duration("90s"), parse_duration("1h30m"), parse_duration("20")
    (90.0, 5400.0, 1200.0)
    """
    number = r"(\d+(?:\.\d+)?)"
    parts = re.findall(rf"{number}([smh])", text.strip().lower())
    whole = "".join(value + unit for value, unit in parts) == text.strip().lower()
    if re.fullmatch(number, text.strip()):
        parts, whole = [(text.strip(), "m")], True
    seconds = sum(float(value) * _SECONDS[unit] for value, unit in parts)
    if not whole or not seconds > 0:
        raise UsageError(f"budget {text!r} is no duration; give one such as 90s, 20m or 1h30m")
    return seconds


@dataclass(frozen=True)
class Cost:
    """Seconds that a run of one seed takes.

    Attributes
    ----------
    step : float
        Of an optimizer step, with its share of the checkpoint that each epoch writes.
    before : float
        Of the process until its first step, and of the validations between steps.
    after : float
        Of what follows the last step: the scores of the best weights, figures, the table's scores.
    """

    step: float
    before: float
    after: float

    def total(self, steps):
        """Of a run of so many steps."""
        return self.before + steps * self.step + self.after


def measure(runs, seconds=4.0):
    """What each of several runs costs, from a short training in a process that leaves nothing behind.

    Parameters
    ----------
    runs : list of Run
        Of the same number of processes.
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
        output = Path(folder) / "costs.json"
        recipes = [run.write_recipe(Path(folder) / str(number)) for number, run in enumerate(runs)]
        arguments = ["--recipe", *recipes]
        arguments += ["--data_dir", *(run.dataset.folder for run in runs)]
        arguments += ["--seconds", seconds, "--output", output]
        command = launched(_PROBE, list(map(str, arguments)), processes)
        done = subprocess.run(command, check=False, env=environment(processes), capture_output=True, text=True)
        if done.returncode:
            raise LesionSegError(f"the networks cannot be trained: status {done.returncode}: {done.stderr[-2000:]}")
        found = json.loads(output.read_text())
    start = time.monotonic() - started - found["seconds"]
    return [_cost(run, start, **each) for run, each in zip(runs, found["runs"], strict=True)]


def _cost(run, start, step, case, checkpoint, batches):
    validation, test = (len(run.dataset.select(split)) for split in ("validation", "test"))
    validations = run.budget.validations + 2  # some more, since they follow epochs
    before = start + case * validations * validation / run.budget.processes
    # The table measures the test cases once more, with distances, and both draw some of them; figures and the card take
    # about as long as a start.
    return Cost(step + checkpoint / batches, before, start + case * (validation + 2 * test + 2 * min(test, _DRAWN)))


def steps_within(seconds, costs):
    """The number of steps that all runs can take in so many seconds.

    Parameters
    ----------
    seconds : float
    costs : list of Cost
        Of every run that is to be trained, of each seed.

    Returns
    -------
    int
        At least 10: of less nothing could be read.
    """
    fixed = sum(cost.total(0) for cost in costs)
    return max(FEWEST_STEPS, int(((1 - _RESERVE) * seconds - fixed) / sum(cost.step for cost in costs)))


class Allowance:
    """Shares out what is left of a wall time among the runs that are still to come.

    Parameters
    ----------
    deadline : float
        On :func:`time.monotonic`'s clock.
    costs : dict of (folder, seed) to Cost
        Of the runs that are to come.
    steps : int
        Of each run.
    """

    def __init__(self, deadline, costs, steps):
        self.deadline = deadline
        self.costs = dict(costs)
        self.steps = steps

    def overrun(self):
        """Seconds that have passed since the time was over; 0 before."""
        return max(0.0, time.monotonic() - self.deadline)

    def minutes_for(self, run, seed):
        """Minutes that a run may train now, or None for one that nobody measured; it is crossed off."""
        cost = self.costs.get((run.folder, seed))
        if cost is None:
            return None
        left = self.deadline - time.monotonic()
        share = cost.total(self.steps) / sum(each.total(self.steps) for each in self.costs.values())
        del self.costs[run.folder, seed]
        return max(left * share - cost.after, cost.before + FEWEST_STEPS * cost.step) / 60
