"""What every row of a table may spend, and how networks are narrowed to it."""

import math
from dataclasses import dataclass

from ..errors import UsageError

PUBLISHED_WIDTH = 64  # feature maps of the stem of every published ResNet
_NARROWEST_STEM = 8
_PUBLISHED_SIZE = 512  # rows and columns of the papers' slices
_FEW_EMPTY_SLICES = 0.2  # most slices are empty, and some hundred steps would see few lesions
_LISTS_OF_WIDTHS = ("up_widths", "perceptual_widths")


@dataclass(frozen=True)
class Budget:
    """What every row of a table may spend.

    Parameters
    ----------
    steps : int, optional
        Optimizer steps; by default those of the epochs of each row's recipe.
    seeds : tuple of int
        One run for each.
    base_width : int
        Feature maps of the encoders' stem where the paper has 64; widths of other networks are brought down in
        proportion, those that have 32 there to 8 at the lowest: of 4 maps, some learnt nothing.
    batch_size : int, optional
        Slices per step, of all processes together; by default those of each row's recipe.
    learning_rate : float, optional
        At the beginning; it falls as the recipe says, at the same shares of the training, or along a cosine where the
        budget has fewer epochs than the recipe. By default the recipe's at the papers' width, and one for narrow
        networks, the table's, below it.
    empty_slice_fraction : float, optional
        Share of the slices without lesion that an epoch takes; by default the recipe's.
    scale : float
        Size of the slices by that of the papers': networks with a first stage have lengths in pixels, such as a margin
        of 15, that are meant for slices of 512 x 512.
    encoder_weights : str, optional
        Published ResNets to start from, such as ``microsoft/resnet-{depth}``, in rows whose recipe has some; by default
        the recipe's, at the width that there are some for, and none at others.
    validations : int, optional
        In each run, about; by default as often as each row's recipe says.
    processes : int
        That train together, one on each GPU where there are any.
    """

    steps: int | None = 1500
    seeds: tuple[int, ...] = (0,)
    base_width: int = 16
    batch_size: int | None = 8
    learning_rate: float | None = None
    empty_slice_fraction: float | None = None
    scale: float = 1.0
    encoder_weights: str | None = None
    validations: int | None = 6
    processes: int = 1

    def __post_init__(self):
        for name in ("steps", "base_width", "batch_size", "validations", "processes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}; give 1 or more")
        if self.batch_size is not None and self.batch_size % self.processes:
            raise UsageError(
                f"batch_size is {self.batch_size} slices for {self.processes} processes together; give a multiple"
            )
        if self.learning_rate is not None and not 0 < self.learning_rate < 10:
            raise UsageError(f"learning_rate is {self.learning_rate}; give a number above 0 and below 10")
        if self.empty_slice_fraction is not None and not 0 <= self.empty_slice_fraction <= 1:
            raise UsageError(f"empty_slice_fraction is {self.empty_slice_fraction}; give a share between 0 and 1")
        if not 0 < self.scale <= 4:
            raise UsageError(f"scale is {self.scale}; give a number above 0 and up to 4")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise UsageError(f"seeds are {self.seeds}; give one or more, each once")

    @classmethod
    def published(cls, **others):
        """Width, batches, rate and epochs of the paper of each row, as its recipe has them."""
        return cls(**{"steps": None, "base_width": PUBLISHED_WIDTH, "batch_size": None, "validations": None} | others)

    @classmethod
    def generated(cls, size, *, in_a_hurry=False, **others):
        """Short and narrow, for generated organs of ``size`` x ``size`` pixels; narrower still ``in_a_hurry``."""
        settings = {"scale": size / _PUBLISHED_SIZE, "empty_slice_fraction": _FEW_EMPTY_SLICES}
        if in_a_hurry:
            settings["base_width"] = _NARROWEST_STEM
        return cls(**settings | others)

    def batch_of(self, recipe):
        """Slices per step of each process; where they cannot share the recipe's, so many that no process has fewer."""
        return math.ceil((self.batch_size or recipe.batch_size) / self.processes)

    def rate_of(self, recipe, narrow_rate):
        """The learning rate of a row: as asked for, or its recipe's, or its table's for narrow networks."""
        if self.learning_rate is not None:
            return self.learning_rate
        return recipe.learning_rate if self.base_width >= PUBLISHED_WIDTH else narrow_rate

    def empty_slices_of(self, recipe):
        """Share of the slices without lesion that an epoch of a row takes."""
        return recipe.empty_slice_fraction if self.empty_slice_fraction is None else self.empty_slice_fraction

    def in_proportion(self):
        """Settings in pixels or cells of the networks with a first stage, brought to the size of the slices."""
        return {
            "margin": max(1, round(15 * self.scale)),
            "heatmap_sigma": max(0.75, 2 * self.scale),
            "minimum_component_pixels": max(1, round(10 * self.scale**2)),
        }

    def narrowed(self, defaults):
        """A network's widths, brought down as the budget's is from 64, its ``base_width`` to 8 at the lowest."""
        widths = {name: getattr(defaults, name) for name in ("base_width", "growth_rate") if hasattr(defaults, name)}
        lists = {name: getattr(defaults, name) for name in _LISTS_OF_WIDTHS if hasattr(defaults, name)}
        floor = {"base_width": min(_NARROWEST_STEM, self.base_width, widths.get("base_width", 1))}
        return {name: max(floor.get(name, 1), self._narrow(width)) for name, width in widths.items()} | {
            name: [self._narrow(width) for width in each] for name, each in lists.items()
        }

    def _narrow(self, width):
        return max(1, round(width * self.base_width / PUBLISHED_WIDTH))

    def weights_to_start_from(self, recipe):
        """What the encoders start from; None for nothing."""
        if recipe.encoder_weights is None:
            return None
        if self.encoder_weights is None:
            return recipe.encoder_weights if self.base_width == PUBLISHED_WIDTH else None
        return None if self.encoder_weights == "none" else self.encoder_weights
