"""``lesionseg ...``: the command line, thin over the rooms it calls.

Each command is a module of its own name. Nothing heavy is imported before a command runs, so that ``lesionseg --help``
answers at once.
"""

# The modules of the commands add themselves to `app`.
from . import (  # noqa: F401
    demo,
    doctor,
    ensemble,
    evaluate,
    export,
    folds,
    models,
    perfusion,
    prepare,
    push,
    reproduce,
    segment,
    submit,
    train,
)
from .app import app, main

__all__ = ["app", "main"]
