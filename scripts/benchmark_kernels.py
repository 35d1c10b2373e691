"""Time the package's kernels against what a user could pick instead, all in one interleaved run.

    python scripts/benchmark_kernels.py --output benchmarks/results
    python scripts/benchmark_kernels.py --only roi_sample roi_paste --repeats 20

Prints, for each kernel and size, the median of ours in milliseconds and how many times as long each rival takes (the
median of the ratios of paired runs, with their quartiles); GB/s are the bytes that must be moved at least, beside the
copy bandwidth of the machine. With --output also JSON and a plot. Trust ratios of a quiet machine only: a busy core
holds eager PyTorch up, which waits at a barrier after each of its operations, more than one fused pass.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import benchmark_rivals_convlstm as convlstm
import benchmark_rivals_roi as roi
import torch

from hf_lesionseg.ops import backend, convlstm_cell, roi_paste, roi_sample

#: Shorter calls are repeated so that a turn takes about this long.
SECONDS_PER_TURN = 0.01
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}


def both_passes(functions, arguments, grad, leaves):
    """{"forward": {name: call}, "forward+backward": {name: call}} of functions that give one tensor."""

    def forward(function):
        def call():
            with torch.no_grad():
                function(*arguments)

        return call

    def backward(function):
        return lambda: torch.autograd.grad(function(*arguments), leaves, grad, allow_unused=True)

    return {
        "forward": {name: forward(function) for name, function in functions.items()},
        "forward+backward": {name: backward(function) for name, function in functions.items()},
    }


def cell_case(size, options):
    arguments, _, grad, _ = convlstm.cell_inputs(size, dtype=options.dtype, device=options.device)
    functions = {"ours": convlstm_cell} | convlstm.cell_rivals()
    hidden = {name: lambda *given, function=function: function(*given)[0] for name, function in functions.items()}
    cells = grad.numel() * grad.element_size()
    # Gates and state in, hidden and cell out; back: gates, state and gradient in, gradients to gates and state out.
    moved = {"forward": 7 * cells, "forward+backward": (7 + 11) * cells}
    return both_passes(hidden, arguments, grad, arguments), moved


def layer_case(size, options):
    layer, steps, grad = convlstm.layer_inputs(size, device=options.device)
    functions = {"ours": layer} | convlstm.layer_rivals(layer)
    return both_passes(functions, steps, grad, [*steps, *layer.parameters()]), {}


def roi_case(size, options, *, paste):
    arguments, grad = roi.inputs(size, paste=paste, dtype=options.dtype, device=options.device)
    functions = {"ours": roi_paste} | roi.pasting_rivals() if paste else {"ours": roi_sample} | roi.sampling_rivals()
    leaves = arguments[:2]
    item, channels = grad.element_size(), grad.shape[1]
    x1, y1, x2, y2 = arguments[1].detach().unbind(1)
    covered = int(((x2 - x1) * (y2 - y1)).sum()) * channels * item
    outputs, inputs = grad.numel() * item, arguments[0].numel() * item
    # Sampling reads what the boxes cover; the backward pass that and the gradients, and it writes all of the images'.
    read = inputs if paste else covered
    moved = {"forward": read + outputs, "forward+backward": 2 * (read + outputs) + inputs}
    return both_passes(functions, arguments, grad, leaves), moved


#: Name of the group: its sizes, and how to make a case of one.
GROUPS = {
    "cell": (convlstm.SIZES, cell_case),
    "cell, batch 32": (convlstm.LARGE_SIZES, cell_case),
    "layer": (convlstm.SIZES, layer_case),
    "roi_sample": (roi.SIZES, lambda size, options: roi_case(size, options, paste=False)),
    "roi_paste": (roi.SIZES, lambda size, options: roi_case(size, options, paste=True)),
}


def label_of(size):
    if isinstance(size[0], tuple):
        (batch, channels, height, width), boxes, side = size
        return f"{batch}x{channels}x{height}x{width}, {boxes} of {side}x{side}"
    return "x".join(map(str, size))


def seconds(call, device):
    if device == "cuda":
        torch.cuda.synchronize()
    begun = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def compare(calls, device, repeats):
    """Seconds of each call, in turn ``repeats`` times; a short call is run several times in a turn, as a loop would."""
    turns = {}
    for name, call in calls.items():
        seconds(call, device)  # the first call pays for memory, threads and compilation
        turns[name] = max(1, min(100, int(SECONDS_PER_TURN / seconds(call, device))))

    def turn(name):
        def several():
            for _ in range(turns[name]):
                calls[name]()

        return seconds(several, device) / turns[name]

    times = {name: [] for name in calls}
    for _ in range(repeats):
        for name in calls:
            times[name].append(turn(name))
    return times


def row_of(group, size, kind, times, moved):
    ours = statistics.median(times["ours"])
    row = {"group": group, "size": label_of(size), "pass": kind, "ms": {}, "ratio": {}}
    for name, spent in times.items():
        row["ms"][name] = round(1e3 * statistics.median(spent), 4)
        if name != "ours":
            ratios = [theirs / mine for theirs, mine in zip(spent, times["ours"], strict=True)]
            row["ratio"][name] = [round(value, 3) for value in statistics.quantiles(ratios, n=4)]
    if kind in moved:
        row["gb_per_s"] = round(moved[kind] / ours / 1e9, 2)
    return row


def copy_bandwidth(device, megabytes=256):
    """GB/s of torch's copy, bytes read and bytes written."""
    source = torch.ones(megabytes * 2**18, device=device)
    target = torch.empty_like(source)
    spent = [seconds(lambda: target.copy_(source), device) for _ in range(12)]
    return round(2 * source.numel() * 4 / statistics.median(spent[2:]) / 1e9, 2)


