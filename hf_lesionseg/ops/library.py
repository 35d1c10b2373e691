"""The ``hf_lesionseg`` namespace of torch ops: who implements it on which device."""

import functools
import importlib
import os
import threading
import warnings

import torch

from . import build

#: Schemas and Python implementations are registered here; the C++ libraries add their kernels to the same names.
LIBRARY = torch.library.Library("hf_lesionseg", "FRAGMENT")

#: The ops by name. The files of the ops take it from here, since in the Hub kernel they lie in another namespace.
ops = torch.ops.hf_lesionseg

#: Names of the ops of this package, in the order they were declared.
OP_NAMES = []

_MODES = ("auto", "reference", "jit")
_DISPATCH_KEYS = {"cpu": "CPU", "cuda": "CUDA"}
_LIBRARIES = {"cpu": "_C", "cuda": "_C_cuda"}

_load_errors = {}
_compile_lock = threading.Lock()
_jit_compiled = threading.Event()


def declare_op(name, schema, *, reference, fake, setup_context=None, backward=None):
    """Make ``hf_lesionseg::<name>`` known to torch.

    Parameters
    ----------
    name, schema : str
        As in ``torch.library.define``; the schema without the name.
    reference : callable
        Plain PyTorch. It serves every device that has no compiled kernel, so that a program which was exported with
        compiled kernels also runs without them.
    fake : callable
        Shapes, dtypes and strides of the results, for ``torch.compile`` and ``torch.export``.
    setup_context, backward : callable, optional
        As in ``torch.library.register_autograd``.
    """
    qualified = f"hf_lesionseg::{name}"
    LIBRARY.define(f"{name}{schema}", tags=(torch.Tag.pt2_compliant_tag,))
    LIBRARY.impl(name, reference, "CompositeExplicitAutograd")
    torch.library.register_fake(qualified, fake, lib=LIBRARY)
    if backward is not None:
        torch.library.register_autograd(qualified, backward, setup_context=setup_context, lib=LIBRARY)
    OP_NAMES.append(name)


@functools.cache
def kernel_mode():
    """``HF_LESIONSEG_KERNELS``: "auto", "reference" or "jit", read once per process.

    Raises
    ------
    ValueError
        For any other value.
    """
    mode = os.environ.get("HF_LESIONSEG_KERNELS", "auto") or "auto"
    if mode not in _MODES:
        raise ValueError(f"HF_LESIONSEG_KERNELS is {mode!r}; use one of {', '.join(_MODES)}")
    return mode


def load_compiled():
    """Load the libraries that ``setup.py`` built, where the mode is "auto"; the CUDA one only into a CUDA torch."""
    if kernel_mode() != "auto":
        return
    for device_type, module in _LIBRARIES.items():
        if device_type == "cuda" and torch.version.cuda is None:
            continue
        try:
            importlib.import_module(f"{__package__}.{module}")
        except ModuleNotFoundError:
            _load_errors[device_type] = "they were not built"
        except ImportError as error:  # built, but against something that is not here
            _load_errors[device_type] = f"{module} does not load: {error}"


def _jit_compile():
    with _compile_lock:
        if _jit_compiled.is_set():
            return
        from torch.utils import cpp_extension

        try:
            cpp_extension.load(
                "hf_lesionseg_kernels",
                [str(path) for path in build.cpu_sources()],
                extra_cflags=list(build.CXX_FLAGS),
                is_python_module=False,
            )
            if torch.version.cuda is not None and cpp_extension.CUDA_HOME is not None:
                cpp_extension.load(
                    "hf_lesionseg_kernels_cuda",
                    [str(path) for path in build.cuda_sources()],
                    extra_cflags=list(build.CXX_FLAGS),
                    extra_cuda_cflags=list(build.NVCC_FLAGS),
                    is_python_module=False,
                )
        except (RuntimeError, OSError) as error:
            raise RuntimeError(
                "HF_LESIONSEG_KERNELS=jit could not compile the kernels; it needs a C++20 compiler (GCC or clang) and "
                f"ninja. Unset it to go on in plain PyTorch. The compiler said: {error}"
            ) from error
        _jit_compiled.set()  # all kernels or not: without AVX2 the cell has none


def has_kernel(name, device_type):
    """Whether a compiled kernel of the op is registered with torch for the device."""
    key = _DISPATCH_KEYS.get(device_type)
    return key is not None and torch._C._dispatch_has_kernel_for_dispatch_key(f"hf_lesionseg::{name}", key)


@functools.cache
def _warn_of_fallback(device_type):
    warnings.warn(
        f"hf_lesionseg runs without its compiled kernels on {device_type} ({_load_errors[device_type]}): results are "
        "the same, but slower. Install with `pip install --no-build-isolation .` beside your torch, or set "
        "HF_LESIONSEG_KERNELS=jit to compile on first use, or =reference to silence this.",
        RuntimeWarning,
        stacklevel=2,
    )


@torch.compiler.assume_constant_result
def uses_kernel(name, device_type):
    """Whether a call of the op on the device goes to a compiled kernel, compiling it first in the mode "jit".

    torch.compile calls this while tracing and takes the answer for good.
    """
    mode = kernel_mode()
    if mode == "reference":
        return False
    if mode == "jit":
        _jit_compile()
    found = has_kernel(name, device_type)
    if not found and device_type in _load_errors:
        _warn_of_fallback(device_type)
    return found


def backend():
    """Tell which path each op takes on each device.

    Returns
    -------
    dict of str to dict of str to str
        ``{op: {"cpu": path, "cuda": path}}``; path is "compiled" (built by ``setup.py``), "jit" (compiled on first use,
        and asking counts as use), "reference" (plain PyTorch; for the ConvLSTM cell also where the processor has no
        AVX2, since plain PyTorch is the faster one there) or "unavailable" (no such device here).

    Examples
    --------
    >>> sorted(backend()["convlstm_cell"])
    ['cpu', 'cuda']
    """
    return {name: {device: _path(name, device) for device in _DISPATCH_KEYS} for name in OP_NAMES if _is_public(name)}


def _is_public(name):
    return not name.endswith("_backward")


def _path(name, device_type):
    if device_type == "cuda" and not torch.cuda.is_available():
        return "unavailable"
    if kernel_mode() == "jit":
        _jit_compile()
    if kernel_mode() == "reference" or not has_kernel(name, device_type):
        return "reference"
    return "jit" if kernel_mode() == "jit" else "compiled"
