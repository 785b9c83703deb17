"""The task context (eq. 1 and 2 of LGM-Net) against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lgmnet.nn.context import Context, ContextConfig, ContextEncoder, MeanContext
from tests.numerics import reference
from tests.support.arrays import assert_equal, layers_to_arrays
from tests.support.random import noise, randomize, seeded


@pytest.mark.parametrize("shot", [1, 5])
def test_the_context_is_the_mean_over_the_support(shot):
    encoder = ContextEncoder(3, ContextConfig(4, (5, 5), ()), is_image=False)
    randomize(encoder).eval()
    support = noise(2, shot, 3)
    context = encoder(support)
    assert context.log_variance is not None
    for task in range(2):
        contexts = [encoder(support[task : task + 1, k : k + 1]) for k in range(shot)]
        for part in ("mean", "log_variance"):
            parts = [getattr(c, part)[0].detach().numpy() for c in contexts]
            assert_equal(getattr(context, part)[task], sum(parts) / shot)


@pytest.mark.parametrize("pooled", [(True, False), (True, True), (False,)], ids=str)
def test_an_encoder_of_images_is_conv_relu_norm_pool_and_a_mean_over_space(pooled):
    encoder = ContextEncoder(2, ContextConfig(3, (4,) * len(pooled), pooled), is_image=True)
    randomize(encoder).eval()
    x = noise(1, 1, 2, 5, 7)
    y = x[0, 0].numpy()
    *layers, last = layers_to_arrays(encoder.layers)
    for conv, norm, pool in zip(layers[::2], layers[1::2], pooled, strict=True):
        y = reference.relu(reference.conv3x3(y, conv["weight"], conv["bias"]))
        y = reference.normalize(
            y, norm["running_mean"], norm["running_var"], norm["weight"], norm["bias"]
        )
        y = reference.max_pool(y, ceil=True) if pool else y
    y = reference.conv3x3(y, last["weight"], last["bias"]).mean((1, 2))
    context = encoder(x)
    assert context.log_variance is not None
    assert_equal(context.mean[0], y[:3])
    assert_equal(context.log_variance[0], y[3:])


def test_a_draw_is_reparameterized():
    mean, log_variance = noise(3, 4).requires_grad_(), noise(3, 4, seed=1).requires_grad_()
    context = Context(mean, log_variance)
    draw = context.draw(seeded(7))
    epsilon = torch.randn(3, 4, generator=seeded(7)).double().numpy()
    expected = mean.detach().numpy() + np.exp(log_variance.detach().numpy()) ** 0.5 * epsilon
    assert_equal(draw, expected)
    draw.sum().backward()
    assert mean.grad is not None
    assert log_variance.grad is not None
    assert_equal(mean.grad, np.ones((3, 4)))
    assert_equal(log_variance.grad, 0.5 * (expected - mean.detach().numpy()))


def test_draws_have_the_mean_and_variance_of_the_gaussian():
    mean, variance = torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([0.01, 1.0, 4.0])
    context = Context(mean.expand(20_000, 3), variance.log().expand(20_000, 3))
    draws = context.draw(seeded())
    standard_error = (variance / 20_000).sqrt()
    assert ((draws.mean(0) - mean).abs() < 4 * standard_error).all()
    torch.testing.assert_close(draws.var(0), variance, rtol=0.05, atol=0)


def test_without_a_generator_a_draw_is_the_mean_and_a_point_never_varies():
    mean = noise(3, 4)
    assert torch.equal(Context(mean, noise(3, 4, seed=1)).draw(None), mean)
    assert torch.equal(Context(mean, None).draw(seeded()), mean)


@pytest.mark.parametrize("space", [(), (2, 3)], ids=str)
def test_the_mean_context_is_the_mean_embedding(space):
    support = noise(2, 5, 4, *space)
    context = MeanContext()(support)
    axes = (1, *range(3, support.ndim))
    assert_equal(context.mean, support.numpy().mean(axes))
    assert context.log_variance is None
