"""What every registered network must do. A new network is tested by being registered (and given a tiny config)."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForSemanticSegmentation
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from hf_lesionseg.models import MODEL_REGISTRY
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.training.network import enable_activation_checkpointing

#: Networks of many layers take minutes to trace; the export of each is quick.
TRACED_QUICKLY_OR_MARKED_SLOW = [
    pytest.param(name, marks=pytest.mark.slow if network.slow_to_trace else ())
    for name, network in sorted(MODEL_REGISTRY.items())
]


def test_config_survives_json(config_class, tmp_path):
    config = config_class()
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is config_class
    assert loaded.to_diff_dict() == config.to_diff_dict()
    assert loaded.id2label == {0: "background", 1: "lesion"}


@pytest.mark.parametrize("field", ["num_channels", "num_logits", "base_width"])
@pytest.mark.parametrize("value", [0, "8"])
def test_config_refuses_impossible_widths(config_class, field, value):
    if not hasattr(config_class(), field):
        pytest.skip(f"{config_class.__name__} has no {field}")
    with pytest.raises(Exception, match=field):
        config_class(**{field: value})


def test_forward_and_backward_reach_every_parameter(make_model, make_batch):
    model = make_model().train()
    output = model(**make_batch())
    assert output.loss.ndim == 0
    assert output.logits.shape == (2, model.config.num_logits, 48, 32)
    output.loss.backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.parametrize(("height", "width"), [(16, 16), (50, 41), (5, 7), (1, 1), (33, 160)])
def test_any_resolution(make_model, make_batch, height, width):
    model = make_model().eval()
    batch = make_batch(height, width)
    output = model(pixel_values=batch["pixel_values"])
    assert output.loss is None
    assert output.logits.shape == (2, model.config.num_logits, height, width)
    assert torch.isfinite(output.logits).all()


def test_padding_equals_padding_by_hand(make_model, make_batch, network):
    model = make_model().eval()
    if network.needs_its_border:
        pytest.skip("what it sees ends where the image ends, which padding by hand moves")
    images = make_batch(50, 41)["pixel_values"]
    stride = model.config.stride
    by_hand = torch.zeros(2, images.shape[1], 50 + -50 % stride, 41 + -41 % stride)
    by_hand[..., :50, :41] = images
    torch.testing.assert_close(model(images).logits, model(by_hand).logits[..., :50, :41])


def test_one_image_can_be_trained_on(make_model, make_batch):
    model = make_model().train()
    assert torch.isfinite(model(**make_batch(48, 32, size=1)).loss)


def test_two_logits(make_model, make_batch, network):
    model = make_model(num_logits=2)
    output = model(**make_batch())
    assert output.logits.shape[1] == 2
    heads = 1 + getattr(model.config, "auxiliary_weight", 0)
    if network.largest_loss is not None:
        assert 0 <= output.loss <= 1.01 * heads * network.largest_loss


def test_wrong_inputs_name_the_remedy(make_model, make_batch):
    model, batch = make_model(), make_batch()
    with pytest.raises(ValueError, match="pixel_values have shape"):
        model(batch["pixel_values"][0])
    with pytest.raises(ValueError, match="squeeze"):
        model(batch["pixel_values"], labels=batch["labels"][:, None])
    with pytest.raises(ValueError, match="integer"):
        model(batch["pixel_values"], labels=batch["labels"].float())


def test_save_and_load_through_every_auto_class(make_model, make_batch, tmp_path):
    model = make_model().eval()
    with torch.no_grad():
        for buffer in model.buffers():  # running statistics that differ from their initial values
            if buffer.dtype.is_floating_point:
                buffer.uniform_(0.5, 1.5)
    expected = model(make_batch()["pixel_values"]).logits
    model.save_pretrained(tmp_path)
    LesionImageProcessor.clci_net_recipe().save_pretrained(tmp_path)
    for factory in (AutoModel, AutoModelForSemanticSegmentation, type(model)):
        loaded = factory.from_pretrained(tmp_path)
        assert type(loaded) is type(model)
        assert not loaded.training
        torch.testing.assert_close(loaded(make_batch()["pixel_values"]).logits, expected, rtol=0, atol=0)
        for (name, buffer), (_, saved) in zip(loaded.named_buffers(), model.named_buffers(), strict=True):
            assert torch.equal(buffer, saved), name
        assert not any(tensor.is_meta for tensor in (*loaded.parameters(), *loaded.buffers()))
        for name, module in loaded.named_modules():
            stray = [key for key, value in vars(module).items() if isinstance(value, torch.Tensor)]
            assert stray == [], f"{name} holds plain tensors {stray}, which stay on the meta device when loaded"
    assert type(AutoImageProcessor.from_pretrained(tmp_path)) is LesionImageProcessor


def test_no_buffer_is_left_out_of_the_checkpoint(make_model):
    model = make_model()
    assert {name for name, _ in model.named_buffers()} <= set(model.state_dict())


@pytest.mark.parametrize("half", [0, 1])
def test_missing_weights_are_initialised_as_in_a_new_network(make_model, tmp_path, half):
    """hub.md's trap: what a checkpoint lacks was created on the meta device and holds whatever memory held."""
    fresh = make_model()
    fresh.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: tensor for index, (name, tensor) in enumerate(sorted(weights.items())) if index % 2 == half}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    poison = [torch.full((size,), float("nan")) for size in (2**22, 2**16, 2**12, 2**10, 288, 64, 16, 4) * 8]
    del poison

    loaded = type(fresh).from_pretrained(tmp_path)
    for name, tensor in loaded.state_dict().items():
        assert torch.isfinite(tensor.float()).all(), name
        if name in kept:
            assert torch.equal(tensor, weights[name]), name
        elif tensor.numel() == 1 or weights[name].float().std() == 0:
            assert torch.equal(tensor, weights[name]), name  # biases, batch norm: the same constants
        else:
            ratio = tensor.double().pow(2).mean().sqrt() / weights[name].double().pow(2).mean().sqrt()
            few = tensor.numel() < 300
            assert (0.3 if few else 0.8) < ratio < (3 if few else 1.25), f"{name}: spread is {ratio:.2f} x that of new"


