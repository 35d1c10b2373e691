"""Run a 2-D network over the slices of a volume, in batches that fit into memory."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from ..errors import LesionSegError, ModelError, UsageError
from ..models.outputs import lesion_probability
from .prepared import prepare_network

#: Slices per step where nothing is asked. On a CPU each slice of 224 x 176 takes the full-width CLCI-Net 0.1 GB.
DEFAULT_BATCH_SIZE = {"cpu": 4, "cuda": 32}

#: Names of ``precision`` -> dtype of autocast; None computes in the dtype of the weights.
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Region(NamedTuple):
    """Where the first stage of a network looked closer.

    Attributes
    ----------
    slice_index : int
    box : tuple of 4 float
        x1, y1, x2, y2 in continuous pixels of the slice (pixel n covers [n, n + 1)), without the margin that was added.
    score : float
        Score of the first stage, 0..1.
    """

    slice_index: int
    box: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True)
class SlicePrediction:
    """Probability of lesion of every slice of a volume, and how it came about.

    Attributes
    ----------
    probability : float32 array (slices, height, width)
        0 on skipped slices.
    slices_total, slices_skipped : int
        Skipped slices hold no tissue and are background by definition.
    batch_size : int
        The one in use at the end, after any back-off.
    warnings : tuple of str
        What the user should know, such as a back-off.
    regions : tuple of Region, or None
        In the order of the slices; None of a network that has no first stage, or was never asked since no slice holds
        tissue.
    slices_without_region : int or None
        Computed slices on which the first stage found none; the skipped ones are not among them.
    generated_dwi : float32 array (slices, height, width), or None
        What the network makes on the way, if asked for and where it makes one; NaN on skipped slices.
    execution : dict
        In what form the network was run, see :class:`~hf_lesionseg.inference.prepared.PreparedNetwork`.
    """

    probability: np.ndarray
    slices_total: int
    slices_skipped: int
    batch_size: int
    warnings: tuple[str, ...] = ()
    regions: tuple[Region, ...] | None = None
    slices_without_region: int | None = None
    generated_dwi: np.ndarray | None = None
    execution: dict = field(default_factory=dict)


def slices_with_tissue(pixel_values: np.ndarray) -> np.ndarray:
    """Return the indices of the slices in which some channel is not constant.

    Constant, rather than zero: normalisation may have moved the background, and a constant slice shows nothing either.

    Parameters
    ----------
    pixel_values : array (slices, channels, height, width)

    Returns
    -------
    int array (tissue slices,)
    """
    if pixel_values.strides[1] == 0:  # one channel, repeated
        pixel_values = pixel_values[:, :1]
    shown = [any(np.ptp(channel) > 0 for channel in plane) for plane in pixel_values]
    return np.flatnonzero(shown)


def predict_slices(
    model: torch.nn.Module,
    pixel_values: np.ndarray,
    *,
    batch_size: int | None = None,
    precision: str = "float32",
    deterministic: bool = False,
    keep_generated: bool = False,
    memory_format: str = "auto",
    observer=None,
    progress: Callable[[int, int], None] | None = None,
) -> SlicePrediction:
    """Compute the probability of lesion in each pixel of each slice.

    Parameters
    ----------
    model : PreTrainedModel
        Returns ``logits`` (batch, num_logits, height, width) for ``pixel_values``, and where it has a first stage
        ``boxes`` (regions, 4), ``box_indices`` (regions,) and ``scores`` (regions,); put into eval mode here.
    pixel_values : float32 array or tensor (slices, channels, height, width)
    batch_size : int, optional
        Slices per step to begin with; by default 4 on a CPU and 32 on a GPU. Halved as often as memory runs out.
    precision : {"float32", "bfloat16", "float16"}
        Autocast for the network; the probabilities are float32 always.
    deterministic : bool
        Use only algorithms that give equal bytes on every run, or fail where a GPU has none.
    keep_generated : bool
        Keep the network's ``generated_dwi`` as well, a second volume.
    memory_format : {"auto", "contiguous", "channels-last"}
        Of weights and feature maps; "auto" takes the fastest. The network itself stays as it is: what runs is a copy
        (:func:`~hf_lesionseg.inference.prepared.prepare_network`), where a copy can stand for it.
    observer : object, optional
        With ``arguments(chosen)``, what the network takes beside ``pixel_values`` for the slices of these numbers, and
        ``take(chosen, output)``, which is called with what it gives, as
        :class:`~hf_lesionseg.training.volume_loss.VolumeLoss`.
    progress : callable, optional
        Called with (slices done, slices to do) after every step.

    Raises
    ------
    UsageError
        ``precision``, ``batch_size`` or ``memory_format`` is none of the above.
    ModelError
        The network gives NaN, or logits of another size than its input.
    LesionSegError
        Memory is too small for a single slice.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r} is unknown; use {', '.join(PRECISIONS)}")
    pixel_values = np.asarray(pixel_values)
    device, dtype = model.device, model.dtype
    batch_size = _first_batch_size(batch_size, device)
    total, _, height, width = pixel_values.shape
    made = _Made((total, height, width), keep_generated)
    wanted = slices_with_tissue(pixel_values)
    warnings, done = [], 0
    model.eval()
    prepared = prepare_network(model, memory_format)
    with _numerics(device, PRECISIONS[precision], deterministic):
        while done < len(wanted):
            chosen = wanted[done : done + batch_size]
            batch = torch.from_numpy(pixel_values[chosen]).to(device=device, dtype=dtype)
            output = _forward(prepared.network, batch, observer, chosen)
            if output is None:
                if len(chosen) == 1:
                    raise LesionSegError(
                        f"memory of {device} is too small for one slice of {height}x{width}; "
                        "close other programs, use another device, or a narrower network"
                    )
                batch_size = len(chosen) // 2
                warnings.append(f"memory ran out with {len(chosen)} slices at once; went on with {batch_size}")
                continue
            _refuse_nan(output[0], chosen, precision)
            made.take(chosen, *output)
            done += len(chosen)
            if progress is not None:
                progress(done, len(wanted))
    regions = None if made.regions is None else tuple(made.regions)
    return SlicePrediction(
        made.probability,
        total,
        total - len(wanted),
        batch_size,
        tuple(warnings),
        regions,
        None if regions is None else len(wanted) - len({region.slice_index for region in regions}),
        made.generated,
        prepared.to_dict(),
    )


