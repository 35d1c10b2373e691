"""Register our classes with transformers' Auto factories without importing transformers.

transformers has no plug-in mechanism, so ``import hf_lesionseg`` has to fill its factories. Importing transformers and
torch takes seconds, which ``lesionseg --help`` must not pay. Therefore a finder on ``sys.meta_path`` waits for the few
transformers modules that hold the factories and registers right after each has been loaded; where they are loaded
already, registration happens at once.
"""

import importlib
import importlib.abc
import importlib.util
import sys


def _register_configs(auto):
    from .models import configurations

    for model_type, config in configurations():
        auto.AutoConfig.register(model_type, config, exist_ok=True)


def _register_models(auto):
    from .models import registered_models

    for config, model in registered_models():
        auto.AutoModel.register(config, model, exist_ok=True)
        auto.AutoModelForSemanticSegmentation.register(config, model, exist_ok=True)


def _register_image_processors(auto):
    from .models import configurations
    from .models.image_processing_lesion import LesionImageProcessor

    for _, config in configurations():
        # "pil" is the key that transformers resolves where torchvision is absent.
        auto.AutoImageProcessor.register(config, image_processor_classes={"pil": LesionImageProcessor}, exist_ok=True)


def _register_pipeline(_pipelines):
    from .inference.pipeline import register_pipeline

    register_pipeline()


_ON_LOAD = {
    "transformers.models.auto.configuration_auto": _register_configs,
    "transformers.models.auto.modeling_auto": _register_models,
    "transformers.models.auto.image_processing_auto": _register_image_processors,
    "transformers.pipelines": _register_pipeline,
}


class _FactoryFinder(importlib.abc.MetaPathFinder):
    """Find the factory modules as Python would, and register once each has been executed."""

    def __init__(self, waiting):
        self.waiting = waiting

    def find_spec(self, name, path=None, target=None):
        register = self.waiting.pop(name, None)
        if register is None:
            return None
        spec = importlib.util.find_spec(name)  # not waiting any more: this asks the other finders
        if not self.waiting:
            sys.meta_path.remove(self)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_register(module):
            execute(module)
            register(module)

        spec.loader.exec_module = execute_and_register
        return spec


def register_with_transformers():
    """Fill the Auto factories now where transformers has loaded them, and as soon as it does where it has not."""
    waiting = {}
    for name, register in _ON_LOAD.items():
        if name in sys.modules:
            register(sys.modules[name])
        else:
            waiting[name] = register
    if waiting:
        sys.meta_path.insert(0, _FactoryFinder(waiting))
