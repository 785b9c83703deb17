"""Every part of a network against plain NumPy, or against torch's own layer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lgmnet.nn.intertask_norm import IntertaskNorm, normalisation
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.errors import ConfigError
from lgmnet.methods.lgm_net import LGMNetConfig
from lgmnet.nn.class_conditioning import TOKEN, ClassTokens, ClassWriter
from lgmnet.nn.context import Context, ContextEncoder, MeanContext
from lgmnet.nn.generators import SharedWeights, WeightGenerator
from lgmnet.nn.layers import (
    LEAK,
    ConvEmbedding,
    ResidualBlock,
    ResidualEmbedding,
    VectorEmbedding,
)
from lgmnet.nn.matching import cosine_matching
from lgmnet.nn.target import ConvTarget, LinearTarget, Skip, TargetNet
from tests.numerics import by_hand


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def assert_equal(came: Tensor, expected: np.ndarray) -> None:
    torch.testing.assert_close(came.detach(), torch.from_numpy(expected), rtol=1e-10, atol=1e-12)


def unsettled(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module in 64 bits, with weights and running statistics that are nothing in particular."""
    generator = seeded(seed)
    with torch.no_grad():
        for name, tensor in module.double().state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=generator)
            else:
                tensor.normal_(std=0.5, generator=generator)
    return module


def arrays(layers: Iterable[nn.Module]) -> list[dict[str, np.ndarray]]:
    """Weights and statistics of each layer that has some."""
    states = [layer.state_dict() for layer in layers]
    return [{name: t.numpy() for name, t in state.items()} for state in states if state]


def normalise_by(x: np.ndarray, norm: dict[str, np.ndarray]) -> np.ndarray:
    return by_hand.normalise_by(
        x, norm["running_mean"], norm["running_var"], norm["weight"], norm["bias"]
    )


# The matching head, eq. (5) and (6).


