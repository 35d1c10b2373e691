"""The register calls that make transformers' Auto classes and pipelines know this package, one function per factory.

``import hf_lesionseg`` has them made as soon as transformers loads the factories (:mod:`hf_lesionseg.registration`);
:func:`register` makes them all at once. None of them raises: a module of ours that cannot be imported, or a factory
that transformers no longer has, is named in a warning, and everything else goes on working.
"""

import traceback
import warnings
from pathlib import Path

from .models import MODEL_REGISTRY, Network, loadable

_HERE = Path(__file__).parent

#: Causes that a warning has named: each is named once, though several factories may lack a network for it.
_named = set()


def register():
    """Make all register calls; loads transformers and torch. Doing it twice changes nothing."""
    register_configs()
    register_models()
    register_image_processor()
    register_pipeline()


def register_network(network: Network) -> None:
    """Add a network of another package: it trains, segments and is saved like those of this one.

    Parameters
    ----------
    network : Network
        With the full names of its ``modules``.

    Examples
    --------
    ::

        import hf_lesionseg

        hf_lesionseg.register_network(
            hf_lesionseg.Network("toy", "ToyConfig", "ToyModel", modules=("toy.configuration", "toy.modeling"))
        )
    """
    MODEL_REGISTRY[network.model_type] = network
    register()


def register_configs():
    """``AutoConfig``: loads the configurations, but no modeling code."""

    def register_one(network):
        from transformers import AutoConfig

        AutoConfig.register(network.model_type, network.config_class(), exist_ok=True)

    _for_each_network("AutoConfig", register_one)


def register_models():
    """``AutoModel`` and ``AutoModelForSemanticSegmentation``."""

    def register_one(network):
        from transformers import AutoModel, AutoModelForSemanticSegmentation

        model = network.model_class()
        for factory in (AutoModel, AutoModelForSemanticSegmentation):
            factory.register(model.config_class, model, exist_ok=True)

    _for_each_network("AutoModel", register_one)


def register_image_processor():
    """``AutoImageProcessor``: the one image processor, for every network."""

    def register_one(network):
        # Some versions have a stand-in at transformers.AutoImageProcessor where torchvision is absent.
        from transformers.models.auto.image_processing_auto import AutoImageProcessor

        from .models.image_processing_lesion import LesionImageProcessor

        # "pil" is the key that transformers resolves where torchvision is absent.
        classes = {"pil": LesionImageProcessor}
        AutoImageProcessor.register(network.config_class(), image_processor_classes=classes, exist_ok=True)

    _for_each_network("AutoImageProcessor", register_one)


def register_pipeline():
    """``transformers.pipeline("lesion-segmentation")``."""
    try:
        from .inference.pipeline import register_pipeline as register_task

        register_task()
    except Exception as error:  # as below
        _warn_of({_cause(error): ["the task lesion-segmentation"]}, "transformers.pipeline")


def _for_each_network(factory, register_one):
    failures = {}
    for network in loadable().values():
        try:
            register_one(network)
        # Whatever a broken module raises: it may not end an import of transformers that somebody else asked for.
        except Exception as error:
            failures.setdefault(_cause(error), []).append(network.model_type)
    _warn_of(failures, factory)


def _cause(error):
    """The error in one line, with the line of this package that it comes from."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if _HERE in Path(frame.filename).parents]
    return f"{type(error).__name__}: {error} ({ours[-1].filename}, line {ours[-1].lineno})"


def _warn_of(failures, factory):
    for cause, names in failures.items():
        if cause not in _named:
            _named.add(cause)
            warnings.warn(
                f"hf_lesionseg cannot register {', '.join(names)} with {factory}: {cause}", RuntimeWarning, stacklevel=2
            )
