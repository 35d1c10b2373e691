"""``lesionseg prepare template-heads``: heads that anybody with this package can make."""

from typing import Annotated

import typer

from .prepare import Output, RecipeName, SplitSeed, Workers, _print_summary, _processor, _tell_rejected, prepare


@prepare.command("template-heads")
def template_heads(
    output: Output,
    count: Annotated[int, typer.Option(help="Heads to make; more of them add to a folder.", show_default=False)],
    seed: Annotated[int, typer.Option(help="Equal seeds give equal heads.")] = 0,
    scanner: Annotated[
        str, typer.Option(help="ordinary, or low-field: flat, noisy and shaded, slices of 6 mm.")
    ] = "ordinary",
    minimum_ml: Annotated[float, typer.Option(help="Only lesions of at least this volume in mL.")] = 5.0,
    maximum_ml: Annotated[
        float | None, typer.Option(help="Only lesions of at most this volume in mL.", show_default=False)
    ] = None,
    recipe: RecipeName = "clci-net-heads-finetune",
    split_seed: SplitSeed = 0,
    workers: Workers = 0,
) -> None:
    """Make whole heads with strokes around nilearn's brain template, and prepare them.

    For demonstrations, tests and to try fine-tuning out: everything made from them is marked synthetic.

    `lesionseg prepare template-heads -o heads --count 20 --scanner low-field --workers 2`
    """
    from ..datasets.synthetic.heads.template_heads import prepare_template_heads
    from ..training.recipe import load_recipe

    chosen = load_recipe(recipe)
    dataset = prepare_template_heads(
        output,
        _processor(chosen),
        chosen.split,
        count=count,
        seed=seed,
        scanner=scanner,
        minimum_ml=minimum_ml,
        maximum_ml=maximum_ml,
        split_seed=split_seed,
        workers=workers,
    )
    _print_summary(dataset, output)
    raise typer.Exit(_tell_rejected(dataset, set()))
