"""What a network can be exported to, and what lies in an exported folder."""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError, UsageError

if TYPE_CHECKING:
    import torch

#: Tells an exported folder from others.
EXPORT_FILE = "export.json"


@dataclass(frozen=True)
class Format:
    """One kind of file.

    Attributes
    ----------
    file : str
        Its name in the exported folder.
    write : callable
        Called with a :class:`torch.export.ExportedProgram` and a path.
    open : callable
        Called with a path; gives a function from float32 array (batch, channels, height, width) to logits.
    needs : tuple of str
        Modules of the extra ``onnx``.
    """

    file: str
    write: Callable[[torch.export.ExportedProgram, Path], None]
    open: Callable[[Path], Callable[[np.ndarray], np.ndarray]]
    needs: tuple[str, ...] = ()

    def refuse_without_modules(self) -> None:
        """Raise :class:`UsageError` where a module is missing."""
        for name in self.needs:
            require(name)


def require(name: str) -> Any:
    """Import a module of the extra ``onnx``, or raise :class:`UsageError`."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(f"{name} is not installed; pip install 'hf-lesionseg[onnx]'") from error


def _write_onnx(program, path):
    import torch

    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it tells which libraries are absent that no network here needs
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported = torch.onnx.export(
                program, dynamo=True, verbose=False, input_names=["pixel_values"], output_names=["logits"]
            )
    finally:
        logger.setLevel(level)
    exported.save(str(path))


def open_onnx(path, threads=None):
    """Open an ONNX file; gives a function from float32 (batch, channels, height, width) to logits.

    Parameters
    ----------
    path : path
    threads : int, optional
        Of the processor; by default onnxruntime chooses.
    """
    onnxruntime = require("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # what fails is raised as well
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no base of their own
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: onnxruntime cannot open it ({reason}); export the network again") from error
    return lambda pixel_values: session.run(["logits"], {"pixel_values": pixel_values})[0]


def _write_program(program, path):
    import torch

    torch.export.save(program, path)


def _open_program(path):
    import torch

    module = torch.export.load(path).module()

    def run(pixel_values):
        with torch.no_grad():
            return module(pixel_values=torch.from_numpy(pixel_values)).numpy()

    return run


FORMATS = {
    "onnx": Format("model.onnx", _write_onnx, open_onnx, ("onnx", "onnxscript", "onnxruntime")),
    "torch-export": Format("model.pt2", _write_program, _open_program),
}


@dataclass(frozen=True)
class ExportedFolder:
    """A network that was exported: its file, and what ``export.json`` says of it.

    Attributes
    ----------
    folder : Path
    content : dict
        format, file, sha256, model (the identity of the network it was made of), smallest_side, largest_side, parity,
        versions.
    """

    folder: Path
    content: dict

    @classmethod
    def read(cls, folder: Path) -> ExportedFolder:
        """Read ``export.json``.

        Raises
        ------
        ModelError
            It is missing or none of this package.
        """
        path = Path(folder) / EXPORT_FILE
        if not path.is_file():
            raise ModelError(f"{folder}: no {EXPORT_FILE} in this folder; make it by lesionseg export")
        try:
            content = json.loads(path.read_text("utf-8"))
            known = FORMATS[content["format"]].file == content["file"] and {"smallest_side", "model"} <= set(content)
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise ModelError(f"{path}: none of this package's; export the network again")
        return cls(Path(folder), content)

    @property
    def format(self) -> str:
        return self.content["format"]

    @property
    def file(self) -> Path:
        return self.folder / self.content["file"]


def sha256_of(folder: Path) -> str:
    """Digest of the exported file, and of the weights beside it where it is too large for one."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("model.*")):
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()
