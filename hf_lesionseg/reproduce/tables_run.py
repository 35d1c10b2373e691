"""Train and score the rows of tables; write and print each table with its figures."""

import json
import time
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from ..errors import DataError, UsageError
from ..imaging.atomic import write_aside
from ..provenance import GENERATED, marks
from .data import Prepared, lacking_for_row
from .figures import draw_table
from .means import compare_with_first, measure_column
from .pace import choose_steps, groups_that_share_runs
from .report import conditions_of, markdown_table, print_table, write_cases, write_tidy
from .runs import plan_run
from .scores import score_folder


def reproduce_tables(tables, data, output, budget, *, seconds=None, rows=None, console=None):
    """Train, score, write and print tables; runs that several of them share are made once.

    Parameters
    ----------
    tables : list of Table
    data : Prepared or Synthetic
    output : path
    budget : Budget
    seconds : float, optional
        Wall time of each table, which chooses the budget's steps. Tables that share runs put theirs together, and take
        one number of steps.
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
        return [reproduce_table(table, data, output, budget, rows=rows, console=console) for table in tables]
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
            records.append(reproduce_table(table, data, output, chosen, **options))
        console.print(f"{', '.join(table.id for table in group)}: {time.monotonic() - started:.0f} of {allowed:.0f} s")
    return records


def _trainable(tables, data, output, budget, rows, console):
    """The tables that there are data for; the others are named now, not after days."""
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


def chosen_rows(table, rows):
    """The rows of those names, all without any.

    Raises
    ------
    UsageError
        For an unknown one.
    """
    unknown = sorted(set(rows or ()) - {row.name for row in table.rows})
    if unknown:
        raise UsageError(f"{table.id} has no row {unknown[0]!r}; its rows: {', '.join(row.name for row in table.rows)}")
    return [row for row in table.rows if not rows or row.name in rows]


def plan_table(table, data, runs, budget, rows=None):
    """The runs of a table's rows.

    Parameters
    ----------
    table : Table
    data : Prepared or Synthetic
    runs : path
        Folder of all runs.
    budget : Budget
    rows : sequence of str, optional
        Names of the rows; all by default.

    Returns
    -------
    list of (Row, Run), list of str
        And what is left out for want of data, with the reason.

    Raises
    ------
    UsageError
        For an unknown row.
    DataError
        If there are data for no row; names what is missing for the first one.
    """
    planned, left_out = [], []
    for row in chosen_rows(table, rows):
        dataset = data.of_row(table, row)
        reason = lacking_for_row(table, row, dataset)
        if reason:
            left_out.append(f"{row.name}: {reason}")
        else:
            planned.append((row, plan_run(table, row, dataset, runs, budget)))
    if not planned:
        raise DataError(f"{table.id}: there is nothing to train; {left_out[0]}")
    return planned, left_out


def reproduce_table(table, data, output, budget, *, rows=None, console=None, allowance=None, time_budget=None):
    """Train and score every row of a table; write and print the table.

    Parameters
    ----------
    table : Table
    data : Prepared or Synthetic
        With the splits train, validation and test.
    output : path
        ``runs/`` holds the runs of all tables; ``<table>.md``, ``.json``, ``.csv``, ``-cases.csv`` and the figures are
        written beside it.
    budget : Budget
    rows : sequence of str, optional
        Names of the rows to run; all by default.
    console : rich.console.Console, optional
    allowance : Allowance, optional
        Minutes that each run may take.
    time_budget : TimeBudget, optional
        That the steps were chosen for.

    Returns
    -------
    dict
        What the JSON file holds.

    Raises
    ------
    UsageError
        For an unknown row.
    LesionSegError
        If a run fails.
    """
    output, console = Path(output), console or Console()
    planned, left_out = plan_table(table, data, output / "runs", budget, rows)
    for text in left_out:
        console.print(f"left out: {text}", style="yellow")
    total, number, results = len(planned) * len(budget.seeds), 0, []
    for row, run in planned:
        scores, folders = [], []
        for seed in budget.seeds:
            number += 1
            console.print(f"{table.id}: {row.name}, seed {seed} (run {number} of {total})", style="bold")
            folders.append(run.train(seed, allowance and allowance.minutes_for(run, seed)))
            scores.append(score_folder(folders[-1], run, console))
        results.append(_result(table, row, run, folders, scores, output))
    for column in table.columns:
        compare_with_first(column, results)
    record = _record(table, planned[0][1].dataset, budget, results, left_out, time_budget)
    record["figures"] = draw_table(record, [run.dataset for _, run in planned], output)
    if time_budget is not None:
        record["time_budget"]["overrun"] = allowance.overrun()
    _write(record, output)
    print_table(record, console)
    return record


def _result(table, row, run, folders, scores, output):
    """What a row's runs found."""
    seeds = run.budget.seeds
    return {
        "row": row.name,
        "model_type": row.model_type,
        "model": row.model,
        "encoder_weights": run.settings["encoder_weights"],
        "conditions": conditions_of(run),
        "reported": row.reported,
        "runs": [str(folder.relative_to(output)) for folder in folders],
        "steps": [run.steps_done(seed) for seed in seeds],
        "finished": all(run.is_finished(seed) for seed in seeds),
        "scores": scores,
        "columns": {column: measure_column(column, row, scores) for column in table.columns},
        "volumes": {name: measure_column(f"volume_{name}", row, scores) for name in ("dsc", "iou")},
    }


def _record(table, dataset, budget, results, left_out, time_budget):
    """The table as its JSON file holds it."""
    return {
        "table": table.id,
        "title": table.title,
        "source": table.source,
        "note": table.note,
        "data": dataset.name,
        "synthetic": dataset.synthetic,
        **marks(GENERATED if dataset.synthetic else None),
        "data_fingerprint": dataset.fingerprint(),
        "test_cases": len(dataset.select("test")),
        "test_people": len({case.person for case in dataset.select("test")}),
        "paper_data": table.data,
        "columns": list(table.columns),
        "budget": asdict(budget),
        "time_budget": time_budget and {**asdict(time_budget), "text": time_budget.describe()},
        "rows": results,
        "reported_only": [{"row": each.name, "reported": each.reported} for each in table.reported_only],
        "left_out": left_out,
    }


def _write(record, output):
    """CSV, Markdown and JSON; what single cases add stands in the second CSV file and beside the runs alone."""
    write_tidy(record, output / f"{record['table']}.csv")
    write_cases(record, output / f"{record['table']}-cases.csv")
    for row in record["rows"]:
        row["scores"] = [
            {name: value for name, value in score.items() if "cases" not in name} for score in row["scores"]
        ]
    for ending, text in ((".json", json.dumps(record, indent=1) + "\n"), (".md", markdown_table(record))):
        with write_aside(output / f"{record['table']}{ending}") as aside:
            aside.write_text(text)
