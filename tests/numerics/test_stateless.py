"""Networks as functions of their weights, against NumPy and the shared embedding's own modules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lgmnet.errors import ConfigError
from lgmnet.methods import METHODS
from lgmnet.nn.embedding import EmbeddingConfig, build_embedding, vector_embedding
from lgmnet.nn.norms import IntertaskNorm
from lgmnet.nn.stateless import StatelessNetwork, Statistics, Weights
from tests.numerics import reference
from tests.support.models import build_method, force_vmap
from tests.support.random import noise, randomize, seeded

IMAGES = EmbeddingConfig((2, 6, 6), widths=(3, 4), pooled=(True, False))
VECTORS = vector_embedding(3, 5, 4)
CONFIGS = pytest.mark.parametrize("config", [IMAGES, VECTORS], ids=["images", "vectors"])


def replace_norm(config: EmbeddingConfig, norm: str) -> EmbeddingConfig:
    return EmbeddingConfig(**{**vars(config), "norm": norm})


def body_of(embedding: nn.Module) -> Weights:
    """Name the weights of an embedding as `StatelessNetwork` does."""
    body: Weights = {}
    layers = [m for m in embedding.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    norms = [m for m in embedding.modules() if isinstance(m, (IntertaskNorm, nn.GroupNorm))]
    for i, (layer, norm) in enumerate(zip(layers, norms, strict=True)):
        body |= {f"weight_{i}": layer.weight, f"gain_{i}": norm.weight, f"shift_{i}": norm.bias}
    return body


def statistics_of(embedding: nn.Module) -> Statistics:
    """Name the running statistics of an embedding as `StatelessNetwork` does."""
    statistics: Statistics = {}
    norms = [m for m in embedding.modules() if isinstance(m, IntertaskNorm)]
    for i, norm in enumerate(norms):
        statistics |= {f"mean_{i}": norm.running_mean, f"variance_{i}": norm.running_var}
    return statistics


@CONFIGS
def test_it_computes_what_the_modules_compute_with_the_same_statistics(config):
    """In evaluation, the running statistics are those that are handed in."""
    embedding = randomize(build_embedding(config)).eval()
    network, x = StatelessNetwork(config), noise(5, *config.feature_shape)
    with torch.no_grad():
        features = network.embed(body_of(embedding), x, statistics_of(embedding))
        expected = embedding(x).flatten(1)
        torch.testing.assert_close(features, expected, rtol=1e-12, atol=1e-13)
        by_batch = network.embed(body_of(embedding), x)
        assert not torch.allclose(features, by_batch, atol=1e-3), "the statistics have an effect"


@CONFIGS
def test_it_computes_what_the_modules_compute_with_batch_statistics(config):
    embedding = randomize(build_embedding(config)).train()
    network, x = StatelessNetwork(config), noise(5, *config.feature_shape)
    features = network.embed(body_of(embedding), x)
    expected = embedding(x).flatten(1)
    torch.testing.assert_close(features, expected, rtol=1e-12, atol=1e-13)
    direction, weights = noise(*features.shape, seed=1), list(body_of(embedding).values())
    for a, b in zip(
        torch.autograd.grad((features * direction).sum(), weights),
        torch.autograd.grad((expected * direction).sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@CONFIGS
def test_with_the_norm_of_single_samples_it_needs_no_statistics(config):
    config = replace_norm(config, "sample")
    embedding = randomize(build_embedding(config)).eval()
    network, x = StatelessNetwork(config), noise(5, *config.feature_shape)
    assert network.statistics_names == ()
    with torch.no_grad():
        features = network.embed(body_of(embedding), x)
        assert network.statistics(body_of(embedding), x) == {}
        torch.testing.assert_close(features, embedding(x).flatten(1), rtol=1e-12, atol=1e-13)


@CONFIGS
def test_statistics_are_those_that_samples_are_normalized_by(config):
    network = StatelessNetwork(config)
    weights, x = body_of(randomize(build_embedding(config))), noise(5, *config.feature_shape)
    with torch.no_grad():
        statistics = network.statistics(weights, x)
        assert tuple(statistics) == network.statistics_names
        features = network.embed(weights, x)
        torch.testing.assert_close(network.embed(weights, x, statistics), features)
        alone = network.embed(weights, x[2:3], statistics)
        torch.testing.assert_close(alone, features[2:3])


def test_a_network_of_convolutions_equals_its_formulas():
    network = StatelessNetwork(IMAGES)
    weights = {name: w.double() for name, w in network.init_body(seeded()).items()}
    head = {"head_weight": noise(3, network.n_features), "head_bias": noise(3, seed=1)}
    x = noise(5, 2, 6, 6)
    maps = list(x.numpy())
    for i, pooled in enumerate(IMAGES.pooled):
        maps = [reference.conv3x3(m, weights[f"weight_{i}"].numpy()) for m in maps]
        maps = [reference.max_pool(m) for m in maps] if pooled else maps
        gain, shift = (weights[f"{name}_{i}"].numpy() for name in ("gain", "shift"))
        maps = [reference.relu(m) for m in reference.normalize_samples(maps, gain, shift)]
    features = np.stack([m.ravel() for m in maps])
    np.testing.assert_allclose(network.embed(weights, x), features, rtol=1e-8, atol=1e-12)
    logits = features @ head["head_weight"].numpy().T + head["head_bias"].numpy()
    expected = np.stack([reference.softmax(row) for row in logits])
    np.testing.assert_allclose(network(weights | head, x).exp(), expected, rtol=1e-8)


@pytest.mark.parametrize("name", ["maml", "from-scratch", "random-weights"])
def test_tasks_one_by_one_give_what_all_tasks_at_once_give(name, monkeypatch):
    few_steps = {"steps": 3} if name == "from-scratch" else {}
    config = METHODS[name].config_type(embedding=IMAGES, **few_steps)
    method = build_method(name, config).double().eval()
    support, query = noise(2, 6, 2, 6, 6), noise(2, 4, 2, 6, 6, seed=1)
    labels = torch.tensor([[2, 0, 1, 0, 2, 2], [0, 1, 2, 2, 1, 0]])

    def answer() -> tuple[Tensor, list[Tensor]]:
        """Compute the log-probabilities, and their gradients if the method learns anything."""
        log_p = method.adapt(support, labels, 3)(query)
        if not method.is_trainable:
            return log_p, []
        return log_p, list(torch.autograd.grad(log_p[..., 0].sum(), list(method.parameters())))

    assert StatelessNetwork(IMAGES).runs_one_by_one(torch.device("cpu"))
    one_by_one = answer()
    devices = force_vmap(monkeypatch)
    torch.testing.assert_close(one_by_one, answer())
    assert devices


def test_initial_bodies_are_the_same_without_a_generator_and_differ_with_one():
    network, like = StatelessNetwork(VECTORS), torch.zeros(3, 6, 3)
    fixed, again = network.init_bodies(like, None), network.init_bodies(like, None)
    drawn = network.init_bodies(like, seeded())
    for name, shape in network.body_shapes.items():
        assert fixed[name].shape == drawn[name].shape == (3, *shape)
        assert torch.equal(fixed[name], again[name])
        assert torch.equal(fixed[name][0], fixed[name][1])
        if name.startswith("weight"):
            assert not torch.equal(drawn[name][0], drawn[name][1])


def test_residual_blocks_are_refused():
    config = EmbeddingConfig((3, 8, 8), "residual", widths=(4,), pooled=(True,))
    with pytest.raises(ConfigError, match="'layers' must be 'conv' or 'linear' for this method"):
        StatelessNetwork(config)
