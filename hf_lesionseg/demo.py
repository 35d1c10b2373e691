"""The whole path in minutes, with the commands that a user would type: a mask, fine-tuning, the Hub, the mask again.

Everything runs in subprocesses, each printed before it starts, so that the reader can repeat it. Scores are of made
heads, and marked so. The verdict does not depend on how fast the machine is: training takes steps, not minutes.
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
from .pretrained import DEFAULT

RECIPE = "clci-net-heads-finetune"
REPOSITORY = "org/clci-net"
#: 3-D Dice of the held-out head below which the demo counts as failed, before and after fine-tuning: what the packaged
#: network reaches, a young one, with room to spare. To be raised with better weights.
DICE_BAR = 0.45
MINIMUM_ML = 20

#: What a stranger runs who knows the id alone; then whether the weights came as they were trained.
LOAD = """\
import hf_lesionseg
from safetensors.torch import load_file
from transformers import AutoModel

model = AutoModel.from_pretrained({repository!r})
trained = load_file({weights!r})
assert all(value.equal(trained[name]) for name, value in model.state_dict().items()), "other weights"
print(type(model).__name__, "of", {repository!r}, "has the weights of", {weights!r})
"""


def run_demo(folder, *, endpoint=None, heads=4, steps=8, seed=0):
    """Segment with the packaged network; then train it on, publish, download with an empty cache, segment and compare.

    Parameters
    ----------
    folder : path
        Where everything goes; an earlier demo in it is replaced.
    endpoint : str, optional
        A Hub on loopback to publish to and download from, with the token "hf_demo"; without one the model stays in its
        folder.
    heads : int
        Made heads, shared out to training, validation and test.
    steps : int
        Number of training steps.
    seed : int

    Returns
    -------
    dict of str to float
        Mean 3-D Dice of the held-out heads, "packaged" and "fine-tuned".

    Raises
    ------
    LesionSegError
        If a step fails, or a mean Dice is below :data:`DICE_BAR`.
    """
    started = time.monotonic()
    folder = Path(folder)
    _claim(folder)
    data, model = folder / "heads", folder / "model"
    run = _Steps()

    workers = os.cpu_count() or 1
    run("prepare", "template-heads", "-o", data, "--count", heads, "--seed", seed, "--minimum-ml", MINIMUM_ML,
        "--workers", workers)  # fmt: skip
    held_out = held_out_scans(data)
    dice = {"packaged": _segment(run, held_out, data, folder / "packaged")}
    print(f"\nA mask after {time.monotonic() - started:.0f} s. Now the whole path, in small.")

    run("train", "--recipe", RECIPE, "--model", DEFAULT, "--data", data, "--output", model,
        "--max-steps", steps, "--seed", seed)  # fmt: skip
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
        run.python(LOAD.format(repository=REPOSITORY, weights=str(model / "model.safetensors")))
    dice["fine-tuned"] = _segment(run, held_out, data, folder / "fine-tuned", "--model", source)

    print(f"\n3-D Dice of {len(held_out)} held-out made head{'s' * (len(held_out) > 1)} (synthetic):")
    for name, value in dice.items():
        print(f"  {name:10}  {value:.3f}")
    print(f"  card        {model / 'README.md'}")
    print(f"\nDone in {(time.monotonic() - started) / 60:.1f} minutes.")
    for name, value in dice.items():
        if value < DICE_BAR:
            raise LesionSegError(f"mean Dice {value:.3f} of the {name} network is below {DICE_BAR}")
    return dice


def _claim(folder):
    """Make the folder new, unless what lies in it is not an earlier demo's."""
    if folder.is_file():
        raise LesionSegError(f"{folder}: is a file; give a folder with -o")
    if folder.exists():
        if any(folder.iterdir()) and not (folder / ".lesionseg-demo").exists():
            raise LesionSegError(f"{folder}: is not empty and holds no earlier demo; give another folder with -o")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / ".lesionseg-demo").touch()


def held_out_scans(data):
    """Scans of the test cases of made heads: case id -> file."""
    splits = json.loads((data / "splits.json").read_text())["splits"]
    found = {}
    for case in splits["test"]:
        record = json.loads((data / "cases" / case / "case.json").read_text())
        (image,) = record["images"].values()
        found[case] = data / "source" / image
    return found


def _segment(run, held_out, data, folder, *options):
    """Segment and score the held-out heads; return their mean Dice."""
    run("segment", *held_out.values(), *options, "-o", folder / "masks")
    run("evaluate", folder / "masks", data, "-o", folder / "scores", "--only-split", "test")
    return _report(folder / "scores", folder / "masks", held_out)


class _Steps:
    """Run commands one after the other, showing each and how long it took."""

    def __init__(self):
        self.environment = {}

    def __call__(self, *words):
        words = [str(word) for word in words]
        self._run(["-m", "hf_lesionseg.cli", *words], f"lesionseg {shlex.join(words)}", f"lesionseg {words[0]}")

    def python(self, program):
        self._run(["-c", program], f"python -c {shlex.quote(program)}", "python")

    def _run(self, arguments, shown, name):
        print(f"\n$ {shown}", flush=True)
        begun = time.monotonic()
        status = subprocess.run([sys.executable, *arguments], env=os.environ | self.environment, check=False).returncode
        print(f"({time.monotonic() - begun:.0f} s)", flush=True)
        if status:
            raise LesionSegError(f"the demo's step `{name}` ended with status {status}; see above")


def _report(scores, masks, held_out):
    with (scores / "metrics.csv").open(newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["case"] in held_out]
    dice = {row["case"]: float(row["dice"]) for row in rows if row["dice"]}
    if len(dice) < len(held_out):
        missing = ", ".join(sorted(set(held_out) - set(dice)))
        raise LesionSegError(f"{scores / 'metrics.csv'}: has no Dice for {missing}; see above what went wrong")
    print("\nHeld-out made heads (synthetic; says nothing about patients):")
    for case, value in dice.items():
        print(f"  {case}  3-D Dice {value:.3f}")
    mean = sum(dice.values()) / len(dice)
    if len(dice) > 1:
        print(f"  mean of {len(dice)}  {mean:.3f} (synthetic)")
    for kind in ("mask.nii.gz", "preview.png", "record.json"):
        print(f"  {kind:12} {next(iter(sorted(masks.glob(f'*_{kind}'))))}")
    print(f"  figures      {scores}")
    return mean
