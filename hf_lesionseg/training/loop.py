"""The one training loop. Read :func:`_train` from top to bottom.

Two things make a resumed run equal to an uninterrupted one, step by step: the order of the slices depends on the seed
and the epoch alone, and every step seeds the random numbers of dropout from (seed, step, process). What a step does
with one batch, in one go or in phases, is in :mod:`~hf_lesionseg.training.step`.
"""

import json
import math
import os
import shutil
import time
import warnings
from pathlib import Path

import torch
from accelerate import skip_first_batches
from accelerate.utils import set_seed, tqdm
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from torch.utils.data import DataLoader

from ..datasets.prepared.reading import PreparedDataset, typical_grid
from ..datasets.prepared.splits import ids_sha256
from ..datasets.slices import SliceDataset
from ..datasets.synthetic.heads.slices import RENDERED_MM, HeadSlices
from ..errors import DataError, ModelError, UsageError
from ..models.image_processing_lesion import LesionImageProcessor
from ..provenance import after_training, of_network
from .averaging import averaged_model
from .checkpoints import TrainingState, find_checkpoint, load_checkpoint, restore_best, save_checkpoint, writing
from .cross_validation import splits_of
from .history import History, read_history
from .launch import allow_unused_weights, make_accelerator, only_run_in, start_tracking
from .loader_workers import explained_workers
from .model_folder import OUTPUT_FILES, finish_model_folder, save_best
from .network import build_network, describe_stages, enable_activation_checkpointing, lay_out
from .recipe import Recipe
from .step import phases_of, step_over_batch
from .validation import validate, validation_record
from .watch import CollapseWatch, scalars

_NOT_OF_THE_NETWORK = (
    "transformers_version", "_name_or_path", "architectures", "dtype", "auto_map", "perfusion_maps", "training_data",
    "training_grid",
)  # fmt: skip
OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}


def train(arguments):
    """Train a network by a recipe and leave a complete model folder.

    Parameters
    ----------
    arguments : TrainingArguments

    Returns
    -------
    dict
        What ``training_summary.json`` holds.

    Raises
    ------
    LesionSegError
        One of its kinds, naming the file or option and the remedy.
    """
    started = time.monotonic()
    recipe = arguments.load_recipe()
    accelerator = make_accelerator(recipe, cpu=arguments.cpu, with_tracking=arguments.with_tracking)
    with only_run_in(arguments.output_dir, accelerator), explained_workers():
        return _train(arguments, recipe, accelerator, started)


