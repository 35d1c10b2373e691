"""This build's own namespace of torch ops, with the interface of the package's ``hf_lesionseg/ops/library.py``."""

import torch

from .._ops import add_op_namespace_prefix, ops

__all__ = ["declare_op", "ops", "uses_kernel"]


def declare_op(name, schema, *, reference, fake, setup_context=None, backward=None):
    """Make the op known to torch; ``reference`` serves every device that this build has no compiled kernel for."""
    qualified = add_op_namespace_prefix(name)
    torch.library.define(qualified, schema, tags=(torch.Tag.pt2_compliant_tag,))
    torch.library.impl(qualified, "default", reference)
    torch.library.register_fake(qualified, fake)
    if backward is not None:
        torch.library.register_autograd(qualified, backward, setup_context=setup_context)


def uses_kernel(name, device_type):
    """Always the op: it has a compiled kernel, or serves the device in plain PyTorch."""
    return True
