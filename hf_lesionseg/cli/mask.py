"""The mask options that several commands share: their help, and their check."""

from typing import Any

import typer

from ..errors import UsageError

PANEL = "Mask"


def mask_option(text: str, **settings: Any) -> Any:
    """An option of the panel on masks."""
    return typer.Option(help=text, rich_help_panel=PANEL, show_default=False, **settings)


def mask_options(**given):
    """Return the :class:`~hf_lesionseg.models.mask_options.MaskOptions` of a command line.

    Raises
    ------
    UsageError
        A value is out of range.
    """
    from ..models.mask_options import MaskOptions

    try:
        return MaskOptions(**given)
    except ValueError as error:
        raise UsageError(str(error)) from error
