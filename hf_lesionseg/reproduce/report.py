"""A reproduced table for its reader: in the terminal, as Markdown and as CSV, with what its rows were trained with."""

import csv

from rich.console import Console
from rich.table import Table
from transformers import AutoConfig

from ..csv_numbers import short_numbers
from ..imaging.atomic import write_aside
from ..provenance import MARK
from .table import COLUMNS

_CURVES = {"cosine": "cosine", "linear": "line"}
_FIELDS = (
    "table", "row", "column", "heading", "unit", "paper", "paper_sd", "ours", "low", "high", "sd", "n", "people",
    "seeds", "seed_sd", "compared_with", "difference", "difference_low", "difference_high", "steps", "finished",
    "synthetic",
)  # fmt: skip


def conditions_of(run):
    """What a run was trained with, each in a few words.

    Parameters
    ----------
    run : Run

    Returns
    -------
    dict of str to str
        Empty where there is nothing to say.
    """
    settings, defaults = run.settings, AutoConfig.for_model(run.settings["model_type"])
    width = settings["model"].get("base_width", defaults.base_width)
    processes = run.budget.processes
    fraction = 1.0 if settings["slices"] == "lesion" else settings["empty_slice_fraction"]
    return {
        "width": "full width" if width == defaults.base_width else f"width {width} for {defaults.base_width}",
        "steps": f"{run.steps} steps of {settings['batch_size'] * processes} slices"
        + (f" in {processes} processes" if processes > 1 else ""),
        "rate": f"a rate of {settings['learning_rate']:g} {_course(settings)}",
        "slices": "" if fraction == 1 else f"{100 * fraction:g} % of the slices without lesion in each epoch",
        "encoders": f"encoders from {settings['encoder_weights'] or 'scratch'}",
        "data": run.other_settings,
    }


def describe_conditions(rows):
    """The conditions of a table's rows: what they share once, what differs with the names of the rows.

    Parameters
    ----------
    rows : list of dict
        With ``row`` and ``conditions``.

    Returns
    -------
    list of str
    """
    shown = []
    for name in rows[0]["conditions"]:
        found = {}
        for row in rows:
            found.setdefault(row["conditions"][name], []).append(row["row"])
        if len(found) == 1:
            shown.append(next(iter(found)))
        else:
            shown.append(", ".join(f"{value} ({', '.join(names)})" for value, names in found.items() if value))
    return list(filter(None, shown))


def _course(settings):
    """How the learning rate goes on."""
    scheduler, epochs = settings["scheduler"], settings["epochs"]
    if scheduler == "plateau":
        return f"times {settings['plateau_factor']:g} where the validation stalls, {epochs} epochs at most"
    if scheduler in ("step", "multistep"):
        if scheduler == "step":
            when = f"every {settings['step_epochs']} epochs"
        else:
            when = f"at epochs {' and '.join(map(str, settings['milestones']))}"
        return f"times {settings['step_factor']:g} {when}, of {epochs}"
    return "that stays" if scheduler == "constant" else f"falling to 0 along a {_CURVES[scheduler]}"


def _heading(record):
    kind = "SYNTHETIC data" if record["synthetic"] else f"data: {record['data']}"
    return f"{record['title']} ({record['source']}); here: {kind}"


def _note(record):
    """The conditions."""
    budget = record["budget"]
    conditions = describe_conditions(record["rows"])
    if budget["scale"] != 1:
        conditions.append(f"lengths in pixels x {budget['scale']:g}")
    conditions.append(f"seeds {', '.join(map(str, budget['seeds']))}")
    return (
        f"Paper: {record['paper_data']}, full width. Here: {record['data']}"
        f"{' (synthetic: comparable among themselves only)' if record['synthetic'] else ''}, {'; '.join(conditions)}. "
        f"In brackets: 95 % confidence interval, bootstrapped over the {record['test_people']} people of "
        f"{record['test_cases']} test cases{', ± between seeds' if len(budget['seeds']) > 1 else ''}."
    )


