"""``lesionseg train``: the same as ``scripts/train.py``, whose options are those of the training room."""

import typer

from .app import app


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def train(context: typer.Context) -> None:
    """Train a network on prepared data.

    `lesionseg train --recipe clci-net-atlas --data_dir prepared --output_dir run1`

    On several GPUs: accelerate launch scripts/train.py with the same options.
    """
    from ..training.command import main as train_main

    raise typer.Exit(train_main(context.args))
