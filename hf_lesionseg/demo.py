"""The whole path in minutes, with the commands that a user would type: strokes, training, Hub, mask, Dice.

Everything runs in subprocesses, each printed before it starts, so that the reader can repeat it. The strokes are
generated; the scores are marked so.
"""

import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from .errors import LesionSegError

RECIPE = "clci-net-demo"
REPOSITORY = "org/clci-net"
#: Mean 3-D Dice over the held-out cases below which the demo counts as failed.
DICE_BAR = 0.6


def run_demo(folder, *, endpoint=None, cases=160, minutes=7.5, seed=0):
    """Prepare, train, publish, download with an empty cache, segment and evaluate.

    Parameters
    ----------
    folder : path
        Where everything goes; an earlier demo in it is replaced.
    endpoint : str, optional
        A Hub on loopback to publish to and download from, with the token "hf_demo"; without one the model stays in its
        folder.
    cases : int
        Generated strokes, shared out to training, validation and test.
    minutes : float
        Longest time for training.
    seed : int

    Returns
    -------
    float
        Mean 3-D Dice of the held-out cases.

    Raises
    ------
    LesionSegError
        If a step fails, or the mean Dice is below 0.6.
    """
    started = time.monotonic()
    folder = Path(folder)
    data, model, masks, scores = (folder / name for name in ("strokes", "model", "masks", "evaluation"))
    if folder.is_file():
        raise LesionSegError(f"{folder}: is a file; give a folder with -o")
    if folder.exists():
        if any(folder.iterdir()) and not (folder / ".lesionseg-demo").exists():
            raise LesionSegError(f"{folder}: is not empty and holds no earlier demo; give another folder with -o")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / ".lesionseg-demo").touch()
    run = _Steps(folder)

    size = ("--count", cases, "--seed", seed, "--minimum-ml", 5, "--spacing", 3, "--workers", os.cpu_count() or 1)
    run("prepare", "synthetic", "-o", data, "--recipe", RECIPE, *size)
    limits = ("--max_minutes", minutes, "--seed", seed)
    run("train", "--recipe", RECIPE, "--data_dir", data, "--output_dir", model, *limits)
    source = model
    if endpoint:
        run.environment |= {"HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
        run.environment |= {"NO_PROXY": "127.0.0.1,localhost", "HF_TOKEN": "hf_demo"}
        run("push", model, REPOSITORY)
        # Then another person on another machine, with an empty cache.
        cache = folder / "empty-cache"
        run.environment |= {"HF_HOME": str(cache), "HF_HUB_CACHE": str(cache / "hub")}
        run.environment |= {"HF_MODULES_CACHE": str(cache / "modules")}
        source = REPOSITORY

    held_out = held_out_scans(data)
    run("segment", *held_out.values(), "--model", source, "-o", masks)
    run("evaluate", masks, data, "-o", scores, "--only-split", "test")
    return _report(scores, masks, held_out, time.monotonic() - started)


def held_out_scans(data):
    """Scans of the test cases of generated strokes: case id -> file."""
    splits = json.loads((data / "splits.json").read_text())["splits"]
    found = {}
    for case in splits["test"]:
        record = json.loads((data / "cases" / case / "case.json").read_text())
        (image,) = record["images"].values()
        found[case] = data / "source" / image
    return found


class _Steps:
    """Run ``lesionseg`` commands one after the other, showing each and how long it took."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {}

    def __call__(self, *words):
        words = [str(word) for word in words]
        print(f"\n$ lesionseg {shlex.join(words)}", flush=True)
        begun = time.monotonic()
        command = [sys.executable, "-m", "hf_lesionseg.cli", *words]
        status = subprocess.run(command, env=os.environ | self.environment, check=False).returncode
        print(f"({time.monotonic() - begun:.0f} s)", flush=True)
        if status:
            raise LesionSegError(f"the demo's step `lesionseg {words[0]}` ended with status {status}; see above")


def _report(scores, masks, held_out, seconds):
    with (scores / "metrics.csv").open(newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["case"] in held_out]
    dice = {row["case"]: float(row["dice"]) for row in rows if row["dice"]}
    if len(dice) < len(held_out):
        missing = ", ".join(sorted(set(held_out) - set(dice)))
        raise LesionSegError(f"{scores / 'metrics.csv'}: has no Dice for {missing}; see above what went wrong")
    print("\nHeld-out generated strokes (synthetic; says nothing about patients):")
    for case, value in dice.items():
        print(f"  {case}  3-D Dice {value:.3f}")
    mean = sum(dice.values()) / len(dice)
    print(f"  mean of {len(dice)}  {mean:.3f} (synthetic)\n")
    for kind in ("mask.nii.gz", "preview.png", "record.json"):
        print(f"  {kind:12} {next(iter(sorted(masks.glob(f'*_{kind}'))))}")
    print(f"  card         {masks.parent / 'model' / 'README.md'}")
    print(f"  figures      {scores}")
    print(f"\nDone in {seconds / 60:.1f} minutes.")
    if mean < DICE_BAR:
        raise LesionSegError(f"mean Dice {mean:.3f} of {len(dice)} cases is below {DICE_BAR}; training fell short")
    return mean
