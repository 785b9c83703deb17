"""The equations of the rivals against plain NumPy, one task and one sample at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.episode import Episode
from lgmnet.errors import ConfigError
from lgmnet.methods import (
    METHODS,
    FineTuneConfig,
    LogisticRegressionConfig,
    MAMLConfig,
    MatchingNetConfig,
    Method,
    ProtoNetConfig,
    RandomWeightsConfig,
    RidgeRegressionConfig,
    TrainFromScratchConfig,
)
from lgmnet.methods.classifiers import NetworkClassifier
from lgmnet.methods.logistic_regression import reduce_dimensions
from lgmnet.methods.matching_net import MatchingNet
from lgmnet.methods.metric import MetricMethod
from lgmnet.methods.pretraining import PretrainedMethod
from lgmnet.methods.proto_net import ProtoNet
from lgmnet.nn.embedding import vector_embedding
from lgmnet.nn.matching import HeadConfig
from lgmnet.nn.norms import EPS
from lgmnet.nn.stateless import StatelessNetwork
from tests.numerics import reference
from tests.numerics.reference import Array
from tests.support.arrays import to_arrays
from tests.support.models import build_method
from tests.support.random import seeded

WAY = 3
VECTORS = vector_embedding(3, 5)


def build(name: str, config: Any) -> Method:
    return build_method(name, config).double().eval()


def build_episode() -> Episode:
    """Build two tasks, one with uneven and one with even shots."""
    random = np.random.RandomState(1)
    return Episode(
        support_x=torch.from_numpy(random.normal(size=(2, 6, 3))),
        support_y=torch.tensor([[2, 0, 1, 0, 2, 2], [0, 1, 2, 2, 1, 0]]),
        query_x=torch.from_numpy(random.normal(size=(2, 4, 3))),
        query_y=torch.tensor([[0, 1, 2, 0], [1, 1, 2, 0]]),
        way=WAY,
    )


EPISODE = build_episode()
SUPPORT_Y = EPISODE.support_y.numpy()


def embed(method: Method, x: Tensor) -> Array:
    embedded = method.embedding(x.flatten(0, 1)).unflatten(0, x.shape[:2])
    return cast(Array, embedded.detach().numpy())


def embed_episode(method: Method) -> tuple[Array, Array]:
    return embed(method, EPISODE.support_x), embed(method, EPISODE.query_x)


def answer(method: Method) -> Array:
    """Compute the probabilities of the queries."""
    with torch.no_grad():
        classifier = method.adapt(EPISODE.support_x, EPISODE.support_y, WAY)
        return cast(Array, classifier(EPISODE.query_x).exp().numpy())


@pytest.mark.parametrize("kind", ["euclidean", "means"])
def test_a_prototype_is_the_mean_of_its_class(kind):
    method = build("proto-net", ProtoNetConfig(VECTORS, head=HeadConfig(kind, 2.0)))
    assert isinstance(method, ProtoNet)
    scale = method.log_scale.exp().item()
    assert scale == pytest.approx(2.0)

    def similarity(query: Array, prototype: Array) -> float:
        if kind == "means":
            return float(reference.unit(query) @ reference.unit(prototype))
        return -float(((query - prototype) ** 2).sum())

    expected = []
    for support, queries, labels in zip(*embed_episode(method), SUPPORT_Y, strict=True):
        points = np.array([reference.unit(x) if kind == "means" else x for x in support])
        prototypes = [reference.mean(points[labels == c]) for c in range(WAY)]
        expected.append(
            [
                reference.softmax(scale * np.array([similarity(q, c) for c in prototypes]))
                for q in queries
            ]
        )
    np.testing.assert_allclose(answer(method), expected, rtol=1e-9)


def sigmoid(x: Array) -> Array:
    return cast(Array, 1 / (1 + np.exp(-x)))


def step_lstm(
    weights: dict[str, Array], x: Array, h: Array, c: Array, suffix: str = ""
) -> tuple[Array, Array]:
    """Take one step of an LSTM cell, whose gates are ordered input, forget, candidate, output."""
    gates = weights[f"weight_ih{suffix}"] @ x + weights[f"bias_ih{suffix}"]
    gates = gates + weights[f"weight_hh{suffix}"] @ h + weights[f"bias_hh{suffix}"]
    i, f, g, o = np.split(gates, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def run_lstm(weights: dict[str, Array], xs: list[Array], suffix: str) -> list[Array]:
    """Compute the hidden state after each sample."""
    h = c = np.zeros(len(xs[0]))
    hidden = []
    for x in xs:
        h, c = step_lstm(weights, x, h, c, suffix)
        hidden.append(h)
    return hidden


@pytest.mark.parametrize("steps", [0, 3])
def test_a_matching_network_attends_to_its_support(steps):
    method = build("matching-net", MatchingNetConfig(VECTORS, full_context_steps=steps))
    assert isinstance(method, MatchingNet)
    assert (method.context is None) == (steps == 0)
    scale = method.log_scale.exp().item()
    expected = []
    for support, embedded, labels in zip(*embed_episode(method), SUPPORT_Y, strict=True):
        keys, queries = list(support), list(embedded)
        if method.context is not None:
            lstm, cell = to_arrays(method.context.support), to_arrays(method.context.query)
            ahead = run_lstm(lstm, list(support), "_l0")
            back = run_lstm(lstm, list(support[::-1]), "_l0_reverse")[::-1]
            keys = [a + b + s for a, b, s in zip(ahead, back, support, strict=True)]
            queries = []
            for f in embedded:
                h = c = r = np.zeros(len(f))
                for _ in range(steps):
                    h, c = step_lstm(cell, np.concatenate([f, r]), h, c)  # eq. (2)
                    h = h + f  # eq. (3)
                    a = reference.softmax(np.array([h @ g for g in keys]))  # eq. (5)
                    r = sum(w * g for w, g in zip(a, keys, strict=True))  # eq. (4)
                queries.append(h)
        expected.append(
            [reference.matching(q, np.stack(keys), labels, WAY, scale) for q in queries]
        )
    np.testing.assert_allclose(answer(method), expected, rtol=1e-8)


Moments = tuple[Array, Array]


def network_log_p(weights: dict[str, Array], x: Array, moments: Moments | None = None) -> Array:
    """Compute log-probabilities of one layer and a head.

    Args:
        weights: Weights as `StatelessNetwork` names them.
        x: Samples of one task.
        moments: Mean and variance to normalize by; None for those of these samples.
    """
    hidden = x @ weights["weight_0"].T
    mean, variance = moments or (hidden.mean(0), hidden.var(0))
    hidden = (hidden - mean) / np.sqrt(variance + EPS)
    hidden = np.maximum(hidden * weights["gain_0"] + weights["shift_0"], 0)
    logits = hidden @ weights["head_weight"].T + weights["head_bias"]
    return cast(Array, logits - np.log(np.exp(logits).sum(1, keepdims=True)))


def hidden_moments(weights: dict[str, Array], x: Array) -> Moments:
    hidden = x @ weights["weight_0"].T
    return hidden.mean(0), hidden.var(0)


def differentiate(weights: dict[str, Array], x: Array, y: Array) -> dict[str, Array]:
    """Compute the gradient of the mean cross-entropy by central differences."""
    gradient = {name: np.zeros_like(weight) for name, weight in weights.items()}
    for name, weight in weights.items():
        for place in np.ndindex(weight.shape):
            losses = []
            for step in (1e-6, -1e-6):
                moved = {**weights, name: weight.copy()}
                moved[name][place] += step
                losses.append(-float(network_log_p(moved, x)[np.arange(len(y)), y].mean()))
            gradient[name][place] = (losses[0] - losses[1]) / 2e-6
    return gradient


def test_maml_descends_the_loss_of_the_support_set():
    """Gradients by differences in NumPy lead to the same weights and the same answers."""
    method = build("maml", MAMLConfig(VECTORS, inner_steps=3, inner_rate=0.3))
    with torch.no_grad():
        classifier = method.adapt(EPISODE.support_x, EPISODE.support_y, WAY)
        log_p = classifier(EPISODE.query_x).numpy()
    body = to_arrays(method.get_submodule("body"))
    for task in range(2):
        x, y = EPISODE.support_x[task].numpy(), SUPPORT_Y[task]
        weights = body | {"head_weight": np.zeros((WAY, 5)), "head_bias": np.zeros(WAY)}
        for _ in range(3):
            gradient = differentiate(weights, x, y)
            weights = {name: w - 0.3 * gradient[name] for name, w in weights.items()}  # eq. (1)
        for name, weight in weights.items():
            np.testing.assert_allclose(
                classifier.get_buffer(name)[task].numpy(), weight, rtol=1e-5, atol=1e-7
            )
        queries = EPISODE.query_x[task].numpy()
        expected = network_log_p(weights, queries, hidden_moments(weights, x))
        np.testing.assert_allclose(log_p[task], expected, rtol=1e-5)


def test_query_statistics_are_those_of_all_queries_of_the_task():
    config = MAMLConfig(VECTORS, inner_steps=1, inner_rate=0.3, query_statistics=True)
    method = build("maml", config)
    assert method.is_transductive
    with torch.no_grad():
        classifier = cast(
            NetworkClassifier, method.adapt(EPISODE.support_x, EPISODE.support_y, WAY)
        )
        log_p = classifier(EPISODE.query_x).numpy()
    for task in range(2):
        weights = {name: w[task].numpy() for name, w in classifier.weights.items()}
        expected = network_log_p(weights, EPISODE.query_x[task].numpy())
        np.testing.assert_allclose(log_p[task], expected, rtol=1e-6)


def test_the_meta_gradient_of_maml_is_of_second_order():
    """The gradient of the query loss equals differences; without second order it does not."""

    def loss(method: Method) -> Tensor:
        log_p = method(EPISODE.support_x, EPISODE.support_y, EPISODE.query_x, WAY)
        return F.nll_loss(log_p.flatten(0, 1), EPISODE.query_y.flatten())

    method = build("maml", MAMLConfig(VECTORS, inner_steps=2, inner_rate=0.3))
    loss(method).backward()
    weight = method.get_parameter("body.weight_0")
    assert weight.grad is not None
    losses = []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            weight[2, 1] += step
            losses.append(loss(method).item())
            weight[2, 1] -= step
    difference = (losses[0] - losses[1]) / 2e-5
    assert abs(weight.grad[2, 1].item() - difference) < 1e-7

    # The gradient of first order: that of the adapted weights, as if they were the initial ones.
    network = StatelessNetwork(VECTORS)
    first_order = torch.zeros((), dtype=torch.float64)
    with torch.no_grad():
        classifier = cast(
            NetworkClassifier, method.adapt(EPISODE.support_x, EPISODE.support_y, WAY)
        )
    for task in range(2):
        weights = {name: w[task] for name, w in classifier.weights.items()}
        adapted = weights["weight_0"].clone().requires_grad_()
        weights["weight_0"] = adapted
        statistics = network.statistics(weights, EPISODE.support_x[task])
        log_p = network(weights, EPISODE.query_x[task], statistics)
        query_loss = F.nll_loss(log_p, EPISODE.query_y[task]) / 2
        first_order += torch.autograd.grad(query_loss, adapted)[0][2, 1]
    assert abs(first_order.item() - difference) > 1e-4


def test_training_from_scratch_is_adam_on_the_support_set():
    """PyTorch's own Adam finds the same weights from the same start."""
    method = build("from-scratch", TrainFromScratchConfig(VECTORS, steps=4, rate=0.05))
    p = answer(method)
    network = StatelessNetwork(VECTORS)
    start = network.init_bodies(EPISODE.support_x, None)
    for task in range(2):
        weights = {name: w[task].clone() for name, w in start.items()}
        weights |= network.init_head(WAY, EPISODE.support_x)
        for w in weights.values():
            w.requires_grad_()
        adam = torch.optim.Adam(weights.values(), lr=0.05)
        for _ in range(4):
            adam.zero_grad()
            log_p = network(weights, EPISODE.support_x[task])
            F.nll_loss(log_p, EPISODE.support_y[task]).backward()
            adam.step()
        trained = {name: w.detach().numpy() for name, w in weights.items()}
        moments = hidden_moments(trained, EPISODE.support_x[task].numpy())
        expected = network_log_p(trained, EPISODE.query_x[task].numpy(), moments)
        np.testing.assert_allclose(p[task], np.exp(expected), rtol=1e-6)


