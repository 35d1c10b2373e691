"""The run record of a case: what was run, on what, how long it took, how much memory it held."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import __version__
from ..provenance import GENERATED, marks, of_network
from .loading import LoadedModel
from .perfusion_input import CaseScans

STAGES = ("read", "preprocess", "network", "postprocess", "write", "preview")


class StageClock:
    """Add up the seconds spent in each stage.

    Examples
    --------
    >>> clock = StageClock()
    >>> with clock.stage("read"):
    ...     pass
    >>> list(clock.seconds)
    ['read']
    """

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def peak_memory() -> dict[str, float | None]:
    """Return the most memory that this process has held so far, in MB (10^6 bytes).

    Returns
    -------
    dict
        ``ram_mb``: resident memory; ``cuda_mb``: allocated by torch on the GPU, None without one.
    """
    import torch

    try:
        import resource
    except ImportError:  # Windows
        import psutil

        ram = psutil.Process().memory_info().peak_wset
    else:
        # Kilobytes on Linux, bytes on macOS.
        ram = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    cuda = torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else None
    return {"ram_mb": round(ram / 1e6, 1), "cuda_mb": None if cuda is None else round(cuda, 1)}


def versions() -> dict[str, str]:
    """Return the versions of what computes the mask."""
    import nibabel
    import numpy
    import scipy
    import torch
    import transformers

    return {
        "hf_lesionseg": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "nibabel": nibabel.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def device_name(device) -> str:
    """Return the device's name with its maker's, such as ``cuda:0 (NVIDIA H200)``."""
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def fingerprint(input_sha256: Mapping[str, str], loaded: LoadedModel, settings: Mapping) -> str:
    """Return a digest of all that determines the mask: an equal one means that running again would give the same.

    Parameters
    ----------
    input_sha256 : dict of str to str
        Digest of each channel's file.
    loaded : LoadedModel
    settings : dict
        Threshold, minimum lesion volume, precision.
    """
    network = loaded.identity()
    # The same network may be found in another folder, in the package, or by another branch's name.
    for name in ("id", "revision", "packaged", "exported_from"):
        network.pop(name, None)
    # Outputs from before networks knew what they had learned from stay valid, unless they lack the notice.
    if network["training_data"] != GENERATED:
        network.pop("training_data")
    parts = [dict(input_sha256), network, loaded.processor.to_dict(), dict(settings), __version__]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def region_policy(config: Any, result: Mapping[str, Any]) -> dict[str, Any]:
    """What the first stage did on slices without a clear region.

    Returns
    -------
    dict
        ``slices_without_region``; ``no_region``, the network's setting for them, None where it has none;
        ``slices_by_fallback``, those on which the best cell was taken although the heat map stays below the threshold.
    """
    policy = getattr(config, "no_region", None)
    weak = [region for region in result["regions"] if region["score"] <= getattr(config, "heatmap_threshold", 0)]
    return {
        "slices_without_region": result["slices_without_region"],
        "no_region": policy,
        "slices_by_fallback": len(weak) if policy == "best-cell" else 0,
    }


def build_record(
    *,
    case: str,
    files: Mapping[str, Path],
    read: CaseScans,
    loaded: LoadedModel,
    settings: Mapping,
    input_sha256: Mapping[str, str],
    result: Mapping,
    warnings: list[str],
    seconds: Mapping[str, float],
    backend: Mapping,
) -> dict:
    """Collect the run record of one finished case; see the keys for what it holds.

    Parameters
    ----------
    case : str
        Stem of its outputs.
    files : dict by channel name
        Paths, ``"ctp"`` of a raw series.
    read : CaseScans
        What was read from them.
    loaded : LoadedModel
    settings, input_sha256 : dict
        As for :func:`fingerprint`.
    result : dict
        Result of the pipeline.
    warnings : list of str
    seconds : dict
        By stage.
    backend : dict
        What computed the network: ``name``, ``version`` and what else is to be known of it.
    """
    import torch

    from .. import ops

    first = next(iter(read.scans.values()))  # what was made of a series lies on its grid, as do all channels
    return {
        "format_version": 1,
        "case": case,
        "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "purpose": "research use only",
        **marks(of_network(loaded.model.config)),
        "inputs": [
            {
                "channel": channel,
                "file": str(files[channel]),
                "sha256": input_sha256[channel],
                "shape": [int(size) for size in shape],
                "affine": [[float(value) for value in row] for row in (read.scans.get(channel) or first).affine],
            }
            for channel, shape in read.sources.items()
        ],
        "perfusion": read.perfusion,
        "model": loaded.identity(),
        "processor": loaded.processor.to_dict(),
        "settings": dict(settings),
        "fingerprint": fingerprint(input_sha256, loaded, settings),
        "slices": {
            "total": result["slices_total"],
            "without_tissue_skipped": result["slices_skipped"],
            "batch_size": result["batch_size"],
        },
        "regions": None
        if result["regions"] is None
        else {**region_policy(loaded.model.config, result), "found": result["regions"]},
        "result": {"n_lesions": len(result["lesions"]), "total_volume_ml": result["total_volume_ml"]},
        "flags": result["flags"],
        "warnings": warnings,
        "device": device_name(loaded.device),
        "backend": dict(backend),
        "threads": torch.get_num_threads(),
        "kernels": ops.backend(),
        "execution": result["execution"],
        "versions": versions(),
        "seconds": {stage: round(seconds.get(stage, 0.0), 3) for stage in (*STAGES, *(seconds.keys() - STAGES))},
        "peak_memory": peak_memory(),
    }
