"""A reproduced table as CSV: one line for each row and column, and one for each row, seed and test case."""

import csv

from ..csv_numbers import short_numbers
from ..imaging.atomic import write_aside
from ..provenance import MARK
from .tables import COLUMNS

_FIELDS = (
    "table", "row", "column", "heading", "unit", "paper", "paper_sd", "ours", "low", "high", "sd", "n", "people",
    "seeds", "seed_sd", "compared_with", "difference", "difference_low", "difference_high", "steps", "finished",
    "synthetic",
)  # fmt: skip


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
    """What the last column of every line says of figures of generated data."""
    return {"notice": MARK} if record["synthetic"] else {}


def _write(path, fields, lines):
    with write_aside(path) as aside, aside.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(short_numbers(line) for line in lines)
