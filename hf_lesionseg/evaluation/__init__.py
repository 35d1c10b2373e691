"""How good the masks are: metrics with one policy for empty masks, summaries, tables and figures.

Names resolve on first use, so that importing this package loads neither nibabel nor matplotlib.
"""

import importlib

_PUBLIC = {
    "METRICS": ".metrics",
    "CaseMetrics": ".scored_case",
    "EmptyRule": ".metrics",
    "MaskPair": ".mask_pair",
    "Metric": ".metrics",
    "ScoringOptions": ".scoring_options",
    "VoxelCounts": ".voxel_counts",
    "case_metrics": ".scored_case",
    "count_voxels": ".voxel_counts",
    "evaluate_folders": ".evaluate",
    "failed_case": ".scored_case",
    "print_summary": ".report",
    "summarize": ".summary",
}

__all__ = list(_PUBLIC)


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
