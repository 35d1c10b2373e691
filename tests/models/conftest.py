"""Every registered network, small, for the shared tests."""

import pytest
import torch

from hf_lesionseg.models import MODEL_REGISTRY, configurations, registered_models

#: Settings that make each network small. A new network joins the shared tests by a row here.
TINY = {
    "clci-net": {"base_width": 4},
    "res-unet": {"base_width": 4},
    "unet-bn": {"base_width": 4},
    "fcn-8s": {"base_width": 2},
    "pspnet": {"base_width": 4, "depth": 10},
    "deeplabv3-plus": {"base_width": 4, "depth": 10},
    "dense-unet": {"base_width": 8, "growth_rate": 4, "block_layers": (1, 2, 2, 1)},
    # A region even where the untrained heat map shows none, and the same one whenever a test asks.
    "l-snet": {
        "base_width": 4,
        "locator_depth": 10,
        "segmenter_depth": 10,
        "no_region": "best-cell",
        "candidate_cells": 1,
        "gradient_decay": 1.0,
    },
    "resnet-unet": {"base_width": 4, "depth": 10},
    "attention-unet": {"base_width": 4, "depth": 10},
    "resnet-fcn": {"base_width": 4, "depth": 18},
    # Crops that do not depend on chance.
    "coarse-to-fine": {"base_width": 4, "first_stage_depth": 10, "second_stage_depth": 10, "jitter_probability": 0},
    "ms-dcnn": {"base_width": 4, "growth_rate": 2, "block_layers": (2, 1, 1, 1), "up_widths": (8, 8, 4, 4)},
    "egs-net": {"base_width": 4, "perceptual_widths": (2, 2, 2, 2, 4)},
}

CONFIGS = dict(configurations())
MODELS = {config.model_type: model for config, model in registered_models()}


def tiny_model(model_type, **settings):
    torch.manual_seed(0)
    return MODELS[model_type](CONFIGS[model_type](**(TINY[model_type] | settings)))


@pytest.fixture(params=sorted(MODEL_REGISTRY))
def model_type(request):
    return request.param


@pytest.fixture
def config_class(model_type):
    return CONFIGS[model_type]


@pytest.fixture
def make_model(model_type):
    """Build the small network of this model type; keyword arguments change its configuration."""
    return lambda **settings: tiny_model(model_type, **settings)


@pytest.fixture
def make_batch(config_class, model_type):
    """A batch of random images with a square lesion: ``pixel_values``, ``labels`` and what else training takes."""

    def batch(height=48, width=32, size=2, seed=0):
        generator = torch.Generator().manual_seed(seed)
        config = config_class(**TINY[model_type])
        labels = torch.zeros(size, height, width, dtype=torch.long)
        labels[:, height // 4 : height // 2, width // 4 : width // 2] = 1
        images = torch.rand(size, config.num_channels, height, width, generator=generator)
        return {"pixel_values": images, "labels": labels} | (
            {"dwi": torch.rand(size, 1, height, width, generator=generator)} if config.model_type == "egs-net" else {}
        )

    return batch
