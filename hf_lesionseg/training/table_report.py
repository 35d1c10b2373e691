"""A reproduced table for the eye: in the terminal, and as Markdown."""

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
        f"{budget['base_width']}, {budget['steps']} steps of {budget['batch_size']} slices at a rate of "
        f"{budget['learning_rate']:g} falling to 0 or by the recipe's steps, encoders from "
        f"{budget['encoder_weights'] or 'scratch'}, lengths in pixels x {budget['scale']:g}, seeds "
        f"{', '.join(map(str, budget['seeds']))}."
    )


def _cells(record):
    """Heading and rows of text: for every column the paper's figure and ours."""
    columns = list(record["rows"][0]["columns"])
    names = [COLUMNS[column][0] for column in columns]
    heading = ["row", *(text for name in names for text in (f"{name} paper", f"{name} here"))]
    rows = []
    for row in record["rows"]:
        cells = [row["row"]]
        for column in columns:
            cells += [_figure(column, row["reported"].get(column)), _measured(column, row["columns"][column])]
        rows.append(cells)
    return heading, rows


def _figure(column, value):
    if value is None:
        return "–"
    return f"{value:.2f}" if COLUMNS[column][1] else f"{value / 1e6:.2f} M"


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