def _first_batch_size(asked: int | None, device: torch.device) -> int:
    if asked is None:
        return DEFAULT_BATCH_SIZE.get(device.type, DEFAULT_BATCH_SIZE["cuda"])
    if asked < 1:
        raise UsageError(f"batch size {asked} is too small; give 1 slice or more")
    return asked


class _Made:
    """What the network has made of a volume so far.

    The probability is the only full volume that this holds, unless the generated image is kept; slices that are never
    taken stay 0.
    """

    def __init__(self, shape: tuple[int, int, int], keep_generated: bool):
        self.probability = np.zeros(shape, dtype=np.float32)
        self.generated: np.ndarray | None = None
        self.regions: list[Region] | None = None
        self._keeps_generated = keep_generated

    def take(self, chosen: np.ndarray, values: np.ndarray, found: list | None, generated: torch.Tensor | None) -> None:
        self.probability[chosen] = values
        if self._keeps_generated and generated is not None:
            if self.generated is None:
                self.generated = np.full_like(self.probability, np.nan)
            self.generated[chosen] = generated[:, 0].float().cpu().numpy()
        if found is not None:
            self.regions = self.regions or []
            self.regions += [Region(int(chosen[image]), box, score) for image, box, score in found]


def _refuse_nan(values: np.ndarray, chosen: np.ndarray, precision: str) -> None:
    if np.isnan(values).any():
        remedy = "use precision float32" if precision != "float32" else "its weights are damaged, train it again"
        raise ModelError(f"the network gives NaN for slice {chosen[np.isnan(values).any(axis=(1, 2))][0]}; {remedy}")


def _forward(
    model: torch.nn.Module, batch: torch.Tensor, observer, chosen: np.ndarray
) -> tuple[np.ndarray, list | None, torch.Tensor | None] | None:
    """Return probabilities, regions and generated image of one batch, or None if memory ran out and was given back."""
    try:
        output = model(pixel_values=batch, **(observer.arguments(chosen) if observer else {}))
        logits = output.logits
        if logits.shape[-2:] != batch.shape[-2:]:
            raise ModelError(
                f"the network gives logits of {tuple(logits.shape[-2:])} for slices of {tuple(batch.shape[-2:])}; "
                "it is not a network of this package"
            )
        found = lesion_probability(logits).cpu().numpy(), _regions(output), getattr(output, "generated_dwi", None)
        if observer:
            observer.take(chosen, output)
        return found
    except (torch.OutOfMemoryError, MemoryError):
        pass
    except RuntimeError as error:
        # What the CPU's allocator raises has no type of its own.
        if "DefaultCPUAllocator" not in str(error):
            raise
    # Outside of `except`: the traceback kept the network's intermediate tensors alive.
    gc.collect()
    if batch.device.type == "cuda":
        torch.cuda.empty_cache()
    return None


def _regions(output) -> list[tuple[int, tuple, float]] | None:
    """(image of the batch, box, score) of each region, image by image; None of a network without a first stage."""
    boxes = getattr(output, "boxes", None)
    if boxes is None:
        return None
    columns = (output.box_indices.tolist(), boxes.float().tolist(), output.scores.float().tolist())
    found = [(image, tuple(box), score) for image, box, score in zip(*columns, strict=True)]
    return sorted(found, key=lambda region: region[0])


@contextlib.contextmanager
def _numerics(device: torch.device, autocast: torch.dtype | None, deterministic: bool) -> Iterator[None]:
    """No gradients, autocast if asked, deterministic algorithms if asked; all put back at the end."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    if deterministic:
        # cuBLAS reads this when it is first used; without it a deterministic matrix product is refused.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    cast = contextlib.nullcontext() if autocast is None else torch.autocast(device.type, dtype=autocast)
    try:
        with torch.inference_mode(), cast:
            yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
