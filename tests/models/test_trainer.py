"""transformers' own Trainer takes our losses for what they are: the mean of a batch."""

import math

import pytest
import torch
from torch.utils.data import IterableDataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from hf_lesionseg.models import loadable
from hf_lesionseg.models.configuration_clci_net import CLCINetConfig
from hf_lesionseg.models.modeling_clci_net import CLCINetForSemanticSegmentation

STEPS, RATE = 3, 0.05


class _Gradients(TrainerCallback):
    """Keep the gradients that the optimizer is given."""

    def __init__(self):
        self.seen = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.seen.append({name: value.grad.clone() for name, value in model.named_parameters()})


class _InOrder(IterableDataset):
    """Slices that no sampler shuffles."""

    def __init__(self, slices):
        self.slices = slices

    def __iter__(self):
        return iter(self.slices)


def tiny_network():
    torch.manual_seed(0)
    return CLCINetForSemanticSegmentation(CLCINetConfig(base_width=2, dropout=0.0))


def images_and_labels(count):
    generator = torch.Generator().manual_seed(1)
    labels = (torch.rand(count, 32, 32, generator=generator) < 0.3).long()
    return [{"pixel_values": torch.rand(1, 32, 32, generator=generator), "labels": each} for each in labels]


def train(tmp_path, model, data, accumulated):
    """Train by SGD, one slice a batch, in order; returns the logged losses and the optimizer's gradients."""
    gradients = _Gradients()
    arguments = TrainingArguments(
        str(tmp_path), use_cpu=True, report_to="none", per_device_train_batch_size=1, save_strategy="no",
        gradient_accumulation_steps=accumulated, max_steps=STEPS, logging_steps=1, learning_rate=RATE,
        lr_scheduler_type="constant", optim="sgd", max_grad_norm=0, disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(model, arguments, train_dataset=_InOrder(data), callbacks=[gradients])
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry], gradients.seen


@pytest.mark.parametrize("accumulated", [1, 4])
def test_losses_and_gradients_are_means_of_what_is_accumulated(tmp_path, accumulated):
    data = images_and_labels(STEPS * accumulated)
    losses, gradients = train(tmp_path, tiny_network(), data, accumulated)

    by_hand = tiny_network().train()
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=RATE)
    for step in range(STEPS):
        optimizer.zero_grad()
        total = 0.0
        for each in data[step * accumulated : (step + 1) * accumulated]:
            loss = by_hand(each["pixel_values"][None], labels=each["labels"][None]).loss / accumulated
            loss.backward()
            total += loss.item()
        assert losses[step] == pytest.approx(total, abs=1e-4)
        for name, value in by_hand.named_parameters():
            torch.testing.assert_close(gradients[step][name], value.grad, rtol=1e-4, atol=1e-6)
        optimizer.step()
    assert math.isfinite(losses[-1])


def test_no_network_asks_a_trainer_to_scale_its_loss():
    classes = [network.model_class() for network in loadable().values()]
    assert [model.__name__ for model in classes if getattr(model, "accepts_loss_kwargs", True)] == []
