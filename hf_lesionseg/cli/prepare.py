"""``lesionseg prepare ...``: data sets into the form that training reads. Each reader is a subcommand."""

import sys
import warnings
from pathlib import Path
from typing import Any

import typer

from ..errors import RejectedCasesError, UsageError
from .app import Commands, app
from .prepared_summary import print_left_out, print_rejected, print_summary
from .reader_command import command_of, reader_with


class _Preparations(Commands):
    """Makes the subcommand of a reader when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        from ..datasets.registry import commands

        return commands()

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        from ..datasets.registry import commands, find_reader

        return command_of(find_reader(cmd_name), _run) if cmd_name in commands() else None

    @property
    def commands(self) -> dict[str, Any]:
        """All of them, by name."""
        return {name: self.get_command(None, name) for name in self.list_commands(None)}

    @commands.setter
    def commands(self, given: dict[str, Any]) -> None:
        """Typer finds none in its own list."""

    def invoke(self, ctx: Any) -> Any:
        """Say which cases were left out, and why, before what follows from it: too few are left."""
        try:
            return super().invoke(ctx)
        except RejectedCasesError as error:
            print_left_out([(each.path, each.reason) for each in error.rejected])
            raise


prepare = typer.Typer(cls=_Preparations, no_args_is_help=True, rich_markup_mode="markdown")
app.add_typer(prepare, name="prepare")


@prepare.callback()
def _prepare() -> None:
    """Turn a data set into the form that training reads.

    Each data set has its own subcommand. It writes the slices to disk and splits them by person. If you stop it, give
    the same command again to go on.

    `lesionseg prepare atlas ATLAS_2 -o prepared`

    `lesionseg prepare bids --help`
    """


def _run(reader: type, given: dict[str, Any]) -> None:
    """Prepare, and print what was made; cases that failed make the exit status 1."""
    from ..datasets.prepare import prepare
    from ..datasets.prepared.records import DataSetWarning
    from ..datasets.readers.target_channels import missing_targets

    made, source, output = reader_with(reader, given), given.get("source"), given["output"]
    chosen = _of_recipe(given["recipe"], made, source)
    with warnings.catch_warnings():  # told below, as lines without a place in our code
        warnings.simplefilter("ignore", DataSetWarning)
        dataset = prepare(
            made,
            source,
            output,
            **chosen,
            seed=given.get("split_seed", 0),
            label=given.get("label"),
            workers=given["workers"],
        )
    targets = chosen.get("target_channels", ())
    if targets and not dataset.target_channels:
        print(f"warning: {missing_targets(dataset.name, targets)}", file=sys.stderr)
    for caution in made.cautions(dataset):
        print(f"warning: {caution}", file=sys.stderr)
    print_summary(dataset, output)
    # What the names alone rule out, such as the scans without masks of a test set, is no failure.
    _, refused = made.find(output / "source" if source is None else source, dataset.channel_names)
    raise typer.Exit(print_rejected(dataset, {each.path for each in refused if not made.is_failure(each)}))


def _of_recipe(name: str | None, reader: Any, source: Path | None) -> dict[str, Any]:
    """Image processor, split and targets of a recipe, or nothing where none was named."""
    from ..models.image_processing_lesion import LesionImageProcessor
    from ..training.recipe import load_recipe

    if name is None:
        return {}
    recipe = load_recipe(name)
    settings = {"channel_names": reader.default_processor(source).channel_names} | dict(recipe.processor)
    try:
        processor = LesionImageProcessor(**settings)
    except (TypeError, ValueError) as error:
        raise UsageError(f"recipe {recipe.name}: its processor settings cannot be used: {error}") from error
    targets = tuple(recipe.target_channels) if reader.takes_targets else ()
    return {"processor": processor, "fractions": recipe.split, "target_channels": targets}
