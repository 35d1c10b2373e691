"""Slices of heads rendered as training asks for them: each depends on (seed, epoch, index) alone."""

import numpy as np
import torch
from torch.utils.data import Dataset

from ....errors import UsageError
from ....models.slice_stack import stacked_channels
from .artefacts import add_artefacts, intensity_range
from .catalogue import HeadCatalogue
from .plan import draw_head
from .render import render_slices

__all__ = ["RENDERED_MM", "HeadSlices"]

#: Row, column and slice distances of scans that rendered heads stand for, [smallest, largest] in mm: pixels of up to
#: 2 mm look alike once they are resampled to 2.
RENDERED_MM = ([0.5, 2.2], [0.5, 2.2], [0.9, 6.5])
_FEWEST_PIXELS = 4  # a lesion of fewer in a slice is noise


class HeadSlices(Dataset):
    """Rendered slices with their neighbours: ``{"pixel_values": float32 (C, H, W), "labels": int64 (H, W)}``.

    Parameters
    ----------
    catalogue : HeadCatalogue
    processor : LesionImageProcessor
        Its pixel size, window, percentiles and stack of slices are what is rendered.
    length : slices of an epoch
    epochs : of the whole training, over which the settings below move
    without_lesion : share of slices without a lesion, at the beginning and from the middle on
    hard_negatives : share of the slices without a lesion that are drawn from the catalogue's hard ones, if any
    difficulty : how hard heads are, at the beginning and from the middle on
    shown : how many epochs in a row show the same slices, after the first mirrored or a little brighter or darker:
        rendering a slice takes as long as learning from it. They are kept in memory (float16) for as long.
    split : whose anatomies and masks
    seed : of everything
    """

    def __init__(
        self,
        catalogue: HeadCatalogue,
        processor,
        *,
        length: int,
        epochs: int,
        without_lesion=(0.5, 0.65),
        hard_negatives: float = 0.3,
        difficulty=(0.3, 1.0),
        shown: int = 1,
        split: str = "fit",
        seed: int = 0,
    ):
        if processor.slice_axis != "axial" or processor.training_spacing is None or processor.size is None:
            raise UsageError(
                "heads are rendered as axial slices of a known pixel size; give the recipe's processor slice_axis "
                "axial, training_spacing and size"
            )
        if processor.normalization != "percentile":
            raise UsageError(f"heads are normalised by percentiles, the processor by {processor.normalization}")
        self.catalogue, self.split, self.seed = catalogue, split, seed
        self.length, self.epochs = length, epochs
        self.without_lesion, self.difficulty = tuple(without_lesion), tuple(difficulty)
        self.hard, self.hard_share = catalogue.hard_negatives, hard_negatives
        self.spacing = tuple(processor.training_spacing)
        self.plane = (processor.size["height"], processor.size["width"])
        self.percentiles = tuple(processor.percentiles)
        self.stack = processor.slice_stack
        # shared, so that workers which live for several epochs see set_epoch as well
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self.shown = shown
        self._kept = _KeptSlices(length, stacked_channels(1, self.stack), self.plane) if shown > 1 else None

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        """Choose the heads of an epoch."""
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        epoch, index = int(self._epoch), int(index) % len(self)
        values, labels = self._again(epoch, index) if self.shown > 1 else self.render(epoch, index)
        return {"pixel_values": torch.from_numpy(values), "labels": torch.from_numpy(labels.astype(np.int64))}

    def _again(self, epoch, index):
        """The slice of the first of the epochs that show it, changed in the others."""
        first, again = epoch - epoch % self.shown, epoch % self.shown
        if not self._kept.holds(first, index):
            self._kept.keep(first, index, *self.render(first, index))
        values, labels = self._kept.get(index)
        rng = np.random.default_rng([self.seed, epoch, index, again])
        if again % 2:
            values, labels = values[..., ::-1], labels[..., ::-1]
        if again:
            values = values ** np.float32(np.exp(rng.normal(0, 0.12)))
        return np.ascontiguousarray(values), np.ascontiguousarray(labels)

    def render(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Float32 (C, H, W) and bool (H, W) of one slice of one epoch."""
        rng = np.random.default_rng([self.seed, epoch, index])
        ripe = min(1.0, 2 * epoch / max(1, self.epochs))
        without, difficulty = (begin + ripe * (end - begin) for begin, end in (self.without_lesion, self.difficulty))
        empty = rng.random() < without
        if empty and self.hard is not None and rng.random() < self.hard_share:
            return self.render_healthy(self.hard["seed"], int(rng.choice(self.hard["indices"])))
        return self._render(rng, empty, with_stroke=not empty or rng.random() < 0.35, difficulty=difficulty)

    def render_healthy(self, seed: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """A slice of a head without a stroke, as hard as they get: what hard negatives are found among."""
        return self._render(np.random.default_rng([seed, index]), True, with_stroke=False, difficulty=1.0)

    def _render(self, rng, empty, *, with_stroke, difficulty):
        plan = draw_head(self.catalogue, self.split, rng, with_stroke=with_stroke, difficulty=difficulty)
        height = self._height(plan, empty, rng)
        distance = plan.scanning.slice_distance
        offsets = {"neighbours": (-1, 0, 1)}.get(self.stack, (0,))
        heights = height + distance * np.array(offsets, np.float32)
        centre = self._window(plan, rng)
        values, lesion, _ = render_slices(
            plan, heights, self.plane, self.spacing, centre, plan.scanning.slice_thickness
        )
        values = add_artefacts(plan, values, self.spacing, rng)
        low, high = intensity_range(plan, self.percentiles, rng)
        values = np.clip((values - low) / (high - low), 0, 1)
        if self.stack == "repeat":
            values = np.repeat(values, 3, axis=0)
        labels = lesion[len(offsets) // 2]
        if labels.sum() < _FEWEST_PIXELS:
            labels = np.zeros_like(labels)
        return np.ascontiguousarray(values, np.float32), labels

    def _height(self, plan, empty, rng):
        bottom, top = plan.heights
        if not empty:
            placement = plan.stroke.placements[int(rng.integers(len(plan.stroke.placements)))]
            height = plan.height_of(placement.some_point(rng))
            return float(np.clip(height, bottom + 2, top - 2))
        return float(rng.uniform(bottom, top))

    def _window(self, plan, rng):
        """Centre of the window: on the head, more or less, as tissue, nose and neck shift it in real scans."""
        return float(rng.normal(4, 9)), float(rng.normal(0, 4))


class _KeptSlices:
    """Rendered slices in memory that all workers share; of each index the latest that was kept.

    A slice that is shown again is the same whether it was found here or rendered anew: it passes through float16 first.
    """

    def __init__(self, length, channels, plane):
        self._values = torch.zeros((length, channels, *plane), dtype=torch.float16).share_memory_()
        self._labels = torch.zeros((length, *plane), dtype=torch.bool).share_memory_()
        self._epochs = torch.full((length,), -1, dtype=torch.int64).share_memory_()

    def holds(self, epoch, index):
        return int(self._epochs[index]) == epoch

    def keep(self, epoch, index, values, labels):
        self._values[index] = torch.from_numpy(values)
        self._labels[index] = torch.from_numpy(labels)
        self._epochs[index] = epoch

    def get(self, index):
        return self._values[index].float().numpy(), self._labels[index].numpy()
