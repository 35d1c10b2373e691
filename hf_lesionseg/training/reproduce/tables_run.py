"""Several tables one after the other, each number of steps chosen for a wall time where one is given."""

import time
from pathlib import Path

from rich.console import Console

from .table_run import plan_table, reproduce
from .time_budget import choose_steps, groups_that_share_runs


def reproduce_tables(tables, data, output, budget, *, seconds=None, rows=None, console=None):
    """Train, score, write and print tables; runs that several of them share are made once.

    Parameters
    ----------
    tables : list of Table
    data : Prepared or Synthetic
    output : path
    budget : Budget
    seconds : float, optional
        Wall time of each table. Tables that share runs put theirs together, and take one number of steps.
    rows : sequence of str, optional
        Names of the rows to run; all by default.
    console : rich.console.Console, optional

    Returns
    -------
    list of dict
        The tables' records.
    """
    console = console or Console()
    if seconds is None:
        return [reproduce(table, data, output, budget, rows=rows, console=console) for table in tables]
    records = []
    for group in groups_that_share_runs(tables):
        started, allowed = time.monotonic(), seconds * len(group)

        def runs_of(budget, group=group):
            found = {}
            for table in group:
                for row, run in plan_table(table, data, Path(output) / "runs", budget, rows)[0]:
                    found.setdefault(run.folder, (row, run))
            return found

        chosen, time_budget, allowance = choose_steps(group, runs_of, output, budget, allowed, started, console)
        for table in group:
            options = {"rows": rows, "console": console, "allowance": allowance, "time_budget": time_budget}
            records.append(reproduce(table, data, output, chosen, **options))
        console.print(f"{', '.join(table.id for table in group)}: {time.monotonic() - started:.0f} of {allowed:.0f} s")
    return records
