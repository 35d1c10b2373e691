"""Training runs channels last by itself, but where torch on a CPU writes out of bounds."""

import subprocess
import sys
import warnings

import pytest
import torch
from transformers import AutoConfig, AutoModelForSemanticSegmentation

from hf_lesionseg.models.memory_format import (
    CHANNELS_LAST,
    CONTIGUOUS,
    choose_memory_format,
    memory_format_of,
    narrow_strided_convolution,
)
from hf_lesionseg.training.network import lay_out

#: A backward pass of torch alone, of a 1x1 convolution; glibc's checks make it fail at once where it corrupts the heap.
_BACKWARD = """
import torch
for _ in range(30):
    images = torch.rand(4, {channels}, 80, 80).to(memory_format=torch.{layout})
    layer = torch.nn.Conv2d({channels}, 16, 1, stride=2).to(memory_format=torch.{layout})
    layer(images).sum().backward()
    others = [torch.rand(7 * length + 1) for length in range(50)]
"""


def network(model_type, **settings):
    return AutoModelForSemanticSegmentation.from_config(AutoConfig.for_model(model_type, **settings))


@pytest.mark.parametrize(
    ("model_type", "settings"),
    [
        ("res-unet", {"base_width": 8, "encoder_block": "residual-full-resolution"}),
        ("res-unet", {"encoder_block": "residual"}),  # at any width: its first shortcut takes the image
        ("resnet-unet", {"base_width": 8}),
    ],
)
def test_a_network_with_a_narrow_strided_shortcut_stays_as_it_is(model_type, settings):
    model = network(model_type, **settings)
    with pytest.warns(UserWarning, match="channels_last is ignored: .* torch on a CPU writes out of bounds"):
        assert lay_out(model, "cpu", channels_last=True) == CONTIGUOUS
    assert memory_format_of(model) == CONTIGUOUS
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nobody asked for it, and nobody needs to be told
        assert lay_out(model, "cpu") == CONTIGUOUS
    assert choose_memory_format(model, "cpu", training=False) == (
        CHANNELS_LAST,
        None,
    )  # only the backward pass is unsafe
    assert lay_out(model, torch.device("cuda"), channels_last=True) == CHANNELS_LAST  # oneDNN has no part in it there
    assert memory_format_of(model) == CHANNELS_LAST


@pytest.mark.parametrize(
    ("model_type", "settings"),
    [
        ("res-unet", {"base_width": 16, "encoder_block": "residual-full-resolution"}),
        ("res-unet", {"base_width": 8, "encoder_block": "plain"}),
        ("resnet-unet", {"base_width": 16}),
        ("clci-net", {"base_width": 4}),
    ],
)
def test_others_are_laid_out_channels_last(model_type, settings):
    model = network(model_type, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lay_out(model, "cpu") == CHANNELS_LAST
    assert narrow_strided_convolution(model) is None
    assert memory_format_of(model) == CHANNELS_LAST
    assert lay_out(model, "cpu", channels_last=False) == memory_format_of(model) == CONTIGUOUS


def test_a_device_that_was_never_measured_keeps_its_format():
    assert choose_memory_format(network("clci-net", base_width=4), "cuda", training=True) == (CONTIGUOUS, None)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's checks of the heap")
@pytest.mark.parametrize(
    ("channels", "layout"), [(8, "contiguous_format"), (1, "contiguous_format"), (16, "channels_last")]
)
def test_what_is_taken_for_safe_does_not_corrupt_the_heap(channels, layout):
    script = _BACKWARD.format(channels=channels, layout=layout)
    checks = {"MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165", "LD_PRELOAD": "libc_malloc_debug.so.0"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"OMP_NUM_THREADS": "1", **checks}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-500:]
