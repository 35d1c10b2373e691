"""The one training loop: read :func:`train` from top to bottom, then :func:`run_epoch`.

What it trains with is built in :mod:`~hf_lesionseg.training.setup`, what one step does with a batch is in
:mod:`~hf_lesionseg.training.step`, where it goes on after an interruption in :mod:`~hf_lesionseg.training.resume`, why
it ends early in :mod:`~hf_lesionseg.training.stopping`.

Two things make a resumed run equal to an uninterrupted one, step by step: the order of the slices depends on the seed
and the epoch alone, and every step seeds the random numbers of dropout from (seed, epoch, batch, process).
"""

import torch

from .data import load_data
from .launch import make_accelerator, only_run_in
from .loader_workers import explained_workers
from .model_folder import finish_model_folder, save_best
from .resume import Checkpoints, claim_output
from .run_log import RunLog
from .setup import set_up
from .stopping import Clock, StopRules
from .validation import validate, validation_record


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
    clock = Clock()
    recipe = arguments.load_recipe()
    accelerator = make_accelerator(recipe, cpu=arguments.cpu, with_tracking=arguments.with_tracking)
    with only_run_in(arguments.output_dir, accelerator), explained_workers():
        data = load_data(arguments, write=accelerator.is_main_process)
        checkpoint = claim_output(accelerator, arguments)
        training = set_up(arguments, data, accelerator, resumes=checkpoint is not None)

        checkpoints, stop = Checkpoints(training, clock), StopRules(training, clock)
        state = checkpoints.resume(checkpoint)
        log = RunLog(training, state, clock, resumes=checkpoint is not None)

        state.finished = stop.before_start(state)
        while state.epoch < recipe.epochs and not state.finished:
            run_epoch(training, state, checkpoints, log, stop)
            whole = state.batches == len(training.loader)
            if not whole:
                checkpoints.save(state)  # before anything that an uninterrupted run would not do here
            validate_epoch(training, state, log, whole=whole)
            if whole:
                state.begin_next_epoch()
                checkpoints.save(state)
                state.finished = stop.after_epoch(state)

        state.seconds = clock.in_all()
        return finish(training, state)


def run_epoch(training, state, checkpoints, log, stop):
    """Take the steps that are left of an epoch, up to its end or a reason to stop.

    Parameters
    ----------
    training : TrainingSetup
    state : TrainingState
        Where the run stands; moved on.
    checkpoints : Checkpoints
    log : RunLog
    stop : StopRules
    """
    accelerator = training.accelerator
    training.model.train()
    batches = training.batches_of(state.epoch, skip=state.batches)
    pending = []  # losses of the batches since the weights moved
    for batch in log.progress(batches, state):
        pending.append(training.step(batch, state.epoch, state.batches))
        state.batches += 1
        if not accelerator.sync_gradients:
            continue  # the recipe accumulates gradients, and the weights have not moved yet
        losses = accelerator.reduce(torch.stack(pending).mean(dim=0), reduction="mean").tolist()
        state.count_step(sum(losses), batches=len(pending))
        pending.clear()
        log.step(state, losses)
        if training.recipe.scheduler != "plateau":
            training.scheduler.step()
        checkpoints.save_after_step(state)
        state.finished = stop.after_step(state)
        if state.finished:
            break


def validate_epoch(training, state, log, *, whole):
    """Validate where the recipe or the run's end asks for it, keep the weights that are the best so far, and tell.

    Parameters
    ----------
    training : TrainingSetup
    state : TrainingState
    log : RunLog
    whole : bool
        The epoch came to its end; of one that did not, the learning rate takes no notice.
    """
    recipe, epoch = training.recipe, state.epoch + 1
    record = {"loss": state.mean_loss, "learning_rate": training.learning_rate}
    if state.finished or epoch % recipe.validation_every == 0 or epoch == recipe.epochs:
        validated = validate(
            training.accelerator, training.kept, training.data.processor, training.data.cases["validation"],
            batch_size=training.arguments.eval_batch_size, mixed_precision=training.accelerator.mixed_precision,
            slice_range=recipe.slice_range,
        )  # fmt: skip
        record |= validation_record(validated)
        if state.note(record, recipe.monitor):
            save_best(training)
        if whole and recipe.scheduler == "plateau":
            training.scheduler.step(state.monitored(record, recipe.monitor))
    log.epoch(state, record)


def finish(training, state):
    """Complete the model folder, and publish it where that was asked for; returns the summary."""
    arguments, accelerator = training.arguments, training.accelerator
    if not state.best_step and not (training.output / "config.json").is_file():
        save_best(training)  # resumed where nothing was left to do, before any validation
    summary = finish_model_folder(training, state)
    publishes = arguments.push_to_hub and accelerator.is_main_process
    accelerator.end_training()  # the other processes need not wait for the upload
    if publishes:
        publish_model(arguments)
    return summary


def publish_model(arguments):
    """Publish the model folder of a run, and say where it is."""
    from ..hub.publish import publish

    url = publish(
        arguments.output_dir, arguments.hub_model_id, private=arguments.hub_private, token=arguments.hub_token
    )
    print(f"published: {url}", flush=True)
