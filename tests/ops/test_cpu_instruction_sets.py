"""The CPU loops of every instruction set that this processor has, not only of the best one."""

import ctypes
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hf_lesionseg.models import reference_ops
from hf_lesionseg.ops import build

INSTRUCTION_SETS = ("plain", "avx2", "avx512")
ELEMENTS = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
RECURRENCES = ("no forget gate", "zero state", "state")


def pointers_of(*tensors):
    return (ctypes.c_void_p * 8)(*(None if t is None else t.data_ptr() for t in tensors))


@pytest.fixture(scope="module")
def loops(compile_library):
    """The loops inside the library that was built and is shipped, not a second build of their sources."""
    shipped = Path(importlib.import_module("hf_lesionseg.ops._C").__file__)
    library = compile_library("cpu_loops_by_instruction_set.cpp", flags=[shipped, f"-Wl,-rpath,{shipped.parent}"])
    library.run_cell.argtypes = [ctypes.c_int] * 3 + [ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_int] * 2
    return library


@pytest.fixture(params=INSTRUCTION_SETS)
def run(request, loops):
    """``run(gates, state, activation, recurrence, grads=None)`` on one instruction set."""
    chosen = INSTRUCTION_SETS.index(request.param)
    if chosen > loops.best_instruction_set():
        pytest.skip(f"this processor does not have {request.param}")

    def run_(gates, state, activation, recurrence, grads=None, split=None):
        rows, filters = gates.shape[0], gates.shape[1] // (3 if recurrence == "no forget gate" else 4)
        outputs = [gates.new_full((rows, filters, *gates.shape[2:]), float("nan")) for _ in range(2)]
        grad_gates, grad_state = torch.full_like(gates, float("nan")), torch.full_like(outputs[0], float("nan"))
        pointers = pointers_of(gates, state, *outputs, *(grads or (None, None)), grad_gates, grad_state)
        inner = outputs[0][0].numel()
        blocks = rows * -(-inner // 2048)
        for first, last in ((0, blocks),) if split is None else ((split, blocks), (0, split)):
            arguments = (pointers, inner, first, last, activation == "hard_sigmoid", RECURRENCES.index(recurrence))
            assert loops.run_cell(chosen, ELEMENTS[gates.dtype], int(grads is not None), *arguments)
        return outputs if grads is None else (grad_gates, grad_state)

    return run_


@pytest.mark.parametrize("dtype", ELEMENTS)
@pytest.mark.parametrize("activation", reference_ops.GATE_ACTIVATIONS)
@pytest.mark.parametrize("recurrence", RECURRENCES)
def test_values_and_gradients(run, dtype, activation, recurrence, check_raw_cell):
    check_raw_cell(run, dtype, activation, recurrence, (2, 3, 29, 31))


@pytest.mark.parametrize("dtype", ELEMENTS)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 1, 5, 3), (2, 1, 3, 683), (1, 5, 50, 41)])
def test_splitting_the_work_changes_no_byte(run, dtype, shape):
    generator = torch.Generator().manual_seed(0)
    gates = 3 * torch.randn(shape[0], 4 * shape[1], *shape[2:], generator=generator).to(dtype)
    state = torch.randn(shape, generator=generator).to(dtype)
    whole = run(gates, state, "sigmoid", "state")
    for result, expected in zip(run(gates, state, "sigmoid", "state", split=1), whole, strict=True):
        assert torch.equal(result, expected)
    # Every element by itself gives what it gives among others.
    pixels = [t.flatten(2).transpose(1, 2).reshape(-1, t.shape[1], 1, 1).contiguous() for t in (gates, state)]
    alone = run(*pixels, "sigmoid", "state")
    for result, expected in zip(alone, whole, strict=True):
        assert torch.equal(result.flatten(), expected.flatten(2).transpose(1, 2).flatten())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_every_16_bit_number_is_read_and_written(run, dtype):
    # o * tanh(c) with o = 1 and gates that make c the state itself: c = 1 * state + 0.
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype).reshape(1, 1, 256, 256)
    gates = torch.tensor([-9.0, 9.0, 0.0, 9.0]).reshape(1, 4, 1, 1).expand(1, 4, 256, 256).to(dtype).contiguous()
    _, cell = run(gates, every, "hard_sigmoid", "state")
    torch.testing.assert_close(cell, every, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounding_to_16_bits_is_that_of_torch(run, dtype):
    # With all activations 0 or 1, grad_state is grad_cell + grad_hidden: sums with ties, subnormals, overflow and NaN.
    one = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype).reshape(1, 1, 256, 256)
    other = one.flatten()[torch.randperm(2**16, generator=torch.Generator().manual_seed(0))].view_as(one)
    gates = torch.tensor([-9.0, 9.0, 0.0, 9.0]).reshape(1, 4, 1, 1).expand(1, 4, 256, 256).to(dtype).contiguous()
    _, grad_state = run(gates, torch.zeros_like(one), "hard_sigmoid", "state", (one, other))
    expected = (one.float() + other.float()).to(dtype)
    torch.testing.assert_close(grad_state, expected, rtol=0, atol=0, equal_nan=True)


STAND_IN = """
import sys, warnings
warnings.simplefilter("error")
sys.modules["hf_lesionseg.ops._C"] = library = type(sys)("_C")  # in place of the shipped library, the one below
import ctypes, torch
from hf_lesionseg import ops
from hf_lesionseg.models import reference_ops

ctypes.CDLL(sys.argv[1])
print(ops.backend()["convlstm_cell"]["cpu"])
gates, state = torch.randn(2, 12, 5, 7), torch.randn(2, 3, 5, 7)
results, expected = ops.convlstm_cell(gates, state), reference_ops.convlstm_cell(gates, state)
torch.testing.assert_close(results, expected)
torch.testing.assert_close(torch.ops.hf_lesionseg.convlstm_cell(gates, state, True, True), expected)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("instruction_set", "path"), [("plain", "reference"), ("avx2", "compiled")])
def test_a_lesser_processor_takes_the_path_that_backend_tells(instruction_set, path, compile_library):
    if instruction_set == "avx2" and torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        pytest.skip("this processor does not have avx2")
    sources = [source for source in build.cpu_sources() if source.name != "module.cpp"]
    torch_libraries = Path(torch.__file__).parent / "lib"
    flags = [*build.CXX_FLAGS, "-O0", f"-DHF_INSTRUCTION_SET={instruction_set}", f"-L{torch_libraries}", "-ltorch_cpu"]
    library = compile_library(sources[0], flags=[*sources[1:], *flags], load=False)
    done = subprocess.run([sys.executable, "-c", STAND_IN, str(library)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [path]
