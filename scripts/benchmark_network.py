"""Slices per second of full-width CLCI-Net, forward and training step, with the fused cell and without.

The two are measured in turn in one process; medians are printed, and written as JSON with ``--output``.
"""

import argparse
import json
import platform
import statistics
import time
from datetime import date
from pathlib import Path

import torch

from hf_lesionseg import ops
from hf_lesionseg.models import layers, reference_ops
from hf_lesionseg.models.configuration_clci_net import CLCINetConfig
from hf_lesionseg.models.modeling_clci_net import CLCINetForSemanticSegmentation

CELLS = {"fused": ops.convlstm_cell, "reference": reference_ops.convlstm_cell}


def forward(model, images, _labels):
    with torch.inference_mode():
        model.eval()(images)


def training_step(model, images, labels):
    model.train()(images, labels=labels).loss.backward()
    model.zero_grad()


def measure(work, model, images, labels, repeats):
    seconds = {name: [] for name in CELLS}
    for repeat in range(repeats + 1):  # the first round warms up
        for name, cell in CELLS.items():
            layers.convlstm_cell = cell
            begun = time.perf_counter()
            work(model, images, labels)
            if repeat:
                seconds[name].append(time.perf_counter() - begun)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base_width", type=int, default=32)
    parser.add_argument("--batch_size", type=int, default=4)
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
        "base_width": arguments.base_width,
        "batch_size": arguments.batch_size,
        "repeats": arguments.repeats,
        "slices_per_second": {},
    }
    for name, work in (("forward", forward), ("training step", training_step)):
        seconds = measure(work, model, images, labels, arguments.repeats)
        rates = {cell: arguments.batch_size / value for cell, value in seconds.items()}
        result["slices_per_second"][name] = rates
        print(
            f"{name:14} fused {rates['fused']:.3f}  reference {rates['reference']:.3f} slices/s  "
            f"ratio {rates['fused'] / rates['reference']:.2f}"
        )
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
