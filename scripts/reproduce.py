"""Reproduce a table of one of the papers: train its rows under one budget, print the paper's figures beside ours.

    python scripts/reproduce.py l-snet-1 --data synthetic
    python scripts/reproduce.py l-snet-4 --data prepared/pancreas --steps 60000 --base_width 64 --learning_rate 1e-4

``--data synthetic`` generates organs and says so in everything it writes; otherwise give a folder made by `lesionseg
prepare`. Rows that several tables share are trained once for all of them. A run that was stopped goes on where it was.
"""

import argparse
import sys
from pathlib import Path

from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.errors import LesionSegError
from hf_lesionseg.training.paper_tables import TABLES, find_table
from hf_lesionseg.training.reproduce import Budget, generate_organs, reproduce


def parse_arguments(arguments=None):
    tables = "\n".join(f"  {table.id:10} {table.title} ({table.source})" for table in TABLES.values())
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"tables:\n{tables}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    defaults = Budget()
    parser.add_argument("tables", nargs="+", metavar="TABLE", help="one or more of those below")
    parser.add_argument("--data", required=True, help="`synthetic`, or a folder made by `lesionseg prepare`")
    parser.add_argument(
        "--output", type=Path, default=Path("reproduced"), help="folder for runs and tables (%(default)s)"
    )
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these rows of the table")
    parser.add_argument("--steps", type=int, default=defaults.steps, help="optimizer steps of each run (%(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=defaults.seeds, help="one run for each (0)")
    parser.add_argument("--base_width", type=int, default=defaults.base_width, help="64 in the paper (%(default)s)")
    parser.add_argument("--batch_size", type=int, default=defaults.batch_size, help="slices per step (%(default)s)")
    parser.add_argument("--learning_rate", type=float, default=defaults.learning_rate, help="(%(default)s)")
    parser.add_argument(
        "--encoder_weights", help="ResNets to start from; by default ImageNet's at --base_width 64, `none` for none"
    )
    parser.add_argument(
        "--scale", type=float, help="size of the slices by 512; brings lengths in pixels, such as the margin, to it"
    )
    group = parser.add_argument_group("synthetic data")
    group.add_argument("--cases", type=int, default=90, help="generated volumes (%(default)s)")
    group.add_argument("--size", type=int, default=128, help="rows and columns of their slices (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse_arguments(arguments)
    try:
        tables = [find_table(name) for name in options.tables]
        scale = options.size / 512 if options.data == "synthetic" else 1.0
        budget = Budget(
            steps=options.steps,
            seeds=tuple(options.seeds),
            base_width=options.base_width,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            scale=scale if options.scale is None else options.scale,
            encoder_weights=options.encoder_weights,
        )
        if options.data == "synthetic":
            dataset = generate_organs(options.output / "organs", count=options.cases, size=options.size)
        else:
            dataset = PreparedDataset(options.data)
        for table in tables:
            reproduce(table, dataset, options.output, budget, rows=options.rows)
    except LesionSegError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
