"""``lesionseg prepare ...``: data sets into the form that training reads."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UsageError
from .app import app

prepare = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
app.add_typer(prepare, name="prepare")

Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the prepared data.", show_default=False)
]
RecipeName = Annotated[
    str, typer.Option("--recipe", help="Recipe, by name or file, whose image processor and split are used.")
]
SplitSeed = Annotated[int, typer.Option(help="Seed of the split into train, validation and test.")]
Workers = Annotated[int, typer.Option(help="Processes; 0 works in this one.")]


@prepare.callback()
def _prepare() -> None:
    """Turn a data set into what training reads.

    Slices on disk, read by memory mapping, split by person. A run that was stopped goes on where it was.

    `lesionseg prepare atlas ATLAS_2 -o prepared`
    """


def _processor(recipe: Any) -> Any:
    """The image processor that a recipe asks for."""
    from ..models.image_processing_lesion import LesionImageProcessor

    try:
        return LesionImageProcessor(**recipe.processor)
    except (TypeError, ValueError) as error:
        raise UsageError(f"recipe {recipe.name}: its processor settings cannot be used: {error}") from error