def test_random_weights_compare_the_features_of_a_random_network_by_cosine():
    embedding = vector_embedding(3, 16)
    method = build("random-weights", RandomWeightsConfig(embedding, temperature=3.0))
    bodies = StatelessNetwork(embedding).init_bodies(EPISODE.support_x, None)
    expected = []
    for task, weight in enumerate(bodies["weight_0"].numpy()):
        support, queries = (
            x[task].numpy() @ weight.T for x in (EPISODE.support_x, EPISODE.query_x)
        )
        mean, variance = support.mean(0), support.var(0)
        keys, features = (
            np.maximum((x - mean) / np.sqrt(variance + EPS), 0) for x in (support, queries)
        )
        expected.append([reference.matching(f, keys, SUPPORT_Y[task], WAY, 3.0) for f in features])
    np.testing.assert_allclose(answer(method), expected, rtol=1e-8)


@pytest.mark.parametrize("scale", [None, 3.0], ids=["linear", "cosine"])
def test_fine_tuning_trains_a_head_on_the_frozen_embedding(scale):
    """PyTorch's own Adam and autograd take the same steps, task by task."""
    config = FineTuneConfig(VECTORS, cosine_scale=scale, steps=7, rate=0.05)
    method = build("fine-tune", config)
    support_x, query_x = (torch.from_numpy(x) for x in embed_episode(method))
    if scale:
        support_x, query_x = (x / x.norm(dim=2, keepdim=True) for x in (support_x, query_x))
    expected = []
    for support, labels, queries in zip(support_x, EPISODE.support_y, query_x, strict=True):
        weight = torch.zeros(WAY, support.shape[1], dtype=torch.float64)
        if scale:
            weight = torch.stack([support[labels == c].mean(0) for c in range(WAY)])
            weight /= weight.norm(dim=1, keepdim=True)
        bias = torch.zeros(WAY, dtype=torch.float64)
        adam = torch.optim.Adam([weight.requires_grad_(), bias.requires_grad_()], lr=0.05)

        def logits(x: Tensor, weight: Tensor = weight, bias: Tensor = bias) -> Tensor:
            rows = scale * weight / weight.norm(dim=1, keepdim=True) if scale else weight
            return x @ rows.mT + bias

        for _ in range(7):
            adam.zero_grad()
            F.cross_entropy(logits(support), labels).backward()
            adam.step()
        expected.append(logits(queries).softmax(-1).detach().numpy())
    np.testing.assert_allclose(answer(method), expected, rtol=1e-7)


