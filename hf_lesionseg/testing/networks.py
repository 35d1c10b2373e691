"""Every network of the registry, small: settings and traits are those of its entry in ``models/network_table.py``."""

import torch

from ..models import loadable

__all__ = ["tiny_batch", "tiny_config", "tiny_model"]


def tiny_config(model_type, **settings):
    """The configuration of a small network; ``settings`` change it."""
    network = loadable()[model_type]
    return network.config_class()(**(dict(network.tiny) | settings))


def tiny_model(model_type, **settings):
    """A small network with the same random weights at every call, in training mode as any new one."""
    torch.manual_seed(0)
    return loadable()[model_type].model_class()(tiny_config(model_type, **settings))


def tiny_batch(model_type, height=48, width=32, size=2, seed=0):
    """Random images with a square lesion, and what else the small network learns from.

    Returns
    -------
    dict of str to torch.Tensor
        "pixel_values" (size, channels, height, width) and "labels" (size, height, width), then the network's extra
        inputs.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(size, height, width, dtype=torch.long)
    labels[:, height // 4 : height // 2, width // 4 : width // 2] = 1
    channels = {"pixel_values": tiny_config(model_type).num_channels} | dict(loadable()[model_type].extra_inputs)
    images = {name: torch.rand(size, count, height, width, generator=generator) for name, count in channels.items()}
    return images | {"labels": labels}
