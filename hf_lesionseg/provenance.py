"""What a network learned from, and the words that mark everything made by one that learned from generated data.

Training writes ``training_data`` into ``config.json``, which goes with the weights wherever they go. Whatever such a
network makes then says SYNTHETIC LESIONS: records, previews, tables, exports and cards.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

GENERATED = "generated"
SCANS = "scans"
GENERATED_THEN_SCANS = "generated, then scans"
"""Warmed up on generated data, then trained on real ones."""

MARK = "SYNTHETIC LESIONS"
NOTICE = f"{MARK}: the network learned from generated data; its quality on patients is unknown."
SYNTHETIC_TRUTHS = f"{MARK}: generated data; such scores say nothing about patients."


def after_training(before: str | None, *, synthetic: bool) -> str:
    """Return what a network has learned from after a training.

    Parameters
    ----------
    before : str or None
        The same of the weights that it began with; None for a new network, or where nobody knows.
    synthetic : bool
        The data that it was trained on are generated.

    Examples
    --------
    >>> after_training(None, synthetic=True), after_training("generated", synthetic=False)
    ('generated', 'generated, then scans')
    """
    if synthetic:
        return GENERATED
    return GENERATED_THEN_SCANS if before in (GENERATED, GENERATED_THEN_SCANS) else SCANS


def of_several(members: Iterable[str | None]) -> str | None:
    """Return what an ensemble learned from: generated as soon as one member did, None where one is unknown."""
    found = set(members)
    for each in (GENERATED, None, GENERATED_THEN_SCANS, SCANS):
        if each in found:
            return each
    return None


def of_folder(folder: str | Path) -> str | None:
    """Return what the network in a folder learned from; None where nobody knows.

    A folder that an earlier version trained has it in ``training_summary.json`` alone.
    """
    folder = Path(folder)
    known = _read(folder / "config.json").get("training_data")
    if known is None:
        data = _read(folder / "training_summary.json").get("data")
        known = GENERATED if isinstance(data, Mapping) and data.get("synthetic") else None
    return known


def of_record(path: str | Path) -> str | None:
    """Return the same of the network behind a run record of ``lesionseg segment``; None where nothing says it."""
    return _read(Path(path)).get("training_data")


def of_network(config: Any) -> str | None:
    """Return the same of a loaded network's configuration."""
    return getattr(config, "training_data", None)


def marks(training_data: str | None) -> dict[str, str]:
    """Return what a JSON file of a network's results says of it: nothing, unless it learned from generated data."""
    return {"training_data": GENERATED, "notice": NOTICE} if training_data == GENERATED else {}


def _read(path: Path) -> Mapping:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # whoever needs the file says so
        return {}
    return content if isinstance(content, Mapping) else {}
