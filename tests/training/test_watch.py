"""Parts of the loss and norms of features in a run's history, and the warning where features vanish."""

import warnings
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from hf_lesionseg.models.configuration_egs_net import EGSNetConfig
from hf_lesionseg.models.modeling_egs_net import EGSNetForSemanticSegmentation
from hf_lesionseg.training.history import read_history
from hf_lesionseg.training.step import step_over_batch
from hf_lesionseg.training.watch import CollapseWatch, scalars


def test_a_batch_with_dwi_reaches_the_network_and_its_parts_are_seen():
    torch.manual_seed(0)
    model = EGSNetForSemanticSegmentation(EGSNetConfig(base_width=2, perceptual_widths=(2, 2))).train()
    batch = {
        "pixel_values": torch.randn(2, 17, 16, 16),
        "labels": torch.ones(2, 16, 16, dtype=torch.long),
        "dwi": torch.randn(2, 1, 16, 16),
    }
    watched = dict.fromkeys(model.watched_outputs)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    options = {"max_gradient_norm": None, "seed": (0, 0), "watched": watched}
    (loss,) = step_over_batch(Accelerator(cpu=True), model, optimizer, batch, (), **options)
    found = scalars(watched)
    assert set(found) == set(model.watched_outputs)
    assert sum(value for name, value in found.items() if name.endswith("_loss")) == pytest.approx(loss.item())
    assert found["true_feature_norm"] > 0


def test_history_holds_the_parts(run, settings, tmp_path):
    """The segmentor on one channel: a single part, which is the loss."""
    recipe = tmp_path / "one-stage.yaml"
    kept = [
        line
        for line in Path(settings["recipe"]).read_text().splitlines()
        if not line.startswith(("model_type:", "model:"))
    ]
    network = "{base_width: 2, channel_names: [t1w], map_channels: [t1w], extractor: false, generator: false}"
    recipe.write_text("\n".join([*kept, "model_type: egs-net", f"model: {network}"]))
    output, _ = run(recipe=str(recipe), epochs=1, max_steps=2)
    steps = [record for record in read_history(output / "history.jsonl") if record["kind"] == "step"]
    assert len(steps) == 2
    assert all(record["segmentation_loss"] == pytest.approx(record["loss"]) for record in steps)
    assert "dwi_loss" not in steps[0]


def test_warns_once_of_features_that_vanish():
    watch = CollapseWatch(share=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watch.look({"true_feature_norm": 5.0, "dwi_loss": 1.0}, 1)
        watch.look({"true_feature_norm": 0.1, "dwi_loss": 0.0}, 2)
    with pytest.warns(UserWarning, match=r"true_feature_norm has collapsed from 5 to 0.004 at step 3"):
        watch.look({"true_feature_norm": 0.004}, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watch.look({"true_feature_norm": 0.001}, 4)
    with pytest.warns(UserWarning, match="from 0 to 0"):
        CollapseWatch().look({"generated_feature_norm": 0.0}, 1)