@pytest.mark.parametrize("way", [2, 3])
def test_logistic_regression_is_that_of_scikit_learn_on_embeddings_of_unit_length(way):
    from sklearn.linear_model import LogisticRegression

    method = build("logistic-regression", LogisticRegressionConfig(VECTORS, strength=2.0))
    support_y = EPISODE.support_y.clamp(max=way - 1)
    with torch.no_grad():
        p = method.adapt(EPISODE.support_x, support_y, way)(EPISODE.query_x).exp().numpy()
    support_x, query_x = embed_episode(method)
    for task in range(2):
        solver = LogisticRegression(C=2.0, max_iter=1000)
        solver.fit(np.array([reference.unit(x) for x in support_x[task]]), support_y[task].numpy())
        expected = solver.predict_proba(np.array([reference.unit(x) for x in query_x[task]]))
        np.testing.assert_allclose(p[task], expected, rtol=1e-7)


@pytest.mark.parametrize("roots", [False, True], ids=["features", "roots"])
@pytest.mark.parametrize("way", [2, 3])
def test_logistic_regression_is_that_of_scikit_learn_on_more_features_than_samples(way, roots):
    from sklearn.linear_model import LogisticRegression

    x = torch.randn(2, 20, 40, generator=seeded()).double()
    support_x, query_x = x[:, : 4 * way], x[:, 12:]
    support_y = torch.arange(way).repeat(2, 4)
    config = LogisticRegressionConfig(vector_embedding(40), strength=30.0, roots=roots)
    method = build("logistic-regression", config)
    p = method.adapt(support_x, support_y, way)(query_x).exp().numpy()
    for task in range(2):
        seen, new = (
            np.sign(part[task]) * np.sqrt(np.abs(part[task])) if roots else part[task]
            for part in (support_x.numpy(), query_x.numpy())
        )
        solver = LogisticRegression(C=30.0, max_iter=1000)
        solver.fit(np.array([reference.unit(x) for x in seen]), support_y[task].numpy())
        expected = solver.predict_proba(np.array([reference.unit(x) for x in new]))
        # The solver stops when the largest component of the gradient is small, in any axes.
        np.testing.assert_allclose(p[task], expected, atol=1e-2)
    one = method.adapt(support_x[:1], support_y[:1], way)
    restored = type(method).restore(config, way, one.state_dict()).double()
    np.testing.assert_allclose(restored(query_x[:1]).exp().detach().numpy(), p[:1], atol=1e-6)


