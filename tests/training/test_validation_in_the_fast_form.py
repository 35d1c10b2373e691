"""Validation runs a network's fast copy, and the network itself where a copy cannot stand for it."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from hf_lesionseg.inference.prepared import prepare_network
from hf_lesionseg.inference.slices import predict_slices
from hf_lesionseg.models.losses import batch_dice_loss
from hf_lesionseg.testing.networks import tiny_batch, tiny_model
from hf_lesionseg.training.step import step_over_batch
from hf_lesionseg.training.volume_loss import VolumeLoss


class _Volume:
    """What :class:`VolumeLoss` asks of a prepared case."""

    target_channels = ()

    def __init__(self, labels):
        self._labels, self.num_slices = labels, len(labels)

    def labels(self, chosen=slice(None)):
        return self._labels[chosen]


@pytest.fixture
def volume():
    batch = tiny_batch("clci-net", size=5)
    return batch["pixel_values"].numpy(), _Volume(batch["labels"].numpy())


def observed(model, images, case, memory_format):
    observer = VolumeLoss(model, case, batch_size=2)
    found = predict_slices(model, images, batch_size=2, memory_format=memory_format, observer=observer)
    return found, observer.value()


def test_the_copy_gives_an_observer_what_the_network_gives(volume):
    images, case = volume
    model = tiny_model("clci-net").eval()
    found, loss = observed(model, images, case, "auto")
    assert found.execution["folded"]["batch_norms"] > 0
    assert found.execution["network_as_it_is"] is None
    with torch.inference_mode():
        labels = torch.from_numpy(case.labels())
        own = model(pixel_values=torch.from_numpy(images), labels=labels)
    assert loss == pytest.approx(own.loss.item(), rel=1e-5)
    seen = batch_dice_loss(torch.from_numpy(found.probability), labels)
    assert seen.item() == pytest.approx(batch_dice_loss(own.logits.sigmoid()[:, 0], labels).item(), rel=1e-4)


def test_a_network_that_training_has_changed_is_copied_again(volume):
    images, case = volume
    accelerator = Accelerator(cpu=True)
    model = tiny_model("clci-net")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    before, _ = observed(model, images, case, "auto")
    model.train()
    batch = tiny_batch("clci-net")
    step_over_batch(accelerator, model, optimizer, batch, (), max_gradient_norm=None, seed=(0, 0, 0, 0))
    after, _ = observed(model, images, case, "auto")
    assert np.abs(after.probability - before.probability).max() > 1e-4
    with torch.inference_mode():
        own = model(pixel_values=torch.from_numpy(images)).logits.sigmoid()[:, 0].numpy()
    np.testing.assert_allclose(after.probability, own, atol=1e-5)


def test_mixed_precision_validates_the_network_itself(volume):
    """Accelerate gives it a forward pass of its own, under autocast; its copy would be bound to that one."""
    images, case = volume
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    model = accelerator.unwrap_model(accelerator.prepare(tiny_model("clci-net"))).eval()
    assert prepare_network(model).network is model
    found, loss = observed(model, images, case, "auto")
    assert found.execution["network_as_it_is"] == "the network has a forward pass of its own"
    plain = tiny_model("clci-net").eval()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        labels = torch.from_numpy(case.labels())
        own = plain(pixel_values=torch.from_numpy(images), labels=labels)
    np.testing.assert_allclose(found.probability, own.logits.float().sigmoid()[:, 0].numpy(), atol=0.02)
    assert loss == pytest.approx(own.loss.item(), abs=0.02)
