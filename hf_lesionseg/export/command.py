"""Export a network into a folder."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import torch

from .. import __version__
from ..errors import OutputError, UsageError
from ..inference.loading import LoadedModel, ModelSource
from .formats import EXPORT_FILE, FORMATS, ExportedFolder, sha256_of
from .graph import LARGEST_SIDE, refuse_what_has_no_graph, smallest_side, trace
from .parity import check_parity


def export_model(
    model: str | Path | ModelSource | LoadedModel, output: str | Path, format: str = "onnx"
) -> ExportedFolder:
    """Write a network as one file for another runtime, with its settings and the image processor's beside it.

    The file is opened again and compared with the network at three sizes before the folder appears.

    Parameters
    ----------
    model : str, Path, ModelSource or LoadedModel
        Folder, name of a packaged network, or Hub id.
    output : path
        New or empty folder, for ``model.onnx`` or ``model.pt2``, ``config.json``, ``preprocessor_config.json`` and
        ``export.json``.
    format : {"onnx", "torch-export"}

    Returns
    -------
    ExportedFolder

    Raises
    ------
    UsageError
        The format is unknown, a library is missing, or the folder holds something.
    ModelError
        The network cannot be loaded, has no graph, or its file computes something else.
    OutputError
        The folder cannot be written.
    """
    if format not in FORMATS:
        raise UsageError(f"format {format!r} is unknown; use {', '.join(FORMATS)}")
    FORMATS[format].refuse_without_modules()
    output = Path(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} exists already; choose a new folder")
    loaded = model
    if not isinstance(model, LoadedModel):
        source = model if isinstance(model, ModelSource) else ModelSource(model)
        loaded = source.load()
    loaded.model.float().cpu()
    refuse_what_has_no_graph(loaded.model, loaded.source)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as aside:
            made = Path(aside) / "export"
            _write(loaded, made, format)
            if output.exists():
                output.rmdir()
            shutil.move(made, output)
    except OSError as error:
        raise OutputError(f"{output}: cannot be written ({error.strerror or error}); choose another folder") from error
    return ExportedFolder.read(output)


def _write(loaded: LoadedModel, folder: Path, format: str) -> None:
    folder.mkdir()
    kind, model = FORMATS[format], loaded.model
    path = folder / kind.file
    kind.write(trace(model), path)
    parity = check_parity(model, kind.open(path), kind.file)
    model.config.save_pretrained(folder)
    loaded.processor.save_pretrained(folder)
    content = {
        "format_version": 1,
        "format": format,
        "file": kind.file,
        "sha256": sha256_of(folder),
        "model": loaded.identity(),
        "input": {"pixel_values": ["batch", model.config.num_channels, "height", "width"]},
        "output": {"logits": ["batch", model.config.num_logits, "height", "width"]},
        "smallest_side": smallest_side(model.config),
        "largest_side": LARGEST_SIDE,
        "parity": parity,
        "versions": {"hf_lesionseg": __version__, "torch": torch.__version__},
    }
    (folder / EXPORT_FILE).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
