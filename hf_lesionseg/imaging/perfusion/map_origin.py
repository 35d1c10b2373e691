"""Which software made perfusion maps: their values differ between programs, and a network learns those of one."""

from collections.abc import Collection, Mapping

from ..scan import Scan
from .channels import MAP_NAMES

__all__ = ["OTHER_SOFTWARE", "OURS", "map_origins", "origin_notes"]

#: this package, by a series here or by an earlier file: its maps say so in the header's description
OURS = "hf_lesionseg"
OTHER_SOFTWARE = "other software"


def map_origins(scans: Mapping[str, Scan], made: Collection[str] = ()) -> dict[str, list[str]]:
    """Sort the perfusion maps of a case by what made them.

    Parameters
    ----------
    scans : by channel; those that are not maps are left out
    made : channels that were made from a series just now, whose header they have

    Returns
    -------
    dict of str to list of str
        Channels by :data:`OURS` and :data:`OTHER_SOFTWARE`.
    """
    origins: dict[str, list[str]] = {}
    for name, scan in scans.items():
        if name in MAP_NAMES:
            ours = name in made or OURS.encode() in _description(scan)
            origins.setdefault(OURS if ours else OTHER_SOFTWARE, []).append(name)
    return origins


def origin_notes(origins: Mapping[str, list[str]], trained_on: Collection[str] | None, case: object) -> tuple[str, ...]:
    """Warn of maps that are made by other software than those a network was trained on.

    Parameters
    ----------
    origins : of :func:`map_origins`
    trained_on : origins of the training maps; None where nobody wrote them down, which warns of nothing
    case : name of the case, for the warning
    """
    if trained_on is None:
        return ()
    return tuple(
        f"{case}: {', '.join(names)} made by {origin}, while the network was trained on maps made by "
        f"{' and '.join(trained_on)}; test it on such maps before you trust it with them"
        for origin, names in origins.items()
        if origin not in trained_on
    )


def _description(scan: Scan) -> bytes:
    return bytes(scan.header["descrip"].item()) if "descrip" in scan.header else b""
