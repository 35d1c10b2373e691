"""The scores of a cross-validation as tables: mean and SD of each metric, fold by fold and over all cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .metrics import scores
from .report import markdown_table

if TYPE_CHECKING:
    from rich.console import Console


def fold_table(summary: dict) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of the table of folds.

    Parameters
    ----------
    summary : dict
        Result of :func:`~hf_lesionseg.evaluation.summary.summarize`, with a block per fold in ``by_split``.

    Returns
    -------
    columns : list of str
        "metric", "unit", each fold, "all cases".
    rows : list of list of str
        "mean (SD)" of each metric that is defined somewhere, then the numbers of cases and people.
    """
    blocks = {**summary["by_split"], "all cases": summary}
    rows = []
    for metric in scores():
        if summary.get(metric.name, {}).get("n"):
            cells = [metric.mean_and_sd(block[metric.name]) for block in blocks.values()]
            rows.append([metric.heading, metric.unit, *cells])
    for title, count in (("Cases", "n_cases"), ("People", "n_people"), ("Empty predictions", "n_empty_prediction")):
        rows.append([title, "", *(str(block[count]) for block in blocks.values())])
    return ["metric", "unit", *blocks], rows


def fold_title(summary: dict) -> str:
    """Heading of the table, which says where the data are synthetic."""
    return "Cross-validation" + (" on synthetic data" if summary.get("synthetic") else "")


HOW = "Mean (SD) over cases; every case was scored once, by the network that was trained without its person."


def markdown_folds(summary: dict) -> str:
    """Return the table of folds under its heading, as Markdown."""
    columns, rows = fold_table(summary)
    return "\n".join([f"# {fold_title(summary)}", "", HOW, "", *markdown_table(columns, rows, left=2), ""])


def print_folds(summary: dict, *, console: Console | None = None) -> None:
    """Print the table of folds on the terminal."""
    from rich.console import Console
    from rich.table import Table

    columns, rows = fold_table(summary)
    table = Table(*columns[:2], title=fold_title(summary))
    for column in columns[2:]:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    console = console or Console()
    console.print(table)
    console.print(HOW, highlight=False)
