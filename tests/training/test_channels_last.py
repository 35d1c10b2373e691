"""Channels last is refused where torch on a CPU writes out of bounds."""

import subprocess
import sys
import warnings

import pytest
import torch
from transformers import AutoConfig, AutoModelForSemanticSegmentation

from hf_lesionseg.training.network import narrow_strided_convolution, put_channels_last

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


def is_channels_last(model):
    """Of its 3x3 convolutions: for a 1x1 convolution both layouts are one."""
    weights = [each.weight for each in model.modules() if isinstance(each, torch.nn.Conv2d) and each.kernel_size[0] > 1]
    return all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


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
        put_channels_last(model, "cpu")
    assert not is_channels_last(model)
    put_channels_last(model, torch.device("cuda"))  # oneDNN has no part in it there
    assert is_channels_last(model)


@pytest.mark.parametrize(
    ("model_type", "settings"),
    [
        ("res-unet", {"base_width": 16, "encoder_block": "residual-full-resolution"}),
        ("res-unet", {"base_width": 8, "encoder_block": "plain"}),
        ("resnet-unet", {"base_width": 16}),
        ("clci-net", {"base_width": 4}),
    ],
)
def test_others_are_put_channels_last(model_type, settings):
    model = network(model_type, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        put_channels_last(model, "cpu")
    assert narrow_strided_convolution(model) is None
    assert is_channels_last(model)


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
