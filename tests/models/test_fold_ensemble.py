"""Several networks as one: the mean of their probabilities, member by member loaded from its subfolder."""

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModel, AutoModelForSemanticSegmentation

from hf_lesionseg.models.configuration_clci_net import CLCINetConfig
from hf_lesionseg.models.configuration_fold_ensemble import FoldEnsembleConfig
from hf_lesionseg.models.configuration_l_snet import LSNetConfig
from hf_lesionseg.models.modeling_clci_net import CLCINetForSemanticSegmentation
from hf_lesionseg.models.modeling_fold_ensemble import FoldEnsembleForSemanticSegmentation
from hf_lesionseg.models.modeling_l_snet import LSNetForSemanticSegmentation

NAMES = ["fold-0", "fold-1", "fold-2"]


def members(count=3, num_logits=1):
    for seed in range(count):
        torch.manual_seed(seed)
        yield CLCINetForSemanticSegmentation(CLCINetConfig(base_width=2, num_logits=num_logits)).eval()


@pytest.fixture
def ensemble():
    config = FoldEnsembleConfig(members=NAMES, member_type="clci-net", num_channels=1)
    return FoldEnsembleForSemanticSegmentation(config, list(members())).eval()


def probability(logits):
    """Of lesion, in float64 by NumPy."""
    logits = logits.detach().double().numpy()
    if logits.shape[1] == 1:
        return 1 / (1 + np.exp(-logits[:, 0]))
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised[:, 1] / raised.sum(axis=1)


@pytest.mark.parametrize("num_logits", [1, 2])
def test_the_probability_is_the_mean_of_the_members(num_logits):
    networks = list(members(num_logits=num_logits))
    config = FoldEnsembleConfig(members=NAMES, member_type="clci-net", num_channels=1)
    slices = torch.rand(2, 1, 48, 32)
    with torch.inference_mode():
        # before the ensemble is made, which must not begin their weights anew
        expected = np.mean([probability(network(slices).logits) for network in networks], axis=0)
        together = FoldEnsembleForSemanticSegmentation(config, networks).eval()
        got = probability(together(pixel_values=slices).logits)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


class _Constant(torch.nn.Module):
    def __init__(self, logit):
        super().__init__()
        self.logit = logit

    def forward(self, pixel_values):
        return type("Output", (), {"logits": torch.full_like(pixel_values, self.logit), "boxes": None})


def test_members_that_are_sure_give_finite_logits(ensemble):
    for logit, expected in ((200.0, 1.0), (-200.0, 0.0)):
        ensemble.members = torch.nn.ModuleList(_Constant(logit) for _ in NAMES)
        logits = ensemble(torch.rand(1, 1, 8, 8)).logits
        assert torch.isfinite(logits).all()
        np.testing.assert_allclose(probability(logits), expected, atol=1e-6)


def same(found, expected):
    """Equal but for the last bits: loaded weights may lie otherwise in memory, and be summed in another order."""
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_saved_and_loaded_by_the_auto_classes(ensemble, tmp_path):
    ensemble.save_pretrained(tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    slices = torch.rand(1, 1, 32, 32)
    with torch.inference_mode():
        expected = ensemble(slices).logits
        for auto in (AutoModel, AutoModelForSemanticSegmentation):
            again, info = auto.from_pretrained(tmp_path, output_loading_info=True)
            assert type(again) is FoldEnsembleForSemanticSegmentation
            assert not again.training
            assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
            same(again(slices).logits, expected)
        single = AutoModelForSemanticSegmentation.from_pretrained(tmp_path, subfolder="fold-1")
        same(single(slices).logits, ensemble.members[1](slices).logits)
    assert AutoConfig.from_pretrained(tmp_path).member_type == "clci-net"
    half = AutoModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16


def test_an_ensemble_in_a_subfolder_reads_its_own_configuration(ensemble, tmp_path):
    ensemble.save_pretrained(tmp_path / "second")
    next(members()).save_pretrained(tmp_path)  # another network's config.json lies above it
    again = FoldEnsembleForSemanticSegmentation.from_pretrained(tmp_path, subfolder="second")
    slices = torch.rand(1, 1, 32, 32)
    with torch.inference_mode():
        same(again(slices).logits, ensemble(slices).logits)
    assert again.config.members == NAMES


def test_a_member_that_lost_weights_is_told_by_name(ensemble, tmp_path):
    from safetensors.torch import load_file, save_file

    ensemble.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "fold-1" / "model.safetensors")
    lost = sorted(weights)[0]
    save_file(
        {k: v for k, v in weights.items() if k != lost}, tmp_path / "fold-1" / "model.safetensors", {"format": "pt"}
    )
    _, info = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] == {f"fold-1: {lost}"}


def test_networks_that_find_regions_tell_those_of_all_members():
    networks = []
    for seed in range(2):
        torch.manual_seed(seed)
        networks.append(LSNetForSemanticSegmentation(LSNetConfig(base_width=4, no_region="best-cell")).eval())
    config = FoldEnsembleConfig(members=NAMES[:2], member_type="l-snet", num_channels=3)
    together = FoldEnsembleForSemanticSegmentation(config, networks).eval()
    slices = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        outputs, got = [network(slices) for network in networks], together(slices)
    expected = np.mean([probability(output.logits) for output in outputs], axis=0)
    np.testing.assert_allclose(probability(got.logits), expected, rtol=1e-5, atol=1e-6)
    assert len(got.boxes) == sum(len(output.boxes) for output in outputs) > 0
    assert got.box_indices.tolist() == sorted(got.box_indices.tolist())


def test_what_an_ensemble_cannot_be(ensemble):
    with pytest.raises(StrictDataclassError, match="name each subfolder once"):
        FoldEnsembleConfig(members=["a", "a"])
    with pytest.raises(StrictDataclassError, match="is not allowed; give the name of a folder"):
        FoldEnsembleConfig(members=["../elsewhere"])
    with pytest.raises(StrictDataclassError, match="members of an ensemble are single networks"):
        FoldEnsembleConfig(member_type="fold-ensemble")
    with pytest.raises(ValueError, match="3 members was given 0 networks"):
        AutoModel.from_config(ensemble.config)
    with pytest.raises(ValueError, match="an ensemble has no loss"):
        ensemble(torch.rand(1, 1, 16, 16), labels=torch.zeros(1, 16, 16))


def test_weights_given_by_the_caller_are_shared_out_among_the_members(ensemble, tmp_path):
    weights = {name: torch.zeros_like(value) for name, value in ensemble.state_dict().items()}
    weights["members.1.head.bias"] += 2.0
    ensemble.save_pretrained(tmp_path, state_dict=weights)
    again = AutoModelForSemanticSegmentation.from_pretrained(tmp_path)
    assert [member.head.bias.item() for member in again.members] == [0.0, 2.0, 0.0]


def test_a_process_that_is_not_the_main_one_writes_nothing(ensemble, tmp_path):
    ensemble.save_pretrained(tmp_path / "whole", is_main_process=False)
    assert [path for path in (tmp_path / "whole").rglob("*") if path.is_file()] == []
