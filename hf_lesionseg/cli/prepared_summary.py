"""What ``lesionseg prepare`` prints of what it made: splits, label checks, warnings, and what was left out."""

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_MOST_WARNINGS = 20  # that are printed: a data set may have a trap in each header


def print_summary(dataset: Any, output: Path) -> None:
    """What is in each split, what was found out about the cases, and what was odd in them."""
    from ..datasets.readers.isles import PERFUSION_MAPS

    _print_label_checks(dataset)
    _print_mask_choices(dataset)
    _print_splits(dataset, output)
    for remark in dataset.remarks:
        print(f"warning: {remark}", file=sys.stderr)
    told = [warning for case in dataset.cases for warning in case.warnings]
    for warning in told[:_MOST_WARNINGS]:
        print(f"warning: {warning}", file=sys.stderr)
    if len(told) > _MOST_WARNINGS:
        print(f"warning: {len(told) - _MOST_WARNINGS} more of such warnings, see dataset.json", file=sys.stderr)
    if any(name in PERFUSION_MAPS for case in dataset.cases for name in case.made_from_series):
        print("no case has perfusion maps: all are made from the raw series, as `lesionseg perfusion` makes them")


def _print_splits(dataset: Any, output: Path) -> None:
    """How many cases, people, slices and mL each split has."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{dataset.name}{' (synthetic data)' if dataset.synthetic else ''}: {output}")
    table.add_column("split")
    for name in ("cases", "people", "slices", "with lesion", "lesion mL, median"):
        table.add_column(name, justify="right")
    for split in dataset.splits():
        cases = dataset.select(split)
        volumes = sorted(case.lesion_ml for case in cases)
        table.add_row(
            split,
            str(len(cases)),
            str(len({case.person for case in cases})),
            str(sum(case.num_slices for case in cases)),
            str(sum(len(case.lesion_slices) for case in cases)),
            f"{volumes[len(volumes) // 2]:.2f}" if volumes else "–",
        )
    Console().print(table)


def print_rejected(dataset: Any, left_out: set[str]) -> int:
    """Say what was left out, in brief, and what failed, one by one; returns the exit status."""
    by_name, status = [], 0
    for rejected in dataset.rejected:
        path, reason = rejected["path"], rejected["reason"]
        if path in left_out:
            by_name.append((path, reason))
        else:
            print(f"error: {reason if path in reason else f'{path}: {reason}'}", file=sys.stderr)
            status = 1
    print_left_out(by_name, ", see dataset.json")
    return status


def print_left_out(rejected: Iterable[tuple[str, str]], place: str = "") -> None:
    """A line for each reason, with the first file that it is true of."""
    reasons: dict[str, list[str]] = {}
    for path, reason in rejected:
        reasons.setdefault(reason, []).append(path)
    for reason, paths in reasons.items():
        more = f" and {len(paths) - 1} more{place}" if len(paths) > 1 else ""
        where = "" if paths[0] in reason else f": {paths[0]}"
        print(f"left out: {reason}{where}{more}", file=sys.stderr)


def _print_label_checks(dataset: Any) -> None:
    """How the label of each case lies on its scan, where that was checked."""
    from rich.console import Console
    from rich.table import Table

    checked = [case for case in dataset.cases if "label_check" in case.notes]
    if not checked:
        return
    table = Table(title="Labels on their scans")
    table.add_column("case")
    for name in ("mean HU", "soft tissue"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for case in checked:
        check = case.notes["label_check"]
        found = check["overlaps"].get(check["flip"] or "as documented")
        numbers = (f"{found['mean_hu']:.0f}", f"{found['soft_tissue']:.0%}") if found else ("–", "–")
        remark = f": {check['remark']}" if check["remark"] else ""
        table.add_row(case.id, *numbers, check["verdict"] + remark)
    Console().print(table)


def _print_mask_choices(dataset: Any) -> None:
    """Which mask was taken where a session had several."""
    notes = Counter(case.notes["mask_choice"] for case in dataset.cases if "mask_choice" in case.notes)
    for note, count in notes.items():
        print(f"note: {count} cases: {note}", file=sys.stderr)
