"""From a scan and a published network to a mask on the scan's own grid.

``pipeline`` is the transformers pipeline of the task ``"lesion-segmentation"``; ``segment`` runs it over many cases and
writes mask, lesions, preview and run record of each; ``loading`` finds the network. Names resolve on first use, so that
importing this package loads neither torch nor transformers.
"""

import importlib

_PUBLIC = {
    "CaseInput": ".case_input",
    "parse_cases": ".case_input",
    "LoadedModel": ".loading",
    "MaskOptions": "..models.mask_options",
    "ModelSource": ".loading",
    "load_model": ".loading",
    "LesionSegmentationPipeline": ".pipeline",
    "register_pipeline": ".pipeline",
    "CaseOutcome": ".outcomes",
    "SegmentationRun": ".outcomes",
    "Computing": ".run_options",
    "SeriesOptions": ".run_options",
    "segment_cases": ".segment",
}

__all__ = list(_PUBLIC)


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
