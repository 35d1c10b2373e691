"""Losses chosen by configuration, in the real training loop, and the loss of the validation volumes."""

import json

import numpy as np
import pytest
import torch

from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.errors import RecipeError
from hf_lesionseg.inference.loading import load_model
from hf_lesionseg.inference.slices import slices_with_tissue
from hf_lesionseg.models.losses import LOSSES, batch_dice_loss, tversky_loss
from hf_lesionseg.training.checkpoints import TrainingState
from hf_lesionseg.training.history import read_history
from hf_lesionseg.training.recipe import load_recipe, packaged_recipes

SIZES = {
    "clci-net": "base_width: 2, batch_norm_momentum: 0.2",
    "res-unet": "base_width: 2, encoder_block: plain",
    "unet-bn": "base_width: 2",
}


@pytest.fixture
def recipe(tmp_path):
    """Write a recipe of a narrow network with the given further settings; returns its path."""

    def write(model_type, model, **settings):
        path = tmp_path / "by-name.yaml"
        lines = {"epochs": 2, "batch_size": 4, "learning_rate": 0.01} | settings
        path.write_text(
            f"model_type: {model_type}\nmodel: {{{SIZES[model_type]}, {model}}}\n"
            + "".join(f"{name}: {value}\n" for name, value in lines.items())
        )
        return str(path)

    return write


def epochs(folder):
    return [record for record in read_history(folder / "history.jsonl") if record["kind"] == "epoch"]


def loss_by_hand(folder, prepared, function):
    """Mean over the validation volumes of a loss of all their slices with tissue, computed at once."""
    model, found = load_model(folder).model, []
    for case in PreparedDataset(prepared).select("validation"):
        pixel_values, labels = case.pixel_values(), case.labels()
        shown = slices_with_tissue(pixel_values)
        with torch.no_grad():
            logits = model(torch.from_numpy(pixel_values[shown])).logits[:, 0]
        found.append(function(logits, torch.from_numpy(labels[shown])).item())
    return np.mean(found)


@pytest.mark.parametrize("model_type", ["clci-net", "res-unet"])
def test_tversky_by_configuration(model_type, run, recipe, prepared):
    """From the recipe into the steps, the validation, the kept weights and the saved configuration."""
    path = recipe(model_type, "loss: tversky, loss_settings: {alpha: 0.1, beta: 0.9}")
    output, summary = run(recipe=path)
    config = json.loads((output / "config.json").read_text())
    assert (config["loss"], config["loss_settings"]) == ("tversky", {"alpha": 0.1, "beta": 0.9, "smooth": 1.0})
    records = epochs(output)
    assert summary["best"]["validation_loss"] == min(record["validation_loss"] for record in records)
    best = records[summary["best"]["epoch"] - 1]

    def tversky(logits, labels):
        return tversky_loss(logits, labels, alpha=0.1, beta=0.9)

    def dice(logits, labels):
        return batch_dice_loss(logits.sigmoid(), labels)

    assert best["validation_loss"] == pytest.approx(loss_by_hand(output, prepared, tversky), rel=1e-5)
    assert best["validation_dice_loss"] == pytest.approx(loss_by_hand(output, prepared, dice), rel=1e-5)
    assert best["validation_dice_loss"] != pytest.approx(best["validation_loss"], rel=1e-2)


@pytest.fixture
def toy(monkeypatch):
    """A loss from outside of the package, and what it was asked for."""
    asked = []

    def scaled_error(logits, targets, *, scale, offset=0.0):
        asked.append(scale)
        return scale * (logits.sigmoid() - targets.to(logits.dtype)).abs().mean() + offset

    monkeypatch.setitem(LOSSES, "scaled-error", scaled_error)
    return asked, scaled_error


def test_a_loss_from_outside_is_trained_with_by_its_name(toy, run, recipe, prepared):
    """One row in the table is all that it takes."""
    asked, scaled_error = toy
    output, _ = run(recipe=recipe("unet-bn", "loss: scaled-error, loss_settings: {scale: 3.0}", epochs=1))
    config = load_model(output).model.config
    assert config.loss_settings == {"scale": 3.0, "offset": 0.0}
    assert set(asked) == {3.0}

    def expected(logits, labels):
        return scaled_error(logits, labels, scale=3.0)

    assert epochs(output)[0]["validation_loss"] == pytest.approx(loss_by_hand(output, prepared, expected), rel=1e-5)
    with pytest.raises(Exception, match=r"loss_settings of 'scaled-error': .*missing.*'scale'"):
        type(config)(loss="scaled-error")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "loss: tversky, loss_settings: {gamma: 2}",
            "has 'gamma', which the loss 'tversky' does not take; give",
        ),
        ("loss: hinge", "loss is 'hinge'; use one of dice,"),
    ],
)
def test_a_recipe_is_told_what_its_loss_does_not_take(model, message, run, recipe):
    with pytest.raises(RecipeError, match=f"recipe by-name: .*{message}"):
        run(recipe=recipe("unet-bn", model))


def test_a_trained_network_takes_the_recipes_loss(run, recipe):
    """Its other settings are its own, and so is its loss where the recipe names none."""
    first, _ = run("first", recipe=recipe("unet-bn", "loss: focal, loss_settings: {gamma: 1}", epochs=1))
    kept, _ = run("kept", recipe=recipe("unet-bn", "dropout: 0.1", epochs=1), model_name_or_path=str(first))
    config = load_model(kept).model.config
    assert (config.loss, config.loss_settings, config.dropout) == ("focal", {"gamma": 1, "alpha": None}, 0.3)
    path = recipe("unet-bn", "loss: tversky", epochs=1)
    output, _ = run("second", recipe=path, model_name_or_path=str(first))
    config = load_model(output).model.config
    assert (config.loss, config.loss_settings["beta"]) == ("tversky", 0.7)
    path = recipe("unet-bn", "loss: bce, loss_settings: {beta: 1}", epochs=1)
    with pytest.raises(RecipeError, match=r"recipe by-name: .*'beta', which the loss 'bce' does not take"):
        run("third", recipe=path, model_name_or_path=str(first))


@pytest.mark.parametrize("name", packaged_recipes())
def test_recipes_say_what_they_monitor(name):
    recipe = load_recipe(name)
    assert "\nmonitor: " in recipe_text(name)
    if recipe.scheduler == "plateau" or recipe.monitor == "validation_loss":
        # the papers that go by a loss go by the one that they train with, the Dice loss
        assert (recipe.monitor, recipe.model.get("loss", "dice")) == ("validation_loss", "dice")


def recipe_text(name):
    from importlib import resources

    return (resources.files("hf_lesionseg.training") / "recipes" / f"{name}.yaml").read_text()


def test_each_loss_can_be_monitored():
    record = {"validation_loss": 2.0, "validation_dice_loss": 0.3, "validation_dice": 0.6, "validation_detection": 0.5}
    found = {name: TrainingState.monitored(record, name) for name in record}
    assert found == {**record, "validation_dice": -0.6, "validation_detection": -0.5}
