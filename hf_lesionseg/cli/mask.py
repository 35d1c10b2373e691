"""The mask options of several commands, checked."""

from ..errors import UsageError


def mask_options(**given):
    """Return the :class:`~hf_lesionseg.models.mask_options.MaskOptions` of a command line.

    Raises
    ------
    UsageError
        For a value that cannot be.
    """
    from ..models.mask_options import MaskOptions

    try:
        return MaskOptions(**given)
    except ValueError as error:
        raise UsageError(str(error)) from error
