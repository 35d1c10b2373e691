"""The loss of a volume is that of its slices as one batch, in however many steps they go through the network."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from hf_lesionseg.inference.slices import predict_slices
from hf_lesionseg.models.configuration_clci_net import CLCINetConfig
from hf_lesionseg.models.configuration_coarse_to_fine import CoarseToFineConfig
from hf_lesionseg.models.configuration_egs_net import EGSNetConfig
from hf_lesionseg.models.configuration_l_snet import LSNetConfig
from hf_lesionseg.models.configuration_pspnet import PSPNetConfig
from hf_lesionseg.models.modeling_clci_net import CLCINetForSemanticSegmentation
from hf_lesionseg.models.modeling_coarse_to_fine import CoarseToFineForSemanticSegmentation
from hf_lesionseg.models.modeling_egs_net import EGSNetForSemanticSegmentation
from hf_lesionseg.models.modeling_l_snet import LSNetForSemanticSegmentation
from hf_lesionseg.models.modeling_pspnet import PSPNetForSemanticSegmentation
from hf_lesionseg.training.volume_loss import VolumeLoss

SLICES, SIDE = 7, 64
EGS = {"base_width": 2, "perceptual_widths": (2, 2, 2), "channel_names": ("frame", "cbf"), "num_channels": 2}
EGS |= {"extractor_channels": ("frame",), "map_channels": ("cbf",)}
NARROW = {"num_channels": 2, "base_width": 8}
NETWORKS = {
    "clci-net": lambda: CLCINetForSemanticSegmentation(CLCINetConfig(num_channels=2, base_width=2, loss="bce-dice")),
    "two logits": lambda: CLCINetForSemanticSegmentation(CLCINetConfig(num_channels=2, base_width=2, num_logits=2)),
    "pspnet": lambda: PSPNetForSemanticSegmentation(PSPNetConfig(**NARROW, depth=10, loss="focal")),
    "l-snet": lambda: LSNetForSemanticSegmentation(
        LSNetConfig(**NARROW, locator_depth=10, segmenter_depth=10, no_region="best-cell")
    ),
    "coarse-to-fine": lambda: CoarseToFineForSemanticSegmentation(
        CoarseToFineConfig(**NARROW, first_stage_depth=10, second_stage_depth=10)
    ),
    "egs-net": lambda: EGSNetForSemanticSegmentation(EGSNetConfig(**EGS)),
    "egs-net without dwi": lambda: EGSNetForSemanticSegmentation(EGSNetConfig(**EGS, dwi_loss=False)),
}


@dataclass
class Volume:
    """What :class:`VolumeLoss` asks a prepared case for; its third slice is blank, and only three hold a lesion."""

    values: np.ndarray = field(init=False)
    truth: np.ndarray = field(init=False)
    dwi: np.ndarray = field(init=False)
    num_slices: int = SLICES
    target_channels: tuple = ("dwi",)

    def __post_init__(self):
        rng = np.random.default_rng(0)
        self.values = rng.uniform(0, 1, (SLICES, 2, SIDE, SIDE)).astype(np.float32)
        self.values[2] = 0
        self.truth = np.zeros((SLICES, SIDE, SIDE), np.uint8)
        self.truth[3, 10:40, 12:50] = self.truth[4, 30:60, 20:45] = self.truth[6, 5:20, 5:20] = 1
        self.dwi = rng.normal(0, 1, (SLICES, SIDE, SIDE)).astype(np.float32)

    def labels(self, chosen):
        return self.truth[chosen]

    def target(self, name, chosen):
        return {"dwi": self.dwi}[name][chosen]


@pytest.fixture(scope="module")
def volume():
    return Volume()


def network(name):
    torch.manual_seed(0)
    return NETWORKS[name]().eval()


def loss_of_volume(model, volume, batch_size, slice_range=None):
    observer = VolumeLoss(model, volume, slice_range, batch_size)
    predicted = predict_slices(model, volume.values, batch_size=observer.batch_size, observer=observer)
    return observer.value(), predicted


@pytest.mark.parametrize("name", list(NETWORKS))
def test_it_is_the_networks_own_loss_of_all_slices_at_once(name, volume):
    model = network(name)
    shown = [0, 1, 3, 4, 5, 6]
    batch = {"labels": torch.from_numpy(volume.truth[shown]).long()}
    if getattr(model.config, "target_channels", ()):
        batch["dwi"] = torch.from_numpy(volume.dwi[shown])[:, None]
    with torch.no_grad():
        expected = model(torch.from_numpy(volume.values[shown]), **batch)
    found, predicted = zip(*(loss_of_volume(model, volume, size) for size in (1, 4, 16)), strict=True)
    assert found == pytest.approx([expected.loss.item()] * 3, rel=1e-4)
    undisturbed = predict_slices(model, volume.values, batch_size=4)
    np.testing.assert_array_equal(predicted[1].probability, undisturbed.probability)


@pytest.mark.parametrize("name", ["clci-net", "coarse-to-fine", "l-snet"])
def test_slices_out_of_range_do_not_count(name, volume):
    """Three of them, and of a batch that holds others too."""
    model = network(name)
    with torch.no_grad():
        labels = torch.from_numpy(volume.truth[3:6]).long()
        expected = model(torch.from_numpy(volume.values[3:6]), labels=labels).loss.item()
    for size in (2, 16):
        assert loss_of_volume(model, volume, size, (2, 6))[0] == pytest.approx(expected, rel=1e-4)
    assert loss_of_volume(model, volume, 4, (2, 3))[0] is None


def test_a_network_that_only_computes_a_loss_is_asked_slice_by_slice(volume):
    class Plain(torch.nn.Module):
        """``forward`` alone, as of a network from elsewhere."""

        config, device, dtype = CLCINetConfig(), torch.device("cpu"), torch.float32

        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, pixel_values, labels=None):
            return self.inner(pixel_values, labels=labels)

    inner = network("clci-net")
    shown = [0, 1, 3, 4, 5, 6]
    with torch.no_grad():
        slices = [
            inner(torch.from_numpy(volume.values[[i]]), labels=torch.from_numpy(volume.truth[[i]]).long()).loss.item()
            for i in shown
        ]
    for size in (1, 16):
        assert loss_of_volume(Plain(inner), volume, size)[0] == pytest.approx(np.mean(slices), rel=1e-5)
