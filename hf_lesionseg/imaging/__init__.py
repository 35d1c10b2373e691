"""Scan files in and out: read and checked, written aside and renamed; perfusion series and the maps made of them."""

from .atomic import replace_folder_aside, write_aside
from .mask_writers import mask_writer
from .metaimage import write_metaimage
from .perfusion.channels import perfusion_channels
from .perfusion.deconvolution import PerfusionMaps, PerfusionOptions, perfusion_maps
from .perfusion.series import PerfusionSeries, read_perfusion_series
from .scan import Scan, read_mask, read_scan
from .writing import write_mask, write_volume

__all__ = [
    "PerfusionMaps",
    "PerfusionOptions",
    "PerfusionSeries",
    "Scan",
    "mask_writer",
    "perfusion_channels",
    "perfusion_maps",
    "read_mask",
    "read_perfusion_series",
    "read_scan",
    "replace_folder_aside",
    "write_aside",
    "write_mask",
    "write_metaimage",
    "write_volume",
]
