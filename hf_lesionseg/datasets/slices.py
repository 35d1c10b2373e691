"""Slices of prepared cases as a torch data set."""

import numpy as np
import torch
from torch.utils.data import Dataset

from ..errors import DataError


class SliceDataset(Dataset):
    """Single slices of prepared cases, in a fixed order; shuffling is the loader's.

    Parameters
    ----------
    cases : sequence of PreparedCase
    slices : {"all", "tissue", "lesion"}
        All slices, those that show anything, or those that show lesion.
    empty_slice_fraction : float
        Share of the slices without lesion that is in the set, drawn anew for each epoch.
    augmentation : callable, optional
        ``augmentation(pixel_values, labels, generator)`` on float32 (channels, height, width) and uint8 (height, width)
        arrays, with a numpy generator that depends on (seed, epoch, index) alone.
    seed : int

    Notes
    -----
    An item is ``{"pixel_values": float32 (channels, height, width), "labels": int64 (height, width)}``. Its file is
    opened, mapped, copied from and closed, so that memory does not grow with what has been read.
    """

    def __init__(self, cases, *, slices="all", empty_slice_fraction=1.0, augmentation=None, seed=0):
        self.cases = list(cases)
        if slices not in ("all", "tissue", "lesion"):
            raise ValueError(f"slices is {slices!r}; use 'all', 'tissue' or 'lesion'")
        with_lesion, without = [], []
        for number, case in enumerate(self.cases):
            lesion = set(case.lesion_slices)
            with_lesion += [(number, index) for index in case.lesion_slices]
            others = range(case.num_slices) if slices == "all" else case.tissue_slices if slices == "tissue" else ()
            without += [(number, index) for index in others if index not in lesion]
        self._with_lesion = np.array(with_lesion, dtype=np.int32).reshape(-1, 2)
        self._without = np.array(without, dtype=np.int32).reshape(-1, 2)
        self._drawn = round(empty_slice_fraction * len(self._without))
        if len(self) == 0:
            raise DataError(f"{len(self.cases)} cases have no slices of kind {slices!r} to train on")
        self.augmentation = augmentation
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch):
        """Draw this epoch's slices without lesion; the same for the same (seed, epoch)."""
        self.epoch = epoch
        drawn = self._without
        if self._drawn < len(self._without):
            generator = np.random.default_rng((self.seed, epoch))
            drawn = self._without[np.sort(generator.choice(len(self._without), self._drawn, replace=False))]
        self._index = np.concatenate([self._with_lesion, drawn])

    def __len__(self):
        return len(self._with_lesion) + self._drawn

    def __getitem__(self, item):
        number, index = (int(value) for value in self._index[item])
        case = self.cases[number]
        pixel_values, labels = case.pixel_values(index), case.labels(index)
        if self.augmentation is not None:
            generator = np.random.default_rng((self.seed, self.epoch, number, index))
            pixel_values, labels = self.augmentation(pixel_values, labels, generator)
        return {
            "pixel_values": torch.from_numpy(np.ascontiguousarray(pixel_values, dtype=np.float32)),
            "labels": torch.from_numpy(np.ascontiguousarray(labels, dtype=np.int64)),
        }
