"""Measure what fine-tuning the packaged network gains on a scanner that it does not know, in minutes on two cores.

    python scripts/measure_fine_tuning.py -o runs/gain

Makes heads as a low-field scanner would show them, trains the packaged network on (by default) twenty of them, sixteen
to learn from and four to choose by, and scores it before and after on as many others. All of it is synthetic. Prints a
table and writes OUTPUT/gain.json.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from hf_lesionseg.cli.train import main as train
from hf_lesionseg.datasets.prepare import prepare
from hf_lesionseg.datasets.synthetic.heads.template_heads import SCANNERS, TemplateHeads
from hf_lesionseg.errors import LesionSegError
from hf_lesionseg.inference.loading import load_model
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.pretrained import DEFAULT
from hf_lesionseg.training.recipe import load_recipe
from hf_lesionseg.training.validation import predict_case

RECIPE = "clci-net-heads-finetune"
#: Of the made heads: to learn from, to choose by, to score on.
SHARES = {"train": 0.4, "validation": 0.1, "test": 0.5}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for heads, network and figures")
    parser.add_argument("--model", default=DEFAULT, help="network to start from (default: the packaged one)")
    parser.add_argument("--cases", type=int, default=20, help="heads with an outline, and as many others to score on")
    parser.add_argument("--scanner", default="low-field", choices=SCANNERS)
    parser.add_argument("--epochs", type=int, help="default: the recipe's")
    parser.add_argument("--seed", type=int, default=100, help="of heads and training")
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    try:
        gain = measure(options)
    except LesionSegError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    (options.output / "gain.json").write_text(json.dumps(gain, indent=1) + "\n")
    print(f"\n| {options.scanner} heads, synthetic | n | mean Dice | median | marked outside, mean mL |")
    print("|---|---:|---:|---:|---:|")
    for name in ("before", "after"):
        row = gain[name]
        figures = f"{row['dice_mean']:.3f} | {row['dice_median']:.3f} | {row['false_ml_mean']:.2f}"
        print(f"| {name} | {row['n']} | {figures} |")
    print(f"trained {gain['steps']} steps in {gain['training_seconds'] / 60:.1f} minutes")
    return 0


def measure(options):
    data, run = options.output / "heads", options.output / "model"
    heads = TemplateHeads(count=2 * options.cases, seed=options.seed, scanner=options.scanner)
    processor = LesionImageProcessor(**load_recipe(RECIPE).processor)
    dataset = prepare(heads, None, data, processor=processor, fractions=SHARES, workers=options.workers)
    held_out = dataset.select("test")
    before = load_model(options.model)
    scored = {"before": _score(before, held_out)}
    begun = time.monotonic()
    words = ["--recipe", RECIPE, "--model", options.model, "--data", data, "--output", run]
    words += ["--seed", options.seed, "--overwrite"]
    words += ["--epochs", options.epochs] if options.epochs else []
    status = train([str(word) for word in words])
    if status:
        raise LesionSegError(f"training ended with status {status}; see above")
    seconds = time.monotonic() - begun
    scored["after"] = _score(load_model(run), held_out)
    summary = json.loads((run / "training_summary.json").read_text())
    return {
        "synthetic": True,
        "scanner": options.scanner,
        "network": before.identity(),
        "cases": {split: len(dataset.select(split)) for split in SHARES},
        "steps": summary["run"]["steps"],
        "training_seconds": round(seconds, 1),
        **scored,
    }


def _score(network, cases):
    dice, false_ml = [], []
    for case in cases:
        probability = predict_case(network.model, case, batch_size=16).probability
        restored = network.processor.restore_probability(probability, case.geometry)
        mask = network.processor.mask_from_probability(restored, case.geometry).astype(bool)
        truth = case.truth().data > 0
        dice.append(2 * float((mask & truth).sum()) / float(mask.sum() + truth.sum()))
        false_ml.append(float((mask & ~truth).sum()) * case.voxel_ml)
    return {
        "n": len(dice),
        "dice_mean": round(float(np.mean(dice)), 4),
        "dice_median": round(float(np.median(dice)), 4),
        "false_ml_mean": round(float(np.mean(false_ml)), 3),
        "dice": [round(value, 4) for value in dice],
    }


if __name__ == "__main__":
    sys.exit(main())
