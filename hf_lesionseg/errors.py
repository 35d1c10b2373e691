"""Typed errors. Each message is one line that names the file or value and the remedy.

``exit_status`` is what the command line returns: 1 where a case or a run failed, 2 where it was called wrongly.
"""


class LesionSegError(Exception):
    """Base of every error that this package raises on purpose."""

    exit_status = 1


class UsageError(LesionSegError):
    """The options, the recipe or the way of launching cannot work."""

    exit_status = 2


class FolderInUseError(UsageError):
    """Another run writes into the same output folder."""


class RecipeError(UsageError):
    """A recipe file has an unknown field, or a value that it cannot have."""


class LaunchError(UsageError):
    """The processes of a distributed run do not see each other."""


class ScanError(LesionSegError, ValueError):
    """A scan or mask file cannot be used."""


class GridMismatchError(ScanError):
    """Two volumes that belong together lie on different voxel grids."""


class DataError(LesionSegError):
    """A data folder is empty, foreign or damaged."""


class RejectedCasesError(DataError):
    """Too few cases are left; ``rejected`` says of each of the others why it is not among them.

    Parameters
    ----------
    message : str
    rejected : sequence of `datasets.prepared.records.RejectedCase`
        With a ``path`` and a ``reason`` each.
    """

    def __init__(self, message, rejected=()):
        super().__init__(message)
        self.rejected = tuple(rejected)


class CheckpointError(LesionSegError):
    """A training checkpoint is missing, incomplete or belongs to another network."""


class ModelError(LesionSegError):
    """A model folder or Hub repository cannot be loaded."""


class MissingModelError(ModelError):
    """There is no such folder, no such packaged network, and no such repository or revision on the Hub."""

    exit_status = 2


class OutputError(LesionSegError):
    """A result cannot be written: read-only folder, full disk."""


class HubError(LesionSegError):
    """The Hub refused, or an upload did not complete."""
