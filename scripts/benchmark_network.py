"""Slices per second of full-width CLCI-Net, forward and training step, with our ConvLSTM and with a rival.

``--rival layer`` is the straightforward two-step layer in eager PyTorch, ``--rival cell`` our layer with the cell in
eager PyTorch. The two are measured in turn in one process, so that they meet the same weather; the ratio is the median
of the ratios of neighbouring runs. Results are printed, and written as JSON with ``--output``.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import time
from datetime import date
from pathlib import Path

import torch
from benchmark_rivals_convlstm import StraightforwardConvLSTM2d, eager_cell

from hf_lesionseg import ops
from hf_lesionseg.models import layers
from hf_lesionseg.models.configuration_clci_net import CLCINetConfig
from hf_lesionseg.models.modeling_clci_net import CLCINetForSemanticSegmentation


@contextlib.contextmanager
def rival_in_place(rival):
    """Run the network's ConvLSTM layers the rival's way, with the parameters that they have."""
    ours = layers.ConvLSTM2d.forward, layers.convlstm_cell
    try:
        if rival == "layer":
            layers.ConvLSTM2d.forward = StraightforwardConvLSTM2d.forward
        else:
            layers.convlstm_cell = eager_cell
        yield
    finally:
        layers.ConvLSTM2d.forward, layers.convlstm_cell = ours


def forward(model, images, _labels):
    with torch.inference_mode():
        model.eval()(images)


def training_step(model, images, labels):
    model.train()(images, labels=labels).loss.backward()
    model.zero_grad()


def measure(work, model, images, labels, rival, repeats):
    """Seconds of each run: ours, and the rival's."""
    ours, theirs = [], []
    for repeat in range(repeats + 1):  # the first round warms up
        for seconds, in_place in ((ours, contextlib.nullcontext()), (theirs, rival_in_place(rival))):
            with in_place:
                begun = time.perf_counter()
                work(model, images, labels)
                if repeat:
                    seconds.append(time.perf_counter() - begun)
    return ours, theirs


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rival", choices=("layer", "cell"), default="layer")
    parser.add_argument("--base-width", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    model = CLCINetForSemanticSegmentation(CLCINetConfig(base_width=arguments.base_width))
    images = torch.rand(arguments.batch_size, 1, 224, 176)
    labels = (torch.rand(arguments.batch_size, 224, 176) > 0.95).long()
    result = {
        "date": date.today().isoformat(),
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "backend": ops.backend(),
        "rival": arguments.rival,
        "load_average": list(os.getloadavg()),
        "base_width": arguments.base_width,
        "batch_size": arguments.batch_size,
        "repeats": arguments.repeats,
        "slices_per_second": {},
        "ratio": {},
    }
    for name, work in (("forward", forward), ("training step", training_step)):
        ours, theirs = measure(work, model, images, labels, arguments.rival, arguments.repeats)
        rates = {who: arguments.batch_size / statistics.median(s) for who, s in (("ours", ours), ("rival", theirs))}
        ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
        result["slices_per_second"][name], result["ratio"][name] = rates, ratio
        print(
            f"{name:14} ours {rates['ours']:.3f}  rival {rates['rival']:.3f} slices/s  ratio {ratio:.2f}",
            flush=True,
        )
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
