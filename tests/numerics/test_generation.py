"""Generated weights, TargetNet and class detectors (eq. 3 and 4 of LGM-Net) against NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from lgmnet.nn.class_conditioning import TOKEN_LENGTH, ClassTokens, ClassWriter
from lgmnet.nn.generators import SharedWeights, WeightGenerator
from lgmnet.nn.target import TargetConfig, TargetNet
from tests.numerics import reference
from tests.support.arrays import assert_equal
from tests.support.random import noise, randomize, seeded


@pytest.mark.parametrize("shape", [(3, 2, 3, 3), (4, 5)], ids=str)
@pytest.mark.parametrize("weight_norm", [True, False])
def test_a_generator_is_a_dense_layer_and_a_division(shape, weight_norm):
    generator = WeightGenerator(6, shape, weight_norm=weight_norm)
    randomize(generator)
    context = noise(2, 6, seed=1)
    weight, bias = generator(context)
    dense = {k: v.detach().numpy() for k, v in generator.dense.named_parameters()}
    for task in range(2):
        flat = reference.linear(context[task].numpy(), dense["weight"], dense["bias"])
        kernels = flat[: -shape[0]].reshape(shape)
        if weight_norm:
            kernels = np.stack([reference.unit(kernel) for kernel in kernels])
        assert_equal(weight[task], kernels)
        assert_equal(bias[task], flat[-shape[0] :])


def test_a_change_is_added_before_kernels_are_normalized():
    generator = WeightGenerator(6, (4, 5))
    randomize(generator)
    context, change = noise(2, 6, seed=1), noise(2, 24, seed=2)
    weight, bias = generator(context, change)
    flat = (generator.dense(context) + change).detach().numpy()
    for task in range(2):
        kernels = flat[task, :20].reshape(4, 5)
        assert_equal(weight[task], np.stack([reference.unit(kernel) for kernel in kernels]))
        assert_equal(bias[task], flat[task, 20:])


def test_shared_weights_are_the_same_for_all_tasks():
    shared = SharedWeights((5, 4, 3, 3))
    weight, bias = shared(noise(3, 7).float())
    assert weight.shape == (3, 5, 4, 3, 3)
    assert torch.equal(weight[0], weight[2])
    assert not bias.any()
    torch.testing.assert_close(weight.flatten(2).norm(dim=2), torch.ones(3, 5))
    kernels = SharedWeights((500, 4, 3, 3), weight_norm=False)(noise(1, 7).float())[0]
    assert abs(kernels.std().item() - math.sqrt(2 / 36)) < 0.01


def test_normalized_kernels_have_length_1_and_biases_any():
    generator = WeightGenerator(6, (8, 4, 3, 3))
    weight, bias = generator(torch.randn(3, 6, generator=seeded()))
    torch.testing.assert_close(weight.flatten(2).norm(dim=2), torch.ones(3, 8))
    assert (bias.norm(dim=1) - 1).abs().min() > 0.01


def test_at_context_0_a_generator_starts_as_an_ordinary_layer():
    """Kernels with the standard deviation of He et al. (2015), biases of zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = WeightGenerator(4, (64, 32, 3, 3), weight_norm=False)
    weight, bias = generator(torch.zeros(1, 4))
    assert torch.equal(bias, torch.zeros(1, 64))
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (32 * 9)), rel=0.03)
    assert weight.mean().abs() < 0.002


# TargetNet


def build_target(n_in: int, config: TargetConfig, *, is_image: bool) -> TargetNet:
    return TargetNet(n_in, config, is_image=is_image).double()


def random_weights(target: TargetNet, tasks: int) -> dict[str, Tensor]:
    weights = {}
    for i, shape in enumerate(target.weight_shapes):
        weights[f"weight_{i}"] = noise(tasks, *shape, seed=10 + i)
        weights[f"bias_{i}"] = noise(tasks, shape[0], seed=20 + i)
    return weights


def test_a_grouped_convolution_equals_a_convolution_for_each_task():
    """Three layers, odd sides and widths that all differ, so that no two axes can be mixed up."""
    target = build_target(2, TargetConfig((3, 5, 4), norm=False), is_image=True)
    weights, x = random_weights(target, tasks=3), noise(3, 2, 2, 7, 5)
    embedded = target(weights, x)
    for task in range(3):
        for sample in range(2):
            y = x[task, sample].numpy()
            for i in range(3):
                kernel, bias = (weights[f"{part}_{i}"][task].numpy() for part in ("weight", "bias"))
                y = reference.conv3x3(y, kernel, bias)
                if i < 2:
                    y = reference.relu(reference.max_pool(y))
            assert_equal(embedded[task, sample], y.flatten())


def test_generated_linear_layers_equal_layers_for_each_task():
    target = build_target(3, TargetConfig((6, 5, 4), norm=False, pooled=False), is_image=False)
    weights, x = random_weights(target, tasks=3), noise(3, 2, 3)
    embedded = target(weights, x)
    for task in range(3):
        for sample in range(2):
            y = x[task, sample].numpy()
            for i in range(3):
                weight, bias = (weights[f"{part}_{i}"][task].numpy() for part in ("weight", "bias"))
                y = reference.linear(y, weight, bias)
                y = reference.relu(y) if i < 2 else y
            assert_equal(embedded[task, sample], y)


