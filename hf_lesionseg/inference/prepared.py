"""A copy of a network that computes the same faster: in the fastest memory format, with its layers folded."""

from __future__ import annotations

import copy
import weakref
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from ..errors import UsageError
from ..models.memory_format import MEMORY_FORMATS, choose_memory_format, memory_format_of, put_in_memory_format
from .folding import fold_network

#: Where the classes of a network come from that is known well enough to be changed. A quantised layer, an adapter or a
#: subclass of somebody else's comes from elsewhere.
_KNOWN = ("torch.nn.modules.", "hf_lesionseg.models.", "transformers.models.resnet.", "transformers.activations")

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

_FOLDED_DTYPES = {torch.float32, torch.float64}


@dataclass(frozen=True)
class PreparedNetwork:
    """A network to run forward.

    Attributes
    ----------
    network : torch.nn.Module
        The copy, or the network itself.
    memory_format : {"contiguous", "channels-last"}
        That its weights lie in.
    folded : dict of str to int
        How many ``batch_norms`` and ``upsamplings`` are folded into convolutions.
    as_it_is : str or None
        Why the network itself is run.
    """

    network: nn.Module
    memory_format: str
    folded: dict[str, int] = field(default_factory=dict)
    as_it_is: str | None = None

    def to_dict(self) -> dict:
        """What the run record says of it."""
        return {"memory_format": self.memory_format, "folded": self.folded, "network_as_it_is": self.as_it_is}


#: network -> (what it was when the copy was made, the copy); a network that is dropped takes its copy along.
_PREPARED: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def prepare_network(model: nn.Module, memory_format: str = "auto", fold: bool = True) -> PreparedNetwork:
    """Return a network to run forward in place of this one, which stays as it is.

    The copy is made once and again whenever the network has changed since. It takes the memory of the weights a second
    time.

    Parameters
    ----------
    model : torch.nn.Module
    memory_format : {"auto", "contiguous", "channels-last"}
        "auto" takes the fastest, see :mod:`~hf_lesionseg.models.memory_format`.
    fold : bool
        Fold layers into convolutions, see :mod:`~hf_lesionseg.inference.folding`.

    Raises
    ------
    UsageError
        ``memory_format`` is none of the above.
    """
    check_memory_format(memory_format)
    if isinstance(prepared := getattr(model, "prepared", None), PreparedNetwork):  # and compiled
        return replace(prepared, network=model)
    reason = why_as_it_is(model)
    if reason:
        return PreparedNetwork(model, memory_format_of(model), as_it_is=reason)
    state = _state(model, memory_format, fold)
    known = _PREPARED.get(model)
    if known is None or known[0] != state:
        _PREPARED.pop(model, None)  # before the new copy: never three at once
        try:
            known = state, _prepare(model, memory_format, fold)
        except (torch.OutOfMemoryError, MemoryError):
            return PreparedNetwork(model, memory_format_of(model), as_it_is="memory is too small for a copy")
        _PREPARED[model] = known
    return known[1]


def check_memory_format(name: str) -> None:
    """Raise :class:`~hf_lesionseg.errors.UsageError` unless there is such a memory format, or "auto"."""
    if name not in MEMORY_FORMATS:
        raise UsageError(f"memory format {name!r} is unknown; use {', '.join(MEMORY_FORMATS)}")


def why_as_it_is(model: nn.Module) -> str | None:
    """Why a network is not to be changed: hooks, adapters, quantised or foreign layers; None where it may be."""
    if nn.modules.module._has_any_global_hook():
        return "hooks on all modules"
    for name, module in model.named_modules():
        place, kind = name or "the network", type(module)
        if not f"{kind.__module__}.".startswith(_KNOWN):
            return f"{place} is a {kind.__module__}.{kind.__qualname__}"
        if any(getattr(module, hooks, None) for hooks in _HOOKS):
            return f"{place} has hooks"
        if "forward" in vars(module) or hasattr(module, "_hf_hook"):
            return f"{place} has a forward pass of its own"
    for name, tensor in _tensors(model):
        if type(tensor) not in (torch.Tensor, nn.Parameter):
            return f"{name} is a {type(tensor).__name__}"
        if tensor.device != model.device or tensor.is_meta:
            return f"{name} lies on {tensor.device}"
    if not any(isinstance(module, nn.Conv2d) for module in model.modules()):
        return "it has no convolution"
    return None


def _prepare(model, memory_format, fold):
    # The settings are shared: what is changed in them later counts for the copy, too.
    configs = [module.config for module in model.modules() if hasattr(module, "config")]
    with torch.inference_mode(False), torch.no_grad():
        network = copy.deepcopy(model, {id(config): config for config in configs}).requires_grad_(False).eval()
        dtypes = {parameter.dtype for parameter in network.parameters()}
        folded = fold_network(network) if fold and dtypes <= _FOLDED_DTYPES else {}
        name, _ = choose_memory_format(network, model.device, training=False, asked=memory_format)
        put_in_memory_format(network, name)
    return PreparedNetwork(network, name, folded)


def _tensors(model):
    yield from model.named_parameters()
    yield from model.named_buffers()


def _state(model, *settings):
    """What decides the copy: the settings, every layer with its attributes, every weight.

    A weight counts by its place, by torch's count of its changes, and by the sum of its bits, for changes that torch
    does not count (through ``.data``).
    """
    layers = [
        (
            id(module),
            {
                key: value
                for key, value in vars(module).items()
                if key != "training" and isinstance(value, (str, int, float, tuple, type(None)))
            },
        )
        for module in model.modules()
    ]
    tensors = [tensor for _, tensor in _tensors(model)]
    places = [(tensor.data_ptr(), tensor.shape, -1 if tensor.is_inference() else tensor._version) for tensor in tensors]
    return settings, layers, places, torch.stack([_sum_of_bits(tensor) for tensor in tensors]).tolist()


_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _sum_of_bits(tensor):
    bits = tensor.detach()
    if bits.is_floating_point():
        bits = bits.view(_BITS[bits.element_size()])
    return bits.sum(dtype=torch.int64)
