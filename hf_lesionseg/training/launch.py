"""Start Accelerate, and refuse the launches that look distributed and are not."""

import os
import warnings

from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, DistributedDataParallelKwargs

from ..errors import LaunchError
from ..imaging.folder_lock import locked_by_main

WORKING_COMMAND = (
    "ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no "
    "--dynamo_backend no scripts/train.py ..."
)


def make_accelerator(recipe, *, cpu=False, with_tracking=False):
    """Build the Accelerator of a run.

    Raises
    ------
    LaunchError
        If the launcher started several processes but this one is alone: each would train, and write, by itself.
    """
    try:
        accelerator = Accelerator(
            cpu=cpu,
            # Where the recipe asks for none, `accelerate launch --mixed_precision` decides.
            mixed_precision=None if recipe.mixed_precision == "no" else recipe.mixed_precision,
            gradient_accumulation_steps=recipe.gradient_accumulation_steps,
            # Shuffling that depends on (seed, epoch) alone: without it a resumed epoch has another order under DDP.
            dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True),
            log_with="trackio" if with_tracking else None,
        )
    except ValueError as error:
        raise LaunchError(f"{error}; use --mixed-precision no, or bf16 where the device has it") from error
    if accelerator.gradient_accumulation_steps != recipe.gradient_accumulation_steps:
        raise LaunchError(
            f"the launcher asks for {accelerator.gradient_accumulation_steps} accumulation steps, the recipe for "
            f"{recipe.gradient_accumulation_steps}; give --gradient-accumulation-steps to the training only"
        )
    check_launch(accelerator.num_processes)
    return accelerator


def allow_unused_weights(accelerator):
    """Let a step leave weights without gradient under DDP, which otherwise waits for all of them.

    For networks that are trained in phases, and only for them, since looking for the unused ones costs time. To be
    called before the network is prepared.
    """
    accelerator.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=True)


def check_launch(num_processes):
    """Compare what the launcher announced in the environment with the processes that found each other."""
    announced = int(os.environ.get("WORLD_SIZE", "1"))
    if announced > 1 and num_processes == 1:
        raise LaunchError(
            f"the launcher started {announced} processes, but each runs alone as rank 0 and would overwrite the "
            f"others' files; on CPUs launch with: {WORKING_COMMAND}"
        )


def only_run_in(folder, accelerator):
    """Keep an output folder for this run, all of whose processes are one, see :func:`locked_by_main`."""
    return locked_by_main(folder, "lesionseg train", accelerator)


def start_tracking(accelerator, project, settings):
    """Begin a trackio run that stays on this machine, whatever the environment says about Spaces or servers."""
    for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        if os.environ.pop(name, None):
            warnings.warn(f"{name} is ignored: training on medical data is tracked on this machine only", stacklevel=2)
    accelerator.init_trackers(
        project, config=settings, init_kwargs={"trackio": {"space_id": None, "server_url": None, "embed": False}}
    )
