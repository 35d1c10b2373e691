"""Which memory format a network computes in fastest: a table of what was measured; nothing is timed at run time."""

import torch
from torch import nn

CONTIGUOUS, CHANNELS_LAST = "contiguous", "channels-last"

#: What may be asked for. "auto" takes the fastest format that is safe.
MEMORY_FORMATS = ("auto", CONTIGUOUS, CHANNELS_LAST)

_TORCH = {CONTIGUOUS: torch.contiguous_format, CHANNELS_LAST: torch.channels_last}

#: Device type -> fastest format, measured by scripts/benchmark_network.py. A device that was never measured keeps
#: torch's own format.
_FASTEST = {"cpu": CHANNELS_LAST}

_NARROW = 16  # channels; with as many or more nothing is written out of bounds


def choose_memory_format(model, device, *, training, asked="auto"):
    """Choose the memory format of a network's weights and feature maps.

    Parameters
    ----------
    model : torch.nn.Module
    device : torch.device or str
        That it runs on.
    training : bool
        Whether it will run backwards.
    asked : {"auto", "contiguous", "channels-last"}
        Overrules the table, but not what is unsafe.

    Returns
    -------
    name : {"contiguous", "channels-last"}
    unsafe : str or None
        Why channels last, although the fastest or asked for, is not taken.

    Raises
    ------
    ValueError
        For another name.

    Examples
    --------
    >>> choose_memory_format(nn.Conv2d(1, 8, 3), "cpu", training=True)
    ('channels-last', None)
    >>> choose_memory_format(nn.Conv2d(8, 16, 1, stride=2), "cpu", training=True)[0]
    'contiguous'
    """
    if asked not in MEMORY_FORMATS:
        raise ValueError(f"memory format {asked!r} is unknown; use {', '.join(MEMORY_FORMATS)}")
    kind = torch.device(device).type
    name = _FASTEST.get(kind, CONTIGUOUS) if asked == "auto" else asked
    if name == CHANNELS_LAST and training and kind == "cpu" and (narrow := narrow_strided_convolution(model)):
        return CONTIGUOUS, (
            f"{narrow} is a 1x1 convolution with a stride and fewer than {_NARROW} channels, for which torch on a CPU "
            "writes out of bounds in the backward pass"
        )
    return name, None


def put_in_memory_format(model, name):
    """Lay a network's weights out in this format, in place; its feature maps follow them."""
    model.to(memory_format=_TORCH[name])


def memory_format_of(model):
    """The format that the weights lie in: channels last if any weight does that could lie otherwise.

    Examples
    --------
    >>> memory_format_of(nn.Conv2d(2, 8, 3).to(memory_format=torch.channels_last))
    'channels-last'
    """
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Conv2d)]
    found = any(each.is_contiguous(memory_format=torch.channels_last) for each in weights if not each.is_contiguous())
    return CHANNELS_LAST if found else CONTIGUOUS


def narrow_strided_convolution(model):
    """Name of the first 1x1 convolution with a stride that takes fewer than 16 channels; None without any.

    For these, oneDNN as of torch 2.13 writes out of bounds in the backward pass on a CPU, channels last
    (``scripts/report_convolution_overrun.py`` shows it): in the shortcuts of narrow residual encoders.
    """
    for name, module in model.named_modules():
        pointwise = isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)
        if pointwise and max(module.stride) > 1 and module.in_channels < _NARROW:
            return name or type(module).__name__
    return None
