"""What a run trains with. :func:`set_up` builds all of it from the arguments and the data, and touches no output.

The training loop, and whoever wants to take a few steps or measure them, call the same function::

    arguments = TrainingArguments(data_dir="prepared", output_dir="unused", recipe="clci-net-demo")
    training = set_up(arguments, load_data(arguments))
    for number, batch in enumerate(training.batches_of(epoch=0)):
        training.step(batch, epoch=0, number=number)
"""

import math
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator, skip_first_batches
from accelerate.utils import set_seed
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset

from ..datasets.prepared.reading import typical_grid
from ..datasets.slices import SliceDataset
from ..datasets.synthetic.heads.slices import RENDERED_MM, HeadSlices
from ..models.image_processing_lesion import LesionImageProcessor
from ..provenance import after_training, of_network
from .arguments import TrainingArguments
from .averaging import averaged_model
from .data import TrainingData
from .launch import allow_unused_weights, make_accelerator
from .network import build_network, describe_stages, enable_activation_checkpointing, lay_out
from .recipe import Recipe
from .scheduler import make_scheduler
from .step import phases_of, step_over_batch

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}


@dataclass
class TrainingSetup:
    """What a run trains with; of :func:`set_up`.

    Attributes
    ----------
    arguments : TrainingArguments
    recipe : Recipe
        With the arguments' values in place of its own.
    accelerator : accelerate.Accelerator
    data : TrainingData
    model, optimizer, loader
        As the accelerator prepared them; the loader's batches are dictionaries, what the network's forward takes.
    slices : SliceDataset or HeadSlices
        What the loader draws from.
    scheduler : torch.optim.lr_scheduler.LRScheduler
        Steps once after each optimizer step; "plateau" after each validation, with the monitored figure.
    averaged : torch.optim.swa_utils.AveragedModel or None
        Moving average of the weights, where the recipe asks for one.
    phases : tuple of str
        In which the network is trained, none for an ordinary one: see :mod:`~hf_lesionseg.training.step`.
    stages : dict or None
        Result of :func:`~hf_lesionseg.training.network.describe_stages`.
    watched : dict
        Fields of the network's output that are logged, with their values of the last batch.
    """

    arguments: TrainingArguments
    recipe: Recipe
    accelerator: Accelerator
    data: TrainingData
    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    loader: DataLoader
    slices: Dataset
    scheduler: LRScheduler
    averaged: AveragedModel | None = None
    phases: tuple[str, ...] = ()
    stages: dict | None = None
    watched: dict = field(default_factory=dict)

    @property
    def output(self):
        """Folder of the model, its history and checkpoints; not there yet."""
        return Path(self.arguments.output_dir)

    @property
    def network(self):
        """The network that is trained, out of what distributes it."""
        return self.accelerator.unwrap_model(self.model)

    @property
    def kept(self):
        """What is validated and saved: the average of the weights where there is one."""
        return self.model if self.averaged is None else self.averaged.module

    @property
    def learning_rate(self):
        return self.optimizer.param_groups[0]["lr"]

    def batches_of(self, epoch, skip=0):
        """The batches of an epoch, less the first ``skip``; their order depends on the seed and the epoch alone."""
        self.slices.set_epoch(epoch)
        batches = skip_first_batches(self.loader, skip) if skip else self.loader
        batches.set_epoch(epoch)  # also of the loader that skips: older versions of Accelerate begin it at 0
        return batches

    def step(self, batch, epoch, number):
        """Forward, backward and, unless gradients are being accumulated, move the weights and their average.

        Parameters
        ----------
        batch : dict of torch.Tensor
        epoch, number : int
            The epoch and the batch's place in it. Randomness in the step, as in dropout, depends only on them, the seed
            and the process, so a resumed run takes the very steps of an uninterrupted one.

        Returns
        -------
        torch.Tensor of shape (phases,), or (1,) without phases
            The losses in this process, detached.
        """
        losses = step_over_batch(
            self.accelerator, self.model, self.optimizer, batch, self.phases,
            max_gradient_norm=self.recipe.max_gradient_norm, watched=self.watched,
            seed=(self.arguments.seed, epoch, number, self.accelerator.process_index),
        )  # fmt: skip
        if self.averaged is not None and self.accelerator.sync_gradients:
            self.averaged.update_parameters(self.network)
        return losses


