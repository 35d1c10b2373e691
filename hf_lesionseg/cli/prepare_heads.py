"""``lesionseg prepare heads``: whole heads with strokes, from real anatomies and masks."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .prepare import Output, RecipeName, Workers, _print_summary, _processor, prepare

_Paths = list[Path]


def _sources(text: str) -> Path:
    return typer.Option(metavar="PATH", help=text, show_default=False)


@prepare.command()
def heads(
    output: Output,
    labels: Annotated[_Paths, _sources("Label maps of whole heads, FreeSurfer-like (files or folders).")] = [],  # noqa: B006
    heads: Annotated[_Paths, _sources("Real T1w scans of whole, healthy heads.")] = [],  # noqa: B006
    brains: Annotated[_Paths, _sources("Real T1w scans of healthy brains, skull-stripped.")] = [],  # noqa: B006
    lesions: Annotated[_Paths, _sources("Lesion masks in MNI space at 1 mm: folders or tar archives.")] = [],  # noqa: B006
    brain_masks: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Brain masks of the heads, by name; others are made.", show_default=False),
    ] = None,
    licence: Annotated[
        list[str],
        typer.Option(metavar="SOURCE=TEXT", help="Licence of a folder or file, by its name.", show_default=False),
    ] = [],  # noqa: B006
    catalogue: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Render scans of a folder that this command made, instead of sources.",
            show_default=False,
        ),
    ] = None,
    render: Annotated[int, typer.Option(help="Whole scans to render and prepare, a third without a stroke.")] = 36,
    split: Annotated[
        str, typer.Option(help="Whose heads to render: choose (to validate on), report or fit.")
    ] = "choose",
    seed: Annotated[int, typer.Option(help="Seed of the rendered scans.")] = 0,
    spacing: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="PIXEL SLICE",
            help="Voxels of the rendered scans in mm, in-plane and between slices; drawn for each by default.",
            show_default=False,
        ),
    ] = None,
    split_seed: Annotated[int, typer.Option(help="Seed that shares people out to fit, choose and report.")] = 0,
    recipe: RecipeName = "clci-net-heads",
    workers: Workers = 0,
) -> None:
    """Prepare heads with strokes: `lesionseg train` then renders its slices as it goes, each one new.

    Anatomies and masks are real; contrast, age, strokes' appearance and artefacts are made up. People are shared out
    to three sets: to fit, to choose by (checkpoint, threshold) and to report on once.

    `lesionseg prepare heads --labels maps --heads t1w --brains stripped --lesions masks.tar -o heads`

    `lesionseg prepare heads --catalogue heads --split report --render 100 -o report`
    """
    from ..datasets.synthetic.heads.catalogue import HeadSources
    from ..datasets.synthetic.heads.prepare import prepare_heads
    from ..training.recipe import load_recipe

    pairs = [each.partition("=") for each in licence]
    if not all(text for _, _, text in pairs):
        raise UsageError(f"--licence {licence}: give SOURCE=TEXT, such as masks.tar=CC0-1.0")
    given = labels or heads or brains or lesions
    sources = HeadSources(labels, heads, brains, lesions, brain_masks, {name: text for name, _, text in pairs})
    dataset = prepare_heads(
        sources if given or catalogue is None else None,
        output,
        _processor(load_recipe(recipe)),
        catalogue=catalogue,
        render=render,
        split=split,
        seed=seed,
        spacing=spacing,
        split_seed=split_seed,
        workers=workers,
    )
    _print_summary(dataset, output)
