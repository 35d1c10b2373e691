"""AddressSanitizer around programs that give each kernel memory of exactly the size it may touch. `make sanitize`."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from hf_lesionseg.ops import build

pytestmark = pytest.mark.sanitize

FLAGS = ("-g1", "-fsanitize=address")
#: Checks that are called, not inlined, and little optimisation halve the time to compile.
CPU_FLAGS = ("-std=c++20", "-Og", "-Wno-psabi", *FLAGS, "--param", "asan-instrumentation-with-call-threshold=0")
INSTRUCTION_SETS = ("plain", "avx2", "avx512")


def run_program(program):
    # The sanitizer's allocator must be the first one in the process: nothing may be loaded before it.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run([program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_cpu_loops_stay_inside_their_tensors(compile_library, tmp_path):
    """Every loop of both kernels: instruction set, dtype, recurrence or operation, and what is asked for."""
    folder = build.source_folder()
    loops = [path for path in build.cpu_sources() if path.stem.endswith(("_plain", "_avx2", "_avx512"))]
    assert len(loops) == 6

    def compile_object(source):
        compiled = tmp_path / f"{source.stem}.o"
        subprocess.run(["g++", *CPU_FLAGS, f"-I{folder}", "-c", source, "-o", compiled], check=True)
        return compiled

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_object, loops))
    program = compile_library("cpu_bounds.cpp", flags=[*objects, *CPU_FLAGS], program=True)
    lines = run_program(program)
    assert lines
    for line, name in zip(lines, INSTRUCTION_SETS, strict=False):  # as many of them as this processor has
        assert line == f"{name}: 1440 of the cell, 1056 of RoI sampling"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "launches"), [("emulated_bounds.cpp", 96), ("emulated_roi_bounds.cpp", 262)], ids=["cell", "rois"]
)
def test_emulated_kernels_stay_inside_their_tensors(compile_library, source, launches):
    """The CUDA kernels, on the CPU."""
    program = compile_library(source, flags=["-DHF_CUDA_EMULATION", *FLAGS], program=True)
    assert run_program(program) == [f"{launches} launches"]
