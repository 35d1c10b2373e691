"""Put the network of a training run into the package: float16 weights, how it was made, and its card."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from ..datasets.prepared import PreparedDataset
from ..datasets.synthetic.heads.template_heads import make_template_head
from ..errors import ModelError
from ..hub.model_card import CARD_FILE, SUMMARY_FILE, write_model_card
from ..imaging.atomic import replace_folder_aside
from ..inference.loading import load_model
from ..inference.pipeline import LesionSegmentationPipeline
from ..pretrained import RECORD_FILE, REPORT_FILE
from .checkpoints import TrainingState
from .history import read_history
from .recipe import load_recipe

__all__ = ["LARGEST_BYTES", "Words", "package_network"]

LARGEST_BYTES = 6_000_000
#: Masks of float16 and float32 weights must agree at least so well on every scan, as Dice.
AGREEMENT = 0.999
_WEIGHTS, _CONFIG, _PROCESSOR = "model.safetensors", "config.json", "preprocessor_config.json"
#: (seed, index, scanner) of the made heads that both are compared on.
_HEADS = ((0, 1, "ordinary"), (0, 4, "ordinary"), (0, 2, "low-field"))


@dataclass(frozen=True)
class Words:
    """A person's remarks on a network, for its card.

    Attributes
    ----------
    marks, takes : str
        What it finds, and in what scans.
    notes : sequence of str
        Known failures, in sentences.
    never_tried : sequence of str
        Ages, scanners and illnesses that nobody has tried it on.
    pictures : sequence of (path, str)
        PNG files of failures with their captions.
    """

    marks: str
    takes: str
    notes: Sequence[str] = ()
    never_tried: Sequence[str] = ()
    pictures: Sequence[tuple] = ()


def package_network(run, target, words, *, data=None, recipe="clci-net-heads", seed=0, report=None, earlier=()):
    """Write the folder of a packaged network from a training run.

    Parameters
    ----------
    run : path
        Output folder of a training; its weights are those of the best validation, averaged where the recipe averages.
    target : path
        The folder, replaced as a whole; its name is the network's.
    words : Words
    data : path, optional
        Prepared folder that it learned from, for the sources and their licences.
    recipe, seed : str, int
        Recipe and seed of a run that has not ended, whose folder does not contain them yet.
    report : path, optional
        JSON of ``scripts/report_default_network.py``; a PNG of the same name goes along.
    earlier : sequence of (path, str)
        Runs whose weights this one began with, the first one first, each with its recipe.

    Returns
    -------
    dict
        The record, as written to ``packaged.json``.

    Raises
    ------
    ModelError
        Masks of float16 and float32 weights differ, or say nothing; the weights are too large; the run holds none.
    """
    run, target = Path(run), Path(target)
    original = load_model(run, device="cpu")
    with replace_folder_aside(target) as aside:
        _write_half(run, aside)
        agreement = compare_weights(original, load_model(aside, device="cpu"))
        training = _training(run, recipe, seed)
        record = {
            "name": target.name,
            "marks": words.marks,
            "takes": words.takes,
            "model_type": original.model.config.model_type,
            "parameters": original.identity()["parameters"],
            "weights": _weights(aside / _WEIGHTS) | {"dice_against_float32": agreement},
            "training": training | {"earlier": [_training(Path(each), its, seed) for each, its in earlier]},
            "data": _data(data),
            "failures": list(words.notes),
            "never_tried": list(words.never_tried),
            "pictures": _bring_pictures(words.pictures, aside),
        }
        if (run / SUMMARY_FILE).is_file():
            summary = json.loads((run / SUMMARY_FILE).read_text("utf-8"))
            _write_json(aside / SUMMARY_FILE, {name: value for name, value in summary.items() if name != "cases"})
        if report is not None:
            shutil.copyfile(report, aside / REPORT_FILE)
            drawn = Path(report).with_suffix(".png")
            if drawn.is_file():
                shutil.copyfile(drawn, (aside / REPORT_FILE).with_suffix(".png"))
        _write_json(aside / RECORD_FILE, record)
        write_model_card(aside, target.name)
        assert (aside / CARD_FILE).is_file()
    return record


def compare_weights(first, second):
    """Dice of the masks of two networks on each of a few made heads.

    Parameters
    ----------
    first, second : LoadedModel

    Returns
    -------
    list of float

    Raises
    ------
    ModelError
        They differ on a head, or mark nothing on any.
    """
    found, marked = [], 0
    for seed, index, scanner in _HEADS:
        scan, _, affine, _ = make_template_head(seed, index, scanner=scanner, minimum_ml=10)
        image = nib.Nifti1Image(scan, affine)
        masks = [_segment(network, image) for network in (first, second)]
        total = sum(int(mask.sum()) for mask in masks)
        dice = 1.0 if not total else 2 * int((masks[0] & masks[1]).sum()) / total
        if dice < AGREEMENT:
            raise ModelError(
                f"{first.source}: on a made head ({scanner}, number {index}) the masks of float16 and float32 weights "
                f"agree at a Dice of {dice:.4f} only, {AGREEMENT} is wanted; train longer, or store float32"
            )
        found.append(round(dice, 6))
        marked += total
    if not marked:
        raise ModelError(f"{first.source}: marks nothing on any of {len(_HEADS)} made heads; train it first")
    return found


def _segment(network, image):
    pipeline = LesionSegmentationPipeline(model=network.model, image_processor=network.processor)
    return np.asarray(pipeline(image)["mask"], bool)


def _write_half(run, aside):
    """Weights in float16, under a configuration that says float32: so loads whoever asks for no other.

    Biases and what normalises stay as they are: they are few, and rounding them moves whole feature maps.
    """
    from safetensors.torch import load_file, save_file

    weights = {name: value.half() if value.is_floating_point() and value.ndim > 1 else value
               for name, value in load_file(run / _WEIGHTS).items()}  # fmt: skip
    broken = [name for name, value in weights.items() if not value.isfinite().all()]
    if broken:
        raise ModelError(f"{run / _WEIGHTS}: {broken[0]} does not fit into float16, whose largest number is 65504")
    save_file(weights, aside / _WEIGHTS, metadata={"format": "pt"})
    (aside / _WEIGHTS).chmod(0o644)  # save_file lets its owner alone read it, as the wheel's would be
    size = (aside / _WEIGHTS).stat().st_size
    if size > LARGEST_BYTES:
        raise ModelError(f"{run / _WEIGHTS}: is {size} bytes in float16, {LARGEST_BYTES} at most; take a narrower one")
    config = json.loads((run / _CONFIG).read_text("utf-8"))
    _write_json(aside / _CONFIG, config | {"dtype": "float32"})
    shutil.copyfile(run / _PROCESSOR, aside / _PROCESSOR)


def _weights(path):
    return {
        "file": path.name,
        "dtype": "float16",
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def _training(run, recipe, seed):
    """How the weights were trained; from the summary of an ended run, from the history of one that goes on."""
    path = run / SUMMARY_FILE
    if path.is_file():
        summary = json.loads(path.read_text("utf-8"))
        best = summary["best"]
        return {
            "recipe": summary["recipe"], "seed": summary["run"]["seed"], "step": best["step"], "epoch": best["epoch"],
            "started_from": summary["started_from"], "finished": summary["run"]["finished"],
            "hours": round(summary["run"]["seconds"] / 3600, 2), "validation": None,
        }  # fmt: skip
    chosen = load_recipe(recipe)
    validated = [each for each in _history(run) if each["kind"] == "epoch" and chosen.monitor in each]
    if not validated:
        raise ModelError(f"{run}: no validation is recorded in history.jsonl; let the run come to one")
    best = min(validated, key=lambda each: TrainingState.monitored(each, chosen.monitor))
    figures = {name: value for name, value in best.items() if name.startswith("validation_")}
    return {
        "recipe": chosen.to_dict(), "seed": seed, "step": best["step"], "epoch": best["epoch"], "started_from": None,
        "finished": None, "hours": None, "validation": figures,
    }  # fmt: skip


def _history(run):
    path = run / "history.jsonl"
    return read_history(path) if path.is_file() else []


def _data(folder):
    """Name, licence and, of a catalogue of heads, the sources of the training data."""
    if folder is None:
        return {"name": "unknown", "synthetic": True, "licence": None, "sources": []}
    dataset = PreparedDataset(folder)
    return {
        "name": dataset.name,
        "synthetic": dataset.synthetic,
        "licence": dataset.licence,
        "fingerprint": dataset.fingerprint(),
        "sources": [] if dataset.heads is None else _sources(dataset.heads.record),
    }


def _sources(record):
    """A row for each source of a catalogue: what it lent, under which licence, how many to each split."""
    kinds = {"labels": "label maps of heads", "head": "whole heads", "brain": "stripped brains"}
    counts = Counter()
    for each in record["anatomies"]:
        counts[each["source"], kinds[each["kind"]], each["licence"], each["split"]] += 1
    for each in record["masks"]:
        counts[each["source"], "lesion masks", each["licence"], each["split"]] += 1
    rows = {}
    for (source, what, licence, split), count in counts.items():
        row = rows.setdefault((source, what), {"source": source, "lends": what, "licence": licence})
        row[split] = count
    return list(rows.values())


def _bring_pictures(pictures, aside):
    """Copy pictures of failures into ``figures``; name and caption of each."""
    if pictures:
        (aside / "figures").mkdir(exist_ok=True)
    brought = []
    for number, (path, caption) in enumerate(pictures, 1):
        name = f"figures/failure-{number}.png"
        shutil.copyfile(path, aside / name)
        brought.append({"file": name, "caption": caption})
    return brought


def _write_json(path, content):
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
