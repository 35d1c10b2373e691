"""Make a Hub kernel of the package's sources: a project for kernel-builder, and a build of it for this machine.

A Hub kernel is loaded with ``kernels.get_kernel("org/name", version=1)`` by people who do not have the package. This
writes into FOLDER:

  build.toml flake.nix CARD.md csrc/ torch-ext/   what kernel-builder compiles for every torch, CUDA and old glibc
  build/<variant>/                                compiled here, for `kernels.get_local_kernel(Path("FOLDER/build"))`

To publish: set [general.hub] repo-id in build.toml, then `cd FOLDER && kernel-builder build-and-upload`. The build made
here is for trying out: it needs a glibc as new as this machine's.
"""

import argparse
import base64
import hashlib
import json
import platform
import runpy
import shutil
import sys
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]

# Files of hf_lesionseg/ops that a kernel has its own of, or none; it shares all others, and the plain formulas.
NOT_SHARED = {"__init__.py", "build.py", "library.py"}

# What kernel-builder generates: the library is imported so that its kernels register, and the ops go by one name.
OPS_MODULE = '''\
import torch

from . import {identifier}

ops = torch.ops.{identifier}


def add_op_namespace_prefix(op_name):
    """The op's name in this build's namespace."""
    return "{identifier}::" + op_name
'''


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="made if it does not exist")
    parser.add_argument("--no-build", action="store_true", help="write the project for kernel-builder only")
    options = parser.parse_args(arguments)
    folder = options.folder.resolve()
    made_here = (folder / "build.toml").exists() and not (folder / "setup.py").exists()
    if folder.exists() and any(folder.iterdir()) and not made_here:
        parser.error(f"{options.folder} holds other files; name a new folder, or one that this script made")
    return options


def main():
    options = parse_arguments()
    settings = tomllib.loads((ROOT / "build.toml").read_text())
    write_project(options.folder, settings)
    if not options.no_build:
        variant = build_cpu_variant(options.folder, settings)
        print(f"{variant}\ntry it: kernels.get_local_kernel(pathlib.Path({str(variant.parent)!r}))")


def write_project(folder, settings):
    """The project that kernel-builder compiles: the sources that build.toml lists, and the kernel's Python."""
    for name in ("csrc", "torch-ext"):  # of an earlier run
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("build.toml", "flake.nix", "CARD.md", "LICENSE", *listed_sources(settings)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    python = folder / "torch-ext" / python_name(settings)
    shutil.copytree(ROOT / "torch-ext", folder / "torch-ext", ignore=without_caches)
    for path in shared_python():
        shutil.copy2(path, python / path.relative_to(ROOT / "hf_lesionseg"))


def python_name(settings):
    return settings["general"]["name"].replace("-", "_")


def listed_sources(settings, backend=None):
    """Files that build.toml names for a backend ("cpu", "cuda"), or for all of them."""
    sections = [section for section in settings["kernel"].values() if backend in (None, section["backend"])]
    return sorted({*settings["torch"]["src"], *(name for section in sections for name in section["src"])})


def shared_python():
    """Python files that the kernel carries as they are in the package."""
    ops = sorted(path for path in (ROOT / "hf_lesionseg" / "ops").glob("*.py") if path.name not in NOT_SHARED)
    return [*sorted((ROOT / "hf_lesionseg" / "models").glob("reference_*.py")), *ops]


def without_caches(folder, names):
    return {name for name in names if name == "__pycache__"}


def build_cpu_variant(folder, settings):
    """Compile the project in ``folder`` and lay out ``build/<variant>`` as the Hub has it; gives that folder."""
    identifier = unique_identifier(folder, settings)
    library = compile_library(folder, settings, identifier)
    torch_abi = settings["torch"]["stable-abi"]["cpu"].replace(".", "")
    system = f"{platform.machine()}-{platform.system().lower()}"
    variant = folder / "build" / f"torch-stable-abi{torch_abi}-cpu-{system}"
    shutil.rmtree(variant, ignore_errors=True)
    shutil.copytree(folder / "torch-ext" / python_name(settings), variant, ignore=without_caches)
    shutil.copy2(library, variant)
    (variant / "_ops.py").write_text(OPS_MODULE.format(identifier=identifier))
    metadata = {
        "name": settings["general"]["name"],
        "id": identifier,
        "version": settings["general"]["version"],
        "license": settings["general"]["license"],
        "python-depends": [],
        "backend": {"type": "cpu"},
        "digest": {"algorithm": "sha256", "files": digests(variant)},
    }
    (variant / "metadata.json").write_text(json.dumps(metadata, indent=2) + "\n")
    return variant


def unique_identifier(folder, settings):
    """Name of the library and of its ops: another one for other sources, so that two versions can be loaded at once."""
    contents = hashlib.sha256()
    python = sorted((folder / "torch-ext").rglob("*.py"))
    for path in (*(folder / name for name in listed_sources(settings, "cpu")), *python):
        contents.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"_{python_name(settings)}_cpu_{contents.hexdigest()[:8]}"


def compile_library(folder, settings, identifier):
    """Compile with the package's flags and kernel-builder's definitions; what did not change is not compiled again."""
    from setuptools import Distribution
    from torch.utils.cpp_extension import BuildExtension, CppExtension

    flags = runpy.run_path(str(ROOT / "hf_lesionseg" / "ops" / "build.py"))["CXX_FLAGS"]
    folder = folder.resolve()
    extension = CppExtension(
        identifier,
        [str(folder / name) for name in listed_sources(settings, "cpu") if name.endswith(".cpp")],
        # As kernel-builder: unique symbols would be shared with other versions of the kernel in the same process.
        extra_compile_args={"cxx": [*flags, "-DCPU_KERNEL", "-fno-gnu-unique"]},
        py_limited_api=True,
    )
    command = BuildExtension(Distribution({"name": identifier, "ext_modules": [extension]}))
    command.build_temp = command.build_lib = str(folder / "objects")
    command.ensure_finalized()
    command.run()
    return Path(command.get_outputs()[0])


def digests(variant):
    """SHA-256 of each file of the variant, in base64."""
    files = sorted(path for path in variant.rglob("*") if path.is_file())
    return {
        path.relative_to(variant).as_posix(): base64.b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()
        for path in files
    }


if __name__ == "__main__":
    sys.exit(main())
