import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from hf_lesionseg.errors import ModelError, UsageError
from hf_lesionseg.inference import load_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """An untrained network of width 2 in a folder."""
    from hf_lesionseg import CLCINetConfig, CLCINetForSemanticSegmentation, LesionImageProcessor

    folder = tmp_path_factory.mktemp("saved")
    torch.manual_seed(0)
    CLCINetForSemanticSegmentation(CLCINetConfig(base_width=2)).save_pretrained(folder)
    LesionImageProcessor(threshold=0.35).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy to damage."""
    return shutil.copytree(saved, tmp_path / "model")


def edit_json(path, **changes):
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps(content))


def test_loads_network_and_processor_ready_to_segment(saved):
    loaded = load_model(saved)
    assert not loaded.model.training
    assert loaded.processor.threshold == 0.35
    assert loaded.model.dtype == torch.float32
    identity = loaded.identity()
    assert identity["commit"] is None
    assert len(identity["weights_sha256"]) == 64
    assert identity["parameters"] == sum(p.numel() for p in loaded.model.parameters())
    stored = load_file(saved / "model.safetensors")
    assert all(torch.equal(value, stored[name]) for name, value in loaded.model.state_dict().items())


def test_dtype_of_the_weights(saved):
    assert load_model(saved, dtype="bfloat16").model.dtype == torch.bfloat16
    with pytest.raises(UsageError, match="dtype 'int8' is unknown"):
        load_model(saved, dtype="int8")


@pytest.mark.parametrize("device", ["cuda:77", "toaster"])
def test_a_device_that_is_not_there(saved, device):
    with pytest.raises(UsageError, match=rf"device '{device}' cannot be used here .*; use auto or cpu"):
        load_model(saved, device=device)


def test_folder_without_config(folder):
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"model: no config.json in this folder; give a folder or a Hub id"):
        load_model(folder)


def test_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no model.safetensors in this folder; the training did not finish"):
        load_model(folder)


def test_pickled_weights_are_not_opened(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(ModelError, match=r"pytorch_model.bin is a pickle, which can run code: convert it"):
        load_model(folder)


def test_damaged_config(folder):
    (folder / "config.json").write_text('{"model_type": ')
    with pytest.raises(ModelError, match=r"config.json: not valid JSON"):
        load_model(folder)


def test_impossible_config(folder):
    edit_json(folder / "config.json", base_width=0)
    with pytest.raises(ModelError, match=r"model: the network cannot be loaded \(.*base_width is 0"):
        load_model(folder)


def test_a_network_of_another_kind(folder):
    edit_json(folder / "config.json", model_type="segformer")
    with pytest.raises(ModelError, match=r"model_type 'segformer' is not one of this package's \(clci-net"):
        load_model(folder)


def test_code_of_a_repository_is_not_run_unless_allowed(folder):
    edit_json(folder / "config.json", model_type="my-net", auto_map={"AutoConfig": "mine.MyConfig"})
    (folder / "mine.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelError, match=r"brings its own code: read it, then allow it with --trust-remote-code"):
        load_model(folder)


def test_truncated_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=r"model.safetensors: is cut off: \d+ of \d+ bytes"):
        load_model(folder)


def test_checkpoint_of_another_width(folder):
    edit_json(folder / "config.json", base_width=4)
    with pytest.raises(ModelError, match=r"model: .*(another shape|cannot be loaded)"):
        load_model(folder)


def test_checkpoint_with_missing_weights(folder):
    weights = load_file(folder / "model.safetensors")
    name = sorted(weights)[0]
    del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=rf"1 weights are missing, such as {name}; .*different networks"):
        load_model(folder)


def test_checkpoint_of_another_network(folder):
    save_file({"encoder.weight": torch.zeros(3)}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"weights are missing, such as .*different networks"):
        load_model(folder)


def test_checkpoint_with_weights_too_many(folder):
    weights = load_file(folder / "model.safetensors") | {"second_decoder.weight": torch.zeros(3)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"do not belong to this network, such as second_decoder.weight"):
        load_model(folder)


def test_folder_without_processor(folder):
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match=r"preprocessor_config.json is missing or unreadable"):
        load_model(folder)


def test_processor_of_another_kind(folder):
    edit_json(folder / "preprocessor_config.json", image_processor_type="ViTImageProcessor")
    with pytest.raises(ModelError, match=r"image processor"):
        load_model(folder)


def test_processor_of_other_channels(folder):
    edit_json(folder / "preprocessor_config.json", channel_names=["dwi", "adc"])
    with pytest.raises(ModelError, match=r"takes 1 channels and its image processor gives 2 \(dwi, adc\)"):
        load_model(folder)


@pytest.mark.parametrize("name", ["not/an/id", "/no/such/folder", "trailing/"])
def test_neither_folder_nor_id(name):
    with pytest.raises(ModelError, match="no such folder, and not a Hub id either; check the path"):
        load_model(name)


def test_an_id_without_cache_and_without_network(monkeypatch, tmp_path):
    from huggingface_hub import constants

    # What HF_HUB_OFFLINE=1 and an empty HF_HOME set when the client is imported.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ModelError, match=r"org/clci-net: no such folder, not in the local cache, and the Hub cannot be"
    ):
        load_model("org/clci-net")


def test_a_pointer_a_broken_link_and_a_missing_shard_are_told(folder):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12000000\n"
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(pointer)
    with pytest.raises(ModelError, match=r"config\.json: is a Git LFS pointer"):
        load_model(folder)
    (folder / "config.json").write_text(config)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("../.git/annex/objects/xx/SHA256E-s1.safetensors")
    with pytest.raises(ModelError, match=r"model\.safetensors: is a link of git-annex .*datalad get"):
        load_model(folder)
    (folder / "model.safetensors").unlink()
    (folder / "model-00001-of-00002.safetensors").write_bytes(whole)
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(ModelError, match=r"model-00002-of-00002\.safetensors: is missing"):
        load_model(folder)


def test_a_checkpoint_and_a_file_are_no_network_but_lead_to_it(folder):
    step = folder / "checkpoints" / "step_3"
    step.mkdir(parents=True)
    shutil.copy(folder / "model.safetensors", step)
    (step / "training_state.json").write_text("{}")
    with pytest.raises(
        ModelError, match=r"step_3: is a checkpoint of training.*give the network of that run: .*model$"
    ):
        load_model(step)
    with pytest.raises(ModelError, match=r"checkpoints: holds checkpoints of training.* of that run: .*model$"):
        load_model(step.parent)
    with pytest.raises(ModelError, match=r"is a file; give the folder that holds the network \(.*model\)"):
        load_model(folder / "model.safetensors")


def test_the_processor_of_a_trainers_checkpoint_lies_above_it(folder):
    trainers = folder / "checkpoint-500"
    trainers.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(folder / name, trainers)
    with pytest.raises(ModelError, match=r"preprocessor_config\.json is missing .*; copy .*model/preprocessor_config"):
        load_model(trainers)