@pytest.mark.parametrize("space", [(4, 4), ()], ids=["conv", "linear"])
def test_the_skip_beside_concatenates_embedding_and_target_at_unit_length(space):
    x = noise(2, 5, 2, *space)
    plain, with_skip = (
        build_target(
            2,
            TargetConfig((3, 4), pooled=bool(space), norm=False, skip=skip),
            is_image=bool(space),
        )
        for skip in ("none", "beside")
    )
    weights = random_weights(plain, 2)
    alone, concatenated = plain(weights, x), with_skip(weights, x)
    for task in range(2):
        for sample in range(5):
            parts = x[task, sample].numpy().ravel(), alone[task, sample].numpy()
            expected = np.concatenate([reference.unit(part) for part in parts])
            assert_equal(concatenated[task, sample], expected)


def test_the_skip_added_adds_the_embedding():
    x = noise(2, 5, 2, 4, 4)
    plain, with_skip = (
        build_target(2, TargetConfig((3, 2), pooled=False, norm=False, skip=skip), is_image=True)
        for skip in ("none", "added")
    )
    weights = random_weights(plain, 2)
    torch.testing.assert_close(with_skip(weights, x), x.flatten(2) + plain(weights, x))


@pytest.mark.parametrize("wrong", ["broadcasting bias", "missing", "unknown", "shape", "tasks"])
def test_generated_weights_are_checked_by_name_and_shape(wrong):
    target = build_target(3, TargetConfig((6, 5), pooled=False), is_image=False)
    weights, tasks = random_weights(target, tasks=2), 2
    target.check(weights, tasks)
    if wrong == "broadcasting bias":
        weights["bias_1"] = weights["bias_1"][:, :1]
    elif wrong == "missing":
        del weights["weight_0"]
    elif wrong == "unknown":
        weights["weight_2"] = noise(2, 5, 5)
    elif wrong == "shape":
        weights["weight_0"] = weights["weight_0"].mT
    else:
        tasks = 3
    with pytest.raises(AssertionError, match="expected"):
        target.check(weights, tasks)


# Class detectors


@pytest.mark.parametrize("shape", [(4, 3, 3, 3), (4, 5)])
def test_each_class_adds_detectors_to_kernels_and_biases(shape):
    writer = ClassWriter(shape, rank=2)
    randomize(writer)
    tokens = noise(2, 3, TOKEN_LENGTH, seed=1)
    change = writer(tokens)
    u, v, b = (
        (layer.weight.detach().numpy(), layer.bias.detach().numpy())
        for layer in (writer.channels, writer.kernels, writer.bias)
    )
    fan_in = math.prod(shape[1:])
    for task in range(2):
        kernels, biases = np.zeros((4, fan_in)), np.zeros(4)
        for token in tokens[task].numpy():
            channels, patterns = u[0] @ token + u[1], v[0] @ token + v[1]
            for r in range(2):
                detector = patterns[fan_in * r : fan_in * (r + 1)]
                kernels += np.outer(channels[4 * r : 4 * (r + 1)], detector) / math.sqrt(3)
            biases += (b[0] @ token + b[1]) / 3
        assert_equal(change[task, : 4 * fan_in].view(4, fan_in), kernels)
        assert_equal(change[task, 4 * fan_in :], biases)


def test_a_token_describes_its_class_beside_the_other_classes():
    tokens = ClassTokens(6, is_image=True).double().eval()
    support = noise(1, 5, 2, 6, 3, 3)
    labels = torch.tensor([[0, 1, 1, 2, 0]])
    with torch.no_grad():
        before = tokens(support, labels, 3)
        means = []
        for c in range(3):
            maps = support[0][labels[0] == c].flatten(0, 1).numpy()
            pooled = [np.concatenate([x.mean((1, 2)), x.max((1, 2))]) for x in maps]
            mean = np.mean(pooled, axis=0)
            means.append((mean - mean.mean()) / np.sqrt(mean.var() + 1e-5))
        entered = tokens.enter(torch.from_numpy(np.array(means))[None])
        torch.testing.assert_close(before, tokens.norm(tokens.attention(entered)))
        changed = support.clone()
        changed[0, 3] = -changed[0, 3]  # A sample of class 2 changes the token of class 0.
        assert not torch.allclose(tokens(changed, labels, 3)[0, 0], before[0, 0])


def test_class_tokens_are_dropped_in_training_only_and_follow_the_generator():
    tokens = ClassTokens(6, is_image=False, dropout=0.5).double()
    support, labels = noise(2, 4, 1, 6), torch.arange(4).expand(2, 4)

    def draw(seed: int) -> Tensor:
        drawn: Tensor = tokens(support, labels, 4, seeded(seed))
        return drawn

    before = torch.random.get_rng_state()
    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))
    assert 0.4 < float((draw(0) == 0).double().mean()) < 0.6
    assert torch.equal(torch.random.get_rng_state(), before), "the global generator is untouched"
    tokens.eval()
    assert torch.equal(draw(0), draw(1))
    assert torch.equal(draw(0), tokens(support, labels, 4))