def _train(arguments, recipe, accelerator, started):
    if arguments.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA's first matrix product runs
    set_seed(arguments.seed, deterministic=arguments.deterministic)
    dataset = PreparedDataset(arguments.data_dir)
    known, fold = splits_of(arguments, dataset, write=accelerator.is_main_process)
    wanted = {split: set(known.get(split, ())) for split in ("train", "validation", "test")}
    cases = {split: [case for case in dataset.cases if case.id in ids] for split, ids in wanted.items()}
    for split in ("train", "validation") if dataset.heads is None else ("validation",):
        if not cases[split]:
            raise DataError(f"{arguments.data_dir}: the split has no case for {split}; prepare more cases")
    output = Path(arguments.output_dir)
    resume = _claim_output(accelerator, output, arguments)

    processor = dataset.processor()
    _say_what_the_data_decide(accelerator, recipe, processor)
    model = build_network(
        recipe,
        arguments.model_name_or_path,
        channels=dataset.num_channels,
        targets=dataset.target_channels,
        token=arguments.hub_token,
        resumes=bool(resume),
    )
    if dataset.perfusion_maps:  # goes with the weights: `segment` warns of maps of other software
        model.config.perfusion_maps = list(dataset.perfusion_maps)
    model.config.training_data = after_training(of_network(model.config), synthetic=dataset.synthetic)
    # `segment` flags scans of other voxel sizes
    model.config.training_grid = typical_grid(dataset.cases) if dataset.heads is None else list(RENDERED_MM)
    stages = describe_stages(recipe, model.config, dataset.target_channels)
    phases = phases_of(model, recipe)
    watched, collapse = dict.fromkeys(getattr(model, "watched_outputs", ())), CollapseWatch()
    if phases:
        allow_unused_weights(accelerator)
    lay_out(model, accelerator.device, recipe.channels_last)
    if arguments.activation_checkpointing:
        enable_activation_checkpointing(model)
    slices = training_slices(recipe, dataset, cases["train"], processor, model.config, arguments.seed)
    optimizer = OPTIMIZERS[recipe.optimizer](
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    loader = DataLoader(
        slices,
        batch_size=recipe.batch_size,
        shuffle=True,
        num_workers=arguments.num_workers,
        pin_memory=accelerator.device.type == "cuda",
    )
    averaged = None if recipe.ema_decay is None else averaged_model(model, recipe.ema_decay).to(accelerator.device)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    if averaged is not None:
        accelerator.register_for_checkpointing(averaged)
    kept = model if averaged is None else averaged.module  # what is validated and saved
    steps_per_epoch = math.ceil(len(loader) / recipe.gradient_accumulation_steps)
    scheduler = make_scheduler(optimizer.optimizer, recipe, steps_per_epoch)

    model_config = accelerator.unwrap_model(model).config
    identity = {
        **_network_settings(model_config),
        **_settings_to_keep(recipe),
        "mixed_precision": accelerator.mixed_precision,
        "data": dataset.fingerprint(),
        "data_files": dataset.content(),
        "train_cases": ids_sha256(case.id for case in cases["train"]),
        "validation_cases": ids_sha256(case.id for case in cases["validation"]),
        "processes": accelerator.num_processes,
        "seed": arguments.seed,
    }
    defaults = {
        **_network_settings(type(model_config)()),
        **_settings_to_keep(Recipe(name="", model_type=recipe.model_type)),
        "data_files": dataset.content(),
    }
    state = load_checkpoint(accelerator, resume, scheduler, identity, defaults) if resume else TrainingState()
    history = None
    if accelerator.is_main_process:
        if resume:
            restore_best(resume, output)
        history = History(output / "history.jsonl", state.step if resume else None, state.epoch)
        if stages:
            say_stages(stages)
            if resume:
                collapse.recall(read_history(history.path))
            else:
                history.append(kind="stages", step=0, epoch=0, **stages)
    if arguments.with_tracking:
        start_tracking(accelerator, arguments.project, recipe.to_dict() | {"seed": arguments.seed})

    before = state.seconds

    def elapsed():
        return before + time.monotonic() - started

    def enough_steps():
        reached = arguments.max_steps is not None and state.step >= arguments.max_steps
        return f"--max_steps {arguments.max_steps}" if reached else ""

    def out_of_time():
        late = arguments.max_minutes is not None and time.monotonic() - started > 60 * arguments.max_minutes
        return f"--max_minutes {arguments.max_minutes}" if _agreed(accelerator, late) else ""

    def log(kind, **values):
        if history is not None:
            history.append(kind=kind, step=state.step, **values)
        if accelerator.trackers:
            prefix = "train" if kind == "step" else "epoch"
            accelerator.log({f"{prefix}/{name}": value for name, value in values.items()}, step=state.step)

    def checkpoint():
        state.seconds = elapsed()
        save_checkpoint(
            accelerator, output / "checkpoints", state, scheduler, identity, arguments.checkpoints_total_limit
        )

    every = 0 if arguments.checkpointing_steps == "epoch" else int(arguments.checkpointing_steps)
    state.finished = early_stop(state, recipe) or enough_steps()
    while state.epoch < recipe.epochs and not state.finished:
        slices.set_epoch(state.epoch)
        batches = skip_first_batches(loader, state.batches) if state.batches else loader
        batches.set_epoch(state.epoch)  # also of the loader that skips: older versions of Accelerate begin it at 0
        bar = tqdm(
            desc=f"epoch {state.epoch + 1}/{recipe.epochs}", total=len(loader), initial=state.batches, unit="batch",
            leave=False, disable=not accelerator.is_main_process,
        )  # fmt: skip
        model.train()
        pending = []  # losses of the batches since the last optimizer step
        for batch in batches:
            losses = step_over_batch(
                accelerator, model, optimizer, batch, phases, max_gradient_norm=recipe.max_gradient_norm,
                seed=(arguments.seed, state.epoch, state.batches, accelerator.process_index), watched=watched,
            )  # fmt: skip
            pending.append(losses)
            state.batches += 1
            bar.update()
            if not accelerator.sync_gradients:
                continue
            if averaged is not None:
                averaged.update_parameters(accelerator.unwrap_model(model))
            losses = accelerator.reduce(torch.stack(pending).mean(dim=0), reduction="mean").tolist()
            value = sum(losses)
            if not math.isfinite(value):
                raise ModelError(
                    f"the loss is {value} at step {state.step + 1}; start anew with a lower --learning_rate "
                    "or with --mixed_precision no"
                )
            state.loss_sum += value * len(pending)
            pending.clear()
            bar.set_postfix(loss=f"{state.loss_sum / state.batches:.4f}", refresh=False)
            state.step += 1
            if state.step % arguments.logging_steps == 0:
                rate = optimizer.param_groups[0]["lr"]
                by_phase = {f"loss_{phase}": loss for phase, loss in zip(phases, losses, strict=False)}
                parts = scalars(watched)
                log("step", epoch=state.epoch + 1, loss=value, **by_phase, **parts, learning_rate=rate)
                if accelerator.is_main_process:
                    for text in collapse.look(parts, state.step):
                        history.append(kind="warning", step=state.step, epoch=state.epoch + 1, text=text)
            if recipe.scheduler != "plateau":
                scheduler.step()
            if every and state.step % every == 0:
                checkpoint()
            state.finished = enough_steps() or out_of_time()
            if state.finished:
                break
        bar.close()
        whole_epoch = state.batches == len(loader)
        if state.finished and not whole_epoch:
            checkpoint()  # in mid-epoch, before anything that an uninterrupted run would not do here

        record = {"loss": state.loss_sum / state.batches, "learning_rate": optimizer.param_groups[0]["lr"]}
        if state.finished or (state.epoch + 1) % recipe.validation_every == 0 or state.epoch + 1 == recipe.epochs:
            validated = validate(
                accelerator, kept, processor, cases["validation"],
                batch_size=arguments.eval_batch_size, mixed_precision=accelerator.mixed_precision,
                slice_range=recipe.slice_range,
            )  # fmt: skip
            record |= validation_record(validated)
            if state.note(record, recipe.monitor):
                save_best(accelerator, kept, processor, output)
            if whole_epoch and recipe.scheduler == "plateau":
                scheduler.step(state.monitored(record, recipe.monitor))
        log("epoch", epoch=state.epoch + 1, **record)
        _print_epoch(accelerator, state.epoch + 1, recipe.epochs, record, elapsed())
        if whole_epoch:
            state.epoch, state.batches, state.loss_sum = state.epoch + 1, 0, 0.0
            checkpoint()
            state.finished = state.finished or early_stop(state, recipe)

    state.seconds = elapsed()
    if not state.best_step and not (output / "config.json").is_file():
        save_best(accelerator, kept, processor, output)  # resumed where nothing was left to do, before any validation
    summary = finish_model_folder(
        accelerator, output, arguments, recipe, dataset, cases, state, known, fold=fold, stages=stages
    )
    publishes = arguments.push_to_hub and accelerator.is_main_process
    accelerator.end_training()  # the other processes need not wait for the upload
    if publishes:
        from ..hub.publish import publish

        url = publish(output, arguments.hub_model_id, private=arguments.hub_private, token=arguments.hub_token)
        print(f"published: {url}", flush=True)
    return summary


def training_slices(recipe, dataset, cases, processor, config, seed):
    """What an epoch goes through: slices of prepared cases, or of heads that are rendered as they are asked for."""
    if dataset.heads is not None:
        return HeadSlices(
            dataset.heads,
            processor,
            length=recipe.heads.get("slices", 8000),
            epochs=recipe.epochs,
            **{name: value for name, value in recipe.heads.items() if name != "slices"},
            seed=seed,
        )
    return SliceDataset(
        cases,
        slices=recipe.slices,
        slice_range=recipe.slice_range,
        empty_slice_fraction=recipe.empty_slice_fraction,
        copies=recipe.copies,
        augmentation=recipe.slice_augmentation(),
        targets=getattr(config, "target_channels", ()),
        seed=seed,
    )


def _say_what_the_data_decide(accelerator, recipe, processor):
    """Warn where the data were prepared in another way than the recipe would: the slices are what they are."""
    settings, wanted = processor.settings(), LesionImageProcessor(**recipe.processor).settings()
    other = [name for name in recipe.processor if settings[name] != wanted[name]]
    if other and accelerator.is_main_process:
        shown = ", ".join(f"{name}={settings[name]!r} instead of {wanted[name]!r}" for name in other)
        warnings.warn(
            f"the data were not prepared as recipe {recipe.name} says; used as they are: {shown}", stacklevel=3
        )


def say_stages(stages):
    """Print what the stages are trained on; loudly, where that is less than the recipe's network could."""
    print(f"training: {stages['stages']}", flush=True)
    if stages["reason"]:
        print(f"WARNING: {stages['reason']}", flush=True)


def _network_settings(config):
    """The settings of a network as a checkpoint keeps them, each under a name of its own."""
    settings = json.loads(config.to_json_string(use_diff=False))
    return {f"model.{name}": settings[name] for name in sorted(settings) if name not in _NOT_OF_THE_NETWORK}


def _settings_to_keep(recipe):
    """What of a recipe may not change between a checkpoint and the run that resumes from it."""
    free = {
        "name",
        "paper",
        "model",
        "encoder_weights",
        "processor",
        "target_channels",
        "split",
        "early_stopping_patience",
        "mixed_precision",
        "channels_last",
    }
    if recipe.scheduler in ("plateau", "step", "multistep", "constant"):
        free.add("epochs")  # the others fall to zero at the last epoch
    return {name: value for name, value in recipe.to_dict().items() if name not in free}


def make_scheduler(optimizer, recipe, steps_per_epoch):
    """The recipe's learning-rate scheduler; ``steps_per_epoch`` optimizer steps are an epoch.

    "plateau" is Keras' ReduceLROnPlateau, which lowers the rate at the patience-th bad validation, torch's after it.
    """
    if recipe.scheduler == "plateau":
        return ReduceLROnPlateau(
            optimizer,
            factor=recipe.plateau_factor,
            patience=recipe.plateau_patience - 1,
            threshold=recipe.plateau_min_delta,
            threshold_mode="abs",
        )
    total_steps = recipe.epochs * steps_per_epoch

    def falls(step):
        epoch, done = step // steps_per_epoch, min(step / total_steps, 1.0)
        if recipe.scheduler == "step":
            return recipe.step_factor ** (epoch // recipe.step_epochs)
        if recipe.scheduler == "multistep":
            return recipe.step_factor ** sum(epoch >= milestone for milestone in recipe.milestones)
        return {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[recipe.scheduler]

    rise = recipe.warmup_epochs * steps_per_epoch
    return LambdaLR(optimizer, lambda step: min((step + 1) / rise, 1.0) * falls(step) if rise else falls(step))


def _claim_output(accelerator, output, arguments):
    """Return the checkpoint to resume from, or ``None`` for a new run in a folder that is free for it."""
    resume = None
    if arguments.resume_from_checkpoint:
        resume = find_checkpoint(arguments.resume_from_checkpoint, output / "checkpoints")
    taken = (output / "config.json").exists()
    begun = taken or (output / "history.jsonl").exists()
    if begun and not resume and not arguments.overwrite_output_dir and (taken or not arguments.resume_from_checkpoint):
        raise UsageError(
            f"{output}: holds an earlier run; go on with --resume_from_checkpoint latest where it has checkpoints, "
            "or start anew with --overwrite_output_dir"
        )
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        with writing(output):
            if arguments.overwrite_output_dir and not resume:
                for name in ("checkpoints", "figures"):
                    shutil.rmtree(output / name, ignore_errors=True)
                for name in OUTPUT_FILES:
                    (output / name).unlink(missing_ok=True)
            output.mkdir(parents=True, exist_ok=True)
    accelerator.wait_for_everyone()
    return resume


def _agreed(accelerator, flag):
    """Whether any process raises ``flag``, the same answer in all of them."""
    if accelerator.num_processes == 1:
        return flag
    return accelerator.reduce(torch.tensor(float(flag), device=accelerator.device), reduction="sum").item() > 0


def early_stop(state, recipe):
    """Why training should stop for want of improvement, or nothing."""
    patience = recipe.early_stopping_patience
    if patience and state.validations_without_best >= patience:
        return f"no better {recipe.monitor} in {patience} validations"
    return ""


def _print_epoch(accelerator, epoch, epochs, record, seconds):
    shown = f"epoch {epoch}/{epochs}  loss {record['loss']:.4f}"
    if "validation_dice" in record:
        shown += f"  validation loss {record['validation_loss']:.4f}  3-D Dice {record['validation_dice']:.4f}"
        others = (("IoU", "iou"), ("AUC", "auc"), ("P", "precision"), ("R", "recall"))
        shown += "".join(
            f"  {name} {record[f'validation_{field}']:.4f}" for name, field in others if f"validation_{field}" in record
        )
    if "validation_false_ml" in record:
        shown += f"  with lesion {record['validation_dice_with_lesion']:.4f}"
        shown += f"  false mL {record['validation_false_ml']:.2f}"
    if "validation_miou" in record:
        shown += f"  first-stage mIoU {record['validation_miou']:.4f}"
    accelerator.print(f"{shown}  learning rate {record['learning_rate']:.1e}  {seconds:.0f} s", flush=True)
