"""Folders of generated cases: one kind with one set of settings in each, and what is missing is made."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from ...errors import DataError, UsageError
from ...imaging.atomic import write_aside
from ..workers import run_tasks
from .template import TEMPLATE_LICENCE

__all__ = ["check_amount", "claim_described_folder", "claim_generated_folder", "generate_missing"]

_DESCRIPTION = "dataset_description.json"


def check_amount(name: str, count: int, seed: int) -> None:
    """Raise `UsageError` for a count below 1, whose name is ``name``, and for a seed that numpy does not take."""
    if count < 1:
        raise UsageError(f"{name} is {count}; ask for at least one")
    if seed < 0:
        raise UsageError(f"seed is {seed}; take 0 or more")


def claim_generated_folder(output: Path, settings: dict, what: str) -> None:
    """Describe a folder on the brain template as BIDS does, or check its settings; ``what`` is in it."""
    description = {
        "Name": f"Generated {what} (synthetic, no patients)",
        "BIDSVersion": "1.8.0",
        "DatasetType": "derivative",
        "Synthetic": True,
        "License": TEMPLATE_LICENCE,
        "GeneratedBy": [{"Name": "hf_lesionseg", "Settings": settings}],
    }
    claim_described_folder(
        output / _DESCRIPTION, description, lambda found: found.get("GeneratedBy", [{}])[0].get("Settings"), what
    )


def claim_described_folder(path: Path, description: dict, settings_in: Callable[[dict], object], what: str) -> None:
    """Write a generated folder's description, or check that it is the one of these settings.

    Parameters
    ----------
    path : of the description, in the folder
    description : its content
    settings_in : finds the generator's settings in a description
    what : is in the folder, for messages

    Raises
    ------
    DataError
        Where the folder holds cases of other settings, or something else.
    """
    output = path.parent
    if path.is_file():
        try:
            found = settings_in(json.loads(path.read_text()))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: cannot be read ({error}); delete {output}; it is then generated again") from error
        if found != settings_in(description):
            raise DataError(f"{output}: holds {what} of other settings ({found}); choose another folder or delete it")
        return
    if output.is_dir() and any(output.iterdir()):
        raise DataError(f"{output}: is not empty and holds no generated {what}; choose another folder")
    with write_aside(path) as aside:
        aside.write_text(json.dumps(description, indent=2) + "\n")


def generate_missing(
    write: Callable, tasks: Sequence[tuple], names: Sequence[str], output: Path, workers: int, progress: bool
) -> None:
    """Run ``write`` on each task, in workers where there are any.

    Raises
    ------
    DataError
        Where one fails, by its name.
    """
    for index, error in run_tasks(write, tasks, workers, "generating", progress):
        if error is not None:
            raise DataError(f"{output}: {names[index]} could not be generated: {error}") from error
