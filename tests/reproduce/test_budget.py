"""What the rows of a table may spend, and how wide their networks are."""

import pytest
from transformers import AutoConfig

from hf_lesionseg.errors import UsageError
from hf_lesionseg.reproduce.budget import Budget
from hf_lesionseg.reproduce.papers import find_table
from hf_lesionseg.training.recipe import load_recipe


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"seeds": ()}, "seeds are"),
        ({"seeds": (1, 1)}, "seeds are"),
        ({"scale": 0}, "scale is 0"),
        ({"processes": 3, "batch_size": 8}, "batch_size is 8 slices for 3 processes"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
    ],
)
def test_impossible_budgets(settings, message):
    with pytest.raises(UsageError, match=message):
        Budget(**settings)


def test_lengths_go_with_the_size_of_the_slices():
    assert Budget().in_proportion() == {"margin": 15, "heatmap_sigma": 2, "minimum_component_pixels": 10}
    small = {"margin": 4, "heatmap_sigma": 0.75, "minimum_component_pixels": 1}
    assert Budget(scale=0.25).in_proportion() == small


def test_published_encoders_at_the_published_width():
    recipe = load_recipe("l-snet-pancreas")
    assert Budget(base_width=16).weights_to_start_from(recipe) is None
    assert Budget(base_width=64).weights_to_start_from(recipe) == recipe.encoder_weights
    assert Budget(base_width=64, encoder_weights="none").weights_to_start_from(recipe) is None
    assert Budget(encoder_weights="mine").weights_to_start_from(recipe) == "mine"


def test_widths_come_down_in_proportion():
    budget = Budget(base_width=16)
    assert budget.narrowed(AutoConfig.for_model("l-snet")) == {"base_width": 16}
    assert budget.narrowed(AutoConfig.for_model("clci-net")) == {"base_width": 8}
    assert budget.narrowed(AutoConfig.for_model("dense-unet")) == {"base_width": 24, "growth_rate": 12}
    assert budget.narrowed(AutoConfig.for_model("ms-dcnn")) == {
        "base_width": 16, "growth_rate": 8, "up_widths": [64, 32, 16, 16],
    }  # fmt: skip
    assert budget.narrowed(AutoConfig.for_model("egs-net"))["perceptual_widths"] == [8, 16, 32, 64, 128]
    assert Budget(base_width=64).narrowed(AutoConfig.for_model("dense-unet")) == {"base_width": 96, "growth_rate": 48}
    assert Budget(base_width=8).narrowed(AutoConfig.for_model("unet-bn")) == {"base_width": 8}  # of 32: not 4
    assert Budget(base_width=4).narrowed(AutoConfig.for_model("unet-bn")) == {"base_width": 4}
    assert Budget(base_width=1).narrowed(AutoConfig.for_model("unet-bn")) == {"base_width": 1}


def test_weights_are_for_rows_whose_recipe_has_some():
    table = find_table("clci-net-1")
    full = Budget(base_width=64)
    found = {row.name: full.weights_to_start_from(load_recipe(row.recipe or table.recipe)) for row in table.rows}
    assert {name for name, weights in found.items() if weights} == {"PSPNet", "DeepLabv3+"}
    assert Budget(encoder_weights="mine").weights_to_start_from(load_recipe("clci-net-atlas")) is None
