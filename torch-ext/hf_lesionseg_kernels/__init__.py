"""hf_lesionseg's kernels as a Hub kernel: fused ConvLSTM cell, and layers that ``kernels.kernelize`` swaps in."""

from . import layers
from .ops.convlstm_cell import convlstm_cell

__all__ = ["convlstm_cell", "layers"]
