"""Time the inference of L-SNet beside its two networks alone: what finding, sampling and pasting regions adds.

    python scripts/benchmark_regions.py
    python scripts/benchmark_regions.py --size 256 --regions 5 --architecture fcn

Prints the median of each and of the ratio of paired runs. The untrained heat map is replaced by one with as many peaks
as asked for; L-Net runs all the same.
"""

import argparse
import statistics
import time

import torch
from transformers import AutoConfig, AutoModelForSemanticSegmentation

import hf_lesionseg  # noqa: F401 - registers the networks


def build(options):
    """An L-SNet whose heat map shows ``options.regions`` peaks in a row."""
    torch.manual_seed(0)
    config = AutoConfig.for_model("l-snet", architecture=options.architecture, base_width=options.base_width)
    model = AutoModelForSemanticSegmentation.from_config(config).to(options.device).eval()
    cells = options.size // 4
    step = cells // (options.regions + 1)

    def show(module, arguments, output):
        heat_logits, distances, hidden_states = output
        heat_logits = torch.full_like(heat_logits, -9)
        heat_logits[:, cells // 2, step : step * options.regions + 1 : step] = 3
        return heat_logits, torch.full_like(distances, options.size / 10), hidden_states

    model.locator.register_forward_hook(show)
    return model


def timed(step, device):
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    result = step()
    if device == "cuda":
        torch.cuda.synchronize()
    return result, 1e3 * (time.perf_counter() - started)


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="rows and columns of the slice, a multiple of 32 (512)")
    parser.add_argument("--regions", type=int, default=3, help="(3)")
    parser.add_argument("--architecture", choices=("unet", "fcn"), default="unet")
    parser.add_argument("--base-width", type=int, default=64, help="64 in the paper")
    parser.add_argument("--repeats", type=int, default=7, help="paired runs (7)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    model = build(options)
    image = torch.rand(1, 3, options.size, options.size, device=options.device)
    regions = torch.rand(options.regions, 3, options.size, options.size, device=options.device)
    steps = {
        "L-SNet": lambda: model(image),
        "L-Net": lambda: model.locator(image),
        f"S-Net, {options.regions} regions": lambda: model.segmenter(regions),
    }
    found = steps["L-SNet"]().boxes
    if len(found) != options.regions:
        raise SystemExit(f"the heat map shows {len(found)} regions instead of {options.regions}")
    times = {name: [] for name in steps}
    for repeat in range(options.repeats + 1):
        for name, step in steps.items():
            elapsed = timed(step, options.device)[1]
            if repeat:  # the first warms up
                times[name].append(elapsed)
    for name, values in times.items():
        print(f"{name:18} {statistics.median(values):9.1f} ms")
    whole, *parts = times.values()
    ratios = sorted(total / sum(both) for total, *both in zip(whole, *parts, strict=True))
    print(f"L-SNet / sum of its networks: {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})")


if __name__ == "__main__":
    main()
