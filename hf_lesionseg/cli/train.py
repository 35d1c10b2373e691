"""``lesionseg train``, whose options are the fields of `TrainingArguments`; ``scripts/train.py`` runs the same."""

import inspect
import sys
from dataclasses import MISSING, fields
from typing import Annotated, Any

import typer

from ..training.arguments import TrainingArguments, flags_of
from .app import INTERRUPTED, Command, app
from .paths import complete_models, complete_recipes, prepared_folder


class _ListsRecipes(Command):
    """Names the recipes at the end of its help; they are looked up only then."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from ..training.recipe import load_recipe, packaged_recipes

        papers = {name: load_recipe(name).paper.partition(";")[0] for name in packaged_recipes()}
        rows = "\n".join(f"- `{name}`: {paper}" for name, paper in papers.items())
        self.epilog = f"Recipes:\n\n{rows}"
        super().format_help(ctx, formatter)


#: What the command line adds to a field.
_EXTRAS = {
    "data_dir": {"callback": prepared_folder},
    "recipe": {"autocompletion": complete_recipes},
    "model_name_or_path": {"autocompletion": complete_models},
}


def _parameter(entry: Any) -> inspect.Parameter:
    """The option of a field."""
    default = ... if entry.default is MISSING else entry.default
    option = typer.Option(
        *flags_of(entry),
        metavar=entry.metadata["metavar"],
        help=entry.metadata["help"],
        rich_help_panel=entry.metadata["panel"],
        show_default=not any(default is nothing for nothing in (None, ..., False)),
        **_EXTRAS.get(entry.name, {}),
    )
    default = inspect.Parameter.empty if default is ... else default
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(entry.name, kind, default=default, annotation=Annotated[entry.type, option])


def _with_options(command: Any) -> Any:
    parameters = [_parameter(entry) for entry in fields(TrainingArguments)]
    command.__signature__ = inspect.Signature(parameters)
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


@app.command(cls=_ListsRecipes)
@_with_options
def train(**given: Any) -> None:
    """Train a network on prepared data.

    The recipe says how; options replace single values. OUTPUT then holds the best network, which `segment`, `push`
    and every other command take. On several GPUs, run `accelerate launch scripts/train.py` with the same options.

    `lesionseg train --data prepared -o runs/clci-net --recipe clci-net-atlas`

    `lesionseg train --data my-scans -o runs/adapted --recipe clci-net-heads-finetune --model stroke-t1w`

    `lesionseg train --data prepared -o runs/folds --recipe ms-dcnn-isles2018 --folds 4 --fold all`
    """
    from ..training.start import run_training

    try:
        run_training(TrainingArguments(**given))
    except KeyboardInterrupt as error:
        print("interrupted; go on with --resume-from-checkpoint latest", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from error


def main(argv: list[str] | None = None) -> int:
    """Run ``lesionseg train`` with these options.

    Parameters
    ----------
    argv : list of str, optional
        By default those of the process.

    Returns
    -------
    int
        0 when the run ended, 1 when it failed, 2 for wrong usage, 130 when it was interrupted.
    """
    words = sys.argv[1:] if argv is None else argv
    try:
        app(args=["train", *words], prog_name="lesionseg")
    except SystemExit as end:
        return int(end.code or 0)
    return 0
