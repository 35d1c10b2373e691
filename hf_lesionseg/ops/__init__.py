"""The two kernels' Python face: compiled C++ and CUDA where it was built, plain PyTorch everywhere else.

``HF_LESIONSEG_KERNELS`` chooses at run time: ``auto`` (compiled where there is a compiled kernel, the default),
``reference`` (plain PyTorch), ``jit`` (compile the packaged sources on first use; needs a C++ compiler and ninja).
:func:`backend` says what each op does on each device. Importing this package imports torch and nothing else.
"""

from .convlstm_cell import convlstm_cell
from .library import backend, load_compiled
from .roi_sampling import roi_paste, roi_sample

__all__ = ["backend", "convlstm_cell", "roi_paste", "roi_sample"]

# After the schemas are known. Programs saved by torch.export find the compiled kernels as soon as this is imported.
load_compiled()
