"""Time a whole network in every form in which it can be run, all in one interleaved run.

    python scripts/benchmark_network.py --output benchmarks/results
    python scripts/benchmark_network.py --widths 8 --rivals contiguous folded --passes inference

Prints, for each width, the median of the seconds for a slice, how many times as fast as the contiguous network a rival
is (the median of the ratios of one round's runs, with their quartiles), and the share of ``sgemm``'s rate that it
reaches: the FLOP of the network's convolutions, counted once, by its seconds, beside a product of two matrices in the
same round. With --output also JSON and a plot; a run of some widths or passes replaces these in a file that is there.
Trust a quiet machine only; on a busy one take --threads 1 --cpu-time, which counts the process's own seconds.
"""

import argparse
import contextlib
import datetime
import importlib.util
import io
import json
import os
import platform
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import torch
from benchmark_rivals_convlstm import StraightforwardConvLSTM2d, eager_cell
from report_speed import draw, lines_of
from torch.utils.flop_counter import FlopCounterMode

from hf_lesionseg import ops
from hf_lesionseg.inference.prepared import prepare_network
from hf_lesionseg.models import MODEL_REGISTRY, layers
from hf_lesionseg.training.network import lay_out

RIVALS = ("contiguous", "channels-last", "folded", "compiled", "onnxruntime", "layer", "cell")
PASSES = ("inference", "training step")
_SGEMM = 2048  # rows and columns


@contextlib.contextmanager
def plain_convlstm(part):
    """Run the ConvLSTM layers as their equations read ("layer"), or their cell in eager PyTorch ("cell")."""
    ours = layers.ConvLSTM2d.forward, layers.convlstm_cell
    try:
        if part == "layer":
            layers.ConvLSTM2d.forward = StraightforwardConvLSTM2d.forward
        else:
            layers.convlstm_cell = eager_cell
        yield
    finally:
        layers.ConvLSTM2d.forward, layers.convlstm_cell = ours


def make_network(name, width):
    torch.manual_seed(0)
    network = MODEL_REGISTRY[name]
    return network.model_class()(network.config_class()(base_width=width)).eval()


# --- what is timed: each takes a network, which it may change, and a batch; it returns a call without arguments


def inference_call(rival, model, images):
    """A call that gives the logits of ``images``."""
    if rival == "onnxruntime":
        return _onnx_call(model, images)
    if rival in ("channels-last", "folded", "compiled"):
        model = prepare_network(
            model, "channels-last" if rival == "channels-last" else "auto", rival != "channels-last"
        )
        model = model.network
    if rival == "compiled":
        model = torch.compile(model, dynamic=False, options={"freezing": True})

    def call():
        with torch.inference_mode() if rival != "compiled" else torch.no_grad():
            return model(pixel_values=images).logits

    return call if rival not in ("layer", "cell") else _with_plain_convlstm(rival, call)


def training_call(rival, model, batch):
    """A call that runs forward and backward and gives the loss."""
    lay_out(model, "cpu", channels_last=rival in ("channels-last", "compiled"))
    forward = torch.compile(model, dynamic=False) if rival == "compiled" else model
    model.train()

    def call():
        loss = forward(**batch).loss
        loss.backward()
        model.zero_grad()
        return loss.detach()

    return call if rival not in ("layer", "cell") else _with_plain_convlstm(rival, call)


def _with_plain_convlstm(part, call):
    def in_place():
        with plain_convlstm(part):
            return call()

    return in_place


def _onnx_call(model, images):
    import onnxruntime

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, pixel_values):
            return self.model(pixel_values=pixel_values).logits

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # the cell of the kernels has no counterpart in ONNX
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()), plain_convlstm("cell"):
        path = Path(folder) / "network.onnx"
        torch.onnx.export(Logits(), (images,), path, dynamo=True, external_data=False)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: torch.from_numpy(session.run(None, {name: images.numpy()})[0])


def why_not(rival, kind, name):
    """Why a rival does not take part; None where it does."""
    if rival == "onnxruntime":
        missing = [each for each in ("onnxruntime", "onnx", "onnxscript") if importlib.util.find_spec(each) is None]
        return f"{' and '.join(missing)} not installed" if missing else "no training" if kind != "inference" else None
    if rival == "folded" and kind != "inference":
        return "nothing is folded in training"
    if rival in ("layer", "cell") and name != "clci-net":
        return "no ConvLSTM"
    return None


# --- timing


def count_flop(call):
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def rounds(calls, repeats, clock):
    """Seconds of each call by name, one after the other in every round; a first round warms up."""
    seconds = {name: [] for name in calls}
    for repeat in range(repeats + 1):
        for name, call in calls.items():
            begun = clock()
            call()
            if repeat:
                seconds[name].append(clock() - begun)
    return seconds


