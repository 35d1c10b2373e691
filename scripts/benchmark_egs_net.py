"""Train small EGS-Nets on generated CT perfusion, through `lesionseg train`, and tell whether each stage learns.

    python scripts/benchmark_egs_net.py -o egs-net-stages
    python scripts/benchmark_egs_net.py -o egs-net-stages --epochs 60 --people 60 --settings paper

Width 8, slices of 64 x 64: minutes on one thread, once for each setting of the losses:

* paper: the weights of the paper and two perceptual networks that are both trained. Lambda 2 = 0.002 weighs a 2-norm
  over a slice of 256 x 256; at another size it is taken times 256 / size, so that it weighs the same error alike;
* balanced: as before, but the extractor's error is that of the lesion and of the background, half each, since over all
  pixels alike it is least for an empty map;
* frozen: the paper's weights, and one perceptual network that stays as it was drawn, since trained ones collapse;
* unscaled: lambda 2 = 0.002 at every size.

Tells for each part of the loss its mean over the first and over the last epoch. On held-out people: how well the
extractor's map parts lesion from brain (area under the ROC curve, 0.5 for an empty or constant map) and its Dice, which
is 0 for an empty one; the correlation of the generated with the true DWI within the brain and on whole slices, beside
that of the input most like the true DWI, which is what copying would give. SYNTHETIC data: this says that code learns,
and nothing about patients. Prints a table in Markdown, and leaves it with all numbers in stages.json and the runs in
their folders.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
import yaml

from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.evaluation.auc import ScoreHistogram
from hf_lesionseg.evaluation.generated_dwi import brain_on_dwi, dwi_correlation
from hf_lesionseg.imaging.atomic import write_aside
from hf_lesionseg.inference.loading import load_model
from hf_lesionseg.models.configuration_egs_net import FRAMES, MAPS
from hf_lesionseg.training.history import read_history
from hf_lesionseg.training.recipe import load_recipe
from hf_lesionseg.training.validation import predict_case

PAPER_DWI_WEIGHT, PAPER_SIZE = 0.002, 256
SETTINGS = {
    "paper": {},
    "balanced": {"extraction_balanced": True},
    "frozen": {"perceptual": "frozen"},
    "unscaled": {"dwi_weight": PAPER_DWI_WEIGHT},
}
PARTS = ("extraction_loss", "dwi_loss", "feature_loss", "segmentation_loss")


def recipe_of(settings, options):
    """A small EGS-Net by the settings; all but the losses is the same for all."""
    full = load_recipe("egs-net-isles2018").processor
    settings = {"dwi_weight": PAPER_DWI_WEIGHT * PAPER_SIZE / options.size, **settings}
    return {
        "model_type": "egs-net",
        "model": {"base_width": 8, "perceptual_widths": [4, 8, 8, 16, 16], **settings},
        "processor": {
            "channel_names": [*FRAMES, *MAPS],
            "size": {"height": options.size, "width": options.size},
            **{name: full[name] for name in ("normalization", "intensity_range")},
        },
        "target_channels": ["dwi"],
        "split": {"train": 4, "validation": 1, "test": 1},
        "optimizer": "rmsprop",
        "learning_rate": 1e-3,
        "batch_size": 5,
        "epochs": options.epochs,
        "scheduler": "constant",
        "warmup_epochs": 1,  # RMSprop's first steps are ten times the rate: without, the generator can blow up
        "validation_every": options.epochs,
        "monitor": "validation_dice",
        "early_stopping_patience": None,
    }


def run_command(*words):
    subprocess.run([sys.executable, "-m", "hf_lesionseg.cli", *map(str, words)], check=True)


def parts_of(history):
    """Mean of each part of the loss over the first and over the last epoch, with its weight."""
    steps = [record for record in history if record["kind"] == "step"]
    last = steps[-1]["epoch"]
    ends = ([step for step in steps if step["epoch"] == epoch] for epoch in (1, last))
    first, final = ({part: float(np.mean([step[part] for step in end])) for part in PARTS} for end in ends)
    norms = [steps[0]["true_feature_norm"], steps[-1]["true_feature_norm"]]
    return {"first": first, "last": final, "true_feature_norm": norms}


def extractor_of(model, cases):
    """What the extractor's map is worth, over all pixels of the brains together."""
    scores, hit, marked, lesion = [], 0, 0, 0
    for case in cases:
        with torch.inference_mode():
            logits = model(pixel_values=torch.from_numpy(case.pixel_values())).extraction_logits
        probability, labels = logits[:, 0].sigmoid().numpy(), case.labels() > 0
        brain, drawn = brain_on_dwi(case.target("dwi")), probability > 0.5
        scores.append(ScoreHistogram.of(probability[brain], labels[brain]))
        hit, marked, lesion = hit + (drawn & labels).sum(), marked + drawn.sum(), lesion + labels.sum()
    return {"auc": sum(scores[1:], scores[0]).auc(), "dice": float(2 * hit / (marked + lesion))}


