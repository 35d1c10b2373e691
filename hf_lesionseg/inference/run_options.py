"""Options of a run over many cases besides those of the mask: how to compute, and how to read a perfusion series."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from ..errors import UsageError


@dataclass(frozen=True)
class Computing:
    """How the network computes.

    Attributes
    ----------
    precision : {"float32", "bfloat16", "float16"}
        Autocast for the network.
    batch_size : int, optional
        Slices at once; by default 4 on a CPU and 32 on a GPU, halved where memory runs out.
    deterministic : bool
        Equal bytes on every run.
    compile : bool
        Compile the network with its weights, which takes a minute or more once: for many cases.
    memory_format : {"auto", "contiguous", "channels-last"}
        Of weights and feature maps; "auto" takes the fastest.
    shared : bool
        Share the cases out among the processes that ``accelerate launch`` started, all of which run this.

    Raises
    ------
    UsageError
        For a precision or memory format that is unknown, or a batch of no slice.
    """

    precision: str = "float32"
    batch_size: int | None = None
    deterministic: bool = False
    compile: bool = False
    memory_format: str = "auto"
    shared: bool = False

    def __post_init__(self):
        from .prepared import check_memory_format
        from .slices import PRECISIONS

        if self.precision not in PRECISIONS:
            raise UsageError(f"precision {self.precision!r} is unknown; use {', '.join(PRECISIONS)}")
        if self.batch_size is not None and self.batch_size < 1:
            raise UsageError(f"batch size {self.batch_size} is too small; give 1 slice or more")
        check_memory_format(self.memory_format)

    def settings(self) -> dict:
        """What of it may change a mask, for the run record."""
        # What is not asked for is left out, so that results of earlier versions stay valid.
        return {**self.numerics(), **({"compile": True} if self.compile else {})}

    def numerics(self) -> dict:
        """What the network is called with; a memory format only where one was asked for."""
        found = {"precision": self.precision, "deterministic": self.deterministic}
        return found if self.memory_format == "auto" else found | {"memory_format": self.memory_format}


@dataclass(frozen=True)
class SeriesOptions:
    """How a raw perfusion series is read.

    Attributes
    ----------
    frame_seconds : float, optional
        Between two frames, s; overrules the header.
    trust_frame_order : bool
        Take the frames as they are, even if their curve does not look like a bolus.

    Raises
    ------
    UsageError
        For a time that is none.
    """

    frame_seconds: float | None = None
    trust_frame_order: bool = False

    def __post_init__(self):
        if self.frame_seconds is not None and not 0 < self.frame_seconds < math.inf:
            raise UsageError(
                f"frame time {self.frame_seconds} s is not possible; give the seconds from one frame to the next"
            )

    def given(self) -> dict:
        """The options that differ from their defaults, by name."""
        return {name: value for name, value in asdict(self).items() if value not in (None, False)}
