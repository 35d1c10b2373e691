"""Shared by the kernel tests: the truth in extended precision, the tolerance rule, small C++ libraries."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from hf_lesionseg.models import reference_ops
from hf_lesionseg.ops import build

HERE = Path(__file__).parent


def _extended(tensor):
    return tensor.detach().double().numpy().astype(np.longdouble)


class ExtendedPrecision:
    """Equations of Shi et al. 2015 and their derivatives in NumPy's long double, without torch or the kernels."""

    def __init__(self, gates, cell_state=None, *, gate_activation="hard_sigmoid", forget_gate=True):
        self.gates = np.split(_extended(gates), 4 if forget_gate else 3, axis=1)
        self.state = np.zeros_like(self.gates[0]) if cell_state is None else _extended(cell_state)
        self.gate_activation, self.forget_gate = gate_activation, forget_gate
        self.forget = self.activate(self.gates[1])[0] if forget_gate else np.zeros_like(self.gates[0])

    def activate(self, x):
        """Value and slope."""
        if self.gate_activation == "sigmoid":
            value = 1 / (1 + np.exp(-x))
            return value, value * (1 - value)
        return np.clip(x / 5 + np.longdouble(0.5), 0, 1), (abs(x) <= 2.5) / np.longdouble(5)

    def results(self):
        """(hidden, cell)"""
        cell = self.forget * self.state + self.activate(self.gates[0])[0] * np.tanh(self.gates[-2])
        return self.activate(self.gates[-1])[0] * np.tanh(cell), cell

    def gradients(self, grad_hidden, grad_cell):
        """(gradient to the gates, gradient to the state)"""
        _, cell = self.results()
        grad_hidden, grad_cell = _extended(grad_hidden), _extended(grad_cell)
        (i, i_slope), candidate, (o, o_slope) = (
            self.activate(self.gates[0]),
            np.tanh(self.gates[-2]),
            self.activate(self.gates[-1]),
        )
        total = grad_cell + grad_hidden * o * (1 - np.tanh(cell) ** 2)
        parts = [total * candidate * i_slope, total * i * (1 - candidate**2), grad_hidden * np.tanh(cell) * o_slope]
        if self.forget_gate:
            parts.insert(1, total * self.state * self.activate(self.gates[1])[1])
        return np.concatenate(parts, axis=1), total * self.forget


@pytest.fixture
def extended_precision():
    """The cell in extended precision: ``extended_precision(gates, cell_state, **options)``."""
    return ExtendedPrecision


@pytest.fixture
def assert_as_exact():
    """The tolerance rule: the kernel errs at most twice as much as plain PyTorch in the same dtype.

    Both against the truth, by the largest absolute error, or by its root mean square. Plain PyTorch is granted one
    rounding of the dtype at the largest value: it may happen to be exact.
    """

    def check(kernel, reference, truth, dtype=None, root_mean_square=False):
        def size_of(error):
            return np.sqrt(np.mean(error**2)) if root_mean_square else np.abs(error).max(initial=0)

        truth = truth if isinstance(truth, np.ndarray) else _extended(truth)
        kernel_error = size_of(_extended(kernel) - truth)
        reference_error = size_of(_extended(reference) - truth)
        rounding = torch.finfo(dtype or kernel.dtype).eps * np.abs(truth).max(initial=0) / 2
        assert kernel_error <= 2 * max(reference_error, rounding), (
            f"{dtype or kernel.dtype}: the kernel errs by {kernel_error:.3g}, plain PyTorch by {reference_error:.3g}"
        )

    return check


@pytest.fixture
def check_raw_cell(assert_as_exact):
    """``check_raw_cell(run, dtype, activation, recurrence, shape)``: values and gradients of a cell on raw memory.

    ``run(gates, state, activation, recurrence, grads=None)`` gives (hidden, cell), or with ``grads`` the gradients to
    (gates, state); recurrence is "no forget gate", "zero state" or "state"; shape is the cell's.
    """

    def check(run, dtype, activation, recurrence, shape):
        generator = torch.Generator().manual_seed(0)
        forget_gate = recurrence != "no forget gate"
        gates = 3 * torch.randn(shape[0], (4 if forget_gate else 3) * shape[1], *shape[2:], generator=generator)
        gates = gates.to(dtype)
        state = torch.randn(shape, generator=generator).to(dtype) if recurrence == "state" else None
        options = {"gate_activation": activation, "forget_gate": forget_gate}
        truth = ExtendedPrecision(gates, state, **options)
        leaves = [t.clone().requires_grad_() for t in (gates, state) if t is not None]
        plain = reference_ops.convlstm_cell(*leaves, **options)
        results = run(gates, state, activation, recurrence)
        for result, reference, true in zip(results, plain, truth.results(), strict=True):
            assert_as_exact(result, reference, true)
        grads = [torch.randint(-8, 9, p.shape, generator=generator).to(dtype) / 4 for p in plain]
        references = torch.autograd.grad(plain, leaves, grads)
        results = run(gates, state, activation, recurrence, grads)[: len(leaves)]
        for result, reference, true in zip(results, references, truth.gradients(*grads)[: len(leaves)], strict=True):
            assert_as_exact(result, reference, true)

    return check


@pytest.fixture(scope="session")
def compile_library(tmp_path_factory):
    """``compile_library(source, flags=(), program=False, load=True)``: compile a C++ file of this folder.

    Gives it loaded by ctypes, its path where it shall not be loaded here, or its path as a program. A failure to
    compile fails the test.
    """

    def compile_(source, *, flags=(), program=False, load=True):
        target = tmp_path_factory.mktemp("compiled") / (Path(source).stem if program else f"{Path(source).stem}.so")
        includes = [build.source_folder(), HERE, Path(torch.__file__).parent / "include"]
        kind = [] if program else ["-shared", "-fPIC"]
        command = ["g++", "-std=c++20", "-O1", *kind, "-o", target, HERE / source, *flags]
        subprocess.run([*command, *(f"-I{folder}" for folder in includes)], check=True)
        return target if program or not load else ctypes.CDLL(str(target))

    return compile_
