"""Whether a "lesion" may be something else: the brain, the head, all tissue, which fill most of what a scan shows."""

from pathlib import Path

import numpy as np

from ...models.padding import padding_values

__all__ = ["LARGEST_SHARE", "share_warning"]

LARGEST_SHARE = 0.3
"""Share of a scan's tissue. In ATLAS the largest lesion, 497 mL, is a third of a brain and a tenth of a head;
a brain is a third of the head around it."""

_TISSUE_LEVEL = 0.05  # of the scan's range above its background


def share_warning(scan: np.ndarray, truth: np.ndarray, path: Path) -> str | None:
    """Say that a mask covers more of a scan than lesions do; None where it does not.

    Parameters
    ----------
    scan : (X, Y, Z) intensities, of any unit
    truth : (X, Y, Z), above 0 in the lesion
    path : of the mask
    """
    lesion = truth > 0
    if not lesion.any():
        return None
    padding = padding_values(scan)  # beside -3024 outside the field of view even air would be tissue
    measured = ~np.isin(scan, padding) if padding else np.ones(scan.shape, bool)
    values = scan[measured] if padding and measured.any() else scan
    low, high = float(values.min()), float(np.percentile(values, 99.5))
    tissue = (measured & (scan > low + _TISSUE_LEVEL * max(high - low, 1e-6))) | lesion
    share = np.count_nonzero(lesion) / np.count_nonzero(tissue)
    if share <= LARGEST_SHARE:
        return None
    return f"{path}: covers {share:.0%} of the tissue of its scan; is this a lesion, or a mask of the brain?"
