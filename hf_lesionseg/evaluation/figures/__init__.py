"""Figures of data, training and results as PNG files, drawn without pyplot and so without any global state."""

from .comparisons import compare_dice, compare_overlays
from .curves import compare_runs, training_curves
from .distributions import dice_distribution, lesion_volume_histograms
from .overlays import OverlayPanel, extract_panel, overlay_sheet
from .perfusion import perfusion_overview

__all__ = [
    "OverlayPanel",
    "compare_dice",
    "compare_overlays",
    "compare_runs",
    "dice_distribution",
    "extract_panel",
    "lesion_volume_histograms",
    "overlay_sheet",
    "perfusion_overview",
    "training_curves",
]
