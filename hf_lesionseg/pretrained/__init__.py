"""The networks that come with the package: each an ordinary model folder beside this file, found by its name.

``lesionseg segment`` without ``--model`` uses :data:`DEFAULT`. A name is taken wherever a folder or a Hub id is, but a
local folder of that name goes first. Nothing heavy is imported here.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..errors import MissingModelError, ModelError

__all__ = ["DEFAULT", "PackagedNetwork", "find_packaged", "locate_model", "packaged_model", "packaged_networks"]

#: What segments where no network is named.
DEFAULT = "stroke-t1w"
FOLDER = Path(__file__).resolve().parent
#: How a packaged network was made; written by ``scripts/package_network.py``.
RECORD_FILE = "packaged.json"
#: What it scored on scans kept for the end; may be missing.
REPORT_FILE = "report.json"


@dataclass(frozen=True)
class PackagedNetwork:
    """A network in this package.

    Attributes
    ----------
    name : str
    folder : Path
        Holds ``config.json``, ``preprocessor_config.json``, ``model.safetensors`` and a card.
    """

    name: str
    folder: Path

    @cached_property
    def record(self) -> dict:
        """How it was made: task, recipe, seed, step, weights, data.

        Raises
        ------
        ModelError
            Where the file is missing or damaged.
        """
        path = self.folder / RECORD_FILE
        try:
            return json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"{path}: cannot be read ({error}); install the package again") from error


def packaged_networks() -> list[PackagedNetwork]:
    """The networks that come with the package, the default first."""
    found = [PackagedNetwork(path.parent.name, path.parent) for path in FOLDER.glob("*/config.json")]
    return sorted(found, key=lambda network: (network.name != DEFAULT, network.name))


def find_packaged(name: str | os.PathLike) -> PackagedNetwork | None:
    """The packaged network that a user means by a name or a path.

    None for a folder of one's own, also where it has the name of a packaged network, and for all other names.
    """
    own = Path(name).is_dir()
    for network in packaged_networks():
        if Path(name).resolve() == network.folder if own else str(name) == network.name:
            return network
    return None


def locate_model(id_or_folder: str | os.PathLike) -> str | os.PathLike:
    """The folder of a packaged network for its name; anything else as it is."""
    found = find_packaged(id_or_folder)
    return id_or_folder if found is None else found.folder


def packaged_model(name: str = DEFAULT) -> str:
    """Folder of a packaged network, for what knows no names of ours: transformers' ``from_pretrained``, ``pipeline``.

    Parameters
    ----------
    name : str

    Raises
    ------
    ModelError
        There is none of that name.

    Examples
    --------
    ::

        from transformers import AutoModel

        model = AutoModel.from_pretrained(hf_lesionseg.packaged_model("stroke-t1w"))
    """
    for network in packaged_networks():
        if network.name == name:
            return str(network.folder)
    names = ", ".join(network.name for network in packaged_networks()) or "none"
    raise MissingModelError(f"{name}: no network of that name comes with this package; packaged are: {names}")
