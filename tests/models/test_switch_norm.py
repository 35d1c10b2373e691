"""Switchable normalisation against its formula, written out in numpy, and against what torch has."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from hf_lesionseg.models.switch_norm import SwitchNorm2d


def softmax(weights):
    powers = np.exp(weights - weights.max())
    return powers / powers.sum()


def by_the_formula(norm, images, running=None):
    """Output, and the batch's mean and variance; each pixel's mixture by loops over samples and maps."""
    x = images.numpy()
    samples, channels, *_ = x.shape
    shares = [softmax(weight.detach().numpy()) for weight in (norm.mean_weight, norm.var_weight)]
    mean_in = np.array([[x[n, c].mean() for c in range(channels)] for n in range(samples)])
    var_in = np.array([[x[n, c].var(ddof=1) for c in range(channels)] for n in range(samples)])
    second_moment = var_in + mean_in**2
    batch_mean, batch_var = mean_in.mean(0), second_moment.mean(0) - mean_in.mean(0) ** 2
    mean_bn, var_bn = (batch_mean, batch_var) if running is None else running
    out = np.empty_like(x)
    for n in range(samples):
        mean_ln = mean_in[n].mean()
        var_ln = second_moment[n].mean() - mean_ln**2
        for c in range(channels):
            mean = shares[0] @ [mean_in[n, c], mean_ln, mean_bn[c]]
            var = shares[1] @ [var_in[n, c], var_ln, var_bn[c]]
            out[n, c] = norm.weight[c].item() * (x[n, c] - mean) / np.sqrt(var + 1e-5) + norm.bias[c].item()
    return out, batch_mean, batch_var


@pytest.fixture
def norm():
    torch.manual_seed(0)
    norm = SwitchNorm2d(3).double()
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.normal_()
    return norm


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(1)
    return 3 + 2 * torch.randn(4, 3, 5, 6, dtype=torch.float64, generator=generator)


def test_in_training(norm, images):
    expected, mean, var = by_the_formula(norm, images)
    np.testing.assert_allclose(norm(images).detach().numpy(), expected, rtol=1e-10)
    np.testing.assert_allclose(norm.running_mean.numpy(), 0.1 * mean)
    np.testing.assert_allclose(norm.running_var.numpy(), 0.9 + 0.1 * var)


def test_in_evaluation(norm, images):
    norm(images)
    running = norm.running_mean.numpy().copy(), norm.running_var.numpy().copy()
    expected, _, _ = by_the_formula(norm, images[:1], running)
    np.testing.assert_allclose(norm.eval()(images[:1]).detach().numpy(), expected, rtol=1e-10)
    assert np.array_equal(norm.running_mean.numpy(), running[0])


def test_gradients(norm, images):
    small = images[:2, :, :2, :3].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: copy.deepcopy(norm)(x), small)


@pytest.mark.parametrize(
    ("kind", "reference"),
    [(0, nn.InstanceNorm2d(3)), (1, nn.GroupNorm(1, 3)), (2, nn.BatchNorm2d(3))],
)
def test_each_kind_alone_is_that_of_torch(images, kind, reference):
    """All weight on one kind; torch's variances divide by the number of pixels, of which there are many here."""
    large = images.repeat(1, 1, 40, 40).float()
    norm = SwitchNorm2d(3)
    with torch.no_grad():
        for weight in (norm.mean_weight, norm.var_weight):
            weight.copy_(torch.tensor([-50.0] * 3))
            weight[kind] = 50.0
    torch.testing.assert_close(norm(large), reference(large), rtol=1e-3, atol=1e-3)


def test_evaluation_before_any_step_is_sane(images):
    """Also for a layer that has learned to use batch statistics alone; the authors' start divides by almost nothing."""
    norm = SwitchNorm2d(3).eval()
    with torch.no_grad():
        norm.var_weight.copy_(torch.tensor([-50.0, -50.0, 50.0]))
    assert norm(images.float()).abs().max() < 20


def test_single_pixels_are_finite():
    for training in (True, False):
        found = SwitchNorm2d(4).train(training)(torch.randn(2, 4, 1, 1))
        assert torch.isfinite(found).all()


def test_statistics_see_each_batch_once_under_checkpointing(images):
    plain, recomputed = SwitchNorm2d(3), SwitchNorm2d(3)
    gradients = []
    for norm, run in ((plain, plain), (recomputed, lambda x: checkpoint(recomputed, x, use_reentrant=False))):
        inputs = images.float().requires_grad_()
        run(inputs).square().sum().backward()
        gradients.append((inputs.grad, norm.var_weight.grad))
    assert torch.equal(plain.running_var, recomputed.running_var)
    for expected, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected)


def test_half_precision_keeps_its_dtype_and_statistics(images):
    norm = SwitchNorm2d(3).to(torch.bfloat16)
    found = norm(images.to(torch.bfloat16))
    assert found.dtype == torch.bfloat16
    assert norm.running_mean.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), SwitchNorm2d(3)(images.float()), rtol=0.05, atol=0.05)
