"""``lesionseg prepare ...``: data sets into the form that training reads. Each reader is a subcommand."""

import dataclasses
import inspect
import sys
import typing
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..errors import RejectedCasesError, UsageError
from .app import app
from .prepared_summary import print_left_out, print_rejected, print_summary


class _Preparations(TyperGroup):
    """Makes the subcommand of a reader when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        from ..datasets.registry import commands

        return commands()

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        from ..datasets.registry import commands, find_reader

        return command_of(find_reader(cmd_name)) if cmd_name in commands() else None

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
    """Turn a data set into what training reads.

    Slices on disk, read by memory mapping, split by person. A run that was stopped goes on where it was.

    `lesionseg prepare atlas ATLAS_2 -o prepared`
    """


def command_of(reader: type) -> Any:
    """The subcommand of a reader: its source where it has one, the output, its options, and those of all readers."""

    def run(**given: Any) -> None:
        _run(reader, given)

    parameters = _parameters(reader)
    run.__name__, run.__doc__ = reader.command.replace("-", "_"), reader.help
    run.__signature__ = inspect.Signature(parameters)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    alone = typer.Typer(rich_markup_mode="markdown", add_completion=False)
    alone.command(reader.command)(run)
    return typer.main.get_command(alone)


def _parameters(reader: type) -> list[inspect.Parameter]:
    recipe = "Recipe, by name or file, whose image processor and split are used"
    if reader.recipe is None:
        recipe += f"; by default {reader.recipe_help}" if reader.recipe_help else "; by default the reader's own"
    own = {field.name for field in dataclasses.fields(reader)}
    parameters = [
        _option("output", Path, ..., "Folder for the prepared data.", "--output", "-o", metavar="DIR"),
        *(_offered(field, reader) for field in dataclasses.fields(reader)),
        _option("recipe", str | None, reader.recipe, f"{recipe}."),
        _option("workers", int, 0, "Processes; 0 works in this one."),
    ]
    if reader.label_help:
        parameters.insert(-2, _option("label", str | None, None, reader.label_help))
    if "split_seed" not in own:
        parameters.insert(-1, _option("split_seed", int, 0, "Seed of the split into train, validation and test."))
    if not reader.generates:
        shown = typer.Argument(help=reader.source_help, show_default=False)
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters.insert(0, inspect.Parameter("source", kind, annotation=Annotated[Path, shown]))
    return parameters


def _offered(field: dataclasses.Field, reader: type) -> inspect.Parameter:
    """The option of a reader's field."""
    annotation = typing.get_type_hints(reader, include_extras=True)[field.name]
    offer = annotation.__metadata__[0]
    kind, default = annotation.__origin__, field.default
    if offer.given_as is not None:
        kind, default = offer.given_as, offer.default if offer.default is not None else default
    if default is dataclasses.MISSING:
        has_default = field.default_factory is not dataclasses.MISSING
        default = None if has_default else ...
    elif isinstance(default, tuple) and not default:
        default = None
    flags = (offer.flag,) if offer.flag else (f"--{field.name.replace('_', '-')}",) if kind is bool else ()
    return _option(field.name, kind, default, offer.help, *flags, metavar=offer.metavar)


def _option(name: str, kind: Any, default: Any, help: str, *flags: str, metavar: str | None = None):
    shown = typer.Option(*flags, metavar=metavar, help=help, show_default=default not in (None, ..., False))
    given = inspect.Parameter.empty if default is ... else default
    kind = Annotated[kind, shown]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=given, annotation=kind)


def _run(reader: type, given: dict[str, Any]) -> None:
    """Prepare, and print what was made; cases that failed make the exit status 1."""
    from ..datasets.prepare import prepare
    from ..datasets.prepared.records import DataSetWarning
    from ..datasets.readers.target_channels import missing_targets

    made = reader(**{field.name: _parsed(field, reader, given[field.name]) for field in dataclasses.fields(reader)})
    source, output = given.get("source"), given["output"]
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


def _parsed(field: dataclasses.Field, reader: type, given: Any) -> Any:
    return typing.get_type_hints(reader, include_extras=True)[field.name].__metadata__[0].parse(given)


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
