"""New networks whose encoders start from a published ResNet: which weights, what is said where that cannot be."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import ResNetConfig, ResNetForImageClassification

from hf_lesionseg.errors import ModelError, UsageError
from hf_lesionseg.models.resnet_encoder import ResNetEncoder
from hf_lesionseg.training.arguments import TrainingArguments
from hf_lesionseg.training.history import read_history
from hf_lesionseg.training.network import build_network
from hf_lesionseg.training.recipe import load_recipe

DEPTHS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3]}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Folders ``resnet-18`` and ``resnet-34``, narrow ones as ``microsoft/resnet-*`` would be; the path of both."""
    folder = tmp_path_factory.mktemp("published")
    for depth, depths in DEPTHS.items():
        torch.manual_seed(depth)
        config = ResNetConfig(embedding_size=4, hidden_sizes=[4, 8, 16, 32], depths=depths, layer_type="basic")
        ResNetForImageClassification(config).save_pretrained(folder / f"resnet-{depth}")
    return str(folder / "resnet-{depth}")


@pytest.fixture
def recipe(tmp_path):
    def write(model_type="resnet-unet", **values):
        lines = {"model_type": model_type, "model": "{base_width: 4}", "batch_size": 4} | values
        path = tmp_path / "recipe.yaml"
        path.write_text("".join(f"{name}: {value}\n" for name, value in lines.items()))
        return str(path)

    return write


def same(encoder, folder):
    """Whether the encoder holds exactly the weights of a folder, but for their classification head."""
    saved = {
        name: value for name, value in load_file(f"{folder}/model.safetensors").items() if "classifier" not in name
    }
    own = encoder.state_dict()
    assert set(own) == set(saved)
    return all(torch.equal(own[name], value) for name, value in saved.items())


def test_every_encoder_gets_the_weights_of_its_depth(published, recipe):
    chosen = load_recipe(recipe("coarse-to-fine", encoder_weights=published))
    model = build_network(chosen, channels=3)
    encoders = [module for module in model.modules() if isinstance(module, ResNetEncoder)]
    assert [encoder.depth for encoder in encoders] == [18, 34]
    for encoder in encoders:
        assert same(encoder, published.replace("{depth}", str(encoder.depth)))
    torch.manual_seed(0)
    model(torch.rand(2, 3, 64, 64), labels=torch.ones(2, 64, 64, dtype=torch.long)).loss.backward()


def test_from_scratch_is_the_default_and_none_replaces_a_recipes(published, recipe):
    path = recipe(encoder_weights=published)
    assert load_recipe(path).encoder_weights == published
    assert load_recipe(path, encoder_weights="none").encoder_weights is None
    assert load_recipe(recipe()).encoder_weights is None
    encoder = build_network(load_recipe(recipe()), channels=3).network.encoder
    assert not torch.equal(encoder.resnet.embedder.embedder.convolution.weight, torch.zeros(4, 3, 7, 7))
    assert not same(encoder, published.replace("{depth}", "34"))


def test_what_cannot_be_is_a_typed_error_with_a_remedy(published, recipe, monkeypatch, tmp_path):
    def build(path):
        return build_network(load_recipe(path), channels=3)

    with pytest.raises(ModelError, match=r"nowhere.*cannot be loaded.*--encoder-weights none"):
        build(recipe(encoder_weights=tmp_path / "nowhere"))
    with pytest.raises(ModelError, match=r"depths .*ResNet-34.*"):
        build(recipe(encoder_weights=published.replace("{depth}", "18")))
    with pytest.raises(ModelError, match=r"depths .*\{depth\} in it fits every encoder"):
        build(recipe("coarse-to-fine", encoder_weights=published.replace("{depth}", "18")))
    with pytest.raises(ModelError, match=r"clci-net network has no ResNet encoder; leave encoder_weights out"):
        build(recipe("clci-net", encoder_weights=published))
    # transformers has neither VGG nor DenseNet
    for network in ("fcn-8s", "dense-unet"):
        with pytest.raises(ModelError, match=f"{network} network has no ResNet encoder; leave encoder_weights out"):
            build(recipe(network, encoder_weights="microsoft/resnet-{depth}"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ModelError, match=r"microsoft/resnet-34: cannot be loaded; go online once, give a folder"):
        build(recipe(encoder_weights="microsoft/resnet-{depth}"))


def test_options_that_exclude_each_other():
    with pytest.raises(UsageError, match="--model brings all its weights"):
        TrainingArguments("data", "out", model_name_or_path="org/model", encoder_weights="none")


def test_training_starts_from_them_and_resumes_without_them(published, recipe, run, tmp_path):
    """In one tiny run: the option replaces the recipe's value; a resumed run does not ask for the weights again."""
    path = recipe(model="{base_width: 4, depth: 18, num_channels: 1}", encoder_weights=tmp_path / "nowhere")
    options = {"recipe": path, "epochs": 1, "checkpointing_steps": "1"}
    with pytest.raises(ModelError, match="nowhere"):
        run("refused", **options)
    output, summary = run("run", max_steps=1, encoder_weights=published, **options)
    assert summary["recipe"]["encoder_weights"] == published
    run("run", max_steps=2, resume_from_checkpoint="latest", **options)
    steps = [record["step"] for record in read_history(output / "history.jsonl") if record["kind"] == "step"]
    assert steps == [1, 2]
