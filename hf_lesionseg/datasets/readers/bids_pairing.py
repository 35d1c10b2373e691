"""Which scans of a session belong to which of its masks.

A mask goes with the scans of its space: ``space-MNI152...`` by that name, ``space-orig`` and ``space-individual`` with
the scans as they were taken, and ``space-T1w`` or ``space-TRACE`` with the scan of this suffix or this ``rec-TRACE``.
Entities that both names have must agree. Of what is left a scan of the mask's own pipeline goes before a raw one, and
that before a derivative of another pipeline, and last what lies in ``sourcedata``.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from .bids_names import BidsName, index_of, one_form
from .lesion_masks import LabelTables, LesionChoice, describe, how_to_choose, lesion_masks, unite

__all__ = ["pair_session"]

_AS_TAKEN = (None, "orig", "individual", "native", "scanner")


def pair_session(
    scans: Mapping[str, Sequence[BidsName]],
    masks: Sequence[BidsName],
    channels: Sequence[str],
    tables: LabelTables,
    asked: Mapping[str, Collection[str]] | None = None,
) -> tuple[dict[str, Path], LesionChoice]:
    """Choose the lesion of a session and the scan of each channel.

    Parameters
    ----------
    scans, masks : of the session, scans by channel
    channels : in their order
    tables, asked : as for `lesion_masks.lesion_masks`

    Returns
    -------
    images : file of each channel
    lesion : masks to unite, and the labels that count

    Raises
    ------
    LookupError
        Something is missing, or there is a choice; the message lists what was found and how to choose.
    """
    fitting: dict[tuple, list] = defaultdict(list)
    refused = []
    for group in _by_drawing(lesion_masks(one_form(masks), tables, asked or {})):
        try:
            rank, images = _images(group[0][0], scans, channels)
            fitting[rank].append((images, group))
        except LookupError as error:
            refused.append(error)
    if not fitting:
        raise refused[0]
    best = fitting[min(fitting)]
    if len(best) > 1:
        raise LookupError(_several_drawings([group[0][0] for _, group in best]))
    images, group = best[0]
    return images, unite(group)


def _by_drawing(named: Sequence[tuple[BidsName, tuple[int, ...] | None]]) -> list[list]:
    """Masks that lie in one space and were drawn on one acquisition, together."""
    groups = defaultdict(list)
    for mask, values in named:
        groups[mask.get("space"), mask.drawn_on, tuple(sorted(mask.identity.items()))].append((mask, values))
    return list(groups.values())


def _several_drawings(masks: Sequence[BidsName]) -> str:
    spaces = {mask.get("space") for mask in masks}
    if len(spaces) > 1:
        names = ", ".join(sorted(map(str, spaces)))
        choice = " or ".join(f"--entity space={space}" for space in sorted(str(each or "none") for each in spaces))
        return f"its lesion masks lie in several spaces ({names}; choose with {choice})"
    return f"has lesion masks drawn on several scans, {describe(masks)} (choose with {how_to_choose(masks)})"


def _images(
    mask: BidsName, scans: Mapping[str, Sequence[BidsName]], channels: Sequence[str]
) -> tuple[tuple, dict[str, Path]]:
    """File of each channel that goes with a mask, and how well they fit it, lower being better."""
    chosen, worst = {}, 0
    for channel in channels:
        found = one_form(scans.get(channel, []))
        ranked = defaultdict(list)
        for scan in found:
            rank = _rank(mask, scan, channels)
            if rank is not None:
                ranked[rank].append(scan)
        if not ranked:
            raise LookupError(_none_fits(channel, mask, found))
        best = min(ranked)
        if len(ranked[best]) > 1:
            several = ranked[best]
            raise LookupError(
                f"has several {channel} scans, {describe(several)} (choose with {how_to_choose(several)})"
            )
        chosen[channel] = ranked[best][0]
        worst = max(worst, best[0])
    if all(_conflicts(mask, scan) for scan in chosen.values()):
        first = next(iter(chosen.values()))
        own = ", ".join(f"{key}-{mask.identity[key]}" for key in _conflicts(mask, first))
        raise LookupError(f"its lesion mask belongs to {own}, which has no {channels[0]} scan ({describe([first])})")
    elsewhere = mask.drawn_on is not None and mask.drawn_on not in channels
    return (elsewhere, worst), {channel: scan.path for channel, scan in chosen.items()}


def _rank(mask: BidsName, scan: BidsName, channels: Sequence[str]) -> tuple | None:
    """How well a scan fits a mask, lower being better; None where it lies in another space."""
    space = _rank_of_space(mask, scan, channels)
    if space is None:
        return None
    is_raw = "derivatives" not in scan.folder and "desc" not in scan.entities
    place = 3 if "sourcedata" in scan.folder else 0 if scan.folder == mask.folder else 1 if is_raw else 2
    return space, len(_conflicts(mask, scan)), place, "desc" in scan.entities


def _rank_of_space(mask: BidsName, scan: BidsName, channels: Sequence[str]) -> int | None:
    of_mask, of_scan = (name.get("space") and name.get("space").lower() for name in (mask, scan))
    if of_scan is not None and of_scan == (mask.drawn_on if of_mask in _AS_TAKEN else of_mask):
        return 0
    if of_scan not in _AS_TAKEN:
        return None
    if of_mask in _AS_TAKEN:
        return int(of_mask != of_scan or mask.drawn_on not in (None, scan.suffix))
    if of_mask in {scan.suffix, *(value.lower() for value in scan.identity.values())}:
        return 0
    # registered to the scan that the space is named after, perhaps: its grid will tell
    return 2 if of_mask in channels else None


def _conflicts(mask: BidsName, scan: BidsName) -> list[str]:
    """Keys of entities that a mask and a scan differ in; a mask drawn on another channel has those of that one."""
    if mask.drawn_on not in (None, scan.suffix):
        return []
    return [
        key
        for key, value in mask.identity.items()
        if key in scan.entities and index_of(scan.entities[key]) != index_of(value)
    ]


def _none_fits(channel: str, mask: BidsName, found: Sequence[BidsName]) -> str:
    space = mask.get("space")
    where = f" in the space of its mask ({space})" if space and space.lower() not in _AS_TAKEN else ""
    instead = f"; found: {describe(found)}" if found else ""
    return f"has no {channel} scan{where}{instead}"
