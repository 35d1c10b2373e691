"""A reproduced table for the eye: in the terminal, and as Markdown."""

from rich.console import Console
from rich.table import Table

from .paper_tables import COLUMNS


def _heading(record):
    kind = "SYNTHETIC data" if record["synthetic"] else f"data: {record['data']}"
    return f"{record['title']} ({record['source']}); here: {kind}"


def _note(record):
    budget = record["budget"]
    return (
        f"Paper: {record['paper_data']}, full width. Here: {record['data']}"
        f"{' (synthetic: comparable among themselves only)' if record['synthetic'] else ''}, width "
        f"{budget['base_width']} for 64 and others in proportion, "
        f"{budget['steps']} steps of {budget['batch_size']} slices at a rate of "
        f"{budget['learning_rate']:g} falling to 0 or by the recipe's steps, encoders from "
        f"{budget['encoder_weights'] or 'scratch'}, lengths in pixels x {budget['scale']:g}, seeds "
        f"{', '.join(map(str, budget['seeds']))}."
    )


def _cells(record):
    """Heading and rows of text: for every column the paper's figure, where it reports any, and ours."""
    columns = list(record["rows"][0]["columns"])
    reported = [column for column in columns if any(column in row["reported"] for row in record["rows"])]
    heading, rows = ["row"], [[row["row"]] for row in record["rows"]]
    for column in columns:
        name = COLUMNS[column][0]
        heading += [f"{name} paper", f"{name} here"] if column in reported else [name]
        for cells, row in zip(rows, record["rows"], strict=True):
            if column in reported:
                cells.append(_figure(column, row["reported"].get(column)))
            cells.append(_measured(column, row["columns"][column]))
    return heading, rows


def _figure(column, value):
    if value is None:
        return "–"
    return f"{value / 1e6:.2f} M" if COLUMNS[column][1] == "parameters" else f"{value:.2f}"


def _measured(column, value):
    text = _figure(column, value["mean"])
    return text if value["std"] is None else f"{text} ± {value['std']:.2f}"


def print_table(record, console):
    """Print the table with what its columns mean."""
    heading, rows = _cells(record)
    table = Table(title=_heading(record), caption=_note(record), caption_justify="left")
    for index, name in enumerate(heading):
        table.add_column(name, justify="left" if index == 0 else "right")
    for cells in rows:
        table.add_row(*cells)
    if not console.is_terminal:  # a file or a pipe has no width of its own
        console = Console(file=console.file, width=max(console.width, 13 * len(heading)))
    console.print(table)


def markdown_table(record):
    """The table as Markdown, with its heading, conditions and the meaning of its columns."""
    heading, rows = _cells(record)
    lines = [f"# {_heading(record)}", "", _note(record), ""]
    lines.append("| " + " | ".join(heading) + " |")
    lines.append("|---|" + "---:|" * (len(heading) - 1))
    lines += ["| " + " | ".join(cells) + " |" for cells in rows]
    lines.append("")
    lines += [f"- {COLUMNS[column][0]}: {COLUMNS[column][2]}" for column in record["rows"][0]["columns"]]
    return "\n".join(lines) + "\n"
