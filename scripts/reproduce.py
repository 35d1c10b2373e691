"""Reproduce tables of the papers: train their rows, print the papers' figures beside ours.

    python scripts/reproduce.py l-snet-1 --data synthetic --budget 20m
    python scripts/reproduce.py all --data synthetic --budget 15m
    python scripts/reproduce.py res-unet-1 --data prepared/atlas
    python scripts/reproduce.py l-snet-4 --data prepared/pancreas --steps 60000

On a folder made by `lesionseg prepare` every row is trained as its paper says: width, batches, learning rate and number
of epochs of its recipe, and encoders from published weights where the recipe has some. ``--data synthetic`` generates
organs, strokes or CT perfusion, as a table needs, trains narrow networks for minutes, and says so in everything it
writes. Beside the table (Markdown, JSON, CSV, a CSV of all test cases) lie its figures. Rows that several tables share
are trained once for all of them. A run that was stopped goes on where it was: give the same command again.
"""

import argparse
import sys
from pathlib import Path

from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.errors import LesionSegError
from hf_lesionseg.reproduce import Budget, Prepared, Synthetic, parse_duration, reproduce_tables
from hf_lesionseg.reproduce.tables import TABLES, find_tables

SYNTHETIC = ["synthetic"]
_CASES = 120
_WIDTH_IN_A_HURRY = 8
_EMPTY_SLICES = 0.2  # most slices are empty, and some hundred steps would see few lesions


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
    parser.add_argument(
        "--steps", type=int, help=f"optimizer steps of each run (the recipe's epochs; {defaults.steps} if synthetic)"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=defaults.seeds, help="one run for each (0)")
    parser.add_argument(
        "--base_width",
        type=int,
        help="64 in the paper; others in proportion "
        f"(64; {defaults.base_width} if synthetic, and {_WIDTH_IN_A_HURRY} with --budget then)",
    )
    parser.add_argument(
        "--batch_size", type=int, help=f"slices per step (the recipe's; {defaults.batch_size} if synthetic)"
    )
    parser.add_argument(
        "--empty_slices",
        type=float,
        metavar="SHARE",
        help=f"of the slices without lesion that an epoch takes (the recipe's; {_EMPTY_SLICES} if synthetic)",
    )
    parser.add_argument(
        "--learning_rate",
        type=float,
        help="at the beginning (the recipe's; at less than the paper's width one that suits narrow networks)",
    )
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
        default=_CASES,
        help="generated volumes, half as many people where it is perfusion (%(default)s)",
    )
    group.add_argument("--size", type=int, default=128, help="rows and columns of slices of organs (%(default)s)")
    options = parser.parse_args(arguments)
    if options.budget and options.steps:
        parser.error("--budget chooses the steps; leave --steps out")
    return options


def make_budget(options):
    """By each row's recipe on the papers' data, short and narrow on generated ones; what is asked for goes first."""
    settings, synthetic = {}, options.data == SYNTHETIC
    if synthetic:
        settings |= {"scale": options.size / 512, "empty_slice_fraction": _EMPTY_SLICES}
        settings |= {"base_width": _WIDTH_IN_A_HURRY} if options.budget else {}
    asked = {
        "steps": options.steps,
        "seeds": tuple(options.seeds),
        "base_width": options.base_width,
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "empty_slice_fraction": options.empty_slices,
        "scale": options.scale,
        "encoder_weights": options.encoder_weights,
        "processes": options.num_processes,
    }
    settings |= {name: value for name, value in asked.items() if value is not None}
    return Budget(**settings) if synthetic else Budget.published(**settings)


def main(arguments=None):
    options = parse_arguments(arguments)
    try:
        tables = find_tables(options.tables)
        seconds = options.budget and parse_duration(options.budget)
        if options.data == SYNTHETIC:
            data = Synthetic(options.output, options.cases, options.size)
        else:
            data = Prepared(tuple(PreparedDataset(folder) for folder in options.data))
        reproduce_tables(tables, data, options.output, make_budget(options), seconds=seconds, rows=options.rows)
    except LesionSegError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
