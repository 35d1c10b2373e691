"""``lesionseg ensemble``: several networks as one."""

from pathlib import Path
from typing import Annotated

import typer

from .app import app
from .paths import existing_folders


@app.command()
def ensemble(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER",
            help="Output folders of `lesionseg train`, two or more.",
            show_default=False,
            callback=existing_folders,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the ensemble.", show_default=False)
    ],
) -> None:
    """Join networks into one that predicts the mean of their probabilities.

    The networks may differ in their weights only. `segment`, `push` and every other command take the ensemble's folder
    as they take a network's. If the networks are the folds of a cross-validation, the command also pools their scores:
    it writes cross_validation.md, .csv and .json and the model card, and scores each case by the network that did not
    train on its person.

    `lesionseg ensemble runs/fold-0 runs/fold-1 runs/fold-2 runs/fold-3 -o ensemble`
    """
    from ..evaluation.fold_report import print_folds
    from ..training.ensemble import make_ensemble

    pooled = make_ensemble(folders, output)
    if pooled is not None:
        print_folds(pooled)
    print(f"ensemble of {len(folders)} networks: {output}")
