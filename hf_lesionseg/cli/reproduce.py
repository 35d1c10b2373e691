"""``lesionseg reproduce``: the tables of the papers, trained again."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from .app import app

SYNTHETIC = "synthetic"
_TRAINING, _GENERATED = "Training", "Generated data"


class _ListsTables(TyperCommand):
    """Names the tables at the end of its help; they are looked up only then."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from ..reproduce.papers import TABLES

        rows = "\n".join(f"- `{table.id}`: {table.title} ({table.source})" for table in TABLES.values())
        self.epilog = f"Tables:\n\n{rows}\n- `all`: all of them"
        super().format_help(ctx, formatter)


def _training(text: str, **settings: Any) -> Any:
    return typer.Option(help=text, show_default=False, rich_help_panel=_TRAINING, **settings)


@app.command(cls=_ListsTables)
def reproduce(
    tables: Annotated[
        list[str], typer.Argument(metavar="TABLE...", help="Tables of those below, or `all`.", show_default=False)
    ],
    data: Annotated[
        list[str],
        typer.Option(
            metavar="DIR",
            help="Folder of `lesionseg prepare`, or `synthetic` to generate what the tables need. Repeat it for rows "
            "that take in other channels, such as a DWI.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for runs, tables and figures.")
    ] = Path("reproduced"),
    row: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Train only this row of the tables; may be repeated.", show_default=False),
    ] = None,
    seed: Annotated[list[int], typer.Option(help="Train every row with this seed; may be repeated.")] = [0],  # noqa: B006
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Wall time of each table, such as 90s, 20m or 1h30m, in place of --steps: every network is tried for "
            "seconds, and all rows get the number of steps that fits. Tables that share runs put their time together.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        _training("Optimizer steps of each run. Default: the epochs of the row's recipe; 1500 if synthetic."),
    ] = None,
    base_width: Annotated[
        int | None,
        _training(
            "Feature maps where the paper has 64, other widths in proportion. Default: 64; 16 if synthetic, 8 with "
            "--budget."
        ),
    ] = None,
    batch_size: Annotated[
        int | None, _training("Slices of a step, of all processes together. Default: the recipe's; 8 if synthetic.")
    ] = None,
    learning_rate: Annotated[
        float | None,
        _training("At the beginning. Default: the recipe's; below the paper's width one that suits narrow networks."),
    ] = None,
    empty_slices: Annotated[
        float | None,
        _training(
            "Share of the slices without lesion that an epoch takes, 0 to 1. Default: the recipe's; 0.2 if synthetic.",
            metavar="SHARE",
        ),
    ] = None,
    encoder_weights: Annotated[
        str | None,
        _training("ResNets to start from, `none` for none. Default: ImageNet's at --base-width 64, none below."),
    ] = None,
    scale: Annotated[
        float | None,
        _training("Size of the slices by 512: lengths in pixels, such as a margin, are brought to it."),
    ] = None,
    num_processes: Annotated[
        int,
        typer.Option(
            help="Processes that train a run together, on a GPU each or on the CPU where there is none; they share the "
            "slices of a step.",
            rich_help_panel=_TRAINING,
        ),
    ] = 1,
    cases: Annotated[
        int,
        typer.Option(help="Volumes to generate; of perfusion half as many people.", rich_help_panel=_GENERATED),
    ] = 120,
    size: Annotated[int, typer.Option(help="Rows and columns of slices of organs.", rich_help_panel=_GENERATED)] = 128,
) -> None:
    """Train the rows of a paper's table, and print the paper's figures beside yours.

    On a folder of `lesionseg prepare` every row is trained as its paper says: width, batches, learning rate and epochs
    of its recipe, and published weights in the encoders where the paper has them. That takes days on a GPU for most
    tables. `--data synthetic` generates scans and trains narrow networks for minutes; everything that is written says
    SYNTHETIC.

    Beside the table (Markdown, JSON, CSV, a CSV of the test cases) lie its figures. Rows that tables share are trained
    once. A run that was stopped goes on where it was: give the same command again.

    `lesionseg reproduce l-snet-1 --data synthetic --budget 20m`

    `lesionseg reproduce res-unet-1 --data prepared/atlas`

    `lesionseg reproduce l-snet-4 --data prepared/pancreas --steps 60000 --row 0 --row 0.1`
    """
    from ..errors import UsageError
    from ..reproduce.budget import Budget
    from ..reproduce.data import Prepared, Synthetic
    from ..reproduce.pace import parse_duration
    from ..reproduce.papers import find_tables
    from ..reproduce.tables_run import reproduce_tables

    if budget and steps:
        raise UsageError("--budget chooses the steps; leave --steps out")
    seconds, chosen = budget and parse_duration(budget), find_tables(tables)
    asked = {"steps": steps, "base_width": base_width, "batch_size": batch_size, "learning_rate": learning_rate}
    asked |= {"empty_slice_fraction": empty_slices, "encoder_weights": encoder_weights, "scale": scale}
    asked = {name: value for name, value in asked.items() if value is not None}
    asked |= {"seeds": tuple(seed), "processes": num_processes}
    if data == [SYNTHETIC]:
        spent = Budget.generated(size, in_a_hurry=bool(budget), **asked)
        found = Synthetic(output, cases, size)
    else:
        spent = Budget.published(**asked)
        found = Prepared.of_folders(data)
    reproduce_tables(chosen, found, output, spent, seconds=seconds, rows=row)
