"""The folder that a training run leaves: the best model, how it was made, how good it is, and figures."""

import json
import platform
import shutil
from importlib import metadata
from pathlib import Path

from .. import __version__
from ..evaluation.figures import (
    dice_distribution,
    extract_panel,
    lesion_volume_histograms,
    overlay_sheet,
    training_curves,
)
from ..evaluation.gallery import pick_cases
from ..evaluation.summary import summarize
from ..hub.model_card import write_model_card
from ..imaging.atomic import write_aside
from ..inference.loading import load_model
from ..machine_paths import local_name, without_machine_paths
from ..models.file_modes import give_usual_modes
from ..provenance import marks, of_network
from .checkpoints import BEST_FILES, writing
from .held_out import HELD_OUT_FILE, write_held_out
from .history import read_history
from .network import training_format
from .scan_slices import slices_of_scan
from .validation import mean_dwi_correlation, mean_region_iou, predict_case, validate

SUMMARY_FILE = "training_summary.json"
#: Files of a run that --overwrite removes.
OUTPUT_FILES = (
    *BEST_FILES,
    "splits.json",
    "history.jsonl",
    "README.md",
    SUMMARY_FILE,
    HELD_OUT_FILE,
)
_VERSIONS = ("torch", "transformers", "accelerate", "huggingface_hub", "numpy", "nibabel")


def save_best(training):
    """Put the present weights into the model folder: written aside, then renamed file by file, the weights first."""
    accelerator, output = training.accelerator, training.output
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        with writing(output):
            aside = output / ".best.partial"
            shutil.rmtree(aside, ignore_errors=True)
            accelerator.unwrap_model(training.kept).save_pretrained(aside, max_shard_size="100GB")
            training.data.processor.save_pretrained(aside)
            give_usual_modes(aside.iterdir())
            for name in BEST_FILES:
                (aside / name).replace(output / name)
            shutil.rmtree(aside)
    accelerator.wait_for_everyone()


def finish_model_folder(training, state):
    """Score the best weights on validation and test cases, draw, write the summary and the card.

    Both are scored as ``evaluate`` scores what ``segment`` makes of the scans. The held-out cases of a fold are the
    test cases, and get a file of their own.

    Parameters
    ----------
    training : TrainingSetup
    state : TrainingState

    Returns
    -------
    dict
        The summary, as written to ``training_summary.json``.
    """
    accelerator, output, arguments = training.accelerator, training.output, training.arguments
    dataset, cases, fold, stages = training.data.dataset, training.data.cases, training.data.fold, training.stages
    best = load_model(output, device=str(accelerator.device))
    model, processor = best.model, best.processor
    # In float32 even where training was mixed: what the network is said to reach is what `segment` makes of it.
    settings = {"batch_size": arguments.eval_batch_size}
    validated = {
        split: validate(accelerator, model, processor, cases[split], as_evaluate=True, own_loss=False, **settings)
        for split in ("validation", "test")
    }
    metrics = {split: [case.metrics for case in found] for split, found in validated.items()}
    summary = _summary(accelerator, arguments, training.recipe, dataset, cases, state, metrics, model)
    summary["scored_from_scans"] = {split: sum(case.from_scan for case in found) for split, found in validated.items()}
    summary["first_stage_miou"] = {split: mean_region_iou(found) for split, found in validated.items()}
    summary |= {} if fold is None else {"fold": fold}
    if stages:
        summary["stages"] = stages
        summary["dwi_correlation"] = {split: mean_dwi_correlation(found) for split, found in validated.items()}
    if accelerator.is_main_process:
        if fold is None:
            with write_aside(output / "splits.json") as path:
                shutil.copyfile(Path(arguments.data_dir) / "splits.json", path)
        else:
            write_held_out(output, training.data, metrics["test"])
        with write_aside(output / SUMMARY_FILE) as path:
            path.write_text(json.dumps(without_machine_paths(summary), indent=1) + "\n")
        _draw(output, dataset, cases, metrics, summary, model, processor, settings)
        write_model_card(output, repo_id=arguments.hub_model_id)
    accelerator.wait_for_everyone()
    return summary


def _summary(accelerator, arguments, recipe, dataset, cases, state, metrics, model):
    return {
        **marks(of_network(model.config)),
        "recipe": recipe.to_dict() | {"processor": dataset.processor().settings()},
        "paper": recipe.paper,
        "started_from": local_name(arguments.model_name_or_path),
        "data": {
            "name": dataset.name,
            "synthetic": dataset.synthetic,
            "licence": dataset.licence,
            "cases": {split: len(found) for split, found in cases.items()},
            "people": {split: len({case.person for case in found}) for split, found in cases.items()},
            "volume_ml": {split: [round(case.lesion_ml, 4) for case in found] for split, found in cases.items()},
            "rejected": len(dataset.rejected),
            "fingerprint": dataset.fingerprint(),
            "files": dataset.content(),
            **({"perfusion_maps": dataset.perfusion_maps} if dataset.perfusion_maps else {}),
        },
        "best": {
            "epoch": state.best_epoch,
            "step": state.best_step,
            "monitor": recipe.monitor,
            "validation_loss": state.best_loss,
            "validation_dice": state.best_dice,
        },
        "metrics": {split: summarize(found) if found else None for split, found in metrics.items()},
        "cases": {split: [case.to_dict() for case in found] for split, found in metrics.items()},
        "run": {
            "steps": state.step,
            "epochs": state.epoch,
            "finished": state.finished or f"{recipe.epochs} epochs",
            "seconds": round(state.seconds, 1),
            "device": str(accelerator.device),
            "processes": accelerator.num_processes,
            "mixed_precision": accelerator.mixed_precision,
            "memory_format": training_format(model, accelerator.device, recipe.channels_last)[0],
            "seed": arguments.seed,
            "versions": {"hf_lesionseg": __version__, "python": platform.python_version()}
            | {name: metadata.version(name) for name in _VERSIONS},
        },
        "model": {
            "model_type": model.config.model_type,
            "parameters": sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
            "base_width": getattr(model.config, "base_width", None),
        },
    }


def _draw(output, dataset, cases, metrics, summary, model, processor, settings):
    figures = output / "figures"
    with writing(figures):
        figures.mkdir(exist_ok=True)
    synthetic = dataset.synthetic
    training_curves(read_history(output / "history.jsonl"), figures / "curves.png", synthetic=synthetic)
    lesion_volume_histograms(summary["data"]["volume_ml"], figures / "volumes.png", synthetic=synthetic)
    split = "test" if metrics["test"] else "validation"
    dice_distribution([case.dice for case in metrics[split]], figures / "dice_distribution.png", synthetic=synthetic)

    prepared = {case.id: case for case in cases[split]}
    panels = []
    for place, scored in pick_cases(metrics[split]):
        case = prepared[scored.case]
        predicted = predict_case(model, case, pixel_values=slices_of_scan(case, processor), **settings)
        probability = processor.restore_probability(predicted.probability, case.geometry)
        truth = case.truth()
        panels.append(
            extract_panel(
                f"{place}: {case.id}\nDice {scored.dice:.3f}, truth {scored.truth_ml:.3g} mL",
                affine=truth.affine,
                scan=processor.restore_probability(case.planes()[:, 0], case.geometry),
                truth=truth.data,
                prediction=processor.mask_from_probability(probability, case.geometry),
            )
        )
    if panels:
        title = f"Worst, median and best {split} case by Dice"
        overlay_sheet(panels, figures / "overlays.png", title=title, synthetic=synthetic)
