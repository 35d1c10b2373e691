"""Look over an installation: what is there, what is missing, what to do about it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import __version__

OK, NOTE, BROKEN = "ok", "note", "broken"
DISTRIBUTION = "hf-lesionseg"
EXTRAS = {
    "nilearn": "generated strokes: pip install 'hf-lesionseg[synthetic]'",
    "trackio": "tracking of trainings: pip install 'hf-lesionseg[tracking]'",
    "pydicom": "DICOM series: pip install 'hf-lesionseg[dicom]'",
    "SimpleITK": "scans as .nrrd and .mha: pip install 'hf-lesionseg[formats]'",
    "onnxruntime": "exported networks: pip install 'hf-lesionseg[onnx]'",
}
LITTLE_MEMORY_GB, LITTLE_DISK_GB = 4.0, 2.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes
    ----------
    name : str
    status : {"ok", "note", "broken"}
        "broken": no run can work. "note": something slower or optional.
    value : str
        What was found.
    remedy : str
        What to do; empty where nothing needs doing.
    """

    name: str
    status: str
    value: str
    remedy: str = ""


def examine(*, online: bool = False) -> Iterator[Finding]:
    """Look at everything that a run needs, one thing after the other.

    Parameters
    ----------
    online : bool
        Also ask the Hub whether it answers; otherwise nothing is contacted.
    """
    yield Finding("hf_lesionseg", OK, f"{__version__} in {Path(__file__).parent}")
    yield Finding("Python", OK, f"{platform.python_version()} on {platform.platform()}")
    requirements = []
    for requirement in _requirements():
        requirements.append(requirement)
        yield requirement
    if not any(requirement.status == BROKEN for requirement in requirements):
        # These import what was just found to be there.
        yield _network()
        yield from _devices()
        yield from _kernels()
    yield _packaged()
    yield from _extras()
    yield _compilers()
    yield _memory()
    yield from _hub_settings()
    if online:
        yield _hub_answers()


def _requirements() -> Iterator[Finding]:
    """Every library that the package names as required, at a version that it takes."""
    from packaging.requirements import Requirement

    try:
        required = [Requirement(text) for text in importlib.metadata.requires(DISTRIBUTION) or ()]
    except importlib.metadata.PackageNotFoundError:
        yield Finding("installation", NOTE, "the package is used without being installed", "pip install .")
        required = [Requirement(name) for name in ("torch", "transformers", "huggingface_hub", "nibabel", "scipy")]
    for requirement in required:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(requirement.name, BROKEN, "missing", f"pip install '{requirement}'")
            continue
        if requirement.specifier.contains(found, prereleases=True):
            yield Finding(requirement.name, OK, found)
        else:
            yield Finding(requirement.name, BROKEN, f"{found} does not fit", f"pip install '{requirement}'")


def _network() -> Finding:
    """Build the smallest network, through the factories that users call, and run it once."""
    import torch
    from transformers import AutoConfig, AutoModel

    try:
        model = AutoModel.from_config(AutoConfig.for_model("clci-net", base_width=2)).eval()
        with torch.inference_mode():
            finite = bool(model(pixel_values=torch.rand(1, 1, 32, 32)).logits.isfinite().all())
    # Whatever a broken installation raises is the finding.
    except Exception as error:
        return Finding("network", BROKEN, f"{type(error).__name__}: {error}", "reinstall torch and transformers")
    if not finite:
        return Finding("network", BROKEN, "gives NaN", "set HF_LESIONSEG_KERNELS=reference and report this")
    return Finding("network", OK, f"a small {type(model).__name__} runs")


def _devices() -> Iterator[Finding]:
    import torch

    yield Finding("CPU", OK, f"{torch.get_num_threads()} threads for torch, {os.cpu_count()} cores")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            yield Finding(f"cuda:{index}", OK, f"{properties.name}, {properties.total_memory / 1e9:.0f} GB")
    elif torch.version.cuda is None:
        yield Finding("CUDA", NOTE, "this torch is built for CPUs; segmenting works, training is slow")
    else:
        remedy = "check the driver with nvidia-smi"
        yield Finding("CUDA", NOTE, f"torch has CUDA {torch.version.cuda}, but no GPU is usable", remedy)


def _kernels() -> Iterator[Finding]:
    from . import ops

    for op, by_device in ops.backend().items():
        value = ", ".join(f"{device}: {path}" for device, path in by_device.items())
        if by_device.get("cpu") in ("compiled", "jit"):
            yield Finding(f"kernel {op}", OK, value)
        else:
            remedy = "same results, slower; to compile it: pip install --no-build-isolation hf-lesionseg"
            yield Finding(f"kernel {op}", NOTE, value, remedy)


def _packaged() -> Finding:
    """The networks that came with the package: an installation may have lost its data files."""
    from .pretrained import DEFAULT, packaged_networks

    names = [network.name for network in packaged_networks()]
    if DEFAULT in names:
        return Finding("packaged networks", OK, ", ".join(names))
    return Finding("packaged networks", NOTE, f"{DEFAULT} is missing", "install the package again, or give --model")


def _extras() -> Iterator[Finding]:
    for name, purpose in EXTRAS.items():
        try:
            yield Finding(name, OK, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, NOTE, "not installed", f"only for {purpose}")


def _compilers() -> Finding:
    """What HF_LESIONSEG_KERNELS=jit compiles with."""
    found = {
        "C++": os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++"),
        "ninja": shutil.which("ninja"),
        "nvcc": shutil.which("nvcc"),
    }
    value = ", ".join(f"{name}: {path or 'none'}" for name, path in found.items())
    if found["C++"] and found["ninja"]:
        return Finding("compilers", OK, value)
    return Finding("compilers", NOTE, value, "only needed to compile kernels; everything works without")


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    value = f"{memory.available / 1e9:.1f} GB free of {memory.total / 1e9:.1f} GB"
    if memory.available / 1e9 < LITTLE_MEMORY_GB:
        return Finding("memory", NOTE, value, "segment with --batch-size 1; close other programs to train")
    return Finding("memory", OK, value)


def _hub_settings() -> Iterator[Finding]:
    from huggingface_hub import constants, get_token

    cache = Path(constants.HF_HUB_CACHE)
    # The folder is made on first use; until then its nearest parent tells the disk.
    present = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(present).free / 1e9
    value = f"{cache}, {free:.1f} GB free"
    if not os.access(present, os.W_OK):
        yield Finding("Hub cache", NOTE, f"{value}, not writable", "set HF_HOME to a folder of yours")
    elif free < LITTLE_DISK_GB:
        yield Finding("Hub cache", NOTE, value, "a full-width network takes 0.15 GB; free some space")
    else:
        yield Finding("Hub cache", OK, value)
    offline = ", offline (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else ""
    yield Finding("Hub endpoint", OK, constants.ENDPOINT + offline)
    yield Finding("Hub token", OK, "set" if get_token() else "none (needed to publish, or for private networks)")


def _hub_answers() -> Finding:
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return Finding("Hub", NOTE, "not asked", "unset HF_HUB_OFFLINE")
    try:
        status = get_session().get(f"{constants.ENDPOINT}/api/models?limit=1", timeout=10).status_code
    # The client's network errors have no base of their own that outlives its versions.
    except Exception as error:
        remedy = "check network and proxy; folders and cached networks work without"
        return Finding("Hub", NOTE, f"cannot be reached ({type(error).__name__})", remedy)
    return Finding("Hub", OK if status < 400 else NOTE, f"answers with status {status}")
