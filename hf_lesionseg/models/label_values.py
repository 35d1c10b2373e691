"""What the values of a mask, a label map or a map of probabilities mean: the one rule, for files and for arrays.

Label maps are saved with a slope, interpolated and mixed up with images, and all of it reads as numbers. Here a value
counts as the label that it is nearly equal to (a slope makes 1.99997 of 2), other values are refused by name, and
several labels that count as one are told.
"""

from dataclasses import dataclass, field

import numpy as np

from .volume_geometry import VolumeError

#: How far from a whole number a label may be: a map of 25 labels that a slope squeezed into 8 bits is off by less.
TOLERANCE = 0.05
#: A value below, of a mask that is not a map of whole numbers, is what arithmetic left of 0.
FAINTEST = 1e-3
#: How far beyond 0 and 1 a probability may be by rounding.
SLACK = 0.01
#: Values that a mask may hold without more ado; images and probabilities have more.
FEW = 8
#: Labels that a mask may hold of which all count as lesion, such as numbered lesions.
MOST = 50
#: Labels that a map may hold of which some are asked for; parcellations of the cortex have 200.
MOST_IN_A_MAP = 250
_SAMPLE = 1 << 20
_LISTED = 6


@dataclass(frozen=True, eq=False)
class LabelReading:
    """What a mask says, and how it was read.

    Attributes
    ----------
    mask : numpy.ndarray of bool, of the shape that was read
    labels : dict of int to int
        Voxels of each label above 0; empty for a mask of fractions.
    notes : tuple of str
        Remarks on its labels: that several count as one, or that a wanted one occurs in no voxel.
    warnings : tuple of str
        What was odd: fractions that count as lesion.
    """

    mask: np.ndarray
    labels: dict[int, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_labels(data, name, values=None, table=None, *, rounds=False):
    """Tell the lesion in a mask or label map.

    With ``values`` or ``table`` all values must be whole numbers, within :data:`TOLERANCE`. Without, a mask may mark
    lesions with any value (1, 255, 0.999), and whatever is above 0 counts.

    Parameters
    ----------
    data : numpy.ndarray
        Finite.
    name : str
        Name of the file, for messages.
    values : sequence of int, optional
        The labels that are lesion; without it all above 0.
    table : mapping of int to str, optional
        The labels that the data set says it has, by name. Those of ``values`` may be added to them.
    rounds : bool
        Values are rounded first, halves to even, as some evaluators do: 0.5 and less is background.

    Returns
    -------
    LabelReading

    Raises
    ------
    VolumeError
        For an image or a map of probabilities, a mask of negative values only, a value that is not a whole number where
        labels are expected, or a label that is not in the table. One line, with the remedy.
    """
    data = np.asarray(data)
    values = None if values is None else as_labels(values)
    most = MOST if values is None else MOST_IN_A_MAP
    distinct, counts = _count_values(data, name, most)
    fractions = np.abs(distinct - np.rint(distinct)) > TOLERANCE
    several = len(distinct) > FEW
    if len(distinct) > most or (several and (fractions.any() or _changes_everywhere(data))):
        raise VolumeError(_no_mask(name, distinct, len(distinct)))
    if values is not None or table is not None:
        if fractions.any():
            raise VolumeError(_no_label(name, distinct[fractions], counts[fractions]))
        labels = _sum_by_label(distinct, counts)
        if table is not None:
            _check_table(name, labels, {**table, **dict.fromkeys(values or (), "")})
        above = {label: count for label, count in labels.items() if label > 0 or label in (values or ())}
        if values is None:
            return LabelReading(data > 0.5, above, _told_as_one(name, above))
        return LabelReading(_equal_to_any(data, values), above, absent_note(name, values, labels))
    positive = distinct > 0
    if len(distinct) and not positive.any() and distinct[0] < -0.5:  # no trace of 0 that an intercept left
        raise VolumeError(_none_above_zero(name, distinct, counts))
    if rounds and fractions[positive].any():
        told = f"{name}: holds fractions such as {distinct[fractions & positive][0]:.4g}, which are rounded"
        return LabelReading(data > 0.5, warnings=(f"{told}; was this mask interpolated?",))
    if positive.sum() == 1 and distinct[positive][0] >= FAINTEST:  # whatever the value, it can only be the mark
        return LabelReading(data > 0, {max(1, int(np.rint(distinct[positive][0]))): int(counts[positive][0])})
    if fractions[positive].any():
        return LabelReading(data >= FAINTEST, warnings=_told_fractions(name, distinct[positive], counts[positive]))
    labels = _sum_by_label(distinct[positive], counts[positive])
    return LabelReading(data > 0.5, labels, _told_as_one(name, labels))


def as_labels(values):
    """Return label values as a tuple of int, or raise ``VolumeError`` for 0 and fractions.

    Examples
    --------
    >>> as_labels(["2", 5.0])
    (2, 5)
    """
    labels = []
    for value in values:
        try:
            label = float(value)
            if isinstance(value, bool) or label != int(label) or label == 0:
                raise ValueError
        except (TypeError, ValueError, OverflowError) as error:
            reason = "is the background" if value in (0, "0") and value is not False else "is not a whole number"
            raise VolumeError(f"label {value!r} {reason}; give the value of a label, such as 1 or 2") from error
        labels.append(int(label))
    if not labels:
        raise VolumeError("no label is given; give the value of a label, such as 1 or 2")
    return tuple(dict.fromkeys(labels))


def check_probabilities(data, name):
    """Raise ``VolumeError`` unless all values are probabilities, from 0 to 1 but for rounding."""
    data = np.asarray(data)
    lowest, highest = float(data.min()), float(data.max())
    if not (lowest >= -SLACK and highest <= 1 + SLACK):  # nor NaN
        divisor = next((each for each in (100, 255) if 1 < highest <= each and lowest >= 0), None)
        remedy = f"divide by {divisor}" if divisor else "take the network's sigmoid or softmax"
        raise VolumeError(
            f"{name}: values from {lowest:.4g} to {highest:.4g} cannot be probabilities, to which a threshold applies; "
            f"{remedy}, or leave the threshold out if this is a mask"
        )


def absent_note(name, values, labels):
    """Say that none of the wanted ``values`` is among the ``labels`` of a map; nothing where one is."""
    if any(value in labels for value in values):
        return ()
    found = f"the mask holds {in_words(sorted(labels))}" if labels else "the mask is empty"
    return (f"{name}: label {in_words(values, 'or')} occurs in no voxel; {found}",)


def in_words(items, conjunction="and", listed=_LISTED):
    """Join items for a sentence: "1, 2 and 5"; of many the first ones.

    Examples
    --------
    >>> in_words([1, 2, 5]), in_words(range(1, 10), listed=2)
    ('1, 2 and 5', '1, 2 and 7 more')
    """
    items = [f"{item}" for item in items]
    if len(items) > listed + 1:
        return f"{', '.join(items[:listed])} and {len(items) - listed} more"
    return f" {conjunction} ".join(filter(None, (", ".join(items[:-1]), *items[-1:])))


def labels_in_words(labels):
    """Name labels in a sentence: "label 2", "labels 1 and 2"."""
    labels = list(labels)
    return f"label{'s' if len(labels) > 1 else ''} {in_words(labels)}"


def _count_values(data, name, most):
    """Values other than 0 in rising order, and how many voxels have each; refuses early what has far too many."""
    sample = data.ravel(order="K")[:: max(1, data.size // _SAMPLE)]  # no copy of what is contiguous
    seen, _ = _distinct(sample)
    if len(seen) > max(most, MOST_IN_A_MAP):
        raise VolumeError(_no_mask(name, seen, f"more than {len(seen) - 1}"))
    return _distinct(data)


def _distinct(data):
    """Values other than 0, rising, and their numbers; what is nearly a whole number other than 0 as that number."""
    values, counts = np.unique(data[data != 0], return_counts=True)
    values = values.astype(np.float64)
    whole = np.rint(values)
    values = np.where((np.abs(values - whole) <= TOLERANCE) & (whole != 0), whole, values)
    values, place = np.unique(values, return_inverse=True)
    return values, np.bincount(place, weights=counts, minlength=len(values)).astype(np.int64)


def _changes_everywhere(data):
    """Whether most neighbours within the foreground differ, as in an image, and not in regions of labels."""
    equal = pairs = 0
    for axis in range(data.ndim):
        before, after = (np.moveaxis(data, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        inside = (before != 0) & (after != 0)
        pairs += int(inside.sum())
        equal += int((inside & (np.abs(before - after) <= TOLERANCE)).sum())
    return pairs > 0 and equal < pairs / 2


def _sum_by_label(distinct, counts):
    labels = {}
    for value, count in zip(np.rint(distinct).astype(np.int64).tolist(), counts.tolist(), strict=True):
        labels[value] = labels.get(value, 0) + count
    labels.pop(0, None)  # what a slope made of the background
    return labels


def _equal_to_any(data, values):
    mask = np.zeros(data.shape, bool, order="F" if data.flags.f_contiguous else "C")
    for value in values:
        mask |= np.abs(data - np.float32(value)) <= TOLERANCE
    return mask


def _check_table(name, labels, table):
    unknown = [label for label in labels if label not in table]
    if unknown:
        known = ", ".join(f"{label} {table[label]}".strip() for label in sorted(table))
        raise VolumeError(
            f"{name}: holds {labels_in_words(unknown)} ({labels[unknown[0]]} voxels), but the data set's table of "
            f"labels has {known}; correct one of them, or choose the label with --label {unknown[0]}"
        )


def _no_mask(name, values, number):
    span = f"{number} different values from {values.min():.4g} to {values.max():.4g}"
    if values.min() >= 0 and values.max() <= 1 + SLACK:
        return f"{name}: looks like probabilities, not a mask ({span}); cut them at a threshold, for example 0.5"
    whole = not (np.abs(values - np.rint(values)) > TOLERANCE).any()
    many = ", or choose one of many labels with --label" if whole and values.min() > 0 else ""
    return (
        f"{name}: looks like an image, not a mask ({span}); give the file in which lesions are marked, cut "
        f"probabilities at a threshold{many}"
    )


def _none_above_zero(name, values, counts):
    return (
        f"{name}: holds {in_words([f'{value:.5g}' for value in values])} ({counts.sum()} voxels) and nothing above 0, "
        "which is not a mask: 255 stored as a signed byte reads as -1; mark lesions with 1"
    )


def _no_label(name, fractions, counts):
    more = f", and {len(fractions) - 1} more such values" if len(fractions) > 1 else ""
    return (
        f"{name}: holds {fractions[0]:.5g} ({counts[0]} voxels{more}), which is not a label: labels are whole numbers; "
        "resample a label map to the nearest voxel (order=0), never by interpolation"
    )


def _told_as_one(name, labels):
    if len(labels) < 2:
        return ()
    return (f"{name}: {labels_in_words(sorted(labels))} count as one",)


def _told_fractions(name, values, counts):
    between = int(counts[(values >= FAINTEST) & (values < 0.5)].sum())
    if between:
        return (f"{name}: {between} voxels between 0 and 0.5 count as lesion; was this mask interpolated?",)
    listed = in_words([f"{value:.4g}" for value in values if value >= FAINTEST])
    return (f"{name}: the values {listed} count as one; was this mask interpolated?",)
