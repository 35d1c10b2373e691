"""Time the fused ConvLSTM cell against the same cell in eager PyTorch, both in one interleaved run.

    python scripts/benchmark_convlstm_cell.py --output benchmarks/results/convlstm_cell.json

Prints a table; ``ratio`` is eager / fused, the median of the ratios of paired runs with their quartiles. On a machine
that does other work too, trust the ratios of the quiet rows only: eager PyTorch waits at a barrier after each of its
operations, and a busy core holds it up far more than it holds up one fused pass.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import time
from pathlib import Path

import torch

from hf_lesionseg.models import reference_ops
from hf_lesionseg.ops import backend, convlstm_cell

#: batch, filters, height, width: the ConvLSTM layers of CLCI-Net at 224 x 176, from the finest to the coarsest.
SIZES = [(4, 32, 224, 176), (4, 64, 112, 88), (4, 128, 56, 44), (4, 256, 28, 22), (4, 256, 14, 11), (1, 32, 224, 176)]


def passes(cell, gates, state, grad_hidden):
    """The forward pass alone, and forward with backward to gates and state."""

    def forward():
        with torch.no_grad():
            cell(gates, state)

    def forward_backward():
        hidden, _ = cell(gates, state)
        torch.autograd.grad(hidden, (gates, state), grad_hidden)

    return {"forward": forward, "forward+backward": forward_backward}


def seconds(function, device):
    start = time.perf_counter()
    function()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(size, dtype, device, repeats):
    """Rows of the table for one size: times in milliseconds and the ratio's median and quartiles."""
    batch, filters, height, width = size
    gates = torch.randn(batch, 4 * filters, height, width, dtype=dtype, device=device, requires_grad=True)
    state = torch.randn(batch, filters, height, width, dtype=dtype, device=device, requires_grad=True)
    grad_hidden = torch.randn_like(state)
    eager = passes(reference_ops.convlstm_cell, gates, state, grad_hidden)
    fused = passes(convlstm_cell, gates, state, grad_hidden)
    for name in eager:
        for candidate in (eager[name], fused[name]):
            seconds(candidate, device)  # the first call pays for memory and threads
        pairs = [(seconds(eager[name], device), seconds(fused[name], device)) for _ in range(repeats)]
        low, median, high = statistics.quantiles([a / b for a, b in pairs], n=4)
        yield {
            "size": list(size),
            "pass": name,
            "eager_ms": 1e3 * statistics.median(a for a, _ in pairs),
            "fused_ms": 1e3 * statistics.median(b for _, b in pairs),
            "ratio": median,
            "ratio_quartiles": [low, high],
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "float64", "bfloat16", "float16"), default="float32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output", type=Path, help="write the results there as JSON")
    arguments = parser.parse_args()

    path = backend()["convlstm_cell"][arguments.device]
    if path not in ("compiled", "jit"):
        parser.error(
            f"the fused cell is {path!r} on {arguments.device}: there is nothing to compare with eager PyTorch"
        )
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    print(f"{'batch x filters x height x width':34}{'pass':18}{'eager ms':>10}{'fused ms':>10}{'ratio':>8}  quartiles")
    rows = []
    for size in SIZES:
        for row in compare(size, getattr(torch, arguments.dtype), arguments.device, arguments.repeats):
            rows.append(row)
            low, high = row["ratio_quartiles"]
            print(
                f"{' x '.join(map(str, size)):34}{row['pass']:18}{row['eager_ms']:10.2f}{row['fused_ms']:10.2f}"
                f"{row['ratio']:8.2f}  {low:.2f} .. {high:.2f}",
                flush=True,
            )
    if arguments.output is not None:
        cuda = arguments.device == "cuda"
        record = {
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "device": torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "torch": torch.__version__,
            "dtype": arguments.dtype,
            "threads": arguments.threads,
            "repeats": arguments.repeats,
            "load_average": list(os.getloadavg()),
            "results": rows,
        }
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(record, indent=1) + "\n")
        print(f"written to {arguments.output}")


if __name__ == "__main__":
    main()
