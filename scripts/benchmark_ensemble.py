"""What an ensemble of four networks costs to segment a case, against the bare network passes.

Both get the same case of SIZE x SIZE x SLICES voxels, the same slices and the same batches. "segment" is all that
`lesionseg segment` does once the network is loaded: reading, preprocessing, the four networks, the mean, restoring,
mask, lesions, preview, record, writing. "passes" is `model(pixel_values)` of each member over the batches, and nothing
else. They run in turn in one process; the ratio is the median of the ratios of neighbouring runs, by the processor's
time of this process, which other programs on the machine hardly change, and by the clock. The case is generated noise
in a disc, the weights are random: only time is measured.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from datetime import date
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSemanticSegmentation

from hf_lesionseg.inference import Computing, load_model, segment_cases
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.training.ensemble import make_ensemble
from hf_lesionseg.training.recipe import load_recipe

BAR = 1.2


def write_case(folder, channels, size, slices):
    """Maps of one case, every slice with tissue; returns the command line's INPUT."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.linspace(-1, 1, size), np.linspace(-1, 1, size), indexing="ij")
    head = (x**2 + y**2 < 0.8)[..., None]
    folder.mkdir()
    files = {}
    for channel in channels:
        values = head * rng.uniform(1, 90, (size, size, slices))
        files[channel] = folder / f"{channel}.nii.gz"
        nib.save(nib.Nifti1Image(values.astype(np.float32), np.diag([0.875, 0.875, 5.0, 1.0])), files[channel])
    return files


def make_members(folder, recipe, width, members):
    """An ensemble of untrained networks that differ in their seed; returns its folder."""
    processor = LesionImageProcessor(**recipe.processor)
    settings = {"num_channels": processor.num_channels} | recipe.model | {"base_width": width}
    folders = []
    for seed in range(members):
        torch.manual_seed(seed)
        model = AutoModelForSemanticSegmentation.from_config(AutoConfig.for_model(recipe.model_type, **settings))
        folders.append(folder / f"seed-{seed}")
        model.save_pretrained(folders[-1])
        processor.save_pretrained(folders[-1])
    make_ensemble(folders, folder / "ensemble")
    return folder / "ensemble"


def bare_passes(members, slices, batch_size):
    """The networks alone, over all batches."""
    with torch.inference_mode():
        for member in members:
            for batch in slices.split(batch_size):
                member(pixel_values=batch)


def timed(work, *arguments, **options):
    """What ``work`` returns, and its seconds by the processor and by the clock."""
    processor, clock = time.process_time(), time.perf_counter()
    returned = work(*arguments, **options)
    return returned, np.array([time.process_time() - processor, time.perf_counter() - clock])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="ms-dcnn-isles2018", help="whose network and image processor")
    parser.add_argument("--base-width", type=int, default=64, help="feature maps of the first level (default: 64)")
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--size", type=int, default=256, help="rows and columns of the case")
    parser.add_argument("--slices", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()

    recipe = load_recipe(options.recipe)
    segmented, passed, stages = [], [], []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        loaded = load_model(make_members(folder, recipe, options.base_width, options.members), device="cpu")
        case = write_case(folder / "case", loaded.processor.channel_names, options.size, options.slices)
        images = {name: str(path) for name, path in case.items()}
        inputs = loaded.processor.preprocess(images, return_tensors="pt")
        slices, members = inputs["pixel_values"], loaded.model.members
        # what is imported and allocated once is no cost of a case
        single = write_case(folder / "single", loaded.processor.channel_names, options.size, 1)
        segment_cases([single], loaded, folder / "warm", computing=Computing(batch_size=1))
        for repeat in range(options.repeats):
            computing = Computing(batch_size=options.batch_size)
            run, seconds = timed(segment_cases, [case], loaded, folder / f"out{repeat}", computing=computing)
            if run.failed:
                raise SystemExit(run.failed[0].reason)
            _, bare = timed(bare_passes, members, slices, options.batch_size)
            segmented.append(seconds)
            passed.append(bare)
            stages.append(json.loads(run.outcomes[0].files["record"].read_text())["seconds"])
            shown = f"segment {seconds[0]:.2f} s  passes {bare[0]:.2f} s  ratio {seconds[0] / bare[0]:.3f}"
            print(f"{shown}  by the clock {seconds[1] / bare[1]:.3f}", flush=True)
        ratio, by_clock = np.median(np.array(segmented) / np.array(passed), axis=0).tolist()
        result = {
            "date": date.today().isoformat(),
            "processor": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "load_average": list(os.getloadavg()),
            "recipe": options.recipe,
            "base_width": options.base_width,
            "parameters": sum(weight.numel() for weight in loaded.model.parameters()),
            "members": options.members,
            "case": [options.size, options.size, options.slices],
            "pixel_values": list(slices.shape),
            "batch_size": options.batch_size,
            "repeats": options.repeats,
            "processor_seconds": {
                name: statistics.median(float(seconds[0]) for seconds in measured)
                for name, measured in (("segment", segmented), ("passes", passed))
            },
            "stages_by_clock": {name: statistics.median(stage[name] for stage in stages) for name in stages[0]},
            "ratio": ratio,
            "ratio_by_clock": by_clock,
        }
    print(", ".join(f"{name} {seconds:.3f} s" for name, seconds in result["stages_by_clock"].items()))
    print(f"median ratio {ratio:.3f}: {'within' if ratio <= BAR else 'beyond'} {BAR} (by the clock {by_clock:.3f})")
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
