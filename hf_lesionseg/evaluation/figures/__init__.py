"""Figures of data, training and results as PNG files, drawn without pyplot and so without any global state."""

from .comparisons import compare_dice, compare_overlays
from .curves import compare_runs, training_curves
from .distributions import dice_distribution, lesion_volume_histograms
from .generated_dwi import DWIRow, dwi_sheet, heat_map_sheet
from .overlays import OverlayPanel, extract_panel, overlay_sheet
from .perfusion import perfusion_overview

__all__ = [
    "DWIRow",
    "OverlayPanel",
    "compare_dice",
    "compare_overlays",
    "compare_runs",
    "dice_distribution",
    "dwi_sheet",
    "extract_panel",
    "heat_map_sheet",
    "lesion_volume_histograms",
    "overlay_sheet",
    "perfusion_overview",
    "training_curves",
]
