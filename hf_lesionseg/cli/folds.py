"""``lesionseg folds``: who is held out when, kept with the prepared data."""

import statistics
import sys
from pathlib import Path
from typing import Annotated

import typer

from .app import app
from .paths import prepared_folder


@app.command()
def folds(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Folder of prepared data, from `lesionseg prepare`.",
            show_default=False,
            callback=prepared_folder,
        ),
    ],
    number: Annotated[int, typer.Option("--folds", metavar="N", help="Number of folds.")] = 4,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed that shares people out to new folds.")] = 0,
    keep_test: Annotated[
        bool,
        typer.Option(
            "--keep-test", help="Leave the test split of splits.json out, so that you can score the ensemble on it."
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace the folds. Networks that you trained on the old ones then belong to no fold."
        ),
    ] = False,
) -> None:
    """Share people out into folds for cross-validation, and show the folds.

    All cases of a person go into one fold, and every fold gets small and large lesions. DATA/folds-N.json keeps the
    folds, so that they are the same for every network. `lesionseg train --fold 0 --folds N` makes the file too, if it
    does not exist yet.

    `lesionseg folds prepared --folds 4`

    `lesionseg folds prepared --folds 5 --keep-test`
    """
    from ..datasets.prepared import PreparedDataset
    from ..datasets.prepared.folds import folds_file, load_folds, make_folds, save_folds
    from ..datasets.readers.isles2018 import people_warning
    from ..errors import UsageError

    dataset = PreparedDataset(data)
    path = folds_file(data, number)
    if path.is_file() and not overwrite:
        if keep_test or seed:
            raise UsageError(
                f"{path}: exists already; leave --seed and --keep-test out to see it, or replace it with --overwrite"
            )
        made = load_folds(path, dataset.cases)
    else:
        apart = set(dataset.splits().get("test", ())) if keep_test else set()
        kept = [case for case in dataset.cases if case.id not in apart]
        made = make_folds(kept, number, seed, [case for case in dataset.cases if case.id in apart])
        save_folds(path, made)
    if message := people_warning(dataset.cases):
        print(f"warning: {message}", file=sys.stderr)
    _print(made, dataset)
    print(path)


def _print(made, dataset) -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"{len(made)} folds of {dataset.name}, seed {made.seed}" + (" (SYNTHETIC)" if dataset.synthetic else "")
    table = Table("fold", title=title)
    for column in ("people", "cases", "median mL", "min", "max", "trains on", "chosen on"):
        table.add_column(column, justify="right")
    volume = {case.id: case.lesion_ml for case in dataset.cases}
    for fold, ids in enumerate(made.members):
        own, splits = [volume[case] for case in ids], made.splits(fold)
        sizes = (f"{value:.2f}" for value in (statistics.median(own), min(own), max(own)))
        counts = (str(len(splits[split])) for split in ("train", "validation"))
        table.add_row(str(fold), str(made.people[fold]), str(len(ids)), *sizes, *counts)
    Console().print(table)
    if made.left_out:
        print(f"in no fold: {len(made.left_out)} cases of the test split")
