"""``lesionseg ensemble``: several networks as one."""

from pathlib import Path
from typing import Annotated

import typer

from .app import app


@app.command()
def ensemble(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLD...", help="Model folders of training, two or more.", show_default=False),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the ensemble.", show_default=False)
    ],
) -> None:
    """Assemble networks that predict as one, by the mean of their probabilities.

    Given the folds of a cross-validation it pools their scores, each case scored by the network that was trained
    without its person, into cross_validation.md, .csv and .json and the model card. The networks may differ in their
    weights only. `segment`, `push` and every other command take the folder as they take a single network's.

    `lesionseg ensemble runs/fold-0 runs/fold-1 runs/fold-2 runs/fold-3 -o ensemble`
    """
    from ..evaluation.fold_report import print_folds
    from ..training.ensemble import make_ensemble

    pooled = make_ensemble(folders, output)
    if pooled is not None:
        print_folds(pooled)
    print(f"ensemble of {len(folders)} networks: {output}")