def compare(options, width, kind):
    """One row for each rival, of one width and pass."""
    model = make_network(options.network, width)
    height, across = options.size
    images = torch.rand(options.batch_size, model.config.num_channels, height, across)
    labels = (torch.rand(options.batch_size, height, across) > 0.95).long()
    batch = {"pixel_values": images, "labels": labels}
    if kind != "inference" and "dwi" in getattr(model.config, "target_channels", ()):
        batch["dwi"] = torch.rand(options.batch_size, 1, height, across)
    wanted = [rival for rival in RIVALS if rival in options.rivals or rival == "contiguous"]
    calls, left_out = {}, {}
    for rival in wanted:
        if reason := why_not(rival, kind, options.network):
            left_out[rival] = reason
            continue
        own = make_network(options.network, width)
        calls[rival] = inference_call(rival, own, images) if kind == "inference" else training_call(rival, own, batch)
    results = {rival: call() for rival, call in calls.items()}  # compiles; also equal results before speed
    # dropout draws from one generator, so that losses of a training step are not compared
    difference = {
        rival: (result - results["contiguous"]).abs().max().item() if kind == "inference" else None
        for rival, result in results.items()
    }
    flop = count_flop(calls["contiguous"])
    left, right = torch.rand(2, _SGEMM, _SGEMM).unbind()
    clock = time.process_time if options.cpu_time else time.perf_counter
    times = rounds({**calls, "sgemm": lambda: left @ right}, options.repeats, clock)
    sgemm_rate = 2 * _SGEMM**3 / statistics.median(times["sgemm"])
    return [
        row_of(options, width, kind, rival, times, flop, sgemm_rate) | {"largest_difference": difference[rival]}
        for rival in calls
    ], left_out


def row_of(options, width, kind, rival, times, flop, sgemm_rate):
    """What is kept of one rival's seconds."""
    ratios = [plain / own for plain, own in zip(times["contiguous"], times[rival], strict=True)]
    quartiles = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    seconds = statistics.median(times[rival])
    return {
        "network": options.network,
        "width": width,
        "pass": kind,
        "threads": torch.get_num_threads(),
        "rival": rival,
        "seconds_per_slice": seconds / options.batch_size,
        "times_contiguous": quartiles,  # as fast: lower quartile, median, upper quartile
        "gflop_per_slice": flop / options.batch_size / 1e9,
        "sgemm_gflop_per_s": sgemm_rate / 1e9,
        "share_of_sgemm": flop / seconds / sgemm_rate,
    }


def conditions(options):
    return {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "backend": ops.backend(),
        "batch_size": options.batch_size,
        "size": list(options.size),
        "repeats": options.repeats,
        "seconds": "of the process" if options.cpu_time else "of the wall clock",
        "load_average": list(os.getloadavg()),
    }


def _processor():
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def joined(path, result):
    """This run's rows, and those of other widths, passes, networks and numbers of threads that the file holds."""
    if not path.is_file():
        return result
    there = json.loads(path.read_text())
    names = ("network", "width", "pass", "threads")
    new = {tuple(row[name] for name in names) for row in result["rows"]}
    kept = [row for row in there.get("rows", ()) if tuple(row[name] for name in names) not in new]
    rows = sorted(
        [*kept, *result["rows"]],
        key=lambda row: (row["network"], row["threads"], PASSES.index(row["pass"]), row["width"],
                         RIVALS.index(row["rival"])),
    )  # fmt: skip
    return {**result, "rows": rows}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=sorted(MODEL_REGISTRY), default="clci-net")
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 16, 32], metavar="N", help="base_width")
    parser.add_argument("--rivals", nargs="+", choices=RIVALS, default=RIVALS, metavar="NAME", help=", ".join(RIVALS))
    parser.add_argument("--passes", nargs="+", choices=("inference", "training"), default=("inference", "training"))
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--size", type=int, nargs=2, default=(224, 176), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, help="default: torch's")
    parser.add_argument("--cpu-time", action="store_true", help="seconds of the process, for one thread")
    parser.add_argument("--output", type=Path, metavar="DIR", help="write network_cpu_float32.json and .png here")
    return parser.parse_args()


def main():
    options = parse_arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    kinds = [kind for kind in PASSES if kind.split()[0] in options.passes]
    rows = []
    for width in options.widths:
        for kind in kinds:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of compilers and exporters
                found, left_out = compare(options, width, kind)
            rows += found
            print(f"\n{options.network}, width {width}, {kind}")
            print("\n".join(lines_of(found)))
            for rival, reason in left_out.items():
                print(f"{rival}: {reason}")
            if options.output:  # after each, so that a run that is broken off leaves what it measured
                options.output.mkdir(parents=True, exist_ok=True)
                path = options.output / "network_cpu_float32.json"
                result = joined(path, {"conditions": conditions(options), "rows": rows})
                path.write_text(json.dumps(result, indent=1) + "\n")
                draw(result, path.with_suffix(".png"))


if __name__ == "__main__":
    main()