def peak_memory(group, index, kind, name, options):
    """Bytes that one call adds to the memory in use at its peak; on a CPU in a process of its own."""
    size, make = GROUPS[group][0][index], GROUPS[group][1]
    if options.device == "cuda":
        call = make(size, options)[0][kind][name]
        call()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return torch.cuda.max_memory_allocated() - before
    arguments = ["--memory-of", group, str(index), kind, name, "--dtype", str(options.dtype).removeprefix("torch.")]
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=True)
    return int(done.stdout)


def growth_of_one_call(group, index, kind, name, options):
    """Resident bytes that one call adds at its peak (Linux)."""
    torch.set_num_threads(1)  # a thread's own arenas would count as memory of the call
    size, make = GROUPS[group][0][int(index)], GROUPS[group][1]
    make(((1, 1, 8, 8), 1, 4), options)[0][kind][name]()  # code and tables that any first call loads
    call = make(size, options)[0][kind][name]
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = resident_bytes("VmRSS")
    call()
    return resident_bytes("VmHWM") - before


def resident_bytes(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


def memory_rows(options):
    """Peak memory of RoI sampling beside grid_sample's, where a call is large enough to tell."""
    rows = []
    for index, size in enumerate(roi.SIZES):
        for kind in ("forward", "forward+backward"):
            found = {name: peak_memory("roi_sample", index, kind, name, options) for name in ("ours", "grid_sample")}
            rows.append({"group": "roi_sample", "size": label_of(size), "pass": kind, "bytes": found})
            if found["grid_sample"] > 2**23:
                share = found["ours"] / found["grid_sample"]
                print(
                    f"{label_of(size):36} {kind:17} {share:.2f} of grid_sample's {found['grid_sample'] / 2**20:.0f} MB"
                )
    return rows


def share_rows(options):
    """Milliseconds of each part of the layer, straightforward and ours."""
    rows = []
    print("\nwhere the time of a layer goes, ms:")
    for size in convlstm.SIZES:
        layer, steps, grad = convlstm.layer_inputs(size, device=options.device)
        for name, module in {"straightforward": convlstm.straightforward_layer(layer), "ours": layer}.items():
            for kind, given in (("forward", None), ("forward+backward", grad)):
                spent = convlstm.layer_shares(module, steps, given, repeats=3)
                parts = {part: round(1e3 * value, 3) for part, value in spent.items()}
                rows.append({"size": label_of(size), "layer": name, "pass": kind, "ms": parts})
                shown = "  ".join(f"{part} {value:.1f}" for part, value in parts.items())
                print(f"{label_of(size):18} {name:16} {kind:17} {shown}", flush=True)
    return rows


def summary_of(rows):
    """Per group, pass and rival: the median over sizes of the median ratios, and the least of them."""
    found = {}
    for row in rows:
        for name, (_, ratio, _) in row["ratio"].items():
            found.setdefault((row["group"], row["pass"], name), []).append(ratio)
    return [
        {"group": group, "pass": kind, "rival": name, "median": round(statistics.median(v), 2), "least": min(v)}
        for (group, kind, name), v in found.items()
    ]


def conditions(options):
    device = torch.cuda.get_device_name() if options.device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return {
        "date": datetime.date.today().isoformat(),
        "device": device,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "dtype": str(options.dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "repeats": options.repeats,
        "load": round(os.getloadavg()[0], 2),
        "backend": {name: paths[options.device] for name, paths in backend().items()},
        "copy_gb_per_s": copy_bandwidth(options.device),
    }


def draw(result, path):
    """Ratios by size, one panel for each group and pass."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    groups = list(dict.fromkeys(row["group"] for row in result["rows"]))
    figure, panels = pyplot.subplots(len(groups), 2, figsize=(13, 3.2 * len(groups)), squeeze=False)
    for line, group in zip(panels, groups, strict=True):
        for panel, kind in zip(line, ("forward", "forward+backward"), strict=True):
            rows = [row for row in result["rows"] if row["group"] == group and row["pass"] == kind]
            names = list(rows[0]["ratio"])
            for place, name in enumerate(names):
                low, middle, high = zip(*(row["ratio"][name] for row in rows), strict=True)
                at = [index + (place - len(names) / 2 + 0.5) * 0.8 / len(names) for index in range(len(rows))]
                error = [
                    [m - a for m, a in zip(middle, low, strict=True)],
                    [b - m for m, b in zip(middle, high, strict=True)],
                ]
                panel.barh(at, middle, height=0.75 / len(names), xerr=error, label=name, error_kw={"lw": 0.8})
            panel.set_yticks(range(len(rows)), [row["size"] for row in rows], fontsize=7)
            panel.invert_yaxis()
            panel.axvline(1, color="black", lw=0.8)
            panel.set_title(f"{group}, {kind}", fontsize=9)
            panel.set_xlabel("time of the rival / time of ours", fontsize=8)
            panel.legend(fontsize=7)
    where = result["conditions"]
    figure.suptitle(f"{where['device']}, {where['dtype']}, torch {where['torch']}, {where['date']}", fontsize=10)
    figure.tight_layout(rect=(0, 0, 1, 0.985))
    figure.savefig(path, dpi=110)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of cells and RoIs; layers are float32")
    parser.add_argument(
        "--only", nargs="+", choices=GROUPS, default=list(GROUPS), metavar="GROUP", help=f"{list(GROUPS)}"
    )
    parser.add_argument("--repeats", type=int, default=11, help="paired runs of each size (default: 11)")
    parser.add_argument("--memory", action="store_true", help="peak memory of roi_sample beside grid_sample's, too")
    parser.add_argument("--output", type=Path, metavar="DIR", help="write kernels_<device>_<dtype>.json and .png here")
    parser.add_argument("--memory-of", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.dtype = DTYPES[options.dtype]
    return options


def main():
    options = parse_arguments()
    if options.memory_of:
        print(growth_of_one_call(*options.memory_of, options))
        return
    where = conditions(options)
    if "reference" in where["backend"].values():
        raise SystemExit(f"nothing to time: {where['backend']}; build the kernels for {options.device} first")
    print(" ".join(f"{name} {value}" for name, value in where.items() if name != "backend"))
    rows = []
    for group in options.only:
        sizes, make = GROUPS[group]
        for size in sizes:
            passes, moved = make(size, options)
            for kind, calls in passes.items():
                row = row_of(group, size, kind, compare(calls, options.device, options.repeats), moved)
                rows.append(row)
                ratios = "  ".join(f"{n} {m:.2f} ({a:.2f}-{b:.2f})" for n, (a, m, b) in row["ratio"].items())
                speed = f"{row['gb_per_s']:6.1f} GB/s" if "gb_per_s" in row else " " * 11
                print(
                    f"{group:14} {row['size']:36} {kind:17} {row['ms']['ours']:9.3f} ms {speed}  {ratios}", flush=True
                )
    result = {"conditions": where, "rows": rows, "summary": summary_of(rows)}
    if "layer" in options.only and options.device == "cpu":
        result["shares"] = share_rows(options)
    print("\nmedian over sizes, and the least:")
    for line in result["summary"]:
        print(f"{line['group']:14} {line['pass']:17} {line['rival']:14} {line['median']:6.2f} {line['least']:6.2f}")
    if options.memory:
        result["memory"] = memory_rows(options)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        stem = options.output / f"kernels_{options.device}_{where['dtype']}"
        stem.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
        draw(result, stem.with_suffix(".png"))
        print(f"written: {stem}.json, {stem}.png")


if __name__ == "__main__":
    main()
