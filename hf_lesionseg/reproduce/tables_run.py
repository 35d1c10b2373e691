"""Several tables one after the other, each number of steps chosen for a wall time where one is given."""

import time
from pathlib import Path

from rich.console import Console

from ..errors import DataError
from .data import Prepared
from .table_run import chosen_rows, plan_table, reproduce
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

    Raises
    ------
    UsageError
        For a row that one of the tables does not have; before anything is trained.
    DataError
        If there are data for no table.
    """
    console = console or Console()
    tables = _trainable(tables, data, output, budget, rows, console)
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


def _trainable(tables, data, output, budget, rows, console):
    """The tables that there are data for; the others are told now, not after days."""
    for table in tables:
        chosen_rows(table, rows)
    if not isinstance(data, Prepared):
        return tables  # they are generated, all that is asked for
    found, lacking = [], []
    for table in tables:
        try:
            plan_table(table, data, Path(output) / "runs", budget, rows)
            found.append(table)
        except DataError as error:
            lacking.append(error)
    if not found:
        raise lacking[0]
    for error in lacking:
        console.print(f"left out: {error}", style="yellow")
    return found
