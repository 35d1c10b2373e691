"""Whether the frames of a perfusion series are in the order of time, by the mean curve of its brain.

A bolus comes once from a baseline, rises faster than it falls, and stays below half its height when it comes round
again. What sorts of files do to series (by name, by parity, backwards, in two parts) breaks one of these rules.
"""

import numpy as np

from hf_lesionseg.errors import ScanError

__all__ = ["check_frame_order"]

#: in ranges of the curve: a bolus goes up and down, which is 2 at most; frames in random order have T / 3
_LARGEST_VARIATION = 3.5
#: of the way round the curve that is left when a known disorder is undone; a right order only gets longer
_SHORTER = 0.75
#: of the range: the fall before the peak, 0 of a bolus; and the climb after it, 0.2 of a large recirculation
_LARGEST_FALL, _LARGEST_CLIMB = 0.10, 0.40
_LATE_START = 0.20
_NOISE_FACTOR = 8.0  # from crest to trough of many frames of noise
_REMEDY = (
    "sort them by acquisition time and export the series again; where you know that the order is right, "
    "`lesionseg perfusion` and `segment` take --trust-frame-order"
)


def check_frame_order(curve, smooth, name="series"):
    """Raise where the frames of a curve cannot be in the order of time, with what happened to them as far as it shows.

    Parameters
    ----------
    curve, smooth : float64 arrays of shape (T,)
        As it is, and smoothed; not flat.
    name : str or os.PathLike
        Name of the series, for the error.

    Raises
    ------
    ScanError
        For frames in random order, sorted by their names as text, even before odd or pairwise exchanged, parts that
        have changed places, a series that runs backwards, and one that begins after contrast has arrived.
    """
    if _jumps(curve):
        raise ScanError(
            f"{name}: the mean curve jumps up and down from frame to frame; either it is flat but for noise and no "
            f"contrast passes, or the frames are not in the order of time: {_REMEDY}"
        )
    disorder = _known_disorder(curve)
    if disorder is not None:
        raise ScanError(f"{name}: the frames are not in the order of time but {disorder}: {_REMEDY}")
    span = np.ptp(smooth)
    doubt = _NOISE_FACTOR * _noise(curve)
    peak = int(smooth.argmax())
    before, after = smooth[: peak + 1], smooth[peak:]
    fall = (np.maximum.accumulate(before) - before).max()
    climb = (after - np.minimum.accumulate(after)).max()
    if fall > max(_LARGEST_FALL * span, doubt) or climb > max(_LARGEST_CLIMB * span, doubt):
        raise ScanError(
            f"{name}: contrast is there, gone and there again, as no bolus is; parts of the series have changed "
            f"places, or two series are in one file: {_REMEDY}"
        )
    start, end = smooth[0] - smooth.min(), smooth[-max(2, len(smooth) // 15) :].mean() - smooth.min()
    if _rises_slower_than_it_falls(smooth) or (start > max(_LATE_START * span, doubt) and end < 0.5 * start):
        raise ScanError(
            f"{name}: enhancement rises slower than it falls, or is there from the first frame and gone in the last "
            f"one; the frames run backwards, or the scan began after contrast had arrived: {_REMEDY}"
        )


def _jumps(curve):
    """Whether neighbours in time differ about as much as any two frames do: frames in random order, or noise only."""
    if np.abs(np.diff(curve)).sum() <= _LARGEST_VARIATION * np.ptp(curve):
        return False
    any_two = np.abs(curve[:, None] - curve[None, :]).sum() / (len(curve) * (len(curve) - 1))
    return np.abs(np.diff(curve)).mean() > 0.6 * any_two


def _known_disorder(curve):
    """The disorder that, undone, makes the curve much shorter; None of a curve in the order of time."""
    frames = np.arange(len(curve))
    even, odd = frames[::2], frames[1::2]
    swapped = np.minimum(frames ^ 1, len(curve) - 1) if len(curve) % 2 == 0 else np.append(frames[:-1] ^ 1, frames[-1])
    orders = {
        "in that of their numbers as text (1, 10, 11, ..., 2)": (
            np.array(sorted(frames, key=lambda frame: str(frame + 1))),
            np.array(sorted(frames, key=str)),
        ),
        "every other one first": (np.append(even, odd), np.append(odd, even)),
        "pairwise exchanged": (swapped,),
    }
    lengths = {
        text: min(_way_round(each[np.argsort(order)]) for order in known for each in (curve, curve[::-1]))
        for text, known in orders.items()
    }
    likely = min(lengths, key=lengths.get)
    return likely if lengths[likely] < _SHORTER * _way_round(curve) else None


def _way_round(curve):
    """Sum of the steps from frame to frame and back to the first: no order has less than twice the range."""
    return np.abs(np.diff(curve, append=curve[0])).sum()


def _noise(curve):
    """Standard deviation of the smoothed curve's noise, by the median of second differences: most frames are smooth."""
    return 0.53 * np.median(np.abs(np.diff(curve, 2))) / (0.6745 * np.sqrt(6))


def _rises_slower_than_it_falls(smooth):
    """Whether the middle at half the height lies before that at 80 %: contrast only spreads, so its tail is longer."""
    low, high = _crossings(smooth, 0.5), _crossings(smooth, 0.8)
    return low is not None and sum(low) < sum(high)


def _crossings(smooth, share):
    """Where the curve comes up to a share of its height before the peak and down to it after, in frames, or None."""
    level = smooth.min() + share * np.ptp(smooth)
    peak = int(smooth.argmax())
    below, beyond = np.flatnonzero(smooth[:peak] <= level), np.flatnonzero(smooth[peak:] <= level)
    if not (below.size and beyond.size):
        return None
    up, down = below[-1], peak + beyond[0]
    rise, fall = smooth[up + 1] - smooth[up], smooth[down - 1] - smooth[down]
    return up + (level - smooth[up]) / rise, down - (level - smooth[down]) / fall
