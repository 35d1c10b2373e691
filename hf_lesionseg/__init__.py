"""Train, publish, download and run lesion-segmentation networks the Hugging Face way, on NIfTI scans.

Importing this package registers every network, the image processor and the pipeline task with transformers::

    import hf_lesionseg
    from transformers import AutoModel

    model = AutoModel.from_pretrained("org/clci-net")

The import itself loads neither torch nor transformers: public names are resolved on first use, and the Auto factories
are filled when transformers loads them (see :mod:`hf_lesionseg.registration`).
"""

import importlib

from .models import loadable
from .registration import register_with_transformers

__version__ = "0.1.0"

#: Public name -> the module that defines it.
_PUBLIC = {
    **{name: module for network in loadable().values() for name, module in network.classes.items()},
    "LesionImageProcessor": f"{__name__}.models.image_processing_lesion",
    "LesionSegmentationPipeline": f"{__name__}.inference.pipeline",
    "Network": f"{__name__}.models.networks",
    "register_network": f"{__name__}.auto",
    "Recipe": f"{__name__}.training.recipe",
    "load_recipe": f"{__name__}.training.recipe",
    "PreparedDataset": f"{__name__}.datasets.prepared",
    "packaged_model": f"{__name__}.pretrained",
    "read_scan": f"{__name__}.imaging",
    "write_mask": f"{__name__}.imaging",
}
_ROOMS = {"auto", "datasets", "errors", "evaluation", "export", "hub", "imaging", "inference", "models", "ops"}
_ROOMS |= {"pretrained", "reproduce", "testing", "training"}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_PUBLIC, *_ROOMS})


register_with_transformers()
