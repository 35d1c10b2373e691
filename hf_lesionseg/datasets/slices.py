"""Slices of prepared cases as a torch data set."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from ..errors import DataError, UsageError
from .prepared.reading import PreparedCase

__all__ = ["SliceDataset"]

_KINDS = ("all", "tissue", "lesion")


class SliceDataset(Dataset):
    """Single slices for training: ``{"pixel_values": float32 (C, H, W), "labels": int64 (H, W)}``, and targets.

    Each read maps a case's file, copies one slice and lets the map go. A process holds the list of slices only,
    16 bytes each, whatever the data set's size: 2 MB for the 123,795 slices of 655 volumes. Slices of cases with
    smaller planes are padded with zeros at their bottom and right to the largest.

    Parameters
    ----------
    cases : cases to take slices of
    slices : "all", "tissue" (slices that show some tissue, and all with a lesion) or "lesion"
    slice_range : first slice and the one behind the last, of every case; all by default
    empty_slice_fraction : share of the slices without a lesion that an epoch takes, drawn anew for each
    copies : how often an epoch takes each slice; with an augmentation each copy is another
    augmentation : called as ``augmentation(pixel_values, labels, rng)`` with arrays (C, H, W) and (H, W) and a numpy
        generator; returns both, of the same shapes. The targets go through it as further channels, so that they stay
        in place; then ``num_images`` tells how many channels are images
    targets : names of the cases' target channels to give along, each under its name as float32 (1, H, W)
    seed : of all that is random here; it depends on (seed, epoch, index) and on nothing else

    Raises
    ------
    UsageError
        For an unknown kind of slices, a fraction outside 0..1, or no copy.
    DataError
        Where no slice is left.
    """

    def __init__(
        self,
        cases: Sequence[PreparedCase],
        *,
        slices: str = "all",
        slice_range: Sequence[int] | None = None,
        empty_slice_fraction: float = 1.0,
        copies: int = 1,
        augmentation: Callable | None = None,
        targets: Sequence[str] = (),
        seed: int = 0,
    ):
        if slices not in _KINDS:
            raise UsageError(f"slices {slices!r} is unknown: take one of {', '.join(_KINDS)}")
        if not 0 <= empty_slice_fraction <= 1:
            raise UsageError(f"empty_slice_fraction is {empty_slice_fraction}: take a share between 0 and 1")
        if copies < 1:
            raise UsageError(f"copies is {copies}: take 1 or more")
        self.cases = list(cases)
        self.copies = copies
        self.augmentation = augmentation
        self.targets = tuple(targets)
        self.seed = seed
        first, behind = slice_range or (0, np.inf)
        with_lesion = _pairs((number, case.lesion_slices) for number, case in enumerate(self.cases))
        empty = _pairs((number, _empty_slices(case, slices)) for number, case in enumerate(self.cases))
        self._with_lesion, self._empty = (
            pairs[(pairs[:, 1] >= first) & (pairs[:, 1] < behind)] for pairs in (with_lesion, empty)
        )
        self._empty_taken = round(empty_slice_fraction * len(self._empty))
        if not len(self):
            if slice_range:
                raise DataError(
                    f"no slices of kind {slices!r} from {first} to {behind - 1} in {len(self.cases)} cases; "
                    "take another slice_range, or slices='all'"
                )
            raise DataError(f"no slices of kind {slices!r} in {len(self.cases)} cases; take slices='all'")
        self.plane = tuple(max(case.shape[axis] for case in self.cases) for axis in (2, 3))
        # shared, so that workers which live for several epochs see set_epoch as well
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._chosen: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        return self.copies * (len(self._with_lesion) + self._empty_taken)

    def set_epoch(self, epoch: int) -> None:
        """Choose the empty slices and the augmentation of an epoch."""
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index = int(index) % len(self)
        epoch = int(self._epoch)
        slices = self._of_epoch(epoch)
        number, plane = slices[index % len(slices)]
        case = self.cases[number]
        values, labels = case.pixel_values(int(plane)), case.labels(int(plane))
        channels = len(values)
        if self.targets:
            images = [case.target(name, int(plane))[None] for name in self.targets]
            values = np.concatenate([values, *images])
        if self.augmentation is not None:
            rng = np.random.default_rng([self.seed, epoch, index])
            images = {"num_images": channels} if self.targets else {}
            values, labels = self.augmentation(values, labels, rng, **images)
        item = {"pixel_values": self._padded(values[:channels], np.float32), "labels": self._padded(labels, np.int64)}
        for position, name in enumerate(self.targets, channels):
            item[name] = self._padded(values[position : position + 1], np.float32)
        return item

    def _padded(self, array: np.ndarray, dtype) -> torch.Tensor:
        missing = [(0, 0)] * (array.ndim - 2)
        missing += [(0, self.plane[0] - array.shape[-2]), (0, self.plane[1] - array.shape[-1])]
        if any(after for _, after in missing):
            array = np.pad(array, missing)
        return torch.from_numpy(np.ascontiguousarray(array, dtype=dtype))

    def _of_epoch(self, epoch: int) -> np.ndarray:
        """(n, 2) case and slice numbers of an epoch, ordered by both."""
        if self._chosen is None or self._chosen[0] != epoch:
            empty = self._empty
            if self._empty_taken < len(empty):
                rng = np.random.default_rng([self.seed, epoch])
                empty = empty[rng.choice(len(empty), self._empty_taken, replace=False)]
            pairs = np.concatenate([self._with_lesion, empty])
            self._chosen = epoch, pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
        return self._chosen[1]


def _empty_slices(case: PreparedCase, kind: str) -> np.ndarray:
    if kind == "lesion":
        return np.empty(0, np.int32)
    candidates = np.arange(case.num_slices, dtype=np.int32) if kind == "all" else case.tissue_slices
    return np.setdiff1d(candidates, case.lesion_slices)


def _pairs(numbered) -> np.ndarray:
    """(n, 2) int64 array of case and slice numbers."""
    parts = [np.stack([np.full(len(planes), number), planes], axis=1) for number, planes in numbered]
    return np.concatenate(parts).astype(np.int64) if parts else np.empty((0, 2), np.int64)
