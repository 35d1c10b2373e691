"""Recipes: the paper's values, and every wrong field named."""

import pytest
import torch

from hf_lesionseg.errors import RecipeError, UsageError
from hf_lesionseg.training.arguments import TrainingArguments
from hf_lesionseg.training.network import build_network
from hf_lesionseg.training.recipe import load_recipe, packaged_recipes


def write(folder, text):
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_the_papers_recipe():
    recipe = load_recipe("clci-net-atlas")
    assert (recipe.optimizer, recipe.learning_rate, recipe.weight_decay, recipe.batch_size) == ("adam", 1e-4, 0, 8)
    assert (recipe.epochs, recipe.plateau_factor, recipe.plateau_patience, recipe.plateau_min_delta) == (
        100,
        0.2,
        3,
        1e-3,
    )
    assert (recipe.early_stopping_patience, recipe.monitor, recipe.slices) == (5, "validation_loss", "all")
    assert recipe.split == {"train": 120, "validation": 40, "test": 60}
    assert recipe.processor["crop_offset"] == [5, 11]
    assert build_network(recipe, channels=1).num_parameters() == 36_813_025


@pytest.mark.parametrize("name", packaged_recipes())
def test_packaged_recipes_build_their_network_and_processor(name):
    from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor

    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.paper
    from_scratch = load_recipe(name, encoder_weights="none")
    processor = LesionImageProcessor(**recipe.processor)
    with torch.device("meta"):  # some of them are large
        network = build_network(from_scratch, channels=processor.num_channels)
    assert network.config.model_type == recipe.model_type
    assert list(processor.channel_names) == recipe.processor["channel_names"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model_type: clci-net\nlearnig_rate: 1.0", "unknown field 'learnig_rate'; did you mean 'learning_rate'"),
        ("model_type: clci-net\nbatch_size: eight", "batch_size is 'eight'; it must be of type int"),
        ("model_type: clci-net\nbatch_size: true", "batch_size is True"),
        ("model_type: clci-net\nepochs: 0", "epochs is 0; use 1 or more"),
        ("model_type: clci-net\nweight_decay: -1", "weight_decay is -1"),
        ("model_type: clci-net\nlearning_rate: .nan", "learning_rate is nan"),
        ("model_type: clci-net\nlearning_rate: fast", "it must be of type float"),
        ("model_type: clci-net\nplateau_factor: 1.0", "plateau_factor is 1.0"),
        ("model_type: clci-net\nstep_factor: 1.0", "step_factor is 1.0; use above 0 and below 1"),
        ("model_type: clci-net\nstep_epochs: 0", "step_epochs is 0; use 1 or more"),
        ("model_type: clci-net\nscheduler: multistep", "multistep needs milestones"),
        ("model_type: clci-net\nmilestones: [300, 180]", "milestones is [300, 180]; use whole epochs"),
        ("model_type: clci-net\nwarmup_epochs: -1", "warmup_epochs is -1"),
        ("model_type: clci-net\nwarmup_epochs: 2", "the scheduler plateau follows validations"),
        (
            "model_type: clci-net\naugmentation: {rotate: {}}",
            "augmentation 'rotate' is unknown; did you mean 'rotation'",
        ),
        ("model_type: clci-net\naugmentation: {rotation: {degrees: 400}}", "degrees is 400; use 0 to 180"),
        ("model_type: clci-net\naugmentation: {rotation: {degree: 4}}", "its settings are degrees"),
        ("model_type: clci-net\naugmentation: {zoom: {smallest: tiny}}", "augmentation zoom"),
        ("model_type: clci-net\nearly_stopping_patience: -1", "early_stopping_patience is -1"),
        ("model_type: clci-net\nslices: some", "use one of"),
        ("model_type: clci-net\nempty_slice_fraction: 2", "use 0 to 1"),
        ("model_type: clci-net\nslice_range: [90, 70]", "slice_range is [90, 70]; use [first, one past the last]"),
        ("model_type: clci-net\nslice_range: [70]", "slice_range is"),
        ("model_type: clci-net\nslice_range: [0.5, 2]", "slice_range is"),
        ("model_type: clci-net\nslice_range: 70", "slice_range is 70; it must be of type list or null"),
        ("model_type: egs-net\ntarget_channels: dwi", "target_channels is 'dwi'; it must be of type list"),
        ("model_type: egs-net\ntarget_channels: [dwi, dwi]", "name each image once, such as [dwi]"),
        ("model_type: egs-net\ntarget_channels: [labels]", "'labels' is among target_channels and what the network"),
        (
            "model_type: egs-net\ntarget_channels: [cbf]\nprocessor: {channel_names: [cbf]}",
            "'cbf' is among target_channels and what the network takes",
        ),
        ("learning_rate: 1.0", "'model_type' is missing"),
        ("- a\n- b", "mapping"),
        ("a: [", "not valid YAML"),
    ],
)
def test_wrong_recipes_are_named(tmp_path, text, message):
    with pytest.raises(RecipeError, match="mine") as error:
        load_recipe(write(tmp_path, text))
    assert message in str(error.value)
    assert error.value.exit_status == 2
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model_type: clci-net\nmodel: {base_width: 0}", "base_width is 0"),
        ("model_type: clci-net\nmodel: {widht: 8}", "no setting widht"),
        ("model_type: u-boat", "use one of"),
    ],
)
def test_impossible_networks_are_named(tmp_path, text, message):
    with pytest.raises(RecipeError, match=message):
        build_network(load_recipe(write(tmp_path, text)), channels=1)


