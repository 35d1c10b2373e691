"""``lesionseg reproduce``: the tables of the papers, trained again."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .app import Command, app
from .paths import prepared_folder

SYNTHETIC = "synthetic"
_TRAINING, _GENERATED = "Training", "Generated data"


class _ListsTables(Command):
    """Names the tables at the end of its help; they are looked up only then."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from ..reproduce.papers import TABLES

        rows = "\n".join(f"- `{table.id}`: {table.title} ({table.source})" for table in TABLES.values())
        self.epilog = f"Tables:\n\n{rows}\n- `all`: all of them"
        super().format_help(ctx, formatter)


def _known_data(folders: list[str]) -> list[str]:
    """Return the folders, or what stands for generated data."""
    return [folder if folder == SYNTHETIC else prepared_folder(folder) for folder in folders]


def _training(text: str, **settings: Any) -> Any:
    return typer.Option(help=text, show_default=False, rich_help_panel=_TRAINING, **settings)


@app.command(cls=_ListsTables)
def reproduce(
    tables: Annotated[
        list[str],
        typer.Argument(
            metavar="TABLE", help="Tables to train: names from the list below, or `all`.", show_default=False
        ),
    ],
    data: Annotated[
        list[str],
        typer.Option(
            metavar="DIR",
            help="Folder of `lesionseg prepare`, or `synthetic` to generate what the tables need. Repeat the option "
            "for rows that take other channels, such as a DWI.",
            show_default=False,
            callback=_known_data,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for runs, tables and figures.")
    ] = Path("reproduced"),
    row: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Row to train. Repeat the option for more rows. Default: all.", show_default=False
        ),
    ] = None,
    seed: Annotated[
        list[int], typer.Option(help="Seed of each run. Repeat the option to train every row once per seed.")
    ] = [0],  # noqa: B006
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Wall time per table, such as 90s, 20m or 1h30m, in place of --steps. The command tries every network "
            "for a few seconds and gives all rows the steps that fit. Tables that share runs share their time.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        _training("Optimizer steps per run. Default: the epochs of the row's recipe; 1500 if synthetic."),
    ] = None,
    base_width: Annotated[
        int | None,
        _training(
            "Feature maps where the paper has 64; other widths shrink in proportion. Default: 64; 16 if synthetic, 8 "
            "with --budget."
        ),
    ] = None,
    batch_size: Annotated[
        int | None, _training("Slices per step, over all processes. Default: the recipe's; 8 if synthetic.")
    ] = None,
    learning_rate: Annotated[
        float | None,
        _training("Learning rate at the start. Default: the recipe's; the table's own for narrow networks."),
    ] = None,
    empty_slice_fraction: Annotated[
        float | None,
        _training(
            "Share of the slices without lesion that each epoch draws, 0 to 1. Default: the recipe's; 0.2 if "
            "synthetic.",
            metavar="SHARE",
        ),
    ] = None,
    encoder_weights: Annotated[
        str | None,
        _training("ResNet weights to start from, or `none`. Default: the recipe's at --base-width 64, none below."),
    ] = None,
    scale: Annotated[
        float | None,
        _training(
            "Factor for lengths in pixels, such as a margin: size of the slices / 512. Default: 1; --size / 512 if "
            "synthetic."
        ),
    ] = None,
    num_processes: Annotated[
        int,
        typer.Option(
            help="Processes that share the slices of a step: each has its own GPU, or all use the CPU.",
            rich_help_panel=_TRAINING,
        ),
    ] = 1,
    cases: Annotated[
        int,
        typer.Option(help="Volumes to generate; for perfusion half as many people.", rich_help_panel=_GENERATED),
    ] = 120,
    size: Annotated[
        int, typer.Option(help="Rows and columns of the slices of generated organs.", rich_help_panel=_GENERATED)
    ] = 128,
) -> None:
    """Train the rows of a paper's table, and print the paper's figures beside yours.

    On prepared data each row follows its recipe: the paper's width, batches, learning rate and epochs, and published
    weights in the encoders where the paper has them. Most tables take days on one GPU. `--data synthetic` generates
    scans and trains narrow networks for minutes, and marks every file SYNTHETIC.

    The command writes the table as Markdown, JSON and CSV, one line per test case, and figures. It trains a row that
    several tables share once. Give the same command again to go on with a run that was stopped.

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
    asked |= {"empty_slice_fraction": empty_slice_fraction, "encoder_weights": encoder_weights, "scale": scale}
    asked = {name: value for name, value in asked.items() if value is not None}
    asked |= {"seeds": tuple(seed), "processes": num_processes}
    if data == [SYNTHETIC]:
        spent = Budget.generated(size, in_a_hurry=bool(budget), **asked)
        found = Synthetic(output, cases, size)
    else:
        spent = Budget.published(**asked)
        found = Prepared.of_folders(data)
    reproduce_tables(chosen, found, output, spent, seconds=seconds, rows=row)