def _remarks(record):
    """Further remarks, a sentence or two each."""
    remarks = [record["note"]] if record["note"] else []
    if record["time_budget"]:
        remarks.append(f"Chosen for a wall time: {record['time_budget']['text']}.")
        if record["time_budget"]["overrun"] >= 1:
            remarks.append(f"It took {record['time_budget']['overrun']:.0f} s longer than that.")
    unfinished = [row for row in record["rows"] if not row["finished"]]
    if unfinished:
        shown = ", ".join(f"{row['row']} after {min(row['steps'])} steps" for row in unfinished)
        remarks.append(f"* stopped when the time was over: {shown}; the same command goes on with them.")
    return remarks + [f"Left out: {text}." for text in record["left_out"]]


def _differences(record):
    """Lines of Markdown: how far each row is from the first one, on the same cases; none of a table of one row."""
    columns = [
        name for name in record["columns"] if any("difference" in row["columns"][name] for row in record["rows"])
    ]
    if not columns:
        return []
    first, *others = record["rows"]
    lines = [
        "",
        f"Difference from the row {first['row']} on the same cases [95 % confidence interval, paired by person]:",
        "",
    ]
    lines.append("| row | " + " | ".join(COLUMNS[column].heading for column in columns) + " |")
    lines.append("|---|" + "---:|" * len(columns))
    for row in others:
        found = [row["columns"][column].get("difference") for column in columns]
        lines.append(f"| {row['row']} | " + " | ".join(map(_difference, found)) + " |")
    return lines


def _difference(value):
    if value is None or value[0] is None:
        return "–"
    mean, low, high = value
    return f"{mean:+.2f}" + ("" if low is None else f" [{low:+.2f}, {high:+.2f}]")


def _cells(record):
    """Heading and rows of text: for every column the paper's figure, where it is one of the paper's, and ours."""
    columns, rows = record["columns"], [*record["rows"], *record["reported_only"]]
    reported = [column for column in columns if any(column in row["reported"] for row in rows)]
    heading = ["row"]
    lines = [[row["row"] + ("" if row.get("finished", True) else " *")] for row in rows]
    for column in columns:
        name = COLUMNS[column].heading
        heading += [f"{name} paper", f"{name} here"] if column in reported else [name]
        for cells, row in zip(lines, rows, strict=True):
            if column in reported:
                cells.append(_reported(column, row["reported"].get(column)))
            cells.append(_measured(column, row["columns"][column]) if "columns" in row else "–")
    return heading, lines


def _reported(column, value):
    mean, deviation = mean_and_sd(value)
    return _figure(column, mean) + ("" if deviation is None else f" ({_figure(column, deviation)})")


def _figure(column, value):
    if value is None:
        return "–"
    unit = COLUMNS[column].unit
    if unit == "parameters":
        return f"{value / 1e6:.2f} M"
    return f"{value:g}" if unit == "count" else f"{value:.2f}"


def _measured(column, value):
    text = _figure(column, value["mean"])
    if COLUMNS[column].spread and value["sd"] is not None:
        text += f" ({value['sd']:.2f})"
    if value["std"] is not None:
        text += f" ± {value['std']:.2f}"
    if value["low"] is not None:
        text += f" [{value['low']:.2f}, {value['high']:.2f}]"
    return text


def print_table(record, console):
    """Print the table with what its columns mean."""
    heading, rows = _cells(record)
    table = Table(title=_heading(record), caption=" ".join([_note(record), *_remarks(record)]), caption_justify="left")
    for index, name in enumerate(heading):
        table.add_column(name, justify="left" if index == 0 else "right")
    for cells in rows:
        table.add_row(*cells)
    if not console.is_terminal:  # a file or a pipe has no width of its own
        widest = [max(map(len, column)) for column in zip(heading, *rows, strict=True)]
        console = Console(file=console.file, width=max(console.width, sum(widest) + 3 * len(widest) + 1))
    console.print(table)


