"""A summary as tables: CSV, Markdown, and on the terminal. Counts stand beside every mean."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..csv_numbers import short_numbers
from ..provenance import MARK
from .metrics import METRICS, Metric, find_metric, measured
from .presets import PRESETS
from .scored_case import CaseMetrics, failed_case

if TYPE_CHECKING:
    from rich.console import Console

COLUMNS = ("metric", "unit", "mean", "std", "median", "min", "max", "n")


def csv_table(cases: Sequence[CaseMetrics], *, synthetic: bool = False) -> str:
    """Return one row per case under a header; undefined values are empty cells, floats have six digits.

    Where data or network are ``synthetic``, a last column says SYNTHETIC LESIONS in every row.
    """
    text = io.StringIO()
    mark = {"notice": MARK} if synthetic else {}
    table = csv.DictWriter(text, [*failed_case("", "").to_dict(), *mark], lineterminator="\n")
    table.writeheader()
    table.writerows(short_numbers(case.to_dict()) | mark for case in cases)
    return text.getvalue()


def _metric_rows(summary: Mapping) -> list[list[str]]:
    """Rows of ``COLUMNS``: a metric each, but for those that were not asked for."""
    return [
        [metric.heading, metric.unit, *_numbers(summary[metric.name], metric), str(summary[metric.name]["n"])]
        for metric in measured(METRICS, slow=bool(summary.get("lesionwise")))
    ]


def _numbers(described: Mapping, metric: Metric) -> list[str]:
    return [metric.text(described[column]) for column in COLUMNS[2:-1]]


CHALLENGE_COLUMNS = ("metric", "unit", "mean (SD)", "n")


def _challenge_rows(summary: dict) -> list[list[str]]:
    """Rows of ``CHALLENGE_COLUMNS``: what the preset's challenge prints, in its order; none without a preset."""
    rows = []
    for metric in map(find_metric, PRESETS[summary["preset"]].columns if summary.get("preset") else ()):
        described = summary[metric.name]
        rows.append([metric.heading, metric.unit, metric.mean_and_sd(described), str(described["n"])])
    return rows


def _challenge_title(summary: dict) -> str:
    return f"Counted as {PRESETS[summary['preset']].title} does"


SLICE_COLUMNS = ("slices", *COLUMNS[2:-1], "n slices")


def _slice_rows(summary: dict) -> list[list[str]]:
    """Rows of ``SLICE_COLUMNS``; none where no slice was scored."""
    groups = {"positive (lesion in the truth)": "positive", "all (empty in both = 1)": "all"}
    return [
        [title, *_numbers(block, find_metric("dice")), str(block["n"])]
        for title, block in ((title, summary["slice_dice"][name]) for title, name in groups.items())
        if summary["slice_axis"]
    ]


def _slice_title(summary: dict) -> str:
    return f"Dice per {summary['slice_axis']} slice, slices of all cases pooled"


def _counts(summary: dict) -> str:
    undefined = f"; no surface distance in {summary['n_undefined_distances']}" if summary.get("lesionwise") else ""
    return (
        f"{summary['n_cases']} cases of {summary['n_people']} people: {summary['n_empty_truth']} with empty truth, "
        f"{summary['n_empty_prediction']} with empty prediction, {summary['n_failed']} failed{undefined}"
    )


def _title(summary: dict) -> str:
    return "Evaluation on synthetic data" if summary.get("synthetic") else "Evaluation"


def _titled(title: str, summary: dict) -> str:
    return f"{title} (synthetic data)" if summary.get("synthetic") else title


def _group_rows(groups: dict[str, dict]) -> list[list[str]]:
    """One row per group of cases: its counts and mean Dice, or nothing for a group without cases."""
    return [
        [
            name,
            *(find_metric("dice").text(block["dice"][column]) for column in ("mean", "std", "median")),
            str(block["dice"]["n"]),
            str(block["n_empty_truth"]),
            str(block["n_empty_prediction"]),
            str(block["n_failed"]),
        ]
        for name, block in groups.items()
        if block["n_cases"]
    ]


GROUP_COLUMNS = ("group", "Dice", "std", "median", "n", "empty truth", "empty pred.", "failed")


def _size_groups(summary: dict) -> dict[str, dict]:
    """Strata under names that contain their bounds."""
    small, large = (f"{cut:g}" for cut in summary["size_cut_points_ml"])
    bounds = {
        "no lesion": "no lesion",
        "small": f"small, < {small} mL",
        "medium": f"medium, {small} to {large} mL",
        "large": f"large, ≥ {large} mL",
    }
    return {bounds[name]: block for name, block in summary["by_lesion_size"].items()}


