"""``lesionseg demo``: the whole path on generated strokes."""

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
    cases: Annotated[int, typer.Option(help="Generated strokes.")] = 160,
    minutes: Annotated[float, typer.Option(help="Longest time for training.")] = 7.5,
    seed: Annotated[int, typer.Option(help="Of strokes and training.")] = 0,
) -> None:
    """Generate strokes, train a narrow CLCI-Net, publish, segment, evaluate: up to twelve minutes.

    Every step is an ordinary command, printed before it runs. The scores are synthetic.

    `lesionseg demo -o demo-output`
    """
    from ..demo import run_demo

    run_demo(output, endpoint=endpoint, cases=cases, minutes=minutes, seed=seed)
