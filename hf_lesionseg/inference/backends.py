"""What computes a network: torch as it is, torch.compile, or onnxruntime on an exported file."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import ModelError, UsageError
from ..models.memory_format import CONTIGUOUS
from ..models.outputs import LesionSegmenterOutput
from .loading import LoadedModel, ModelSource, load_processor
from .prepared import PreparedNetwork, prepare_network

if TYPE_CHECKING:
    from ..export.formats import ExportedFolder
    from .processes import Processes
    from .run_options import Computing


class ExportedNetwork(torch.nn.Module):
    """A network in an exported ONNX file, in the form that the slices of a volume are given to.

    Parameters
    ----------
    exported : ExportedFolder
    config : PreTrainedConfig
    """

    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, exported: ExportedFolder, config: Any):
        super().__init__()
        from ..export.formats import open_onnx, require

        self.config, self.content = config, exported.content
        #: Identity of the network that the file was made of.
        self.exported_from = exported.content["model"]
        self._run = open_onnx(exported.file, torch.get_num_threads())
        self.backend = {
            "name": "onnxruntime",
            "version": require("onnxruntime").__version__,
            "file": exported.content["file"],
        }

    def forward(self, pixel_values: torch.Tensor) -> LesionSegmenterOutput:
        """Compute the logits of a batch of slices.

        Raises
        ------
        ModelError
            The slices are smaller or larger than the file was made for.
        MemoryError
            As torch's allocator raises it.
        """
        least, most = self.content["smallest_side"], self.content["largest_side"]
        height, width = pixel_values.shape[-2:]
        if not (least <= min(height, width) and max(height, width) <= most):
            raise ModelError(
                f"{self.content['file']}: takes slices with sides of {least} to {most} pixels, and these have "
                f"{height}x{width}; use the backend torch"
            )
        try:
            logits = self._run(pixel_values.numpy())
        except Exception as error:  # onnxruntime's errors have no base of their own
            if "allocate memory" in str(error) or "bad_alloc" in str(error):
                raise MemoryError(str(error)) from error
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{self.content['file']}: onnxruntime cannot compute it ({reason})") from error
        return LesionSegmenterOutput(logits=torch.from_numpy(logits))


class CompiledNetwork(torch.nn.Module):
    """A network of one stage under ``torch.compile`` with frozen weights, for batches of any size.

    What was compiled is kept below the cache of the Hub libraries, or where ``TORCHINDUCTOR_CACHE_DIR`` says, and later
    runs take it from there.

    Parameters
    ----------
    network : PreTrainedModel
        In eval mode; called without gradients.
    prepared : PreparedNetwork, optional
        What the network was prepared as, for the record.
    """

    def __init__(self, network: Any, prepared: PreparedNetwork | None = None):
        super().__init__()
        from huggingface_hub.constants import HF_HOME

        self.network, self.config, self.prepared = network, network.config, prepared
        self.dtype, self.device = network.dtype, network.device
        self.compile_seconds = 0.0
        cache = os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(HF_HOME) / "lesionseg-compiled"))
        self.backend = {"name": "torch.compile", "version": torch.__version__, "cache": cache}
        self._compiled = torch.compile(network)
        self._seen: set[tuple] = set()

    def forward(self, pixel_values: torch.Tensor) -> Any:
        """Compute as the network does; a first batch of a new size is compiled for."""
        alone = len(pixel_values) == 1
        if alone:  # or a graph of its own would be compiled for the last slice of a volume
            pixel_values = pixel_values.expand(2, -1, -1, -1).contiguous()
        torch._dynamo.mark_dynamic(pixel_values, 0)
        shape = (tuple(pixel_values.shape[1:]), torch.is_autocast_enabled(self.device.type))
        output = self._first(pixel_values) if shape not in self._seen else self._compiled(pixel_values=pixel_values)
        self._seen.add(shape)
        return type(output)(**{name: value[:1] for name, value in output.items()}) if alone else output

    def _first(self, pixel_values: torch.Tensor) -> Any:
        """Compile, and count the seconds that it took beyond those of the batch itself."""
        import torch._inductor.config as inductor

        start = time.perf_counter()
        try:
            with inductor.patch(freezing=True):
                self._compiled(pixel_values=pixel_values)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = " ".join(str(error).split())[:200]
            raise UsageError(
                f"torch.compile cannot compile {self.config.model_type} here ({reason}); it needs a C++ compiler. "
                "Install one, or run without --compile"
            ) from error
        compiled = time.perf_counter()
        output = self._compiled(pixel_values=pixel_values)
        self.compile_seconds += max(0.0, 2 * compiled - start - time.perf_counter())
        return output


def network_for(loaded: LoadedModel, computing: Computing) -> Any:
    """What the slices of a run are given to.

    Raises
    ------
    UsageError
        The network cannot be computed as asked.
    """
    model = loaded.model
    if isinstance(model, ExportedNetwork):
        if computing.compile:
            raise UsageError("compile is torch's; with the backend onnxruntime leave it away")
        if computing.precision != "float32":
            raise UsageError(f"precision {computing.precision!r} is torch's; the exported file computes in float32")
        if computing.memory_format != "auto":
            raise UsageError(f"memory format {computing.memory_format!r} is torch's; leave it away with onnxruntime")
        return model
    if not computing.compile:
        return model
    from ..models import loadable

    network = loadable().get(model.config.model_type)
    if getattr(model, "members", None) is not None or (network is not None and network.finds_regions):
        raise UsageError(f"{loaded.source}: {model.config.model_type} cannot be compiled as one graph; leave it away")
    # Inductor chooses the layouts itself, and fails on some networks whose weights lie channels last (torch 2.13).
    memory_format = CONTIGUOUS if computing.memory_format == "auto" else computing.memory_format
    prepared = prepare_network(model, memory_format)
    return CompiledNetwork(prepared.network, prepared)


def tell_compiling_apart(network: Any, seconds: dict[str, float]) -> None:
    """Move the time that compiling took for a case from "network" to "compile"; does nothing for other networks."""
    if isinstance(network, CompiledNetwork):
        seconds["compile"], network.compile_seconds = network.compile_seconds, 0.0
        seconds["network"] -= seconds["compile"]


def backend_of(network: Any) -> dict:
    """What computed a network, for the run record."""
    return getattr(network, "backend", None) or {"name": "torch", "version": torch.__version__}


@dataclass(frozen=True)
class ExportedSource(ModelSource):
    """A folder that ``lesionseg export --format onnx`` wrote, for onnxruntime."""

    def load(self) -> LoadedModel:
        """Open the file, see :func:`load_exported`."""
        return load_exported(self.id_or_folder, self.device)

    def for_process(self, processes: Processes) -> ExportedSource:
        """The same: the processor serves all processes, whatever GPUs there are."""
        return self


def source_for(backend: str) -> type[ModelSource]:
    """How a network is found for a backend, "torch" or "onnxruntime"; raises :class:`UsageError` for another."""
    sources = {"torch": ModelSource, "onnxruntime": ExportedSource}
    if backend not in sources:
        raise UsageError(f"backend {backend!r} is unknown; use {', '.join(sources)}")
    return sources[backend]


def load_exported(folder: str | Path, device: str = "auto") -> LoadedModel:
    """Open a folder that ``lesionseg export --format onnx`` wrote.

    Raises
    ------
    UsageError
        onnxruntime is not installed, or another device is asked for than the processor.
    ModelError
        The folder holds no such file, or another one than was written.
    """
    from transformers import AutoConfig

    import hf_lesionseg  # noqa: F401  (fills the Auto factories)

    from ..export.formats import ExportedFolder, require, sha256_of

    require("onnxruntime")
    if device not in ("auto", "cpu"):
        raise UsageError(f"device {device!r}: onnxruntime computes on the processor; use auto or cpu")
    folder = Path(folder)
    exported = ExportedFolder.read(folder)
    if exported.format != "onnx":
        raise ModelError(f"{folder}: holds {exported.file.name}; export the network with --format onnx")
    if not exported.file.is_file():
        raise ModelError(f"{exported.file}: is missing; export the network again")
    found = sha256_of(folder)
    if found != exported.content["sha256"]:
        raise ModelError(f"{exported.file}: is not the file that export.json describes; export the network again")
    config = AutoConfig.from_pretrained(folder)
    processor = load_processor(str(folder), str(folder), {}, folder)
    network = ExportedNetwork(exported, config).eval()
    return LoadedModel(network, processor, str(folder), weights_sha256=found)
