"""Register with transformers' factories when it loads them, so that ``import hf_lesionseg`` need not load it.

transformers has no plug-in mechanism, and importing it takes seconds, which ``lesionseg --help`` must not pay. So a
finder on ``sys.meta_path`` notices which modules are being imported, and whenever an import of transformers or of this
package has come to its end it has the register calls of :mod:`hf_lesionseg.auto` made for the factories that are loaded
by then. In the middle of an import it waits: transformers loads factories on the way to modules that our networks build
on. Modules are found, loaded and executed as ever. Once every factory knows us the finder is gone.
"""

import importlib.machinery
import sys
import threading
import warnings

from . import auto

#: Module of transformers that holds a factory -> the register calls for it.
FACTORIES = {
    "transformers.models.auto.configuration_auto": auto.register_configs,
    "transformers.models.auto.modeling_auto": auto.register_models,
    "transformers.models.auto.image_processing_auto": auto.register_image_processor,
    "transformers.pipelines": auto.register_pipeline,
}
_WATCHED = ("transformers", __package__)


class _Watch(threading.local):
    """What one thread is doing; a module that another thread imports is waited for by Python's own import locks."""

    imports_under_way = 0
    registering = False


class _WatchedLoader:
    """Load a module as its own loader would, and notify the finder when that begins and ends."""

    def __init__(self, loader, finder):
        self.loader, self.finder = loader, finder

    def __getattr__(self, name):  # resources, source and the like
        return getattr(self.loader, name)

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        # From here on the module is as if this loader had never been.
        module.__loader__ = module.__spec__.loader = self.loader
        self.finder.watch.imports_under_way += 1
        try:
            self.loader.exec_module(module)
        finally:
            self.finder.watch.imports_under_way -= 1
            self.finder.register_loaded()


class FactoryFinder:
    """Find modules as the other finders do, and register with each factory once it is loaded."""

    def __init__(self):
        self.watch = _Watch()
        self.pending = dict(FACTORIES)
        self.looked_for = False

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in _WATCHED:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = None if finder is self or find is None else find(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _WatchedLoader(spec.loader, self)
                return spec
        return None

    def register_loaded(self):
        """Register with the factories that are loaded, unless this thread is in the middle of an import."""
        if self.watch.imports_under_way or self.watch.registering or "transformers" not in sys.modules:
            return
        self.watch.registering = True
        try:
            self.look_for_factories()
            while ready := [name for name in self.pending if name in sys.modules]:
                for name in ready:
                    self.register_with(name)
        finally:
            self.watch.registering = False
        if not self.pending and self in sys.meta_path:
            sys.meta_path.remove(self)

    def look_for_factories(self):
        """Register at once, and say so, with what has moved: its module will never be loaded."""
        if self.looked_for:
            return
        self.looked_for = True
        moved = [name for name in self.pending if name not in sys.modules and not _exists(name)]
        if moved:
            version = getattr(sys.modules["transformers"], "__version__", "of unknown version")
            warnings.warn(
                f"hf_lesionseg does not find {', '.join(moved)} in transformers {version} and registers its networks "
                "at once instead, which loads torch; install a newer hf_lesionseg",
                RuntimeWarning,
                stacklevel=2,
            )
        for name in moved:
            self.register_with(name)

    def register_with(self, name):
        register = self.pending.get(name)  # None where another thread was faster
        if register is not None:
            register()
            self.pending.pop(name, None)


def _exists(name):
    """Whether a module of transformers can be found, without importing anything."""
    parts, path = name.split("."), sys.modules["transformers"].__path__
    for count in range(2, len(parts) + 1):
        spec = importlib.machinery.PathFinder.find_spec(".".join(parts[:count]), path)
        if spec is None:
            return False
        path = spec.submodule_search_locations
    return True


def register_with_transformers():
    """Register with the factories that are loaded already, and with the others as soon as transformers loads them."""
    finder = FactoryFinder()
    sys.meta_path.insert(0, finder)
    finder.register_loaded()