def set_up(arguments, data, accelerator=None, *, resumes=False) -> TrainingSetup:
    """Build network, slices, loader, optimizer and scheduler of a run; the same ones for the same arguments and data.

    Parameters
    ----------
    arguments : TrainingArguments
    data : TrainingData
        Result of :func:`~hf_lesionseg.training.data.load_data`.
    accelerator : accelerate.Accelerator, optional
        Result of :func:`~hf_lesionseg.training.launch.make_accelerator`, which makes one by default.
    resumes : bool
        A checkpoint follows: the recipe's ``encoder_weights`` need not be there any more.

    Raises
    ------
    LesionSegError
        One of its kinds, naming the file or option and the remedy.
    """
    recipe, dataset = arguments.load_recipe(), data.dataset
    accelerator = accelerator or make_accelerator(recipe, cpu=arguments.cpu)
    if arguments.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA's first matrix product runs
    set_seed(arguments.seed, deterministic=arguments.deterministic)
    if accelerator.is_main_process:
        _warn_of_another_preparation(recipe, data.processor)
    model = build_network(
        recipe, arguments.model_name_or_path, channels=dataset.num_channels, targets=dataset.target_channels,
        token=arguments.hub_token, resumes=resumes,
    )  # fmt: skip
    _note_data(model.config, dataset)
    phases = phases_of(model, recipe)
    if phases:
        allow_unused_weights(accelerator)
    lay_out(model, accelerator.device, recipe.channels_last)
    if arguments.activation_checkpointing:
        enable_activation_checkpointing(model)
    averaged = None
    if recipe.ema_decay is not None:
        averaged = averaged_model(model, recipe.ema_decay).to(accelerator.device)
        accelerator.register_for_checkpointing(averaged)
    targets, watched = getattr(model.config, "target_channels", ()), getattr(model, "watched_outputs", ())
    stages = describe_stages(recipe, model.config, dataset.target_channels)

    slices = training_slices(recipe, data, targets=targets, seed=arguments.seed)
    loader = DataLoader(
        slices, batch_size=recipe.batch_size, shuffle=True, num_workers=arguments.num_workers,
        pin_memory=accelerator.device.type == "cuda",
    )  # fmt: skip
    optimizer = make_optimizer(model.parameters(), recipe)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    steps_per_epoch = math.ceil(len(loader) / recipe.gradient_accumulation_steps)
    scheduler = make_scheduler(optimizer.optimizer, recipe, steps_per_epoch)
    return TrainingSetup(
        arguments=arguments,
        recipe=recipe,
        accelerator=accelerator,
        data=data,
        model=model,
        optimizer=optimizer,
        loader=loader,
        slices=slices,
        scheduler=scheduler,
        averaged=averaged,
        phases=phases,
        stages=stages,
        watched=dict.fromkeys(watched),
    )


def make_optimizer(parameters, recipe):
    """The recipe's optimizer, with its learning rate and weight decay."""
    return OPTIMIZERS[recipe.optimizer](parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)


def training_slices(recipe, data, *, targets=(), seed=0):
    """What an epoch goes through: slices of prepared cases, or of heads that are rendered as they are asked for.

    Parameters
    ----------
    recipe : Recipe
    data : TrainingData
    targets : sequence of str
        Images that the network learns from beside the lesion.
    seed : int
        Seed of everything random in them.

    Returns
    -------
    SliceDataset or HeadSlices
    """
    if data.dataset.heads is not None:
        settings = {name: value for name, value in recipe.heads.items() if name != "slices"}
        length = recipe.heads.get("slices", 8000)
        return HeadSlices(
            data.dataset.heads, data.processor, length=length, epochs=recipe.epochs, **settings, seed=seed
        )
    return SliceDataset(
        data.cases["train"],
        slices=recipe.slices,
        slice_range=recipe.slice_range,
        empty_slice_fraction=recipe.empty_slice_fraction,
        copies=recipe.copies,
        augmentation=recipe.slice_augmentation(),
        targets=targets,
        seed=seed,
    )


def _note_data(config, dataset):
    """Keep with the weights what whoever segments with them is warned by: maps, voxels and makers of the data."""
    if dataset.perfusion_maps:
        config.perfusion_maps = list(dataset.perfusion_maps)
    config.training_data = after_training(of_network(config), synthetic=dataset.synthetic)
    config.training_grid = typical_grid(dataset.cases) if dataset.heads is None else list(RENDERED_MM)


def _warn_of_another_preparation(recipe, processor):
    """Warn where the data were prepared in another way than the recipe would: the slices are what they are."""
    settings, wanted = processor.settings(), LesionImageProcessor(**recipe.processor).settings()
    other = [name for name in recipe.processor if settings[name] != wanted[name]]
    if other:
        shown = ", ".join(f"{name}={settings[name]!r} instead of {wanted[name]!r}" for name in other)
        warnings.warn(
            f"the data were not prepared as recipe {recipe.name} says; used as they are: {shown}", stacklevel=3
        )