def test_points_have_the_same_products_in_the_space_that_they_span():
    points = torch.randn(2, 6, 40, generator=seeded()).double()
    axes, coordinates = reduce_dimensions(points)
    assert axes is not None
    assert axes.shape == (2, 40, 6)
    assert coordinates.shape == (2, 6, 6)
    torch.testing.assert_close(coordinates @ axes.mT, points)
    torch.testing.assert_close(axes.mT @ axes, torch.eye(6).double().expand(2, 6, 6))
    axes, unchanged = reduce_dimensions(points.mT)
    assert axes is None
    assert torch.equal(unchanged, points.mT)


def test_a_fixed_strength_of_the_ridge_regression_is_not_learned():
    head = HeadConfig("ridge", None, 0.03)
    method = build("ridge-regression", RidgeRegressionConfig(vector_embedding(5), head=head))
    assert not method.is_trainable
    assert isinstance(method, MetricMethod)
    assert method.log_strength is not None
    assert method.log_strength.exp().item() == pytest.approx(0.03)
    learned = RidgeRegressionConfig(vector_embedding(5), head=HeadConfig("ridge", None))
    assert build("ridge-regression", learned).is_trainable


def build_pretrained(name: str) -> PretrainedMethod:
    """Build a method with a head for five training classes."""
    config = METHODS[name].config_type(replace(VECTORS, norm="sample"))
    method = build(name, config)
    assert isinstance(method, PretrainedMethod)
    method.prepare(torch.zeros(5, 3), torch.arange(5), None)
    return method