def markdown_table(record):
    """The table as Markdown, with its heading, conditions and the meaning of its columns."""
    heading, rows = _cells(record)
    lines = [f"# {_heading(record)}", "", _note(record), ""]
    lines.append("| " + " | ".join(heading) + " |")
    lines.append("|---|" + "---:|" * (len(heading) - 1))
    lines += ["| " + " | ".join(cells) + " |" for cells in rows]
    lines += [*_differences(record), ""]
    lines += [f"- {COLUMNS[column].heading}: {COLUMNS[column].meaning}" for column in record["columns"]]
    for remark in _remarks(record):
        lines += ["", remark]
    for name, text in record["figures"].items():
        lines += ["", f"![{text}]({name})"]
    return "\n".join(lines) + "\n"


def write_tidy(record, path):
    """One line for each row and column of a table; shares in percent, intervals of 95 %.

    Intervals are over ``people``, ``sd`` is between the ``n`` cases, ``seed_sd`` between the seeds; ``difference`` is
    from the row ``compared_with``, the first, on the same cases. Lines that the paper alone reports have no ours.
    """
    lines = []
    for row in (*record["rows"], *record["reported_only"]):
        for column in record["columns"]:
            measured = row.get("columns", {}).get(column, {})
            paper, paper_sd = mean_and_sd(row["reported"].get(column))
            difference = measured.get("difference") or [None] * 3
            lines.append(
                {
                    "table": record["table"],
                    "row": row["row"],
                    "column": column,
                    "heading": COLUMNS[column].heading,
                    "unit": "percent" if COLUMNS[column].unit == "share" else COLUMNS[column].unit,
                    "paper": paper,
                    "paper_sd": paper_sd,
                    "ours": measured.get("mean"),
                    **{name: measured.get(name) for name in ("low", "high", "sd", "n", "people")},
                    "seeds": len(row.get("runs", ())),
                    "seed_sd": measured.get("std"),
                    "compared_with": record["rows"][0]["row"] if measured.get("difference") else None,
                    **dict(zip(("difference", "difference_low", "difference_high"), difference, strict=True)),
                    "steps": min(row["steps"]) if row.get("steps") else None,
                    "finished": row.get("finished"),
                    "synthetic": record["synthetic"],
                    **_mark(record),
                }
            )
    _write(path, (*_FIELDS, *_mark(record)), lines)


def write_cases(record, path):
    """One line for each row, seed and test case: its own figure of each column, empty where it has none."""
    columns = [column for column in record["columns"] if COLUMNS[column].unit != "parameters"]
    lines = []
    for row in record["rows"]:
        for run, score in zip(row["runs"], row["scores"], strict=True):
            for case in score["cases"]:
                values = {column: case["values"].get(column, (0, 0)) for column in columns}
                figures = {
                    column: (100 if COLUMNS[column].unit == "share" else 1) * total / count if count else None
                    for column, (total, count) in values.items()
                }
                lines.append(
                    {
                        "table": record["table"],
                        "row": row["row"],
                        "run": run,
                        "case": case["case"],
                        "person": case.get("person"),
                        **figures,
                        "synthetic": record["synthetic"],
                        **_mark(record),
                    }
                )
    _write(path, ("table", "row", "run", "case", "person", *columns, "synthetic", *_mark(record)), lines)


def mean_and_sd(reported):
    """A figure of the paper, and its standard deviation where it has one."""
    return reported if isinstance(reported, (tuple, list)) else (reported, None)


def _mark(record):
    """Mark of figures from generated data, in the last column of every line."""
    return {"notice": MARK} if record["synthetic"] else {}


def _write(path, fields, lines):
    with write_aside(path) as aside, aside.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(short_numbers(line) for line in lines)
