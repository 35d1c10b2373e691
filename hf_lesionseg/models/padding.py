"""Voxels that no scanner measured: one constant value outside the field of view, far from what was measured."""

import numpy as np

#: share of a volume that a constant has to fill; clipped noise fills less
_LEAST_SHARE = 0.01
#: air in CT; what is lower is none that a scanner measures
AIR_HU = (-1024.0, -900.0)
#: padding of -2000 and the like that was read without its sign, or the largest number of the file
_UNSIGNED = 32767.0


def padding_values(volume):
    """Constants at the ends of a volume that are padding: -1024, -2000 or -3024 around CT, -1 around a scaled MR scan.

    The lowest value is padding where it is negative and one in a hundred voxels has exactly it; so is, inside of that,
    the next one, where it is not tissue in HU. The highest value is where it is 32767 or more, and further from all
    others than these are from each other. Zero is not listed: it counts as air wherever intensities are measured.

    Parameters
    ----------
    volume : numpy.ndarray
        Finite.

    Returns
    -------
    tuple of float
    """
    least = _LEAST_SHARE * volume.size
    found = []
    lowest = volume.min()
    if lowest < 0 and np.count_nonzero(volume == lowest) >= least:
        found.append(float(lowest))
        rest = volume[volume != lowest]
        if rest.size and rest.min() <= AIR_HU[1] and np.count_nonzero(rest == rest.min()) >= least:
            found.append(float(rest.min()))
    highest = volume.max()
    if highest >= _UNSIGNED and np.count_nonzero(volume == highest) >= least:
        rest = volume[(volume != highest) & ~np.isin(volume, found)]
        if rest.size and highest - rest.max() > rest.max() - rest.min():
            found.append(float(highest))
    return tuple(found)


def without_padding(volume, padding, background):
    """Return the volume with ``background`` where it is padding; itself where there is none."""
    if not padding:
        return volume
    cleaned = volume.copy(order="K")
    for value in padding:
        cleaned[volume == value] = background
    return cleaned
