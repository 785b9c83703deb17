"""The three kinds of normalization against plain NumPy and PyTorch's own layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from lgmnet.nn.norms import EPS, IntertaskNorm, TaskNorm, build_norm
from tests.numerics import reference
from tests.support.arrays import assert_equal, to_arrays
from tests.support.random import noise, randomize

SPACES = pytest.mark.parametrize("space", [(), (5, 7)], ids=["vectors", "images"])


def call_with(norm: TaskNorm, x: Tensor, **tensors: Tensor) -> Tensor:
    """Call a norm with other weights or statistics than its own."""
    return cast(Tensor, functional_call(norm, tensors, (x,)))


@SPACES
def test_intertask_norm_equals_batch_norm_over_all_samples(space):
    """In training and in evaluation: answers, gradients and running statistics."""
    ours = IntertaskNorm(3)
    pytorchs = nn.BatchNorm2d(3) if space else nn.BatchNorm1d(3)
    randomize(ours)
    pytorchs.double().load_state_dict(ours.state_dict(), strict=False)
    norms: tuple[Any, Any] = (ours, pytorchs)
    for step in range(3):
        inputs = [(2 + 3 * noise(6, 3, *space, seed=step)).requires_grad_() for _ in range(2)]
        outputs = [norm(x) for norm, x in zip(norms, inputs, strict=True)]
        assert torch.equal(*outputs)
        gradients = [
            torch.autograd.grad((y * noise(*y.shape, seed=9)).sum(), [x, norm.weight, norm.bias])
            for y, x, norm in zip(outputs, inputs, norms, strict=True)
        ]
        assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
        assert torch.equal(ours.running_mean, pytorchs.get_buffer("running_mean"))
        assert torch.equal(ours.running_var, pytorchs.get_buffer("running_var"))
    before = ours.running_mean.clone()
    x = noise(6, 3, *space, seed=5)
    assert torch.equal(ours.eval()(x), pytorchs.eval()(x))
    assert torch.equal(ours.running_mean, before)


@SPACES
def test_the_norm_of_single_samples_uses_the_values_of_the_sample_alone(space):
    norm = randomize(build_norm(3, "sample"))
    x = noise(4, 3, *space)
    y = norm(x)
    weight, bias = (p.detach().numpy() for p in norm.parameters())
    for sample in range(4):
        assert_equal(y[sample], reference.normalize_alone(x[sample].numpy(), weight, bias))


@SPACES
@pytest.mark.parametrize("training", [True, False])
def test_task_norm_normalizes_by_the_statistics_of_the_samples(space, training):
    """Also in evaluation, since it has no running statistics."""
    norm = randomize(build_norm(3, "task")).train(training)
    x = 2 + 3 * noise(6, 3, *space)
    state = to_arrays(norm)
    assert state.keys() == {"weight", "bias"}
    expected = reference.normalize_samples(list(x.numpy()), state["weight"], state["bias"])
    for sample, y in enumerate(norm(x)):
        assert_equal(y, expected[sample])


@SPACES
def test_task_norm_has_the_gradients_of_batch_norm(space):
    ours = randomize(TaskNorm(3))
    pytorchs = (nn.BatchNorm2d(3) if space else nn.BatchNorm1d(3)).double()
    pytorchs.load_state_dict(ours.state_dict(), strict=False)
    gradients = []
    for norm in (ours, pytorchs):
        x = (2 + 3 * noise(6, 3, *space)).requires_grad_()
        loss = (norm(x) * noise(6, 3, *space, seed=9)).sum()
        gradients.append(torch.autograd.grad(loss, [x, *norm.parameters()]))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@SPACES
def test_task_norm_takes_statistics_that_are_handed_in(space):
    """They come from other samples, so no sample depends on those beside it."""
    norm = cast(TaskNorm, randomize(TaskNorm(3)))
    x, mean, variance = noise(4, 3, *space), noise(3, seed=1), 0.5 + noise(3, seed=2).square()
    y = call_with(norm, x, mean=mean, variance=variance)
    state = to_arrays(norm)
    for sample in range(4):
        expected = reference.normalize(
            x[sample].numpy(), mean.numpy(), variance.numpy(), state["weight"], state["bias"]
        )
        assert_equal(y[sample], expected)
    torch.testing.assert_close(call_with(norm, x[1:2], mean=mean, variance=variance), y[1:2])
    assert norm.mean is None
    assert norm.variance is None


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1), (5, 3), (5, 3, 2, 2)], ids=str)
def test_task_norm_turns_values_without_variance_into_its_bias(shape):
    """A single value of each channel is the extreme case: PyTorch's own layers refuse it."""
    norm = cast(TaskNorm, randomize(TaskNorm(3)))
    x = torch.full(shape, 7.0, dtype=torch.float64, requires_grad=True)
    y = norm(x)
    assert_equal(y, norm.bias.view(-1, *[1] * (x.ndim - 2)).expand(shape).detach().numpy())
    gradients = torch.autograd.grad((y * noise(*shape)).sum(), [x, *norm.parameters()])
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_task_norm_has_correct_gradients_under_vmap():
    """On vectors, where tasks go through a network all at once: first and second order."""
    norm = TaskNorm(3)
    x, target = 2 + 3 * noise(4, 6, 3), noise(4, 6, 3, seed=1)
    weight, bias = noise(4, 3, seed=2), noise(4, 3, seed=3)

    def loss(x: Tensor, weight: Tensor, bias: Tensor, target: Tensor) -> Tensor:
        return (call_with(norm, x, weight=weight, bias=bias) - target).pow(4).sum()

    def reference_loss(x: Tensor, weight: Tensor, bias: Tensor, target: Tensor) -> Tensor:
        scaled = (x - x.mean(0)) / (x.var(0, correction=0) + EPS).sqrt() * weight + bias
        return (scaled - target).pow(4).sum()

    def slope(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Turn a function into the squared length of its gradient with respect to x."""
        return lambda *arguments: grad(f)(*arguments).square().sum()

    pairs: list[tuple[Callable[..., Tensor], Callable[..., Tensor]]] = [
        (loss, reference_loss),
        (slope(loss), slope(reference_loss)),
    ]
    for ours, plain in pairs:
        at_once = vmap(grad(ours, (0, 1, 2)))(x, weight, bias, target)
        for task in range(4):
            arguments = [t[task].clone().requires_grad_() for t in (x, weight, bias)]
            expected = torch.autograd.grad(plain(*arguments, target[task]), arguments)
            for ours_at_once, by_autograd in zip(at_once, expected, strict=True):
                torch.testing.assert_close(ours_at_once[task], by_autograd, rtol=1e-8, atol=1e-8)
