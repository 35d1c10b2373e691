"""A reproduced table for the eye: in the terminal, and as Markdown."""

from rich.console import Console
from rich.table import Table

from .conditions import describe_conditions
from .spreadsheets import mean_and_sd
from .tables import COLUMNS


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
    """What else has to be said, a sentence or two each."""
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
