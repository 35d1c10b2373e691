"""The networks. Flat on purpose: what lies here can be published to the Hub as remote code as it is.

To add a network: write ``configuration_<m>.py`` and ``modeling_<m>.py`` and add a row to ``MODEL_REGISTRY``; the Auto
classes, the shared model tests and the remote-code publisher take it from there.
"""

import importlib

#: model_type -> (name of the config class, name of the model class)
MODEL_REGISTRY = {
    "clci-net": ("CLCINetConfig", "CLCINetForSemanticSegmentation"),
    "res-unet": ("ResUNetConfig", "ResUNetForSemanticSegmentation"),
    "unet-bn": ("UNetBNConfig", "UNetBNForSemanticSegmentation"),
    "fcn-8s": ("FCN8sConfig", "FCN8sForSemanticSegmentation"),
    "pspnet": ("PSPNetConfig", "PSPNetForSemanticSegmentation"),
    "deeplabv3-plus": ("DeepLabV3PlusConfig", "DeepLabV3PlusForSemanticSegmentation"),
    "dense-unet": ("DenseUNetConfig", "DenseUNetForSemanticSegmentation"),
    "l-snet": ("LSNetConfig", "LSNetForSemanticSegmentation"),
    "resnet-unet": ("ResNetUNetConfig", "ResNetUNetForSemanticSegmentation"),
    "attention-unet": ("AttentionUNetConfig", "AttentionUNetForSemanticSegmentation"),
    "resnet-fcn": ("ResNetFCNConfig", "ResNetFCNForSemanticSegmentation"),
    "coarse-to-fine": ("CoarseToFineConfig", "CoarseToFineForSemanticSegmentation"),
    "ms-dcnn": ("MSDCNNConfig", "MSDCNNForSemanticSegmentation"),
    "egs-net": ("EGSNetConfig", "EGSNetForSemanticSegmentation"),
}

#: The same of what consists of networks that were trained one by one; nothing here is trained itself.
ENSEMBLE_REGISTRY = {"fold-ensemble": ("FoldEnsembleConfig", "FoldEnsembleForSemanticSegmentation")}


def module_name(kind, model_type):
    """Full name of the module of a network; ``kind`` is "configuration" or "modeling".

    Examples
    --------
    >>> module_name("modeling", "clci-net")
    'hf_lesionseg.models.modeling_clci_net'
    """
    return f"{__name__}.{kind}_{model_type.replace('-', '_')}"


def loadable():
    """``{model_type: (name of the config class, name of the model class)}`` of all that can be loaded."""
    return {**MODEL_REGISTRY, **ENSEMBLE_REGISTRY}


def configurations():
    """Yield ``(model_type, config class)`` of every network; imports no modeling code."""
    for model_type, (config_name, _) in MODEL_REGISTRY.items():
        yield model_type, getattr(importlib.import_module(module_name("configuration", model_type)), config_name)


def registered_models():
    """Yield ``(config class, model class)`` of every network."""
    for model_type, config in configurations():
        module = importlib.import_module(module_name("modeling", model_type))
        yield config, getattr(module, MODEL_REGISTRY[model_type][1])
