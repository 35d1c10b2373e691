"""What is compiled, and with which flags: for ``setup.py``, for the run-time build and for the tests.

Imports the standard library only: ``setup.py`` runs this file by its path, before the package is installed.
"""

from pathlib import Path

#: The oldest torch whose stable ABI the sources use: 2.10. A library built so loads in every later torch.
DEFINES = ("-DTORCH_TARGET_VERSION=0x020a000000000000",)
CXX_FLAGS = (*DEFINES, "-O3", "-g0", "-Wno-psabi")
NVCC_FLAGS = (*DEFINES, "-O3", "-DUSE_CUDA")


def source_folder():
    """Folder of the C++ and CUDA sources: beside this file in an installed package, ``csrc`` in a checkout."""
    here = Path(__file__).resolve().parent
    packaged = here / "csrc"
    return packaged if packaged.is_dir() else here.parents[1] / "csrc"


def cpu_sources():
    """Every ``.cpp`` of the CPU library."""
    return sorted(source_folder().rglob("*.cpp"))


def cuda_sources():
    """The module file and every ``.cu`` of the CUDA library."""
    return [source_folder() / "module.cpp", *sorted(source_folder().rglob("*.cu"))]
