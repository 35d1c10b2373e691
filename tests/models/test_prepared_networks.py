"""The copy that is run in a network's place: as exact, never stale, and only where it can stand for the network."""

import copy
import gc
import re
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hf_lesionseg.errors import UsageError
from hf_lesionseg.inference import prepared as room
from hf_lesionseg.inference.folding import UpsampledConv2d
from hf_lesionseg.inference.prepared import prepare_network
from hf_lesionseg.inference.slices import predict_slices
from hf_lesionseg.models.configuration_clci_net import CLCINetConfig
from hf_lesionseg.models.configuration_fold_ensemble import FoldEnsembleConfig
from hf_lesionseg.models.layers import SameConv2d, UpConvNormReLU
from hf_lesionseg.models.memory_format import CHANNELS_LAST, CONTIGUOUS, memory_format_of
from hf_lesionseg.models.modeling_clci_net import CLCINetForSemanticSegmentation
from hf_lesionseg.models.modeling_fold_ensemble import FoldEnsembleForSemanticSegmentation

#: Networks whose batch norms stand before their convolutions, or that have none by default.
FEW_NORMS = {"egs-net", "fcn-8s", "ms-dcnn"}


def with_statistics(model, images):
    """Give every batch norm the statistics of its maps, and scales and shifts such as training leaves."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None
        if norm.weight is not None:
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.2)
    with torch.no_grad():
        for _ in range(3):
            model.train()(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model.eval()


def logits_of(model, images):
    with torch.inference_mode():
        return model(pixel_values=images).logits.double()


def distance(model, other, images):
    """Of the logits of two networks, beside their size."""
    ours, theirs = logits_of(model, images), logits_of(other, images)
    return (ours - theirs).norm() / theirs.norm()


@pytest.mark.parametrize(("height", "width"), [(64, 48), (53, 37)])
def test_every_network_is_as_exact_as_before(make_model, make_batch, model_type, height, width):
    images = make_batch(height=height, width=width)["pixel_values"]
    model = with_statistics(make_model(), make_batch(height=64, width=64)["pixel_values"])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = prepare_network(model)
    truth = logits_of(copy.deepcopy(model).double(), images.double())
    plain, ours = (logits_of(each, images) for each in (model, found.network))
    plain_error, our_error = ((each - truth).square().mean().sqrt() for each in (plain, ours))
    assert our_error <= 2 * plain_error, (our_error / plain_error).item()
    assert found.memory_format == memory_format_of(found.network) == CHANNELS_LAST
    assert found.as_it_is is None
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    left = sum(isinstance(module, nn.BatchNorm2d) for module in found.network.modules())
    assert norms - left == found.folded.get("batch_norms", 0)
    assert left < norms or model_type in FEW_NORMS
    assert memory_format_of(model) == CONTIGUOUS
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("model_type", "settings"), [("egs-net", {"normalization": "batch"}), ("fcn-8s", {"batch_norm": True})]
)
def test_batch_norms_that_are_asked_for(make_model, make_batch, settings):
    model = with_statistics(make_model(**settings), make_batch()["pixel_values"])
    found = prepare_network(model)
    assert found.folded["batch_norms"] >= 13
    assert distance(found.network, model, make_batch(seed=1)["pixel_values"]) < 1e-4


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (6, 3)])
def test_upsampling_and_convolution_as_one(height, width, memory_format):
    torch.manual_seed(0)
    conv = SameConv2d(3, 5, 2).double()
    features = torch.randn(2, 3, height, width, dtype=torch.float64).contiguous(memory_format=memory_format)
    one = UpsampledConv2d(conv).to(memory_format=memory_format)(features)
    torch.testing.assert_close(one, conv(F.interpolate(features, scale_factor=2)), rtol=1e-12, atol=1e-12)
    assert one.is_contiguous(memory_format=memory_format) or height == width == 1  # a pixel lies either way


def tiny(**settings):
    torch.manual_seed(0)
    model = CLCINetForSemanticSegmentation(CLCINetConfig(base_width=4, **settings))
    return with_statistics(model, torch.rand(2, 1, 32, 32))


def test_what_is_folded():
    found = prepare_network(tiny())
    assert found.folded == {"batch_norms": 50, "upsamplings": 4}
    assert not any(isinstance(module, (nn.BatchNorm2d, UpConvNormReLU)) for module in found.network.modules())
    plain = prepare_network(tiny(), memory_format=CONTIGUOUS, fold=False)
    assert (plain.memory_format, plain.folded) == (CONTIGUOUS, {})
    with pytest.raises(UsageError, match="memory format 'nhwc' is unknown; use auto, contiguous, channels-last"):
        prepare_network(tiny(), memory_format="nhwc")


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    model.train()(torch.rand(2, 1, 32, 32), labels=torch.ones(2, 32, 32, dtype=torch.long)).loss.backward()
    optimizer.step()
    model.zero_grad()


def through_data(model):
    model.head.weight.data *= 2


def statistics(model):
    with torch.no_grad():
        model.train()(torch.rand(2, 1, 32, 32))


def loaded(model):
    model.load_state_dict({name: tensor + 1 for name, tensor in model.state_dict().items()})


def other_gates(model):
    for level in model.decoder:
        level.context.gate_activation = "sigmoid"


def layer_exchanged(model):
    model.head = nn.Conv2d(4, 1, 1)


@pytest.mark.parametrize("change", [step, through_data, statistics, loaded, other_gates, layer_exchanged])
def test_a_network_that_changes_is_prepared_anew(change):
    model, images = tiny(), torch.rand(2, 1, 32, 32)
    first = prepare_network(model)
    assert prepare_network(model) is first
    change(model)
    second = prepare_network(model.eval())
    assert distance(second.network, model, images) < 1e-3
    assert distance(first.network, model, images) > 2e-3


def test_settings_are_those_of_the_network():
    model = tiny()
    found = prepare_network(model)
    model.config.num_channels = 7
    with pytest.raises(ValueError, match="expected \\(batch, 7"):
        found.network(torch.rand(1, 1, 32, 32))


def test_the_copy_goes_with_its_network():
    model = tiny()
    held = weakref.ref(prepare_network(model).network)
    assert held() is not None
    del model
    gc.collect()
    assert held() is None


def test_training_goes_on_as_if_nothing_was_predicted():
    asked, alone = tiny(), tiny()
    volume = np.random.default_rng(0).random((3, 1, 32, 32), dtype=np.float32)
    for _ in range(2):
        predict_slices(asked, volume)
        for model in (asked, alone):
            torch.manual_seed(1)
            step(model)
    for (name, ours), theirs in zip(asked.state_dict().items(), alone.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name


class Adapter(nn.Module):
    """As adapters do it: the layer inside, something small beside it."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.small = layer, nn.Conv2d(layer.in_channels, layer.out_channels, 1)

    def forward(self, images):
        return self.layer(images) + self.small(images)


