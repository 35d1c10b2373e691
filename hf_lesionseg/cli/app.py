"""The application: its commands, and how errors become one line and an exit status."""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from .. import __version__
from ..errors import LesionSegError

INTERRUPTED = 130  # what shells report for a program ended by Ctrl-C


#: In the order of a project's life; what is not named here comes last.
ORDER = (
    "segment", "models", "perfusion", "prepare", "folds", "train", "ensemble", "evaluate", "reproduce", "submit",
    "push", "export", "demo", "doctor",
)  # fmt: skip


class _BareFlags:
    """Shows no type behind an option that takes no value."""

    def get_params(self, ctx: Any) -> list[Any]:
        params = super().get_params(ctx)
        for param in params:
            if getattr(param, "is_flag", False) and param.metavar is None:
                param.metavar = ""
        return params


class Command(_BareFlags, TyperCommand):
    """Every command of ``lesionseg``."""


class Commands(_BareFlags, TyperGroup):
    """Every group of commands."""


class _Lesionseg(Commands):
    """Turns our errors into ``error: ...`` and their exit status; anything unexpected keeps its traceback."""

    def list_commands(self, ctx: Any) -> list[str]:
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LesionSegError as error:
            print("error:", str(error).replace("\n", " "), file=sys.stderr)
            raise typer.Exit(error.exit_status) from error
        except KeyboardInterrupt as error:
            print("\ninterrupted: finished cases are kept, and no file is half-written", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from error


class _App(typer.Typer):
    def command(self, name: str | None = None, *, cls: type[TyperCommand] = Command, **settings: Any) -> Any:
        return super().command(name, cls=cls, **settings)


app = _App(
    name="lesionseg",
    cls=_Lesionseg,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"lesionseg {__version__}")
        raise typer.Exit


@app.callback()
def _lesionseg(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Segment lesions in NIfTI scans: run, train, evaluate and publish networks. For research use only.

    `lesionseg segment t1.nii.gz -o out`

    `lesionseg train --help`

    Exit status: 0 when all is done, 1 when a case or the run failed (the other cases are done), 2 for wrong usage.
    """


def main(argv: list[str] | None = None) -> None:
    """Run the command line and leave with its exit status.

    Parameters
    ----------
    argv : list of str, optional
        Arguments without the program's name; by default those of the process.
    """
    app(args=argv, prog_name="lesionseg")
