"""What a network saves can be read by whoever reads the other files beside it."""

import os
import stat

import pytest
import torch

from hf_lesionseg.models.configuration_clci_net import CLCINetConfig
from hf_lesionseg.models.configuration_fold_ensemble import FoldEnsembleConfig
from hf_lesionseg.models.configuration_unet_bn import UNetBNConfig
from hf_lesionseg.models.file_modes import give_usual_modes
from hf_lesionseg.models.modeling_clci_net import CLCINetForSemanticSegmentation
from hf_lesionseg.models.modeling_fold_ensemble import FoldEnsembleForSemanticSegmentation
from hf_lesionseg.models.modeling_unet_bn import UNetBNForSemanticSegmentation


def clci_net():
    return CLCINetForSemanticSegmentation(CLCINetConfig(base_width=2))


def ensemble():
    config = FoldEnsembleConfig(members=["fold-0", "fold-1"], member_type="clci-net", num_channels=1)
    return FoldEnsembleForSemanticSegmentation(config, [clci_net(), clci_net()])


def unet():
    return UNetBNForSemanticSegmentation(UNetBNConfig(base_width=2))


@pytest.mark.parametrize("make", [clci_net, unet, ensemble])
def test_saved_by_the_umask(tmp_path, make):
    torch.manual_seed(0)
    before = os.umask(0o027)
    try:
        make().save_pretrained(tmp_path / "model", max_shard_size="20KB")
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "model").rglob("*") if path.is_file()]
    assert len([path for path in files if path.suffix == ".safetensors"]) > 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o640}


def test_links_folders_and_what_is_gone_are_passed_over(tmp_path):
    (tmp_path / "real").touch(0o600)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "folder").mkdir(0o700)
    give_usual_modes([tmp_path / "link", tmp_path / "folder", tmp_path / "gone"])
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o700
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "link", "real"]