class Absolute(nn.Conv2d):
    def forward(self, images):
        return super().forward(images).abs()


def hooked(model):
    model.encoder[1].double_conv[0][1].register_forward_hook(lambda module, inputs, output: output + 1)


def hooked_before(model):
    model.bottleneck.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 2,))


def own_forward(model):
    model.head.forward = lambda images: images[:, :1]


def adapted(model):
    model.head = Adapter(model.head)


def subclassed(model):
    model.head = Absolute(4, 1, 1)


def parametrized(model):
    torch.nn.utils.parametrizations.weight_norm(model.head)


CHANGES = [
    (hooked, "encoder.1.double_conv.0.1 has hooks"),
    (hooked_before, "bottleneck has hooks"),
    (own_forward, "head has a forward pass of its own"),
    (adapted, "head is a .*Adapter"),
    (subclassed, "head is a .*Absolute"),
    (parametrized, "head is a .*Parametrized"),
]


@pytest.mark.parametrize(("change", "reason"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
def test_a_network_with_something_foreign_runs_as_it_is(change, reason):
    model = tiny()
    prepare_network(model)
    change(model)
    found = prepare_network(model)
    assert found.network is model
    assert found.folded == {}
    assert re.match(reason, found.as_it_is), found.as_it_is


def test_a_hook_on_all_modules():
    handle = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: None)
    try:
        assert prepare_network(tiny()).as_it_is == "hooks on all modules"
    finally:
        handle.remove()


def test_quantized_weights_run_as_they_are():
    class Quantized(torch.Tensor):
        pass

    model = tiny()
    model.head.weight = nn.Parameter(model.head.weight.detach().as_subclass(Quantized))
    assert prepare_network(model).as_it_is == "head.weight is a Quantized"


def test_what_is_used_twice_is_not_folded():
    model = tiny()
    model.encoder[0].double_conv[1] = model.encoder[0].double_conv[0] = model.encoder[0].double_conv[1]
    model.config.num_channels = 4
    images = torch.rand(2, 4, 32, 32)
    found = prepare_network(model)
    assert found.folded["batch_norms"] == 48
    assert distance(found.network, model, images) < 1e-3


def test_half_weights_are_not_folded():
    found = prepare_network(tiny().to(torch.bfloat16))
    assert (found.memory_format, found.folded) == (CHANNELS_LAST, {})


def test_an_ensemble_and_autocast():
    members = [tiny(), tiny()]
    through_data(members[1])
    model = FoldEnsembleForSemanticSegmentation(FoldEnsembleConfig(members=["a", "b"], num_channels=1), members).eval()
    volume = np.random.default_rng(0).random((3, 1, 50, 40), dtype=np.float32)
    result = predict_slices(model, volume)
    assert result.execution["folded"] == {"batch_norms": 100, "upsamplings": 8}
    plain = logits_of(model, torch.from_numpy(volume)).sigmoid()[:, 0].numpy()
    np.testing.assert_allclose(result.probability, plain, atol=1e-3)
    cast = predict_slices(model, volume, precision="bfloat16")
    assert cast.execution == result.execution
    with torch.autocast("cpu", torch.bfloat16):
        plain_cast = logits_of(model, torch.from_numpy(volume)).sigmoid()[:, 0].numpy()
    assert np.std(cast.probability - plain) <= 2 * np.std(plain_cast - plain)


def test_too_little_memory_for_a_copy(monkeypatch):
    def refuse(*_):
        raise MemoryError

    monkeypatch.setattr(room.copy, "deepcopy", refuse)
    model = tiny()
    found = prepare_network(model)
    assert found.network is model
    assert found.as_it_is == "memory is too small for a copy"
