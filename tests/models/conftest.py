"""Every registered network, small, for the shared tests."""

from functools import partial

import pytest

from hf_lesionseg.models import MODEL_REGISTRY
from hf_lesionseg.testing.networks import tiny_batch, tiny_model


@pytest.fixture(params=sorted(MODEL_REGISTRY))
def model_type(request):
    return request.param


@pytest.fixture
def network(model_type):
    """The entry of this model type: what is special about it."""
    return MODEL_REGISTRY[model_type]


@pytest.fixture
def config_class(network):
    return network.config_class()


@pytest.fixture
def make_model(model_type):
    """Build the small network of this model type; keyword arguments change its configuration."""
    return partial(tiny_model, model_type)


@pytest.fixture
def make_batch(model_type):
    """A batch of random images with a square lesion: ``pixel_values``, ``labels`` and what else training takes."""
    return partial(tiny_batch, model_type)
