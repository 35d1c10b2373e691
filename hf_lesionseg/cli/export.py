"""``lesionseg export``: a network as a file for other runtimes."""

from pathlib import Path
from typing import Annotated

import typer

from .app import app
from .paths import complete_models


@app.command()
def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK",
            help="Network: a folder, the name of a packaged one (`lesionseg models`), or a Hub id (org/name).",
            show_default=False,
            autocompletion=complete_models,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="New folder for the file.", show_default=False)
    ],
    format: Annotated[
        str, typer.Option(metavar="NAME", help="Format of the file: onnx or torch-export (.pt2).")
    ] = "onnx",
    revision: Annotated[
        str | None, typer.Option(metavar="NAME", help="Branch, tag or commit on the Hub.", show_default=False)
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(metavar="TOKEN", help="Hub token. Default: the one of `hf auth login`.", show_default=False),
    ] = None,
) -> None:
    """Write a network as one file that other runtimes read, for slices of any size.

    The image processor's settings lie beside it. The command compares the file with the network at three sizes; a file
    that computes something else is not kept.

    `lesionseg export stroke-t1w -o stroke-onnx`
    """
    from ..export.command import export_model
    from ..inference import ModelSource

    exported = export_model(ModelSource(model, revision, token, "cpu"), output, format)
    for compared in exported.content["parity"]:
        batch, height, width = compared["size"]
        print(
            f"{batch} x {height}x{width}: logits differ by {compared['difference']:.1e} at most, "
            f"in a range of {compared['range']:.2g}"
        )
    print(exported.file)
