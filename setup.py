"""Build the package, and its kernels where torch and a compiler are there.

``pip install --no-build-isolation .`` beside an installed torch compiles ``csrc``; plain ``pip install .`` builds in an
environment without torch and gives a pure-Python wheel that falls back to plain PyTorch. The environment variable
``HF_LESIONSEG_BUILD_KERNELS`` chooses: ``auto`` (the default: compile if possible, warn if not), ``require`` (a failure
is an error), ``off``.
"""

import os
import re
import runpy
import shutil
import warnings
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
BUILD = runpy.run_path(str(ROOT / "hf_lesionseg" / "ops" / "build.py"))
MODES = ("auto", "require", "off")
MODE = os.environ.get("HF_LESIONSEG_BUILD_KERNELS", "auto") or "auto"
if MODE not in MODES:
    raise SystemExit(f"HF_LESIONSEG_BUILD_KERNELS is {MODE!r}; use one of {', '.join(MODES)}")

#: What is built for where no GPU is there to ask: compute capabilities, as in TORCH_CUDA_ARCH_LIST, which goes first.
GPUS = "8.0;8.6;9.0+PTX"
#: The oldest CPython of the wheel's stable ABI.
PYTHON_ABI = "cp310"


def find_cpp_extension():
    """torch's build helper, or None without torch; the reason is an error where kernels are required."""
    if MODE == "off":
        return None
    try:
        from torch.utils import cpp_extension
    except ImportError as error:
        if MODE == "require":
            raise SystemExit(
                "HF_LESIONSEG_BUILD_KERNELS=require, but torch cannot be imported here: install torch first, then "
                f"build with `pip install --no-build-isolation .` ({error})"
            ) from error
        warnings.warn(f"torch cannot be imported here: building without compiled kernels ({error})", stacklevel=2)
        return None
    return cpp_extension


def extensions(cpp_extension):
    """The CPU library, and the CUDA one where torch was built for CUDA and a toolkit is installed.

    A GPU is not asked for: the machine that builds often has none.
    """
    import torch

    def relative(paths):
        return [str(path.relative_to(ROOT)) for path in paths]

    cxx_flags = [*BUILD["CXX_FLAGS"], f"-DPy_LIMITED_API=0x{3:02x}{10:02x}0000"]
    found = [
        cpp_extension.CppExtension(
            "hf_lesionseg.ops._C",
            relative(BUILD["cpu_sources"]()),
            extra_compile_args={"cxx": cxx_flags},
            py_limited_api=True,
        )
    ]
    if torch.version.cuda is not None and cpp_extension.CUDA_HOME is not None:
        if not torch.cuda.is_available():  # torch would ask the GPU what to build for, and fail
            os.environ.setdefault("TORCH_CUDA_ARCH_LIST", GPUS)
        found.append(
            cpp_extension.CUDAExtension(
                "hf_lesionseg.ops._C_cuda",
                relative(BUILD["cuda_sources"]()),
                extra_compile_args={"cxx": cxx_flags, "nvcc": list(BUILD["NVCC_FLAGS"])},
                py_limited_api=True,
            )
        )
    return found


def kernel_builder(base):
    """``build_ext`` on top of torch's, which in the mode "auto" goes on without kernels when they do not compile."""

    class BuildKernels(base):
        def run(self):
            try:
                super().run()
            except Exception as error:
                if MODE == "require":
                    raise
                warnings.warn(f"the kernels did not compile: building without them ({error})", stacklevel=2)
                self.extensions = []
                self.distribution.ext_modules = []

    return BuildKernels


class BuildPython(build_py):
    """Ship ``csrc`` inside the package, where ``HF_LESIONSEG_KERNELS=jit`` looks for it."""

    def run(self):
        super().run()
        if not self.editable_mode:
            shutil.copytree(ROOT / "csrc", Path(self.build_lib, "hf_lesionseg", "ops", "csrc"), dirs_exist_ok=True)


class BuildWheel(bdist_wheel):
    """Name the wheel by what is in it: ``py3-none-any`` where no kernel was compiled."""

    def run(self):
        self.run_command("build_ext")
        if not self.distribution.ext_modules:
            self.root_is_pure, self.py_limited_api, self.plat_name_supplied = True, False, False
        super().run()


cpp_extension = find_cpp_extension()
ext_modules = extensions(cpp_extension) if cpp_extension is not None else []
commands = {"build_py": BuildPython, "bdist_wheel": BuildWheel, "build_ext": build_ext}
if ext_modules:
    commands["build_ext"] = kernel_builder(cpp_extension.BuildExtension)

setup(
    version=re.search(r'^__version__ = "(.+)"$', (ROOT / "hf_lesionseg" / "__init__.py").read_text(), re.M)[1],
    packages=find_packages(include=["hf_lesionseg", "hf_lesionseg.*"]),
    package_data={
        "hf_lesionseg": ["**/*.j2"],
        "hf_lesionseg.pretrained": ["*/*", "*/figures/*"],
        "hf_lesionseg.training": ["recipes/*.yaml"],
        "hf_lesionseg.hub": ["templates/*"],
    },
    ext_modules=ext_modules,
    cmdclass=commands,
    options={"bdist_wheel": {"py_limited_api": PYTHON_ABI}} if ext_modules else {},
)
