"""One graph of a network, for batches, heights and widths of any size."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from ..errors import ModelError
from ..models import layers, loadable, reference_ops

#: Sizes of the batch from which a graph is made. None may be 1 or a multiple of a stride: tracers take those for fixed.
_TRACED_AT = (2, 75, 90)

#: The longest side, in pixels, that the graphs promise.
LARGEST_SIDE = 4096


class Logits(torch.nn.Module):
    """A network as a function from images to logits alone.

    Parameters
    ----------
    network : PreTrainedModel
    """

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, pixel_values):
        return self.network(pixel_values=pixel_values).logits


def smallest_side(config: Any) -> int:
    """The shortest side in pixels that a graph takes: more than one stride, or the coarsest map is a single pixel."""
    return int(getattr(config, "stride", 1)) + 1


def refuse_what_has_no_graph(model: Any, source: str) -> None:
    """Raise :class:`ModelError` for a network that cannot be one graph, with the reason."""
    kind = model.config.model_type
    network = loadable().get(kind)
    members = getattr(model, "members", None)
    if members is not None:
        raise ModelError(f"{source}: {kind} cannot be exported, its members are networks of their own; export each")
    if network is not None and network.finds_regions:
        raise ModelError(
            f"{source}: {kind} cannot be exported; SciPy finds its regions, and their number depends on the image. "
            "Run it by lesionseg segment without --backend"
        )


def trace(model: Any) -> torch.export.ExportedProgram:
    """Make the graph of a network in float32, on the CPU, of plain torch operations.

    Parameters
    ----------
    model : PreTrainedModel
        One that :func:`refuse_what_has_no_graph` lets pass.

    Returns
    -------
    torch.export.ExportedProgram
        From ``pixel_values`` (batch, channels, height, width) to logits; all sizes but the channels' are free, the
        sides from :func:`smallest_side` to 4096.
    """
    config, (batch, height, width) = model.config, _TRACED_AT
    images = torch.rand(batch, config.num_channels, height, width, generator=torch.Generator().manual_seed(0))
    side = {"min": smallest_side(config), "max": LARGEST_SIDE}
    free = {0: torch.export.Dim("batch", max=LARGEST_SIDE)}
    free |= {axis: torch.export.Dim(name, **side) for axis, name in ((2, "height"), (3, "width"))}
    with torch.no_grad(), _plain_operations():
        return torch.export.export(
            Logits(model).eval(), (), {"pixel_values": images}, dynamic_shapes={"pixel_values": free}
        )


@contextlib.contextmanager
def _plain_operations() -> Iterator[None]:
    """The ConvLSTM cell of plain torch: other runtimes know no op of this package."""
    usual = layers.convlstm_cell
    layers.convlstm_cell = reference_ops.convlstm_cell
    try:
        yield
    finally:
        layers.convlstm_cell = usual
