"""Measure what runs cost, set up as they would be for training: ``python -m hf_lesionseg.training.reproduce.probe``.

Written as one line of JSON: for each run the seconds of one optimizer step, of segmenting and scoring one case and of
writing a checkpoint, and the batches of an epoch.
"""

import argparse
import json
import time
from pathlib import Path

from torch.utils.data import DataLoader

from ...datasets.prepared import PreparedDataset
from ...datasets.slices import SliceDataset
from ..launch import allow_unused_weights, make_accelerator
from ..loop import OPTIMIZERS
from ..network import build_network, lay_out
from ..recipe import load_recipe
from ..step import phases_of, step_over_batch
from ..validation import validate_case

_WARM_UP = 2  # steps in which memory is claimed and kernels are chosen
_MOST_STEPS = 50


def measure(recipe, dataset, seconds, folder):
    """Seconds of one step, of one case and of a checkpoint.

    Parameters
    ----------
    recipe : Recipe
    dataset : PreparedDataset
    seconds : float
        To spend on steps, about.
    folder : Path
        For the checkpoint.

    Returns
    -------
    dict
        ``step``, ``case`` and ``checkpoint``; ``batches``, the number of those of an epoch.
    """
    accelerator = make_accelerator(recipe)
    model = build_network(recipe, channels=dataset.num_channels, targets=dataset.target_channels)
    phases = phases_of(model, recipe)
    if phases:
        allow_unused_weights(accelerator)
    lay_out(model, accelerator.device, recipe.channels_last)
    slices = SliceDataset(
        dataset.select("train"),
        slices=recipe.slices,
        slice_range=recipe.slice_range,
        empty_slice_fraction=recipe.empty_slice_fraction,
        copies=recipe.copies,
        augmentation=recipe.slice_augmentation(),
        targets=getattr(model.config, "target_channels", ()),
    )
    optimizer = OPTIMIZERS[recipe.optimizer](model.parameters(), lr=recipe.learning_rate)
    loader = DataLoader(slices, batch_size=recipe.batch_size, shuffle=True)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    model.train()
    begun, steps = 0.0, 0
    while True:
        for batch in loader:
            if steps == _WARM_UP:
                begun = time.monotonic()
            step_over_batch(
                accelerator,
                model,
                optimizer,
                batch,
                phases,
                max_gradient_norm=recipe.max_gradient_norm,
                seed=(0, steps),
            )
            steps += 1
            spent = time.monotonic() - begun
            if steps > _WARM_UP and (spent > seconds or steps >= _MOST_STEPS):
                step = spent / (steps - _WARM_UP)
                begun = time.monotonic()
                case = max(dataset.cases, key=lambda case: case.num_slices)
                network, slice_range = accelerator.unwrap_model(model), recipe.slice_range
                validate_case(network, dataset.processor(), case, batch_size=16, slice_range=slice_range)
                case_seconds, begun = time.monotonic() - begun, time.monotonic()
                accelerator.save_state(str(folder))
                checkpoint = time.monotonic() - begun
                return {"step": step, "case": case_seconds, "checkpoint": checkpoint, "batches": len(loader)}


def main():
    started = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", nargs="+", required=True, help="Recipe of each run.")
    parser.add_argument("--data_dir", nargs="+", required=True, help="Folder made by `lesionseg prepare`, of each.")
    parser.add_argument("--seconds", type=float, default=4.0, help="To spend on optimizer steps of each.")
    parser.add_argument("--output", type=Path, required=True, help="Where to write the figures.")
    options = parser.parse_args()
    costs = [
        measure(load_recipe(recipe), PreparedDataset(folder), options.seconds, options.output.parent / "checkpoint")
        for recipe, folder in zip(options.recipe, options.data_dir, strict=True)
    ]
    options.output.write_text(json.dumps({"runs": costs, "seconds": time.monotonic() - started}) + "\n")


if __name__ == "__main__":
    main()