def test_values_that_yaml_reads_otherwise(tmp_path):
    recipe = load_recipe(write(tmp_path, "model_type: clci-net\nmixed_precision: no\nlearning_rate: 1e-4"))
    assert (recipe.mixed_precision, recipe.learning_rate) == ("no", 1e-4)
    (tmp_path / "mine.yaml").write_bytes(b"paper: \xff\xfe")
    with pytest.raises(RecipeError, match="UTF-8"):
        load_recipe(tmp_path / "mine.yaml")


def test_there_is_no_such_recipe(tmp_path):
    with pytest.raises(RecipeError, match="clci-net-atlas"):
        load_recipe("clci-net-atals")
    with pytest.raises(RecipeError, match="no such recipe file"):
        load_recipe(tmp_path / "none.yaml")


def test_options_replace_the_recipes_values():
    arguments = TrainingArguments("data", "out", learning_rate=0.5, base_width=4, early_stopping_patience=2)
    recipe = arguments.load_recipe()
    assert (recipe.learning_rate, recipe.model, recipe.early_stopping_patience) == (0.5, {"base_width": 4}, 2)
    assert recipe.batch_size == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"push_to_hub": True}, "--hub-model-id"),
        ({"checkpointing_steps": "0"}, "--checkpointing-steps"),
        ({"checkpointing_steps": "often"}, "--checkpointing-steps"),
        ({"logging_steps": 0}, "--logging-steps"),
        ({"max_steps": 0}, "--max-steps"),
        ({"max_minutes": -1.0}, "--max-minutes"),
        ({"num_workers": -1}, "--workers"),
        ({"model_name_or_path": "x", "base_width": 4}, "--base-width"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(UsageError, match=message):
        TrainingArguments("data", "out", **options)


@pytest.mark.parametrize("network", ["unet-bn", "fcn-8s", "pspnet", "deeplabv3-plus", "dense-unet"])
def test_clci_nets_rivals_are_trained_as_it_is(network):
    theirs, own = load_recipe(f"{network}-atlas").to_dict(), load_recipe("clci-net-atlas").to_dict()
    assert {name for name in own if theirs[name] != own[name]} <= {"name", "paper", "model_type", "encoder_weights"}
    assert theirs["model_type"] == network


def test_the_residual_unets_recipe():
    recipe = load_recipe("res-unet-atlas")
    assert recipe.slice_range == [70, 90]
    assert list(recipe.augmentation) == ["flip", "rotation", "zoom"]
    assert (recipe.optimizer, recipe.learning_rate, recipe.batch_size) == ("adam", 1e-4, 16)
    assert recipe.split == {"train": 60, "validation": 20, "test": 20}
    model = build_network(recipe, channels=1)
    assert (model.num_parameters(), model.config.loss) == (7_412_929, "dice")
