"""The CUDA sources without a GPU: nvcc compiles them, and their kernels run on the CPU through an emulation."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from hf_lesionseg.models import reference_ops
from hf_lesionseg.ops import build

ELEMENTS = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
RECURRENCES = ("no forget gate", "zero state", "state")
ARCHITECTURES = ("80", "90")


@pytest.mark.parametrize(
    "source", [path for path in build.cuda_sources() if path.suffix == ".cu"], ids=lambda p: p.name
)
def test_nvcc_compiles_for_ampere_and_hopper(source, tmp_path):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not installed: the CUDA sources were not compiled")
    targets = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in ARCHITECTURES]
    include = Path(torch.__file__).parent / "include"
    command = [nvcc, "-std=c++20", *build.NVCC_FLAGS, *targets, "--threads=2", f"-I{include}", "-Xcompiler=-fPIC"]
    compiled = tmp_path / "kernels.o"
    done = subprocess.run(
        [*command, "-Werror=all-warnings", "-c", source, "-o", compiled], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    content = compiled.read_bytes()
    assert all(f"sm_{number}".encode() in content for number in ARCHITECTURES)


@pytest.fixture(scope="module")
def emulation(compile_library):
    library = compile_library("emulated_convlstm_cell.cpp", flags=["-DHF_CUDA_EMULATION", "-Wall", "-Werror"])
    library.run_cell.argtypes = [ctypes.c_int] * 2 + [ctypes.c_void_p] + [ctypes.c_int64] * 2 + [ctypes.c_int] * 2
    return library


@pytest.fixture(params=["ascending", "descending", "small grid"])
def run(request, emulation):
    """``run(gates, state, activation, recurrence, grads=None)`` with threads in one order, or with few blocks."""
    emulation.configure(request.param == "descending", 3 if request.param == "small grid" else 0)

    def run_(gates, state, activation, recurrence, grads=None, channels_last=False):
        batch, filters = gates.shape[0], gates.shape[1] // (3 if recurrence == "no forget gate" else 4)
        outputs = [torch.full_like(gates[:, :filters], float("nan")) for _ in range(2)]
        grad_gates, grad_state = torch.full_like(gates, float("nan")), torch.full_like(outputs[0], float("nan"))
        tensors = (gates, state, *outputs, *(grads or (None, None)), grad_gates, grad_state)
        pointers = (ctypes.c_void_p * 8)(*(None if t is None else t.data_ptr() for t in tensors))
        pixels = gates.shape[2] * gates.shape[3]
        rows, inner = (batch * pixels, filters) if channels_last else (batch, filters * pixels)
        emulation.run_cell(
            ELEMENTS[gates.dtype],
            int(grads is not None),
            pointers,
            rows,
            inner,
            activation == "hard_sigmoid",
            RECURRENCES.index(recurrence),
        )
        return outputs if grads is None else (grad_gates, grad_state)

    return run_


@pytest.mark.parametrize("dtype", ELEMENTS)
@pytest.mark.parametrize("activation", reference_ops.GATE_ACTIVATIONS)
@pytest.mark.parametrize("recurrence", RECURRENCES)
@pytest.mark.parametrize("plane", [(11, 13), (12, 16)], ids=["one element at a time", "16 bytes at a time"])
def test_emulated_values_and_gradients(run, dtype, activation, recurrence, plane, check_raw_cell):
    check_raw_cell(run, dtype, activation, recurrence, (2, 3, *plane))


@pytest.mark.parametrize("filters", [3, 8])
def test_emulated_channels_last(run, filters):
    generator = torch.Generator().manual_seed(0)
    gates, state = (
        torch.randn(2, channels, 5, 7, generator=generator).contiguous(memory_format=torch.channels_last)
        for channels in (4 * filters, filters)
    )
    expected = reference_ops.convlstm_cell(gates, state)
    torch.testing.assert_close(run(gates, state, "hard_sigmoid", "state", channels_last=True), list(expected))


@pytest.fixture(scope="module")
def reverse(compile_library):
    """``reverse(values, descending, with_barrier, some_return_early, launched_with_barriers)``: (values, error)."""
    library = compile_library("emulated_barriers.cpp", flags=["-DHF_CUDA_EMULATION", "-Wall", "-Werror"])
    library.run_reverse.restype = ctypes.c_char_p

    def run_(values, *flags):
        memory = (ctypes.c_int * 64)(*values)
        error = library.run_reverse(memory, *map(int, flags))
        return list(memory), None if error is None else error.decode()

    return run_


@pytest.mark.parametrize("descending", [False, True])
def test_emulated_barriers_hold_threads_back(reverse, descending):
    for start in (100, 200):
        values = list(range(start, start + 64))
        assert reverse(values, descending, True, False, True) == (values[::-1], None)
    values = list(range(300, 364))
    assert reverse(values, descending, False, False, True)[0] != values[::-1], "a missing barrier shows"


def test_emulation_reports_wrong_barriers(reverse):
    assert reverse(range(64), False, True, True, True)[1] == "a barrier was reached by 56 of 64 threads"
    assert reverse(range(64), False, True, False, False)[1] == "a kernel with barriers was launched as one without"
