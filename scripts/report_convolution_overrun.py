"""Show, in plain PyTorch, a backward pass on a CPU that writes beyond its memory.

In words, for a report to PyTorch: with torch 2.13 (oneDNN, AVX-512, glibc), the backward pass of ``Conv2d(8, 16,
kernel_size=1, stride=2)`` on channels-last images of 80 x 80 pixels writes behind the end of a buffer. It happens with
fewer than 16 input channels, a stride above 1 and channels last only: contiguous images, or 16 channels, are safe.
Nothing fails at once; with the checks of glibc's heap on (``MALLOC_CHECK_=3``, as set below) the process aborts with
"free(): invalid pointer" or the like, or with a segmentation fault.

Runs the backward pass of each row in a process of its own and says how it ended. As long as the first row ends by a
signal, training has to keep such networks contiguous (``hf_lesionseg/models/memory_format.py``); once it ends well with
the oldest torch that this package allows, ``narrow_strided_convolution`` can go.
"""

import subprocess
import sys

import torch

_BACKWARD = """
import torch
torch.manual_seed(0)
for _ in range(30):
    images = torch.rand(4, {channels}, 80, 80).to(memory_format=torch.{layout})
    layer = torch.nn.Conv2d({channels}, 16, 1, stride={stride}).to(memory_format=torch.{layout})
    layer(images).sum().backward()
    others = [torch.rand(7 * length + 1) for length in range(50)]
"""

#: channels, stride, memory format: the faulty one, then each difference that makes it safe.
_ROWS = (
    (8, 2, "channels_last"),
    (8, 2, "contiguous_format"),
    (8, 1, "channels_last"),
    (16, 2, "channels_last"),
)
_CHECKS = {"MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165", "LD_PRELOAD": "libc_malloc_debug.so.0"}


def how_it_ends(channels, stride, layout):
    """Run the backward pass with glibc's checks; "well", or the signal and the last line that it wrote."""
    script = _BACKWARD.format(channels=channels, stride=stride, layout=layout)
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"OMP_NUM_THREADS": "1", **_CHECKS}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode == 0:
        return "well"
    said = done.stderr.strip().splitlines()
    return f"with status {done.returncode}" + (f": {said[-1]}" if said else "")


def main():
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    for channels, stride, layout in _ROWS:
        end = how_it_ends(channels, stride, layout)
        print(f"Conv2d({channels}, 16, 1, stride={stride}) {layout:17} ends {end}", flush=True)


if __name__ == "__main__":
    main()
