"""Whether an exported file computes what its network does, at sizes other than the one it was made at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..errors import ModelError

#: batch, height, width; multiples of no, one and every stride among them, larger and smaller than what is traced.
SIZES = ((1, 64, 64), (3, 50, 41), (2, 233, 197))

#: The largest difference of a logit, in parts of the range that the logits of a batch take.
TOLERANCE = 1e-4


def check_parity(model: Any, run: Callable[[np.ndarray], np.ndarray], file: str) -> list[dict]:
    """Compare a file with its network, on random images.

    Parameters
    ----------
    model : PreTrainedModel
        On the CPU, in float32.
    run : callable
        From float32 array (batch, channels, height, width) to logits.
    file : str
        For the message.

    Returns
    -------
    list of dict
        ``size`` (batch, height, width), ``difference`` (the largest, of a logit) and ``range`` of the logits.

    Raises
    ------
    ModelError
        The file gives something else.
    """
    generator = torch.Generator().manual_seed(1)
    compared = []
    for batch, height, width in SIZES:
        images = torch.rand(batch, model.config.num_channels, height, width, generator=generator)
        with torch.no_grad():
            expected = model(pixel_values=images).logits.numpy()
        found = run(images.numpy())
        if found.shape != expected.shape:
            raise ModelError(f"{file}: gives {found.shape} for slices of {height}x{width}, not {expected.shape}")
        difference, spread = float(np.abs(found - expected).max()), float(np.ptp(expected))
        if not difference <= TOLERANCE * spread + 1e-7:  # NaN among them
            raise ModelError(
                f"{file}: its logits differ from the network's by {difference:.2g} for slices of {height}x{width}, "
                f"where they range over {spread:.2g}; it was not kept. Please report this"
            )
        compared.append({"size": [batch, height, width], "difference": difference, "range": spread})
    return compared
