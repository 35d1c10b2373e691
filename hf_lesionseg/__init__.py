"""Train, publish, download and run lesion-segmentation networks the Hugging Face way, on NIfTI scans.

Importing this package registers every network, the image processor and the pipeline task with transformers::

    import hf_lesionseg
    from transformers import AutoModel

    model = AutoModel.from_pretrained("org/clci-net")

The import itself loads neither torch nor transformers: public names are resolved on first use, and the Auto factories
are filled when transformers loads them (see :mod:`hf_lesionseg.registration`).
"""

import importlib

from .registration import register_with_transformers

__version__ = "0.1.0"

_PUBLIC = {
    "CLCINetConfig": ".models.configuration_clci_net",
    "CLCINetForSemanticSegmentation": ".models.modeling_clci_net",
    "LesionImageProcessor": ".models.image_processing_lesion",
    "LesionSegmentationPipeline": ".inference.pipeline",
    "Recipe": ".training.recipe",
    "load_recipe": ".training.recipe",
    "PreparedDataset": ".datasets.prepared",
    "packaged_model": ".pretrained",
    "read_scan": ".imaging",
    "write_mask": ".imaging",
}
_ROOMS = (
    "datasets",
    "errors",
    "evaluation",
    "hub",
    "imaging",
    "inference",
    "models",
    "ops",
    "pretrained",
    "reproduce",
    "training",
)

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name], __name__), name)
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_PUBLIC, *_ROOMS])


register_with_transformers()
