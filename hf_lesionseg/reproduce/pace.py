"""Tables within a wall time: measure what each run costs, then give all of them the same number of steps.

    total = sum over runs of (start + validations + scoring + steps * seconds of a step)

is solved for the steps, with a reserve. The choice is kept, so that the same command goes on with a table that was
broken off. When the machine turns out slower than it was, each run stops cleanly at its share of the time that is left.
"""

import json
import re
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..errors import UsageError
from ..imaging.atomic import write_aside
from .probe import Cost, measure_runs

FEWEST_STEPS = 10  # of less nothing could be read
VALIDATIONS = 3  # in each run; more would take the time of the steps
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_RESERVE = 0.12  # of the time, for what was measured too short
_LONGEST_PROBE = 4.0  # seconds for each network
_SHARE_FOR_PROBES = 0.06


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
        raise UsageError(f"budget {text!r} is not a duration; give one such as 90s, 20m or 1h30m")
    return seconds


def steps_within(seconds, costs):
    """The number of steps that all runs can take in so many seconds.

    Parameters
    ----------
    seconds : float
    costs : list of Cost
        Costs of every run to train, for each seed.

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
        Costs of the runs that remain.
    steps : int
        Steps of each run.
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


@dataclass(frozen=True)
class TimeBudget:
    """Steps that were chosen for a wall time.

    Attributes
    ----------
    seconds : float
        That were asked for, for all the tables together.
    tables : tuple of str
        That share runs, and so one number of steps.
    steps : int
    costs : dict of str to Cost
        By the name of the network and its number.
    expected : float
        Seconds that all runs take by these costs, of all seeds.
    """

    seconds: float
    tables: tuple[str, ...]
    steps: int
    costs: dict
    expected: float

    @property
    def is_short(self):
        """Whether even the fewest steps take longer."""
        return self.expected > self.seconds

    def describe(self):
        """In one sentence, for the reader of the table."""
        shown = ", ".join(f"{name} {cost.step:.3f}" for name, cost in self.costs.items())
        fewest = " (the fewest that are taken: the time is short)" if self.steps <= FEWEST_STEPS else ""
        if self.is_short:
            fewest = f" (the fewest that are taken: these rows need about {self.expected / 60:.0f} minutes)"
        return (
            f"{self.seconds / 60:g} minutes for {', '.join(self.tables)}: {self.steps} steps for every row{fewest}, "
            f"from seconds per step of {shown}"
        )


def groups_that_share_runs(tables):
    """Lists of the tables whose rows are trained by one recipe on the same generated data; they share runs."""
    groups = {}
    for table in tables:
        groups.setdefault((table.generator, table.recipe), []).append(table)
    return list(groups.values())


def choose_steps(tables, runs_of, output, budget, seconds, started, console):
    """Find the steps that all runs of some tables can take in a wall time.

    Parameters
    ----------
    tables : list of Table
    runs_of : callable
        Gives the runs of all rows for a budget, each once, as a dict of their folder to (row, Run).
    output : path
        The choice is kept there, as ``<tables>-budget.json``, and taken again by the same command.
    budget : Budget
        Its steps are chosen here.
    seconds : float
    started : float
        On :func:`time.monotonic`'s clock; making the data is part of the time.
    console : rich.console.Console

    Returns
    -------
    (Budget, TimeBudget, Allowance)
    """
    budget = replace(budget, validations=VALIDATIONS)
    planned = runs_of(budget)
    ids = tuple(table.id for table in tables)
    path = Path(output) / f"{'+'.join(ids)}-budget.json"
    names = {folder: f"{number + 1} {row.name}" for number, (folder, (row, _)) in enumerate(planned.items())}
    identity = {
        "seconds": seconds,
        "rows": list(names.values()),
        "budget": {name: value for name, value in asdict(budget).items() if name != "steps"},
        "data": sorted({run.dataset.fingerprint() for _, run in planned.values()}),
    }
    identity = json.loads(json.dumps(identity))
    chosen = _kept(path, identity, ids)
    if chosen is None:
        probe = min(_LONGEST_PROBE, _SHARE_FOR_PROBES * seconds / len(planned))
        console.print(f"{', '.join(ids)}: measuring {len(planned)} networks, {probe:.1f} s each", style="bold")
        found = measure_runs([run for _, run in planned.values()], probe)
        costs = dict(zip(names.values(), found, strict=True))
        left = seconds - (time.monotonic() - started)
        steps = steps_within(left, [cost for cost in costs.values() for _ in budget.seeds])
        chosen = TimeBudget(seconds, ids, steps, costs, seconds - left + _expected(costs, steps, budget.seeds))
        _keep(path, identity, chosen)
    console.print(chosen.describe(), style="yellow" if chosen.is_short else None)
    budget = replace(budget, steps=chosen.steps)
    to_come = {
        (run.folder, seed): cost
        for (_, run), cost in zip(runs_of(budget).values(), chosen.costs.values(), strict=True)
        for seed in budget.seeds
        if not run.is_finished(seed)
    }
    return budget, chosen, Allowance(started + seconds, to_come, chosen.steps)


def _expected(costs, steps, seeds):
    return len(seeds) * sum(cost.total(steps) for cost in costs.values())


def _kept(path, identity, ids):
    """What was chosen before for the same thing, or None."""
    if not path.is_file():
        return None
    found = json.loads(path.read_text())
    if found["identity"] != identity:
        return None
    costs = {name: Cost(**cost) for name, cost in found["costs"].items()}
    return TimeBudget(identity["seconds"], ids, found["steps"], costs, found["expected"])


def _keep(path, identity, chosen):
    record = {
        "steps": chosen.steps,
        "expected": chosen.expected,
        "costs": {name: asdict(cost) for name, cost in chosen.costs.items()},
        "identity": identity,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_aside(path) as aside:
        aside.write_text(json.dumps(record, indent=1) + "\n")
