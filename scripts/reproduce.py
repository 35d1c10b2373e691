"""Reproduce tables of the papers: train their rows under one budget, print the papers' figures beside ours.

    python scripts/reproduce.py l-snet-1 --data synthetic --budget 20m
    python scripts/reproduce.py all --data synthetic --budget 15m
    python scripts/reproduce.py l-snet-4 --data prepared/pancreas --steps 60000 --base_width 64 --learning_rate 1e-4

``--data synthetic`` generates organs, strokes or CT perfusion, as a table needs, and says so in everything it writes;
otherwise give a folder made by `lesionseg prepare`. Beside the table (Markdown, JSON, CSV, a CSV of all test cases)
lie its figures. Rows that several tables share are trained once for all of them. A run that was stopped goes on where
it was: give the same command again.
"""

import argparse
import sys
from pathlib import Path

from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.errors import LesionSegError
from hf_lesionseg.training.reproduce import Budget, Prepared, Synthetic, parse_duration, reproduce_tables
from hf_lesionseg.training.tables import TABLES, find_tables

_CASES, _CASES_IN_A_HURRY = 90, 60


def parse_arguments(arguments=None):
    tables = "\n".join(f"  {table.id:12} {table.title} ({table.source})" for table in TABLES.values())
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"tables:\n{tables}\n  {'all':12} all of them",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    defaults = Budget()
    parser.add_argument("tables", nargs="+", metavar="TABLE", help="one or more of those below, or all")
    parser.add_argument(
        "--data",
        required=True,
        nargs="+",
        metavar="DIR",
        help="`synthetic`, or a folder made by `lesionseg prepare`; further folders are for rows that take in other "
        "channels, such as a DWI",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("reproduced"), help="folder for runs and tables (%(default)s)"
    )
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these rows of the table")
    parser.add_argument(
        "--budget",
        metavar="TIME",
        help="wall time of each table, such as 90s, 20m or 1h: every network is tried for seconds, and all rows get "
        "the number of steps that fits the time; tables that share runs put their time together. In place of --steps",
    )
    parser.add_argument("--steps", type=int, help=f"optimizer steps of each run ({defaults.steps})")
    parser.add_argument("--seeds", type=int, nargs="+", default=defaults.seeds, help="one run for each (0)")
    parser.add_argument(
        "--base_width",
        type=int,
        default=defaults.base_width,
        help="64 in the paper; others in proportion (%(default)s)",
    )
    parser.add_argument("--batch_size", type=int, default=defaults.batch_size, help="slices per step (%(default)s)")
    parser.add_argument("--learning_rate", type=float, default=defaults.learning_rate, help="(%(default)s)")
    parser.add_argument(
        "--encoder_weights", help="ResNets to start from; by default ImageNet's at --base_width 64, `none` for none"
    )
    parser.add_argument(
        "--scale", type=float, help="size of the slices by 512; brings lengths in pixels, such as the margin, to it"
    )
    parser.add_argument(
        "--num_processes",
        type=int,
        default=defaults.processes,
        help="processes that train a run together, by `accelerate launch`: one for each GPU, or on the CPU where there "
        "is none; they share the slices of a step (%(default)s)",
    )
    group = parser.add_argument_group("synthetic data")
    group.add_argument(
        "--cases",
        type=int,
        help=f"generated volumes, people where it is perfusion ({_CASES}; {_CASES_IN_A_HURRY} with --budget)",
    )
    group.add_argument("--size", type=int, default=128, help="rows and columns of slices of organs (%(default)s)")
    options = parser.parse_args(arguments)
    if options.budget and options.steps:
        parser.error("--budget chooses the steps; leave --steps out")
    return options


def main(arguments=None):
    options = parse_arguments(arguments)
    try:
        tables = find_tables(options.tables)
        seconds = options.budget and parse_duration(options.budget)
        synthetic = options.data == ["synthetic"]
        if synthetic:
            cases = options.cases or (_CASES_IN_A_HURRY if options.budget else _CASES)
            data = Synthetic(options.output, cases, options.size)
        else:
            data = Prepared(tuple(PreparedDataset(folder) for folder in options.data))
        scale = options.size / 512 if synthetic else 1.0
        budget = Budget(
            steps=Budget.steps if options.steps is None else options.steps,
            seeds=tuple(options.seeds),
            base_width=options.base_width,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            scale=scale if options.scale is None else options.scale,
            encoder_weights=options.encoder_weights,
            processes=options.num_processes,
        )
        reproduce_tables(tables, data, options.output, budget, seconds=seconds, rows=options.rows)
    except LesionSegError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