def correlations_of(model, cases):
    """Means over cases: of the generated DWI with the true one, and of the input that is most like it."""
    found = []
    for case in cases:
        true, generated = case.target("dwi"), predict_case(model, case, batch_size=8).generated_dwi
        brain, inputs = brain_on_dwi(true), case.pixel_values()
        found.append(
            {
                "brain": dwi_correlation(generated, true, brain),
                "slice": dwi_correlation(generated, true, np.ones_like(brain)),
                "nearest_input_brain": max(
                    abs(dwi_correlation(inputs[:, channel], true, brain) or 0) for channel in range(inputs.shape[1])
                ),
            }
        )
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


def measure(name, options, data):
    """Train by one setting and measure it."""
    folder = options.output / name
    recipe = options.output / f"{name}.yaml"
    recipe.write_text(yaml.safe_dump(recipe_of(SETTINGS[name], options), sort_keys=False))
    started = time.monotonic()
    run_command(
        *("train", "--recipe", recipe, "--data", data, "--output", folder, "--cpu"),
        *("--logging-steps", 1, "--seed", options.seed, "--overwrite"),
    )
    summary = json.loads((folder / "training_summary.json").read_text())
    model, cases = load_model(folder, device="cpu").model, PreparedDataset(data).select("test")
    return {
        "setting": name,
        **SETTINGS[name],
        **parts_of(read_history(folder / "history.jsonl")),
        "extractor": extractor_of(model, cases),
        "correlation": correlations_of(model, cases),
        "test_dice": summary["metrics"]["test"]["dice"]["mean"],
        "steps": summary["run"]["steps"],
        "seconds": round(time.monotonic() - started),
    }


def table(rows):
    """The rows in Markdown; each part as first epoch -> last epoch."""
    header = ("setting", *(part.replace("_loss", "") for part in PARTS), "features of true DWI")
    lines = [(*header, "extractor's AUC", "its Dice", "DWI r, brain", "r, slice", "input's r, brain", "Dice")]
    for row in rows:
        parts = [f"{row['first'][part]:.3g} -> {row['last'][part]:.3g}" for part in PARTS]
        norms = "{:.2g} -> {:.2g}".format(*row["true_feature_norm"])
        shown = [f"{row['extractor'][name]:.2f}" for name in ("auc", "dice")]
        shown += [f"{row['correlation'][name]:.2f}" for name in ("brain", "slice", "nearest_input_brain")]
        lines.append((row["setting"], *parts, norms, *shown, f"{row['test_dice']:.2f}"))
    lines.insert(1, ("---",) * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="folder for the data, the runs and stages.json"
    )
    parser.add_argument("--people", type=int, default=30, help="generated people, split 4 : 1 : 1 (default 30)")
    parser.add_argument("--epochs", type=int, default=6, help="of each training (default 6)")
    parser.add_argument("--size", type=int, default=64, help="rows and columns of the slices (default 64)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the order of the slices (default 0)")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), help="which to train")
    options = parser.parse_args()
    if options.size < 32 or options.size % 16:
        parser.error(f"--size {options.size}: give a multiple of 16 from 32 on")
    options.output.mkdir(parents=True, exist_ok=True)
    data, recipe = options.output / "data", options.output / "data.yaml"
    recipe.write_text(yaml.safe_dump(recipe_of({}, options), sort_keys=False))
    generate = (
        "prepare",
        "synthetic-perfusion",
        "-o",
        data,
        "--count",
        options.people,
        "--size",
        options.size,
        "--slices",
        4,
    )
    run_command(*generate, "--frames", 40, "--seed", 3, "--recipe", recipe)

    rows = []
    for name in options.settings:
        rows.append(measure(name, options, data))
        record = {
            "synthetic": True,
            "people": options.people,
            "epochs": options.epochs,
            "size": options.size,
            "rows": rows,
        }
        with write_aside(options.output / "stages.json") as aside:  # after each, so that a stopped run leaves some
            aside.write_text(json.dumps(record, indent=1) + "\n")
    conditions = f"{options.people} people, {options.epochs} epochs, width 8, {options.size} x {options.size}"
    print(f"\nSYNTHETIC data, {conditions}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
