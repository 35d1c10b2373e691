"""The subcommand of a reader: options made of its fields, and those that all readers share."""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from .app import Command
from .paths import complete_recipes, existing, existing_folder

__all__ = ["command_of", "reader_with"]

#: What stands behind an option in the help, by the type of its value.
_METAVARS = {int: "N", int | None: "N", float: "NUMBER", float | None: "NUMBER", str: "TEXT", str | None: "TEXT"}


def command_of(reader: type, run: Callable[[type, dict[str, Any]], None]) -> Any:
    """A click command that calls ``run`` with the reader and what was given, by parameter.

    Parameters
    ----------
    reader : a subclass of `datasets.readers.reader.Reader`
    run : takes "source" (of readers that have one), "output", the reader's fields, "label" and "split_seed" (where
        they are offered), "recipe" and "workers"
    """

    def command(**given: Any) -> None:
        run(reader, given)

    parameters = _parameters(reader)
    command.__name__, command.__doc__ = reader.command.replace("-", "_"), reader.help
    command.__signature__ = inspect.Signature(parameters)
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    alone = typer.Typer(rich_markup_mode="markdown", add_completion=False)
    alone.command(reader.command, cls=Command)(command)
    return typer.main.get_command(alone)


def reader_with(reader: type, given: Mapping[str, Any]) -> Any:
    """The reader with the options that were given."""
    return reader(**{name: offer.parse(given[name]) for name, (_, offer, _) in _offers(reader).items()})


def _offers(reader: type) -> dict[str, tuple[Any, Any, dataclasses.Field]]:
    """Type, `Option` and field of each field that has an `Option`."""
    from ..datasets.readers.reader import Option

    hints, offers = typing.get_type_hints(reader, include_extras=True), {}
    for field in dataclasses.fields(reader):
        for offer in getattr(hints[field.name], "__metadata__", ()):
            if isinstance(offer, Option):
                offers[field.name] = (hints[field.name].__origin__, offer, field)
    return offers


def _parameters(reader: type) -> list[inspect.Parameter]:
    recipe = "Recipe whose image processor and split to use: a name (`lesionseg train --help`) or a .yaml file."
    if reader.recipe is None:
        recipe += f" Default: {reader.recipe_help or 'those of this data set'}."
    offers = _offers(reader)
    parameters = [
        _option("output", Path, ..., "Folder for the prepared data.", "--output", "-o", metavar="DIR"),
        *(_offered(name, *offer) for name, offer in offers.items()),
    ]
    if not reader.generates:
        shown = typer.Argument(metavar="SOURCE", help=reader.source_help, show_default=False, callback=existing_folder)
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters.insert(0, inspect.Parameter("source", kind, annotation=Annotated[Path, shown]))
    if reader.label_help:
        parameters.append(_option("label", str | None, None, reader.label_help, metavar="VALUE"))
    parameters.append(
        _option("recipe", str | None, reader.recipe, recipe, metavar="NAME", autocompletion=complete_recipes)
    )
    if "split_seed" not in offers:
        parameters.append(_option("split_seed", int, 0, "Seed that shares people out to train, validation and test."))
    return [*parameters, _option("workers", int, 0, "Processes that prepare cases; 0 works in this process.")]


def _offered(name: str, kind: Any, offer: Any, field: dataclasses.Field) -> inspect.Parameter:
    """The option of a reader's field."""
    default = field.default
    if default is dataclasses.MISSING:
        default = ... if field.default_factory is dataclasses.MISSING else None
    if offer.given_as is not None:
        kind, default = offer.given_as, offer.default or default or None
    flags = (offer.flag,) if offer.flag else (f"--{name.replace('_', '-')}",) if kind is bool else ()
    callback = _all_existing if offer.must_exist else None
    return _option(name, kind, default, offer.help, *flags, metavar=offer.metavar, callback=callback)


def _all_existing(given: Any) -> Any:
    """Return a path, or several, where all are there; see `paths.existing`."""
    for path in given if isinstance(given, list | tuple) else [given]:
        existing(path)
    return given


def _option(name: str, kind: Any, default: Any, help: str, *flags: str, **settings: Any):
    is_shown = not any(default is nothing for nothing in (None, ..., False))
    metavar = settings.pop("metavar", None) or _METAVARS.get(kind)
    shown = typer.Option(*flags, help=help, show_default=is_shown, metavar=metavar, **settings)
    given = inspect.Parameter.empty if default is ... else default
    kind = Annotated[kind, shown]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=given, annotation=kind)
