"""``lesionseg demo``: the whole path on made heads."""

from pathlib import Path
from typing import Annotated

import typer

from .app import app


@app.command()
def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for all of it; an earlier demo is replaced.")
    ] = Path("demo-output"),
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A Hub on loopback to publish to and download from; without one the model stays in its folder.",
            show_default=False,
        ),
    ] = None,
    heads: Annotated[int, typer.Option(help="Made heads: some to train on, one or more to segment.")] = 4,
    steps: Annotated[int, typer.Option(help="Of training.")] = 8,
    seed: Annotated[int, typer.Option(help="Of heads and training.")] = 0,
) -> None:
    """Segment a made head with the packaged network; then fine-tune it, publish, download, segment again.

    Every step is an ordinary command, printed before it runs. The scores are synthetic. It takes two to three minutes
    on two cores; the mask is there in the first.

    `lesionseg demo -o demo-output`
    """
    from ..demo import run_demo

    run_demo(output, endpoint=endpoint, heads=heads, steps=steps, seed=seed)
