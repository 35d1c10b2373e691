"""Put a network's source files beside its weights, so that it loads with ``trust_remote_code=True`` without us.

transformers copies the files that ``auto_map`` names, and their relative imports, flat from one folder. That is why
``hf_lesionseg/models`` is flat: its files are published byte for byte.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .. import models
from ..errors import ModelError
from ..imaging.atomic import write_aside
from ..models.file_diagnosis import what_is, why_not_there

MODELS_FOLDER = Path(models.__file__).parent
PROCESSOR_MODULE, PROCESSOR_CLASS = "image_processing_lesion", "LesionImageProcessor"
CONFIG_FILE, PROCESSOR_FILE = "config.json", "preprocessor_config.json"
_CHECK_SCRIPT = Path(__file__).with_name("load_without_package.py")


def auto_map(model_type):
    """The ``auto_map`` entries of a network: one for ``config.json``, one for ``preprocessor_config.json``.

    Raises
    ------
    ModelError
        If no network has that ``model_type``.

    Examples
    --------
    >>> auto_map("clci-net")[0]["AutoModel"]
    'modeling_clci_net.CLCINetForSemanticSegmentation'
    """
    if model_type not in models.loadable():
        known = ", ".join(sorted(models.loadable()))
        raise ModelError(f"model_type {model_type!r} is not a network of this package; publish one of: {known}")
    network = models.loadable()[model_type]
    config_module, modeling_module = (module.rpartition(".")[2] for module in network.modules)
    model = f"{modeling_module}.{network.model}"
    config_map = {
        "AutoConfig": f"{config_module}.{network.config}",
        "AutoModel": model,
        "AutoModelForSemanticSegmentation": model,
    }
    return config_map, {"AutoImageProcessor": f"{PROCESSOR_MODULE}.{PROCESSOR_CLASS}"}


def relative_imports(source_file):
    """Names of the sibling modules that a file imports.

    Raises
    ------
    ModelError
        If the file imports from a package above, or by ``from . import x``: transformers finds neither, and the
        published network would not load.
    """
    siblings = set()
    for node in ast.walk(ast.parse(source_file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level > 0:
            if node.level > 1 or node.module is None or "." in node.module:
                raise ModelError(
                    f"{source_file}:{node.lineno}: this relative import cannot be published; "
                    "write `from .sibling import name` with a sibling in the same folder"
                )
            siblings.add(node.module)
    return siblings


def remote_code_files(model_type):
    """Source files that the network and its image processor need, with all that they import, in sorted order."""
    waiting = {entry.rpartition(".")[0] for part in auto_map(model_type) for entry in part.values()}
    modules = models.loadable()[model_type].modules
    if any(module.rpartition(".")[0] != models.__name__ for module in modules):
        raise ModelError(
            f"model_type {model_type!r} is defined in {modules[1]}: only source files of {models.__name__} can be "
            "published; publish with --no-remote-code"
        )
    found = set()
    while waiting:
        module = waiting.pop()
        found.add(module)
        waiting |= relative_imports(MODELS_FOLDER / f"{module}.py") - found
    return sorted(MODELS_FOLDER / f"{module}.py" for module in found)


def add_remote_code(folder):
    """Copy the source files into a model folder and name them in its ``auto_map``; doing it twice changes nothing.

    Parameters
    ----------
    folder : path-like
        Holds ``config.json`` and ``preprocessor_config.json``.

    The members of an ensemble name theirs in ``config.json`` of their subfolders; the files lie beside its own, where
    transformers looks for them.

    Returns
    -------
    list of Path
        The files that were copied.

    Raises
    ------
    ModelError
        If the folder has no such files, or its network is not of this package.
    """
    folder = Path(folder)
    config, processor = read_json(folder / CONFIG_FILE), read_json(folder / PROCESSOR_FILE)
    config_map, processor_map = auto_map(config.get("model_type"))
    sources = set(remote_code_files(config["model_type"]))
    for name in config.get("members", ()):
        member = folder / name
        member_config = read_json(member / CONFIG_FILE)
        member_map, _ = auto_map(member_config.get("model_type"))
        sources |= set(remote_code_files(member_config["model_type"]))
        write_json(member / CONFIG_FILE, member_config | {"auto_map": member_map})
        if (member / PROCESSOR_FILE).is_file():
            write_json(member / PROCESSOR_FILE, read_json(member / PROCESSOR_FILE) | {"auto_map": processor_map})
    copies = []
    for source in sorted(sources):
        with write_aside(folder / source.name) as aside:
            shutil.copyfile(source, aside)
        copies.append(folder / source.name)
    write_json(folder / CONFIG_FILE, config | {"auto_map": config_map})
    write_json(folder / PROCESSOR_FILE, processor | {"auto_map": processor_map})
    return copies


def remove_auto_map(folder):
    """Take ``auto_map`` out of a folder's JSON files: they may not point to source files that are not there."""
    folder = Path(folder)
    members = [folder / name for name in read_json(folder / CONFIG_FILE).get("members", ())]
    for path in (place / name for place in (folder, *members) for name in (CONFIG_FILE, PROCESSOR_FILE)):
        content = read_json(path)
        if content.pop("auto_map", None) is not None:
            write_json(path, content)


def check_remote_code(folder, timeout_s=300):
    """Load network and image processor of a folder in a fresh process that cannot import this package.

    Returns
    -------
    dict
        "model", "config" and "processor": the full names of the loaded classes.

    Raises
    ------
    ModelError
        With the last line of what the process said, if they do not load from the folder's own files.
    """
    with tempfile.TemporaryDirectory() as modules_cache:
        environment = os.environ | {"HF_MODULES_CACHE": modules_cache, "HF_HUB_OFFLINE": "1"}
        try:
            # -I: neither the working directory nor PYTHONPATH may bring this package back
            process = subprocess.run(
                [sys.executable, "-I", str(_CHECK_SCRIPT), str(Path(folder).resolve())],
                env=environment,
                capture_output=True,
                text=True,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            raise ModelError(f"{folder}: its remote code did not load within {timeout_s} s; try again") from error
    if process.returncode != 0:
        reason = (process.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelError(f"{folder}: does not load with trust_remote_code=True ({reason}); run add_remote_code again")
    return json.loads(process.stdout.splitlines()[-1])


def read_json(path):
    """Read a JSON object.

    Raises
    ------
    ModelError
        If the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        if path.is_symlink():
            raise ModelError(f"{path}: {why_not_there(path)}") from error
        raise ModelError(f"{path}: missing; give the folder that training or save_pretrained wrote") from error
    except (OSError, ValueError) as error:
        reason = what_is(path) or f"not valid JSON ({error}); save the model again"
        raise ModelError(f"{path}: {reason}") from error


def write_json(path, content):
    """Write as ``save_pretrained`` does: two spaces, sorted keys, a final newline."""
    with write_aside(path) as aside:
        Path(aside).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", "utf-8")
