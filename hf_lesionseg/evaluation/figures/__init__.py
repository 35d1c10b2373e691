"""Figures of data, training and results as PNG files, drawn without pyplot and so without any global state."""

from .curves import compare_runs, training_curves
from .distributions import dice_distribution, lesion_volume_histograms
from .generated_dwi import DWIRow, dwi_sheet, heat_map_sheet
from .overlays import OverlayPanel, extract_panel, overlay_sheet

__all__ = [
    "DWIRow",
    "OverlayPanel",
    "compare_runs",
    "dice_distribution",
    "dwi_sheet",
    "extract_panel",
    "heat_map_sheet",
    "lesion_volume_histograms",
    "overlay_sheet",
    "training_curves",
]