@given(
    shots=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    queries=st.integers(1, 3),
    tasks=st.integers(1, 3),
    scale=st.floats(0.1, 30),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_cosine_matching_is_the_loop(shots, queries, tasks, scale, seed, data):
    """Any number of shots, even or not, in any order, and another order for each task."""
    labels = [label for label, shot in enumerate(shots) for _ in range(shot)]
    support_y = torch.tensor([data.draw(st.permutations(labels)) for _ in range(tasks)])
    query, support = (noise(tasks, n, 5, seed=seed + n) for n in (queries, len(labels)))
    came = cosine_matching(query, support, support_y, len(shots), scale)
    expected = [
        [
            by_hand.matching(q, support[t].numpy(), support_y[t].numpy(), len(shots), scale)
            for q in query[t].numpy()
        ]
        for t in range(tasks)
    ]
    assert_equal(came.exp(), np.array(expected))


def test_at_even_shots_it_is_the_papers_formula():
    """``p = sum a * y`` with the attention over all support samples, nothing divided."""
    query, support = noise(1, 1, 5)[0, 0].numpy(), noise(6, 5, seed=1).numpy()
    labels = np.array([0, 1, 2, 2, 1, 0])
    attention = by_hand.softmax(np.array([by_hand.unit(query) @ by_hand.unit(k) for k in support]))
    one_hot = np.eye(3)[labels]
    came = cosine_matching(
        torch.from_numpy(query)[None, None],
        torch.from_numpy(support)[None],
        torch.from_numpy(labels)[None],
        3,
    )
    assert_equal(came[0, 0].exp(), attention @ one_hot)


def test_the_papers_head_cannot_be_sure():
    """Without temperature a 5-way probability is at most e / (e + 4 / e) = 0.65."""
    query = noise(1, 1, 3)
    support = torch.cat([query, *[-query] * 4], 1)
    came = cosine_matching(query, support, torch.arange(5)[None], 5).exp()
    assert came[0, 0, 0].item() == pytest.approx(math.e / (math.e + 4 / math.e))
    assert came.max() < 0.65


@pytest.mark.parametrize("scale", [1e3, 1e6, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_huge_scale_overflows_neither_answer_nor_gradient(scale, dtype):
    labels = torch.tensor([[0, 0, 1, 2, 2, 2]])
    query = noise(1, 4, 5).to(dtype).requires_grad_()
    support = noise(1, 6, 5, seed=1).to(dtype).requires_grad_()
    temperature = torch.tensor(scale, dtype=dtype, requires_grad=True)
    answer = cosine_matching(query, support, labels, 3, temperature)
    assert answer.isfinite().all()
    nearest = (F.normalize(query, dim=-1) @ F.normalize(support, dim=-1).mT).argmax(-1)
    assert torch.equal(answer.argmax(-1), labels[0][nearest])
    F.nll_loss(answer[0], torch.tensor([0, 1, 2, 0])).backward()
    for tensor in (query, support, temperature):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


def test_an_embedding_of_zeros_is_like_nothing_and_breaks_nothing():
    query = torch.zeros(1, 1, 4, dtype=torch.float64, requires_grad=True)
    answer = cosine_matching(query, noise(1, 3, 4), torch.tensor([[0, 1, 1]]), 2, 10.0)
    assert_equal(answer.exp(), np.full((1, 1, 2), 0.5))
    answer[0, 0, 0].backward()
    assert query.grad is not None
    assert query.grad.isfinite().all()


@pytest.mark.parametrize("autocast", [False, True])
def test_16_bits_in_are_answered_in_32(autocast):
    query, support = noise(1, 4, 64).bfloat16(), noise(1, 6, 64, seed=1).bfloat16()
    labels = torch.tensor([[0, 0, 1, 1, 2, 2]])
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        came = cosine_matching(query, support, labels, 3, torch.tensor(10.0))
    assert came.dtype == torch.float32
    wide = cosine_matching(query.double(), support.double(), labels, 3, 10.0)
    torch.testing.assert_close(came.double(), wide, rtol=1e-5, atol=1e-5)


# Generated weights and TargetNet, eq. (3) and (4).


@pytest.mark.parametrize("shape", [(3, 2, 3, 3), (4, 5)], ids=str)
@pytest.mark.parametrize("normalise", [True, False])
def test_a_generator_is_one_dense_layer_and_a_division(shape, normalise):
    generator = WeightGenerator(6, shape, normalise=normalise)
    unsettled(generator)
    context = noise(2, 6, seed=1)
    weight, bias = generator(context)
    dense = {k: v.detach().numpy() for k, v in generator.dense.named_parameters()}
    for task in range(2):
        flat = by_hand.linear(context[task].numpy(), dense["weight"], dense["bias"])
        kernels = flat[: -shape[0]].reshape(shape)
        if normalise:
            kernels = np.stack([by_hand.unit(kernel) for kernel in kernels])
        assert_equal(weight[task], kernels)
        assert_equal(bias[task], flat[-shape[0] :])


def test_without_generation_all_tasks_have_the_same_ordinary_weights():
    shared = SharedWeights((5, 4, 3, 3))
    weight, bias = shared(noise(3, 7).float())
    assert weight.shape == (3, 5, 4, 3, 3)
    assert torch.equal(weight[0], weight[2])
    assert not bias.any()
    torch.testing.assert_close(weight.flatten(2).norm(dim=2), torch.ones(3, 5))
    kernels = SharedWeights((500, 4, 3, 3), normalise=False)(noise(1, 7).float())[0]
    assert abs(kernels.std().item() - math.sqrt(2 / 36)) < 0.01


def test_normalised_kernels_have_norm_1_and_biases_are_free():
    generator = WeightGenerator(6, (8, 4, 3, 3))
    weight, bias = generator(torch.randn(3, 6, generator=seeded()))
    torch.testing.assert_close(weight.flatten(2).norm(dim=2), torch.ones(3, 8))
    assert (bias.norm(dim=1) - 1).abs().min() > 0.01


def test_at_context_0_a_generator_starts_as_an_ordinary_layer():
    """He's spread for the kernels, zeros for the biases."""
    generator = WeightGenerator(4, (64, 32, 3, 3), normalise=False)
    weight, bias = generator(torch.zeros(1, 4))
    assert torch.equal(bias, torch.zeros(1, 64))
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (32 * 9)), rel=0.03)
    assert weight.mean().abs() < 0.002


def generated(target: TargetNet, tasks: int) -> dict[str, Tensor]:
    weights = {}
    for i, shape in enumerate(target.weight_shapes):
        weights[f"weight_{i}"] = noise(tasks, *shape, seed=10 + i)
        weights[f"bias_{i}"] = noise(tasks, shape[0], seed=20 + i)
    return weights


def test_a_grouped_convolution_is_a_convolution_for_each_task():
    """Three layers, odd sides, no two widths alike, so that no axis can pass for another."""
    target = ConvTarget(2, (3, 5, 4), norm=False, intertask=True)
    weights, x = generated(target, tasks=3), noise(3, 2, 2, 7, 5)
    came = target(weights, x)
    for task in range(3):
        for sample in range(2):
            y = x[task, sample].numpy()
            for i in range(3):
                kernel, bias = (weights[f"{part}_{i}"][task].numpy() for part in ("weight", "bias"))
                y = by_hand.conv3x3(y, kernel, bias)
                if i < 2:
                    y = by_hand.relu(by_hand.max_pool(y))
            assert_equal(came[task, sample], y.flatten())


def test_generated_linear_layers_are_layers_for_each_task():
    target = LinearTarget(3, (6, 5, 4), norm=False, intertask=True)
    weights, x = generated(target, tasks=3), noise(3, 2, 3)
    came = target(weights, x)
    for task in range(3):
        for sample in range(2):
            y = x[task, sample].numpy()
            for i in range(3):
                weight, bias = (weights[f"{part}_{i}"][task].numpy() for part in ("weight", "bias"))
                y = by_hand.linear(y, weight, bias)
                y = by_hand.relu(y) if i < 2 else y
            assert_equal(came[task, sample], y)


@pytest.mark.parametrize("kind", ["conv", "linear"])
def test_a_skip_puts_the_embedding_beside_the_answer_each_at_unit_length(kind):
    def target(skip: Skip) -> TargetNet:
        if kind == "conv":
            return ConvTarget(2, (3, 4), norm=False, intertask=True, skip=skip).double()
        return LinearTarget(2, (3, 4), norm=False, intertask=True, skip=skip).double()

    x = torch.randn(2, 5, 2, *((4, 4) if kind == "conv" else ()), dtype=torch.float64)
    weights = {name: w.double() for name, w in generated(target(None), 2).items()}
    made, both = (target(skip)(weights, x) for skip in (None, "beside"))
    for task in range(2):
        for sample in range(5):
            parts = x[task, sample].numpy().ravel(), made[task, sample].numpy()
            expected = np.concatenate([by_hand.unit(part) for part in parts])
            np.testing.assert_allclose(both[task, sample].numpy(), expected, rtol=1e-12)


def test_a_skip_by_addition_needs_a_target_of_the_embeddings_size():
    target = ConvTarget(2, (3, 2), norm=False, intertask=True, pooled=False, skip="added").double()
    plain = ConvTarget(2, (3, 2), norm=False, intertask=True, pooled=False).double()
    x = torch.randn(2, 5, 2, 4, 4, dtype=torch.float64)
    weights = {name: w.double() for name, w in generated(target, 2).items()}
    torch.testing.assert_close(target(weights, x), x.flatten(2) + plain(weights, x))
    skipping = LGMNetConfig(target_pooled=False, target_skip=True, skip_added=True)
    for unlike in ({"target_widths": (64, 32)}, {"target_pooled": True}):
        with pytest.raises(ConfigError, match="'skip_added' must be false, unless TargetNet keeps"):
            dataclasses.replace(skipping, **unlike)


@pytest.mark.parametrize("wrong", ["broadcasting bias", "missing", "foreign", "shape", "tasks"])
def test_generated_weights_are_checked_by_name_and_shape(wrong):
    target = LinearTarget(3, (6, 5), norm=True, intertask=True)
    weights, tasks = generated(target, tasks=2), 2
    target.check(weights, tasks)
    if wrong == "broadcasting bias":
        weights["bias_1"] = weights["bias_1"][:, :1]
    elif wrong == "missing":
        del weights["weight_0"]
    elif wrong == "foreign":
        weights["weight_2"] = noise(2, 5, 5)
    elif wrong == "shape":
        weights["weight_0"] = weights["weight_0"].mT
    else:
        tasks = 3
    with pytest.raises(AssertionError, match="expected"):
        target.check(weights, tasks)


# The task context, eq. (1) and (2).


@pytest.mark.parametrize("shots", [1, 5])
def test_the_context_is_the_mean_over_the_support(shots):
    encoder = ContextEncoder(3, 5, 4, convolutional=False)
    unsettled(encoder).eval()
    support = noise(2, shots, 3)
    context = encoder(support)
    assert context.log_variance is not None
    for task in range(2):
        alone = [encoder(support[task : task + 1, k : k + 1]) for k in range(shots)]
        for part in ("mean", "log_variance"):
            parts = [getattr(one, part)[0].detach().numpy() for one in alone]
            assert_equal(getattr(context, part)[task], sum(parts) / shots)


@pytest.mark.parametrize("pooled", [(True, False), (True, True), (False,)], ids=str)
def test_a_convolutional_encoder_is_conv_relu_norm_pool_and_an_average(pooled):
    encoder = ContextEncoder(2, 4, 3, convolutional=True, pooled=pooled)
    unsettled(encoder).eval()
    x = noise(1, 1, 2, 5, 7)
    y = x[0, 0].numpy()
    *layers, last = arrays(encoder.layers)
    for conv, norm, pool in zip(layers[::2], layers[1::2], pooled, strict=True):
        y = normalise_by(by_hand.relu(by_hand.conv3x3(y, conv["weight"], conv["bias"])), norm)
        y = by_hand.max_pool(y, ceil=True) if pool else y
    y = by_hand.conv3x3(y, last["weight"], last["bias"]).mean((1, 2))
    context = encoder(x)
    assert context.log_variance is not None
    assert_equal(context.mean[0], y[:3])
    assert_equal(context.log_variance[0], y[3:])


def test_a_draw_is_reparameterised():
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


def test_draws_have_the_gaussians_mean_and_variance():
    mean, variance = torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([0.01, 1.0, 4.0])
    draws = Context(mean.expand(20_000, 3), variance.log().expand(20_000, 3)).draw(seeded())
    error = (variance / 20_000).sqrt()
    assert ((draws.mean(0) - mean).abs() < 4 * error).all()
    torch.testing.assert_close(draws.var(0), variance, rtol=0.05, atol=0)


def test_without_a_generator_a_draw_is_the_mean_and_a_point_is_always_itself():
    mean = noise(3, 4)
    assert torch.equal(Context(mean, noise(3, 4, seed=1)).draw(None), mean)
    assert torch.equal(Context(mean, None).draw(seeded()), mean)


@pytest.mark.parametrize("space", [(), (2, 3)], ids=str)
def test_the_plain_context_is_the_mean_embedding(space):
    support = noise(2, 5, 4, *space)
    context = MeanContext()(support)
    axes = (1, *range(3, support.ndim))
    assert_equal(context.mean, support.numpy().mean(axes))
    assert context.log_variance is None


# Normalisation.


@pytest.mark.parametrize("space", [(), (5, 7)], ids=["BatchNorm1d", "BatchNorm2d"])
def test_intertask_norm_is_batch_norm_over_all_samples(space):
    """In training and in evaluation: answers, gradients and running statistics."""
    mine = IntertaskNorm(3)
    torchs = nn.BatchNorm2d(3) if space else nn.BatchNorm1d(3)
    unsettled(mine)
    torchs.double().load_state_dict(mine.state_dict(), strict=False)
    norms: tuple[Any, Any] = (mine, torchs)
    for step in range(3):
        inputs = [(2 + 3 * noise(6, 3, *space, seed=step)).requires_grad_() for _ in range(2)]
        answers = [norm(x) for norm, x in zip(norms, inputs, strict=True)]
        assert torch.equal(*answers)
        gradients = [
            torch.autograd.grad((y * noise(*y.shape, seed=9)).sum(), [x, norm.weight, norm.bias])
            for y, x, norm in zip(answers, inputs, norms, strict=True)
        ]
        assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
        assert torch.equal(mine.running_mean, torchs.get_buffer("running_mean"))
        assert torch.equal(mine.running_var, torchs.get_buffer("running_var"))
    before = mine.running_mean.clone()
    x = noise(6, 3, *space, seed=5)
    assert torch.equal(mine.eval()(x), torchs.eval()(x))
    assert torch.equal(mine.running_mean, before)


@pytest.mark.parametrize("space", [(), (5, 7)], ids=str)
def test_the_ablation_normalises_each_sample_by_itself(space):
    norm = normalisation(3, intertask=False)
    unsettled(norm)
    x = noise(4, 3, *space)
    came = norm(x)
    weight, bias = (p.detach().numpy() for p in norm.parameters())
    for sample in range(4):
        assert_equal(came[sample], by_hand.normalise_by_itself(x[sample].numpy(), weight, bias))


# Shared embeddings.


def test_a_convolutional_embedding_is_conv_norm_relu_pool():
    """The pooling stands before the normalisation in the code; with the paper's order, as here,
    the answer is the same where no scale is negative.
    """
    embedding = ConvEmbedding(2, (3, 4), (True, False))
    unsettled(embedding).eval()
    with torch.no_grad():
        for name, parameter in embedding.named_parameters():
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.abs_()
    x = noise(2, 2, 7, 5)
    came, layers = embedding(x), arrays(embedding)
    for sample in range(2):
        y = x[sample].numpy()
        for conv, norm, pool in zip(layers[::2], layers[1::2], (True, False), strict=True):
            y = by_hand.relu(normalise_by(by_hand.conv3x3(y, conv["weight"]), norm))
            y = by_hand.max_pool(y) if pool else y
        assert_equal(came[sample], y)


def test_a_vector_embedding_is_linear_norm_relu():
    embedding = VectorEmbedding(2, (5, 4))
    unsettled(embedding).eval()
    x = noise(3, 2)
    came, layers = embedding(x), arrays(embedding)
    for sample in range(3):
        y = x[sample].numpy()
        for dense, norm in zip(layers[::2], layers[1::2], strict=True):
            y = by_hand.relu(normalise_by(by_hand.linear(y, dense["weight"]), norm))
        assert_equal(came[sample], y)


@pytest.mark.parametrize("shape", [(4, 3, 3, 3), (4, 5)])
def test_classes_write_detectors_into_kernels_and_biases(shape):
    torch.manual_seed(0)
    writer = ClassWriter(shape, rank=2).double()
    torch.nn.init.normal_(writer.bias.weight)
    tokens = torch.randn(2, 3, TOKEN, dtype=torch.float64)
    with torch.no_grad():
        came = writer(tokens).numpy()
    u, v, b = (
        (layer.weight.detach().numpy(), layer.bias.detach().numpy())
        for layer in (writer.channels, writer.kernels, writer.bias)
    )
    fan_in = math.prod(shape[1:])
    for task in range(2):
        kernels, biases = np.zeros((4, fan_in)), np.zeros(4)
        for t in tokens[task].numpy():
            channels, patterns = u[0] @ t + u[1], v[0] @ t + v[1]
            for r in range(2):
                of_channels = channels[4 * r : 4 * (r + 1)]
                kernel = patterns[fan_in * r : fan_in * (r + 1)]
                kernels += np.outer(of_channels, kernel) / math.sqrt(3)
            biases += (b[0] @ t + b[1]) / 3
        np.testing.assert_allclose(came[task, : 4 * fan_in].reshape(4, fan_in), kernels, rtol=1e-9)
        np.testing.assert_allclose(came[task, 4 * fan_in :], biases, rtol=1e-9)


def test_a_token_says_how_its_class_looks_beside_the_others():
    torch.manual_seed(0)
    tokens = ClassTokens(6, convolutional=True).double().eval()
    support = torch.randn(1, 5, 2, 6, 3, 3, dtype=torch.float64)
    labels = torch.tensor([[0, 1, 1, 2, 0]])
    with torch.no_grad():
        came = tokens(support, labels, 3)
        means = []
        for c in range(3):
            shown = support[0][labels[0] == c].flatten(0, 1).numpy()
            pooled = [np.concatenate([x.mean((1, 2)), x.max((1, 2))]) for x in shown]
            mean = np.mean(pooled, axis=0)
            means.append((mean - mean.mean()) / np.sqrt(mean.var() + 1e-5))
        entered = tokens.enter(torch.from_numpy(np.array(means))[None])
        torch.testing.assert_close(came, tokens.norm(tokens.attention(entered)))
        other = support.clone()
        other[0, 3] = -other[0, 3]
        assert not torch.allclose(tokens(other, labels, 3)[0, 0], came[0, 0])


def test_a_residual_block_is_three_convolutions_beside_one():
    torch.manual_seed(0)
    block = ResidualBlock(2, 5, intertask=True).double().eval()
    maps = torch.randn(3, 2, 6, 6, dtype=torch.float64)
    for module in block.modules():
        if isinstance(module, IntertaskNorm):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)

    def normed(x: Tensor, norm: nn.Module) -> Tensor:
        assert isinstance(norm, IntertaskNorm)
        mean, var = norm.running_mean[:, None, None], norm.running_var[:, None, None]
        return (x - mean) / (var + norm.eps).sqrt()

    def conv(x: Tensor, layer: nn.Module) -> Tensor:
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is None
        return F.conv2d(x, layer.weight, padding=layer.weight.shape[-1] // 2)

    with torch.no_grad():
        x = maps
        layers = list(block.layers)
        convs, norms = layers[0::3], layers[1::3]
        for i in range(3):
            x = normed(conv(x, convs[i]), norms[i])
            if i < 2:
                x = torch.where(x > 0, x, LEAK * x)
        x = x + normed(conv(maps, block.shortcut[0]), block.shortcut[1])
        torch.testing.assert_close(block(maps), torch.where(x > 0, x, LEAK * x))


def test_resnet_12_halves_images_where_it_is_asked_to():
    embedding = ResidualEmbedding(3, (4, 6), (True, False)).eval()
    assert embedding(torch.rand(2, 3, 32, 32)).shape == (2, 6, 16, 16)


def test_what_detectors_are_written_from_is_left_out_in_training_only():
    torch.manual_seed(0)
    tokens = ClassTokens(6, convolutional=False, dropout=0.5)
    support, labels = torch.randn(2, 4, 1, 6), torch.arange(4).expand(2, 4)

    def drawn(seed):
        return tokens(support, labels, 4, torch.Generator().manual_seed(seed))

    before = torch.random.get_rng_state()
    assert torch.equal(drawn(0), drawn(0)), "what is left out follows the generator"
    assert not torch.equal(drawn(0), drawn(1))
    assert 0.4 < float((drawn(0) == 0).float().mean()) < 0.6
    assert torch.equal(torch.random.get_rng_state(), before), "and disturbs nobody else's draws"
    tokens.eval()
    assert torch.equal(drawn(0), drawn(1))
    assert torch.equal(drawn(0), tokens(support, labels, 4))
