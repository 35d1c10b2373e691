"""Which path an op takes: compiled, compiled on first use, or plain PyTorch."""

import os
import subprocess
import sys

import pytest

from hf_lesionseg import ops
from hf_lesionseg.ops import library


def python(program, *, kernels=None, **environment):
    """Run a program in a fresh process; gives what it printed."""
    inherited = {name: value for name, value in os.environ.items() if name != "HF_LESIONSEG_KERNELS"}
    chosen = {} if kernels is None else {"HF_LESIONSEG_KERNELS": kernels}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=inherited | chosen | environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_compiled_kernel_is_in_use():
    # A missing library is a failure here, never a skip.
    assert ops.backend()["convlstm_cell"]["cpu"] == "compiled"


def test_importing_ops_imports_torch_and_nothing_heavier():
    program = (
        "import sys, hf_lesionseg.ops\n"
        "heavy = {'transformers', 'nibabel', 'scipy', 'matplotlib', 'accelerate', 'huggingface_hub'}\n"
        "print(sorted(heavy & set(sys.modules)), 'torch' in sys.modules)"
    )
    assert python(program) == "[] True"


REFERENCE_MODE = """
import warnings
warnings.simplefilter("error")
import torch
from hf_lesionseg import ops
from hf_lesionseg.models import reference_ops

print(ops.backend()["convlstm_cell"]["cpu"])
gates = torch.randn(2, 8, 3, 5, dtype=torch.float64, requires_grad=True)
state = torch.randn(2, 2, 3, 5, dtype=torch.float64, requires_grad=True)
hidden, cell = ops.convlstm_cell(gates, state)
print(hidden.grad_fn.name(), torch.equal(hidden, reference_ops.convlstm_cell(gates, state)[0]))
print(torch.compile(ops.convlstm_cell, fullgraph=True, backend="eager")(gates, state)[0].equal(hidden))
# The op itself, as in a program that was exported where the kernels were compiled.
op = torch.ops.hf_lesionseg.convlstm_cell
print(torch.equal(op(gates, state, True, True)[0], hidden))
print(torch.autograd.gradcheck(lambda g, s: op(g, s, False, True), (gates, state)))
print(torch.autograd.gradcheck(lambda g: op(g, None, False, True), (gates,)))
three = torch.randn(2, 6, 3, 5, dtype=torch.float64, requires_grad=True)
print(torch.autograd.gradcheck(lambda g: op(g, None, False, False), (three,)))
print(torch.autograd.gradgradcheck(lambda g, s: op(g, s, False, True), (gates, state)))
last = gates.detach().contiguous(memory_format=torch.channels_last)
print(op(last, None, True, True)[0].is_contiguous(memory_format=torch.channels_last))
"""


def test_reference_mode():
    answers = python(REFERENCE_MODE, kernels="reference").splitlines()
    assert answers[0] == "reference"
    assert answers[1] == "MulBackward0 True", "plain autograd, not the op"
    assert answers[2:] == ["True"] * 7


NOTHING_COMPILED = """
import sys, warnings
sys.modules["hf_lesionseg.ops._C"] = None  # as if setup.py had not built it
import torch
from hf_lesionseg import ops

print(ops.backend()["convlstm_cell"]["cpu"])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(3):
        ops.convlstm_cell(torch.zeros(1, 8, 2, 2))
for warning in caught:
    print(warning.category.__name__, warning.message)
"""


def test_without_a_library_it_warns_once_and_goes_on():
    path, *warned = python(NOTHING_COMPILED).splitlines()
    assert path == "reference"
    assert len(warned) == 1
    assert warned[0].startswith(
        "RuntimeWarning hf_lesionseg runs without its compiled kernels on cpu (they were not built)"
    )
    assert "--no-build-isolation" in warned[0]


def test_an_unknown_mode_is_refused(monkeypatch):
    monkeypatch.setenv("HF_LESIONSEG_KERNELS", "fast")
    with pytest.raises(ValueError, match="HF_LESIONSEG_KERNELS is 'fast'; use one of auto, reference, jit"):
        library.kernel_mode.__wrapped__()  # the mode of this process is settled


JIT_MODE = """
import torch
from hf_lesionseg import ops
from hf_lesionseg.models import reference_ops

gates = torch.randn(2, 8, 3, 5, requires_grad=True)
hidden, _ = ops.convlstm_cell(gates)
print(ops.backend()["convlstm_cell"]["cpu"], hidden.grad_fn.name())
torch.testing.assert_close(hidden, reference_ops.convlstm_cell(gates)[0])
"""


@pytest.mark.slow
def test_jit_mode_compiles_the_packaged_sources(tmp_path):
    path, node = python(JIT_MODE, kernels="jit", TORCH_EXTENSIONS_DIR=str(tmp_path)).split()
    assert path == "jit"
    assert "convlstm_cell" in node
    assert list(tmp_path.rglob("hf_lesionseg_kernels*.so"))


def test_jit_mode_without_a_compiler_is_an_error(tmp_path):
    program = (
        "import torch\nfrom hf_lesionseg import ops\n"
        "try:\n    ops.convlstm_cell(torch.zeros(1, 8, 2, 2))\nexcept RuntimeError as error:\n    print(error)"
    )
    answer = python(program, kernels="jit", CXX="/nonexistent/compiler", TORCH_EXTENSIONS_DIR=str(tmp_path))
    assert answer.startswith("HF_LESIONSEG_KERNELS=jit could not compile the kernels")