def test_bfloat16_and_shards(make_model, make_batch, tmp_path):
    model = make_model().eval()
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    images = make_batch()["pixel_values"]
    torch.testing.assert_close(AutoModel.from_pretrained(tmp_path / "shards")(images).logits, model(images).logits)

    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(tmp_path / "bf16")
    assert AutoModel.from_pretrained(tmp_path / "bf16").dtype == torch.bfloat16
    assert AutoModel.from_pretrained(tmp_path / "bf16", dtype="float32").dtype == torch.float32


def test_bfloat16_autocast(make_model, make_batch):
    model, batch = make_model().train(), make_batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(**batch)
    assert output.loss.dtype == torch.float32
    output.loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_activation_checkpointing_changes_nothing(make_model, make_batch):
    plain, checkpointed = make_model().train(), make_model().train()
    enable_activation_checkpointing(checkpointed)
    batch = make_batch()
    for model in (plain, checkpointed):
        torch.manual_seed(1)
        model(**batch).loss.backward()
    for (name, expected), (_, parameter) in zip(plain.named_parameters(), checkpointed.named_parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad, msg=lambda text, name=name: f"{name}: {text}")
    for (name, expected), (_, buffer) in zip(plain.named_buffers(), checkpointed.named_buffers(), strict=True):
        assert torch.equal(buffer, expected), f"running statistics differ: {name}"


def test_activation_checkpointing_saves_memory(make_model, make_batch):
    def saved_elements(model):
        elements = 0

        def pack(tensor):
            nonlocal elements
            elements += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(**make_batch())
        return elements

    model = make_model().train()
    plain = saved_elements(model)
    enable_activation_checkpointing(model)
    assert saved_elements(model) < plain / 2


def test_return_dict_and_hidden_states(make_model, make_batch):
    model, batch = make_model().eval(), make_batch()
    output = model(**batch, output_hidden_states=True)
    as_tuple = model(**batch, output_hidden_states=True, return_dict=False)
    assert isinstance(as_tuple, tuple)
    assert torch.equal(as_tuple[1], output.logits)
    assert len(output.hidden_states) > 2


def test_config_json_carries_the_class_and_no_machine(make_model, tmp_path):
    make_model().save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["architectures"] == [type(make_model()).__name__]
    assert str(tmp_path) not in json.dumps(saved)


@pytest.mark.parametrize("model_type", TRACED_QUICKLY_OR_MARKED_SLOW, indirect=True)
@pytest.mark.parametrize("training", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_compiles_as_one_graph(make_model, make_batch, network, training):
    """But for the networks that ask SciPy for connected components or distances: a break in the graph."""
    torch.compiler.reset()
    model, batch = make_model(**({"dropout": 0.0} if training else {})).train(training), make_batch(32, 32)
    expected = copy.deepcopy(model)(**batch)
    compiled = torch.compile(model, fullgraph=not network.breaks_the_graph, backend="aot_eager")(**batch)
    torch.testing.assert_close(compiled.logits, expected.logits, rtol=1e-4, atol=1e-5)
    if training:
        compiled.loss.backward()
        assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.slow
def test_inductor_equals_eager(make_model, make_batch, network):
    torch.compiler.reset()
    model, batch = make_model().eval(), make_batch(32, 32)
    compiled = torch.compile(model, fullgraph=not network.breaks_the_graph)
    with torch.no_grad():
        torch.testing.assert_close(compiled(**batch).logits, model(**batch).logits, rtol=1e-3, atol=1e-4)


def test_exports(make_model, make_batch, network):
    if network.finds_regions:
        with pytest.raises(NotImplementedError, match="export its networks one by one"):
            torch.export.export(make_model().eval(), (), {"pixel_values": make_batch(64, 32)["pixel_values"]})
        return
    model, images = make_model().eval(), make_batch(50, 41)["pixel_values"]
    program = torch.export.export(model, (), {"pixel_values": images})
    torch.testing.assert_close(program.module()(pixel_values=images).logits, model(images).logits)
