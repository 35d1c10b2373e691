"""The network that made predicted masks, as the run records beside them describe it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..models.scan_formats import scan_stem
from ..provenance import GENERATED, of_record


def made_from_generated_data(predictions: Iterable[Path]) -> bool:
    """Whether the network that made one of these masks had learned from generated data.

    ``lesionseg segment`` leaves NAME_record.json beside NAME_mask.nii.gz; a mask without a record says nothing.
    """
    return any(of_record(_record(path)) == GENERATED for path in predictions)


def _record(mask: Path) -> Path:
    return mask.with_name(f"{scan_stem(mask).removesuffix('_mask')}_record.json")
