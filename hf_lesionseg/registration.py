"""Register our classes with transformers' Auto factories without importing transformers.

transformers has no plug-in mechanism, so ``import hf_lesionseg`` has to fill its factories. Importing transformers and
torch takes seconds, which ``lesionseg --help`` must not pay. Therefore a finder on ``sys.meta_path`` waits for the
modules that hold the factories, and for ours that go into them: when a factory is loaded our module is imported, and
once both are complete the class is registered. It does not matter which of the two a user imports first, nor that one
of them is imported in the middle of the other.
"""

import contextlib
import functools
import importlib
import importlib.abc
import importlib.util
import sys

from .models import loadable, module_name

_AUTO = "transformers.models.auto"

#: A module of transformers that loads a factory in the middle of its own code, and that our networks build on.
_LAYERS = "transformers.modeling_layers"
_OUR_MODELS = f"{__package__}.models."


def _register_config(auto, ours, model_type):
    auto.AutoConfig.register(model_type, getattr(ours, loadable()[model_type][0]), exist_ok=True)


def _register_model(auto, ours, model_type):
    model = getattr(ours, loadable()[model_type][1])
    auto.AutoModel.register(model.config_class, model, exist_ok=True)
    auto.AutoModelForSemanticSegmentation.register(model.config_class, model, exist_ok=True)


def _register_image_processor(auto, ours):
    for model_type, (name, _) in loadable().items():
        config = getattr(importlib.import_module(module_name("configuration", model_type)), name)
        # "pil" is the key that transformers resolves where torchvision is absent.
        classes = {"pil": ours.LesionImageProcessor}
        auto.AutoImageProcessor.register(config, image_processor_classes=classes, exist_ok=True)


def _register_pipeline(_pipelines, ours):
    ours.register_pipeline()


def _links():
    """Yield ``(module of the factory, our module, function that registers the second with the first)``."""
    for model_type in loadable():
        yield (
            f"{_AUTO}.configuration_auto",
            module_name("configuration", model_type),
            functools.partial(_register_config, model_type=model_type),
        )
        yield (
            f"{_AUTO}.modeling_auto",
            module_name("modeling", model_type),
            functools.partial(_register_model, model_type=model_type),
        )
    processor = f"{__package__}.models.image_processing_lesion"
    yield f"{_AUTO}.image_processing_auto", processor, _register_image_processor
    yield "transformers.pipelines", f"{__package__}.inference.pipeline", _register_pipeline


class _LinkingLoader(importlib.abc.Loader):
    """Load a module as its own loader would, then tell the finder that it is complete."""

    def __init__(self, loader, finder):
        self.loader = loader
        self.finder = finder

    def __getattr__(self, name):  # resources, source and the like
        return getattr(self.loader, name)

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        # From here on the module is as if this loader had never been.
        module.__loader__ = module.__spec__.loader = self.loader
        with self.finder.in_the_midst_of(module.__name__):
            self.loader.exec_module(module)
        self.finder.link(module.__name__)


class _FactoryFinder(importlib.abc.MetaPathFinder):
    """Find the modules of ``links`` as Python would, and link each pair once both have been executed.

    Our modules are imported for a factory only while none of ours is half executed, nor transformers.modeling_layers:
    they import each other, and would find each other incomplete. Where a factory is loaded on the way to one of these,
    its end brings the others.
    """

    def __init__(self, links):
        self.links = links
        self.factories = {factory for factory, _, _ in links}
        self.waiting = {_LAYERS} | self.factories | {ours for _, ours, _ in links}
        self.loaded = set()
        self.asking = set()
        self.half_executed = []

    def find_spec(self, name, path=None, target=None):
        if not (name in self.waiting or name.startswith(_OUR_MODELS)) or name in self.asking:
            return None
        self.asking.add(name)  # the other finders answer; a mere probe must not use up the waiting
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.asking.discard(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _LinkingLoader(spec.loader, self)
        return spec

    @contextlib.contextmanager
    def in_the_midst_of(self, name):
        """Note that ``name`` is being executed; factories do not import us and need no note."""
        if name in self.factories:
            yield
            return
        self.half_executed.append(name)
        try:
            yield
        finally:
            self.half_executed.remove(name)

    def link(self, name):
        """Note that ``name`` is complete, register what this makes possible, import what it lacks."""
        self.waiting.discard(name)
        self.loaded.add(name)
        for factory, ours, register in self.links:
            if name in (factory, ours) and {factory, ours} <= self.loaded:
                register(sys.modules[factory], sys.modules[ours])
        for factory, ours, _ in self.links:
            if factory in self.loaded and ours not in self.loaded and not self.half_executed:
                importlib.import_module(ours)  # comes back here when it is complete


def register_with_transformers():
    """Fill the Auto factories that are loaded already now, the others as soon as transformers loads them."""
    finder = _FactoryFinder(list(_links()))
    sys.meta_path.insert(0, finder)
    for name in sorted(finder.waiting & set(sys.modules)):
        finder.link(name)
