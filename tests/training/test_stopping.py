"""Which validation is the best so far, and when a run has seen enough of them."""

import math

import pytest

from hf_lesionseg.errors import ModelError
from hf_lesionseg.training.checkpoints import TrainingState
from hf_lesionseg.training.recipe import load_recipe
from hf_lesionseg.training.stopping import early_stop


def test_early_stopping_counts_validations_without_a_new_best():
    recipe, state = load_recipe("clci-net-atlas"), TrainingState()
    stops = []
    for loss in (1.0, 0.9, 0.9, 0.95, 0.91, 0.9, 2.0):
        state.note({"validation_loss": loss, "validation_dice": 0.0}, recipe.monitor)
        stops.append(bool(early_stop(state, recipe)))
    assert stops == [False] * 6 + [True]
    assert not early_stop(state, load_recipe("clci-net-demo"))


def test_note_counts_validations_without_a_new_best():
    state = TrainingState()
    seen = [
        state.note({"validation_loss": loss, "validation_dice": 0.0}, "validation_loss") for loss in (3, 2, 2, 4, 1)
    ]
    assert seen == [True, True, False, False, True]
    assert state.validations_without_best == 0
    assert math.isnan(TrainingState().best_dice)
    state = TrainingState()
    assert state.note({"validation_loss": 1.0, "validation_dice": 0.5}, "validation_dice")
    assert not state.note({"validation_loss": 0.1, "validation_dice": 0.4}, "validation_dice")


def test_a_validation_that_is_not_finite_is_an_error():
    with pytest.raises(ModelError, match="validation_dice is nan"):
        TrainingState().note({"validation_loss": 1.0, "validation_dice": math.nan}, "validation_dice")
