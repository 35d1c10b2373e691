"""The kernels of hf_lesionseg as a Hub kernel, and layers that ``kernels.kernelize`` swaps in."""

from . import layers
from .ops.convlstm_cell import convlstm_cell
from .ops.roi_sampling import roi_paste, roi_sample

__all__ = ["convlstm_cell", "layers", "roi_paste", "roi_sample"]
