"""The course of the learning rate over steps and epochs."""

import pytest
import torch

from hf_lesionseg.training.recipe import load_recipe
from hf_lesionseg.training.scheduler import make_scheduler


def test_the_learning_rate_falls_as_in_keras():
    """Keras: the first value is the best, the third in a row that is no better by min_delta lowers the rate."""
    recipe = load_recipe("clci-net-atlas")
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1e-4)
    scheduler = make_scheduler(optimizer, recipe, steps_per_epoch=1)
    rates = []
    for loss in (1.0, 0.9995, 0.9999, 1.2, 0.5, 0.5, 0.5, 0.5):
        scheduler.step(loss)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-4, 1e-4, 1e-4, 2e-5, 2e-5, 2e-5, 2e-5, 4e-6])


@pytest.mark.parametrize(
    ("scheduler", "rates"), [("linear", [0.75, 0.5, 0.25, 0]), ("cosine", [0.8535534, 0.5, 0.1464466, 0])]
)
def test_schedules_that_fall_to_zero(scheduler, rates):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make_scheduler(
        optimizer, load_recipe("clci-net-atlas", scheduler=scheduler, epochs=2), steps_per_epoch=2
    )
    seen = []
    for _ in range(4):
        optimizer.step()
        schedule.step()
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == pytest.approx(rates)


def test_the_rate_falls_in_steps_after_whole_epochs():
    """Two epochs of three steps at 1, two at 0.1, the last at 0.01."""
    recipe = load_recipe("clci-net-atlas", scheduler="step", step_epochs=2, epochs=5)
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make_scheduler(optimizer, recipe, steps_per_epoch=3)
    seen = []
    for _ in range(15):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert seen == pytest.approx([1.0] * 6 + [0.1] * 6 + [0.01] * 3)


def test_the_rate_rises_first_and_falls_after_milestones():
    """Two epochs of warm-up, then x 0.2 after the third and after the fifth epoch of two steps each."""
    recipe = load_recipe("clci-net-atlas", scheduler="multistep", milestones=[3, 5], step_factor=0.2, warmup_epochs=2)
    optimizer = torch.optim.RMSprop([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make_scheduler(optimizer, recipe, steps_per_epoch=2)
    seen = []
    for _ in range(12):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert seen == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 1.0] + [0.2] * 4 + [0.04] * 2)
