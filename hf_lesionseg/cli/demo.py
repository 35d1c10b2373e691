"""``lesionseg demo``: the whole path on made heads."""

from pathlib import Path
from typing import Annotated

import typer

from .app import app


@app.command()
def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the files; it replaces an earlier demo.")
    ] = Path("demo-output"),
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Hub on this machine (loopback) to publish to and download from. Default: the network stays in its "
            "folder.",
            show_default=False,
        ),
    ] = None,
    heads: Annotated[
        int, typer.Option(metavar="N", help="Number of generated heads: some to train on, one or more to segment.")
    ] = 4,
    steps: Annotated[int, typer.Option(metavar="N", help="Training steps.")] = 8,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the heads and of the training.")] = 0,
) -> None:
    """Try everything out on generated heads, in minutes.

    The demo segments a head with the packaged network, fine-tunes the network, publishes it, downloads it and segments
    the head again. It prints every command before it runs it. The scores are synthetic. It takes two to three minutes
    on two cores, and the first mask is there within one.

    `lesionseg demo -o demo-output`

    `lesionseg demo -o longer --heads 8 --steps 40`
    """
    from ..demo import run_demo

    run_demo(output, endpoint=endpoint, heads=heads, steps=steps, seed=seed)