@pytest.mark.parametrize("name", ["fine-tune", "logistic-regression"])
def test_pretraining_is_classification_among_all_training_classes(name):
    method = build_pretrained(name)
    assert isinstance(method.head, nn.Linear)
    assert method.head.weight.shape == (5, 5)
    classes = torch.tensor([[4, 0, 2], [1, 4, 3]])
    with torch.no_grad():
        loss, log_p = method.train().learn(replace(EPISODE, classes=classes))
    weight, bias = (p.detach().numpy() for p in method.head.parameters())
    losses = []
    for x, y in ((EPISODE.support_x, EPISODE.support_y), (EPISODE.query_x, EPISODE.query_y)):
        for task, samples in enumerate(embed(method, x)):
            for sample, label in zip(samples, y[task].tolist(), strict=True):
                p = reference.softmax(weight @ sample + bias)
                losses.append(-np.log(p[classes[task, label]]))
    np.testing.assert_allclose(loss.item(), np.mean(losses), rtol=1e-6)
    for task, samples in enumerate(embed(method, EPISODE.query_x)):
        for sample, row in zip(samples, log_p[task].exp().numpy(), strict=True):
            scores = weight[classes[task]] @ sample + bias[classes[task]]
            np.testing.assert_allclose(row, reference.softmax(scores), rtol=1e-6)


@pytest.mark.parametrize("name", ["fine-tune", "logistic-regression"])
def test_pretraining_needs_a_fixed_set_of_classes(name):
    method = build_pretrained(name)
    with pytest.raises(ConfigError, match="no fixed set of classes"):
        method.learn(EPISODE)
    classes = torch.tensor([[4, 0, 2], [1, 4, 3]])
    unprepared = METHODS[name](method.config).double()
    with pytest.raises(ConfigError, match="no fixed set of classes"):
        unprepared.learn(replace(EPISODE, classes=classes))
