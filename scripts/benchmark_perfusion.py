"""Measure the perfusion maps on the digital phantom, whose truth is known: tables in Markdown.

    python scripts/benchmark_perfusion.py
    python scripts/benchmark_perfusion.py --size 128 --repeats 1

Rows are the tissues of the phantom; each entry is the relative error of the median over a tissue, one voxel off its
edges (for Tmax the error in seconds), as mean over the repeats' noise. The phantom is no patient: it has no motion,
no beam hardening and no bolus dispersion.
"""

import argparse
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from hf_lesionseg.datasets.synthetic.perfusion.phantom import TISSUES, BolusShape, draw_phantom
from hf_lesionseg.imaging.perfusion.deconvolution import PerfusionOptions, perfusion_maps
from hf_lesionseg.imaging.perfusion.series import PerfusionSeries

CUTOFFS = (0.005, 0.02, 0.05, 0.10, 0.15, 0.20, 0.30)
#: seconds from frame to frame, and when the bolus arrives
SCANS = ((1.0, 6.3), (1.5, 6.3), (2.0, 6.3), (1.0, 3.0), (1.0, 1.0))

#: frames of a second each, of scans that end early
LENGTHS = (20, 25, 30, 35, 40, 50)


def measure(options, noise_hu, perfusion_options, frame_seconds=1.0, arrival=BolusShape.arrival, num_frames=None):
    """Errors (draws, tissue, 4) of CBF, CBV and MTT in percent and Tmax in s, and the seconds that the maps took."""
    errors, seconds = [], []
    for seed in range(options.repeats if noise_hu else 1):
        phantom = draw_phantom(
            size=options.size,
            num_slices=options.num_slices,
            num_frames=num_frames or round(options.num_frames / frame_seconds),
            noise_hu=noise_hu,
            seed=seed,
            frame_seconds=frame_seconds,
            bolus=BolusShape(arrival=arrival),
        )
        affine = np.diag([*phantom.spacing, 1])
        series = PerfusionSeries(Path("phantom"), phantom.data, affine, nib.Nifti1Header(), phantom.frame_seconds)
        started = time.process_time()
        maps = perfusion_maps(series, perfusion_options)
        seconds.append(time.process_time() - started)
        errors.append([])
        for number, tissue in enumerate(TISSUES):
            inside = ndimage.binary_erosion(phantom.tissue == number, np.ones((3, 3, 1)))
            found = {key: float(np.median(getattr(maps, key)[inside])) for key in ("cbf", "cbv", "mtt", "tmax")}
            percent = [100 * (found[key] / getattr(tissue, key) - 1) for key in ("cbf", "cbv", "mtt")]
            errors[-1].append([*percent, found["tmax"] - tissue.delay])
    return np.array(errors), np.mean(seconds)


def print_table(rows, header):
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def print_lengths(options, noises):
    rows = []
    for noise in noises:
        for num_frames in LENGTHS:
            errors = measure(options, noise, PerfusionOptions(), num_frames=num_frames)[0].mean(axis=0)
            cells = [f"{error:+.0f} %" for error in errors[:, 1]]
            worst = errors[np.abs(errors[:, 3]).argmax(), 3]
            rows.append([f"{noise:g} HU", f"{num_frames} s", *cells, f"{worst:+.1f} s"])
    print("Scans that end early; error of CBV, and the largest of Tmax:\n")
    print_table(rows, ["noise", "scan", *(tissue.name for tissue in TISSUES), "Tmax"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="rows and columns (256)")
    parser.add_argument("--num-slices", type=int, default=2, help="(2)")
    parser.add_argument("--num-frames", type=int, default=50, help="of a second each; slower scans last as long (50)")
    parser.add_argument("--noise-hu", type=float, default=5.0, help="standard deviation per voxel and frame (5)")
    parser.add_argument("--repeats", type=int, default=3, help="draws of the noise (3)")
    options = parser.parse_args()

    noises = (0.0, options.noise_hu)
    results = [measure(options, noise, PerfusionOptions()) for noise in noises]
    names = ("CBF", "CBV", "MTT", "Tmax")
    header = ["tissue", "CBF, CBV, MTT, delay"]
    header += [f"{name} at {noise:g} HU" for noise in noises for name in names]
    rows = []
    for number, tissue in enumerate(TISSUES):
        truth = f"{tissue.cbf:g}, {tissue.cbv:g}, {tissue.mtt:.1f}, {tissue.delay:g}"
        cells = [
            f"{e:+.0f} %" if k < 3 else f"{e:+.1f} s"
            for errors, _ in results
            for k, e in enumerate(errors.mean(axis=0)[number])
        ]
        rows.append([tissue.name, truth, *cells])
    print(f"Oscillation index {PerfusionOptions().oscillation_index:g} (the default):\n")
    print_table(rows, header)

    rows = []
    for noise in noises:
        for cutoff in CUTOFFS:
            errors = measure(options, noise, PerfusionOptions("cutoff", cutoff))[0].mean(axis=0)
            cells = [f"{error:+.0f} %" for error in errors[:, 0]]
            rows.append([f"{noise:g} HU", f"{cutoff:g}", *cells, f"{np.abs(errors[:, 3]).max():.1f} s"])
    print("Error of CBF by a fixed SVD cutoff, and the largest of Tmax; CBV does not depend on it:\n")
    print_table(rows, ["noise", "cutoff", *(tissue.name for tissue in TISSUES), "Tmax"])

    rows = []
    for noise in noises:
        for frame_seconds, arrival in SCANS:
            errors, _ = measure(options, noise, PerfusionOptions(), frame_seconds, arrival)
            flow, tmax = errors[..., 0].mean(axis=0), errors[..., 3].mean(axis=0)
            cells = [f"{error:+.0f} %" for error in flow]
            cells += [f"{np.abs(errors[..., 1]).max():.0f} %", f"{np.abs(tmax).max():.1f} s"]
            rows.append([f"{noise:g} HU", f"{frame_seconds:g} s", f"{arrival:g} s", *cells])
    print("Slower frames and earlier boluses; error of CBF, the largest of CBV in any draw, and the largest of Tmax:\n")
    print_table(rows, ["noise", "frames", "arrival", *(tissue.name for tissue in TISSUES), "CBV", "Tmax"])
    print_lengths(options, noises)
    shape = f"{options.size} x {options.size} x {options.num_slices} x {options.num_frames}"
    print(f"Maps of {shape} took {results[1][1]:.1f} s of one core at {options.noise_hu:g} HU.")


if __name__ == "__main__":
    main()