def _groups(summary: dict) -> dict[str, dict]:
    splits = {f"split {name}": block for name, block in summary.get("by_split", {}).items()}
    return _size_groups(summary) | splits


def _per_person_sentence(summary: dict) -> str:
    own = summary["per_person"]
    mean, std = (find_metric("dice").text(own["dice"][column]) for column in ("mean", "std"))
    return (
        f"Averaged per person first: mean Dice {mean} (std {std}), n = {own['dice']['n']} of {own['n_people']} people."
    )


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> list[str]:
    rule = ["---"] * left + ["---:"] * (len(columns) - left)
    # A bar in a file name would open a column.
    cells = ([cell.replace("|", "\\|") for cell in row] for row in (columns, rule, *rows))
    return [f"| {' | '.join(row)} |" for row in cells]


def markdown_report(summary: dict) -> str:
    """Return the summary as a Markdown page: counts, metrics, people, slices, lesion sizes, failed cases, policy.

    ``summary`` is what ``summarize`` or ``evaluate_folders`` returned; its ``synthetic`` appears in the heading.
    """
    lines = [f"# {_title(summary)}", ""]
    lines += [f"**{summary['notice']}**", ""] if summary.get("notice") else []
    lines += [f"{_counts(summary)}.", ""]
    lines += markdown_table(COLUMNS, _metric_rows(summary), left=2)
    lines += ["", _per_person_sentence(summary), ""]
    if rows := _challenge_rows(summary):
        lines += [f"{_challenge_title(summary)}:", "", *markdown_table(CHALLENGE_COLUMNS, rows, left=2), ""]
    if rows := _slice_rows(summary):
        lines += [f"{_slice_title(summary)}:", "", *markdown_table(SLICE_COLUMNS, rows, left=1), ""]
    if rows := _group_rows(_groups(summary)):
        lines += [*markdown_table(GROUP_COLUMNS, rows, left=1), ""]
    if summary["failed"]:
        failed = ([entry["case"], entry["reason"]] for entry in summary["failed"])
        lines += ["## Failed cases", "", *markdown_table(("case", "reason"), failed, left=2), ""]
    lines += ["## Empty masks", "", summary["policy"], ""]
    return "\n".join(lines)


def print_summary(summary: dict, *, console: Console | None = None) -> None:
    """Print the summary's tables, what was left out and the failed cases with their reasons, on the terminal.

    ``summary`` is what ``summarize`` or ``evaluate_folders`` returned; its ``synthetic`` appears in every title.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = console or Console()
    table = Table(*COLUMNS[:2], title=_title(summary))
    for column in COLUMNS[2:]:
        table.add_column(column, justify="right")
    for row in _metric_rows(summary):
        table.add_row(*row)
    console.print(table)
    if summary.get("notice"):
        console.print(summary["notice"], highlight=False, soft_wrap=True)
    console.print(f"{_counts(summary)}.", highlight=False)
    console.print(_per_person_sentence(summary), highlight=False)
    if rows := _challenge_rows(summary):
        challenge = Table(*CHALLENGE_COLUMNS[:2], title=_titled(_challenge_title(summary), summary))
        for column in CHALLENGE_COLUMNS[2:]:
            challenge.add_column(column, justify="right")
        for row in rows:
            challenge.add_row(*row)
        console.print(challenge)
    if rows := _slice_rows(summary):
        slices = Table(SLICE_COLUMNS[0], title=_titled(_slice_title(summary), summary))
        for column in SLICE_COLUMNS[1:]:
            slices.add_column(column, justify="right")
        for row in rows:
            slices.add_row(*row)
        console.print(slices)
    if rows := _group_rows(_groups(summary)):
        title = "By lesion size" + (" and split" if "by_split" in summary else "")
        groups = Table(title=_titled(title, summary))
        groups.add_column(GROUP_COLUMNS[0], no_wrap=True)
        for column in GROUP_COLUMNS[1:]:
            groups.add_column(column, justify="right")
        for row in rows:
            groups.add_row(*row)
        console.print(groups)
    if strangers := summary.get("predictions_without_truth"):
        named = ", ".join(map(escape, strangers[:3])) + (", ..." if len(strangers) > 3 else "")
        text = f"not scored, since they have no truth: {len(strangers)} predictions ({named})"
        console.print(text, highlight=False, soft_wrap=True)
    for note in summary.get("notes", ()):
        console.print(f"note: {escape(note)}", highlight=False, soft_wrap=True)
    for entry in summary["failed"]:
        # Paths may hold brackets, which are markup to rich.
        console.print(f"failed: {escape(entry['case'])}: {escape(entry['reason'])}", highlight=False, soft_wrap=True)
