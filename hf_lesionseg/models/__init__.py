"""The networks. Flat on purpose: what lies here can be published to the Hub as remote code as it is.

To add a network: write ``configuration_<m>.py`` and ``modeling_<m>.py`` and add a row to ``MODEL_REGISTRY``; the Auto
classes, the shared model tests and the remote-code publisher take it from there.
"""

import importlib

#: model_type -> (name of the config class, name of the model class); modules are configuration_<m> and modeling_<m>.
MODEL_REGISTRY = {
    "clci-net": ("CLCINetConfig", "CLCINetForSemanticSegmentation"),
}


def _module(prefix, model_type):
    return importlib.import_module(f".{prefix}_{model_type.replace('-', '_')}", __name__)


def configurations():
    """Yield ``(model_type, config class)`` of every network; imports no modeling code."""
    for model_type, (config_name, _) in MODEL_REGISTRY.items():
        yield model_type, getattr(_module("configuration", model_type), config_name)


def registered_models():
    """Yield ``(config class, model class)`` of every network."""
    for model_type, config in configurations():
        yield config, getattr(_module("modeling", model_type), MODEL_REGISTRY[model_type][1])
