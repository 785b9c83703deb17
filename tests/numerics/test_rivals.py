"""The rivals' equations against plain NumPy, one task and one sample at a time."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from lgmnet.errors import ConfigError
from lgmnet.methods import (
    MAML,
    METHODS,
    FineTuneConfig,
    LogisticRegressionConfig,
    MAMLConfig,
    MatchingNetConfig,
    Method,
    ProtoNetConfig,
    RandomWeightsConfig,
    TrainFromScratchConfig,
)
from lgmnet.methods.maml import MAMLClassifier
from lgmnet.methods.matching_net import MatchingNet
from lgmnet.methods.pretraining import Pretrained
from lgmnet.nn.stateless import EPS, Network, init_bodies
from tests.numerics import by_hand
from tests.numerics.by_hand import Array

WAY, LABELS = 3, [[2, 0, 1, 0, 2, 2], [0, 1, 2, 2, 1, 0]]
VECTORS: dict[str, Any] = {"feature_shape": (3,), "embedding_widths": (5,)}
IMAGES: dict[str, Any] = {
    "feature_shape": (2, 6, 6),
    "embedding_widths": (3, 4),
    "embedding_pooled": (True, False),
}


def made(name: str, config: Any) -> Method:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return METHODS[name](config).double().eval()


def tasks() -> tuple[Tensor, Tensor, Tensor]:
    random = np.random.RandomState(1)
    support, query = random.normal(size=(2, 6, 3)), random.normal(size=(2, 4, 3))
    return torch.from_numpy(support), torch.tensor(LABELS), torch.from_numpy(query)


def embedded(method: Method, x: Tensor) -> Array:
    return cast(Array, method.embedding(x.flatten(0, 1)).unflatten(0, x.shape[:2]).detach().numpy())


def softmax(scores: Array) -> Array:
    odds = np.exp(scores - scores.max())
    return cast(Array, odds / odds.sum())


def answers(method: Method) -> Array:
    support, labels, query = tasks()
    with torch.no_grad():
        return cast(Array, method.adapt(support, labels, WAY)(query).exp().numpy())


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_a_class_of_a_prototypical_network_is_its_mean(distance):
    config = ProtoNetConfig(**VECTORS, distance=distance, temperature=2.0)
    method = made("proto-net", config)
    support, query = (embedded(method, x) for x in tasks()[::2])

    scale = cast(Tensor, method.log_scale).exp().item()

    def similarity(q: Array, c: Array) -> float:
        if distance == "cosine":
            return float(by_hand.unit(q) @ by_hand.unit(c))
        return -float(((q - c) ** 2).sum())

    expected = [
        [
            softmax(
                np.array(
                    [
                        scale
                        * similarity(
                            q, by_hand.mean([s for s, y in zip(shown, ys, strict=True) if y == c])
                        )
                        for c in range(WAY)
                    ]
                )
            )
            for q in asked
        ]
        for shown, ys, asked in zip(support, LABELS, query, strict=True)
    ]
    np.testing.assert_allclose(answers(method), expected, rtol=1e-9)


def sigmoid(x: Array) -> Array:
    return cast(Array, 1 / (1 + np.exp(-x)))


def lstm_step(
    weights: dict[str, Array], x: Array, h: Array, c: Array, end: str
) -> tuple[Array, Array]:
    """One step of an LSTM cell: input, forget, candidate and output gates, in torch's order."""
    gates = weights[f"weight_ih{end}"] @ x + weights[f"bias_ih{end}"]
    gates = gates + weights[f"weight_hh{end}"] @ h + weights[f"bias_hh{end}"]
    i, f, g, o = np.split(gates, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def run(weights: dict[str, Array], xs: list[Array], end: str) -> list[Array]:
    h = c = np.zeros(len(xs[0]))
    hidden = []
    for x in xs:
        h, c = lstm_step(weights, x, h, c, end)
        hidden.append(h)
    return hidden


def arrays(module: torch.nn.Module) -> dict[str, Array]:
    return {name: p.detach().numpy() for name, p in module.named_parameters()}


@pytest.mark.parametrize("full_context", [False, True])
def test_a_matching_network_attends_to_its_support(full_context):
    config = MatchingNetConfig(**VECTORS, full_context=full_context, context_steps=3)
    method = cast(MatchingNet, made("matching-net", config))
    support, query = (embedded(method, x) for x in tasks()[::2])
    scale = method.log_scale.exp().item()
    expected = []
    for shown, ys, asked in zip(support, LABELS, query, strict=True):
        keys, queries = list(shown), list(asked)
        if method.context is not None:
            of_support, of_query = arrays(method.context.support), arrays(method.context.query)
            ahead = run(of_support, list(shown), "_l0")
            back = run(of_support, list(shown[::-1]), "_l0_reverse")[::-1]
            keys = [a + b + s for a, b, s in zip(ahead, back, shown, strict=True)]
            queries = []
            for f in asked:
                h = c = r = np.zeros(len(f))
                for _ in range(3):
                    h, c = lstm_step(of_query, np.concatenate([f, r]), h, c, "")  # eq. (2)
                    h = h + f  # eq. (3)
                    a = softmax(np.array([h @ g for g in keys]))  # eq. (5)
                    r = sum(w * g for w, g in zip(a, keys, strict=True))  # eq. (4)
                queries.append(h)
        expected.append(
            [by_hand.matching(q, np.stack(keys), np.array(ys), WAY, scale) for q in queries]
        )
    np.testing.assert_allclose(answers(method), expected, rtol=1e-8)


def network(weights: dict[str, Array], x: Array, by: tuple[Array, Array] | None = None) -> Array:
    """Log-probabilities of one layer and a head, normalised over these samples or by others."""
    hidden = x @ weights["weight_0"].T
    mean, variance = by or (hidden.mean(0), hidden.var(0))
    hidden = (hidden - mean) / np.sqrt(variance + EPS)
    hidden = np.maximum(hidden * weights["gain_0"] + weights["shift_0"], 0)
    logits = hidden @ weights["head_weight"].T + weights["head_bias"]
    return cast(Array, logits - np.log(np.exp(logits).sum(1, keepdims=True)))


def slope(weights: dict[str, Array], moving: list[str], x: Array, y: Array) -> dict[str, Array]:
    """The gradient of the mean cross-entropy, by central differences."""
    gradient = {name: np.zeros_like(weights[name]) for name in moving}
    for name in moving:
        for place in np.ndindex(weights[name].shape):
            moved = []
            for step in (1e-6, -1e-6):
                other = {**weights, name: weights[name].copy()}
                other[name][place] += step
                moved.append(-float(network(other, x)[np.arange(len(y)), y].mean()))
            gradient[name][place] = (moved[0] - moved[1]) / 2e-6
    return gradient


@pytest.mark.parametrize("order", ["second", "first", "anil"])
def test_maml_descends_on_the_support_set(order):
    """Gradients by differences in NumPy lead to the same weights and the same answers."""
    method = made("maml", MAMLConfig(**VECTORS, order=order, inner_steps=3, inner_rate=0.3))
    support, labels, query = tasks()
    with torch.no_grad():
        classifier = cast(MAMLClassifier, method.adapt(support, labels, WAY))
        came = classifier(query).numpy()
    body = arrays(method.get_submodule("body"))
    for task in range(2):
        x, y = support[task].numpy(), labels[task].numpy()
        weights = body | {"head_weight": np.zeros((WAY, 5)), "head_bias": np.zeros(WAY)}
        moving = [n for n in weights if order != "anil" or n.startswith("head")]
        for _ in range(3):
            gradient = slope(weights, moving, x, y)
            weights = weights | {n: weights[n] - 0.3 * gradient[n] for n in moving}  # eq. (1)
        for name, weight in weights.items():
            np.testing.assert_allclose(
                classifier.get_buffer(name)[task].numpy(), weight, rtol=1e-5, atol=1e-7
            )
        hidden = x @ weights["weight_0"].T
        by = hidden.mean(0), hidden.var(0)
        np.testing.assert_allclose(came[task], network(weights, query[task].numpy(), by), rtol=1e-5)


def test_with_query_statistics_all_queries_together_say_what_they_are_normalised_by():
    config = MAMLConfig(**VECTORS, inner_steps=1, inner_rate=0.3, query_statistics=True)
    method = made("maml", config)
    support, labels, query = tasks()
    with torch.no_grad():
        classifier = cast(MAMLClassifier, method.adapt(support, labels, WAY))
        came = classifier(query).numpy()
    for task in range(2):
        weights = {name: w[task].numpy() for name, w in classifier.weights.items()}
        np.testing.assert_allclose(came[task], network(weights, query[task].numpy()), rtol=1e-6)


def test_a_network_of_convolutions_for_one_task():
    method = made("maml", MAMLConfig(**IMAGES, inner_steps=1))
    assert isinstance(method, MAML)
    x = np.random.RandomState(1).normal(size=(5, 2, 6, 6))
    weights = dict(method.body.items())
    with torch.no_grad():
        came = method.network.embed(weights, torch.from_numpy(x))
    maps = list(x)
    for i, pooled in enumerate(IMAGES["embedding_pooled"]):
        maps = [by_hand.conv3x3(m, weights[f"weight_{i}"].detach().numpy()) for m in maps]
        maps = [by_hand.max_pool(m) for m in maps] if pooled else maps
        together = np.stack(maps)
        mean, variance = together.mean((0, 2, 3)), together.var((0, 2, 3))
        gain, shift = (weights[f"{name}_{i}"].detach().numpy() for name in ("gain", "shift"))
        maps = [by_hand.relu(by_hand.normalise_by(m, mean, variance, gain, shift)) for m in maps]
    np.testing.assert_allclose(came.numpy(), [m.ravel() for m in maps], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", ["maml", "direct", "random-weights"])
def test_one_task_after_another_is_what_all_tasks_at_once_are(name, monkeypatch):
    few = {"steps": 3} if name == "direct" else {}
    method = made(name, METHODS[name].config_type(**IMAGES, **few))
    support, query = torch.randn(2, 6, 2, 6, 6).double(), torch.randn(2, 4, 2, 6, 6).double()

    def answered() -> tuple[Tensor, list[Tensor]]:
        """The answers, and where they would have the method's own weights go."""
        log_p = method.adapt(support, torch.tensor(LABELS), WAY)(query)
        if not method.is_trainable:
            return log_p, []
        return log_p, list(torch.autograd.grad(log_p[..., 0].sum(), list(method.parameters())))

    one_by_one = answered()
    monkeypatch.setattr(Network, "loops", lambda self, device: False)
    torch.testing.assert_close(one_by_one, answered())


def test_direct_training_is_adam_on_the_support_set():
    """The weights that PyTorch's own Adam finds from the same start."""
    method = made("direct", TrainFromScratchConfig(**VECTORS, steps=4, rate=0.05))
    support, labels, query = tasks()
    came = answers(method)
    net = Network((3,), (5,), ())
    start = init_bodies(net, support, None)
    for task in range(2):
        weights = {name: w[task].clone() for name, w in start.items()}
        weights |= net.initial_head(WAY, support)
        for w in weights.values():
            w.requires_grad_()
        adam = torch.optim.Adam(weights.values(), lr=0.05)
        for _ in range(4):
            adam.zero_grad()
            torch.nn.functional.nll_loss(net(weights, support[task]), labels[task]).backward()
            adam.step()
        found = {name: w.detach().numpy() for name, w in weights.items()}
        hidden = support[task].numpy() @ found["weight_0"].T
        by = hidden.mean(0), hidden.var(0)
        np.testing.assert_allclose(
            came[task], np.exp(network(found, query[task].numpy(), by)), rtol=1e-6
        )


def test_random_weights_match_by_cosine_what_a_network_makes_of_samples():
    method = made(
        "random-weights",
        RandomWeightsConfig(feature_shape=(3,), embedding_widths=(16,), temperature=3.0),
    )
    support, labels, query = tasks()
    weight = init_bodies(Network((3,), (16,), ()), support, None)["weight_0"].numpy()
    expected = []
    for task in range(2):
        hidden, asked = (x[task].numpy() @ weight[task].T for x in (support, query))
        mean, variance = hidden.mean(0), hidden.var(0)
        keys, queries = (
            np.maximum((h - mean) / np.sqrt(variance + EPS), 0) for h in (hidden, asked)
        )
        ys = labels[task].numpy()
        expected.append([by_hand.matching(q, keys, ys, WAY, 3.0) for q in queries])
    np.testing.assert_allclose(answers(method), expected, rtol=1e-8)


def test_the_meta_gradient_of_second_order_is_that_of_differences_and_of_first_order_is_not():
    """Of the loss on the queries, by where the inner steps start."""
    support, labels, query = tasks()
    asked = torch.tensor([[0, 1, 2, 0], [1, 1, 2, 0]])

    def loss(method: Method) -> Tensor:
        log_p = method(support, labels, query, WAY)
        return torch.nn.functional.nll_loss(log_p.flatten(0, 1), asked.flatten())

    differ = {}
    for order in ("second", "first"):
        method = made("maml", MAMLConfig(**VECTORS, order=order, inner_steps=2, inner_rate=0.3))
        loss(method).backward()
        weight = dict(method.named_parameters())["body.weight_0"]
        assert weight.grad is not None
        moved = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                weight[2, 1] += step
                moved.append(loss(method).item())
                weight[2, 1] -= step
        differ[order] = abs(weight.grad[2, 1].item() - (moved[0] - moved[1]) / 2e-5)
    assert differ["second"] < 1e-7
    assert differ["first"] > 1e-4


@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_fine_tuning_trains_a_head_on_the_frozen_embedding(head):
    """The same steps by torch's own Adam and autograd, task by task."""
    config = FineTuneConfig(**VECTORS, classes=4, head=head, steps=7, rate=0.05, scale=3.0)
    method = made("fine-tune", config)
    support, query = (torch.from_numpy(embedded(method, x)) for x in tasks()[::2])
    if head == "cosine":
        support, query = (x / x.norm(dim=2, keepdim=True) for x in (support, query))
    expected = []
    for shown, ys, asked in zip(support, LABELS, query, strict=True):
        y = torch.tensor(ys)
        start = torch.zeros(WAY, shown.shape[1], dtype=torch.float64)
        if head == "cosine":
            start = torch.stack([shown[y == c].mean(0) for c in range(WAY)])
            start /= start.norm(dim=1, keepdim=True)
        bias = torch.zeros(WAY, dtype=torch.float64)
        weight = start.requires_grad_()
        adam = torch.optim.Adam([weight, bias.requires_grad_()], lr=0.05)

        def logits(x: Tensor, weight: Tensor = weight, bias: Tensor = bias) -> Tensor:
            rows = weight
            if head == "cosine":
                rows = 3.0 * weight / weight.norm(dim=1, keepdim=True)
            return x @ rows.mT + bias

        for _ in range(7):
            adam.zero_grad()
            torch.nn.functional.cross_entropy(logits(shown), y).backward()
            adam.step()
        expected.append(logits(asked).softmax(-1).detach().numpy())
    np.testing.assert_allclose(answers(method), expected, rtol=1e-7)


@pytest.mark.parametrize("way", [2, 3])
def test_logistic_regression_is_scikit_learns_on_embeddings_of_unit_length(way):
    from sklearn.linear_model import LogisticRegression

    method = made("logistic-regression", LogisticRegressionConfig(**VECTORS, strength=2.0))
    support_x, _, query_x = tasks()
    labels = torch.tensor(LABELS).clamp(max=way - 1)
    with torch.no_grad():
        came = method.adapt(support_x, labels, way)(query_x).exp().numpy()
    support, query = (embedded(method, x) for x in (support_x, query_x))
    for shown, ys, asked, p in zip(support, labels.numpy(), query, came, strict=True):
        solver = LogisticRegression(C=2.0, max_iter=1000)
        solver.fit(np.array([by_hand.unit(x) for x in shown]), ys)
        expected = solver.predict_proba(np.array([by_hand.unit(x) for x in asked]))
        np.testing.assert_allclose(p, expected, rtol=1e-7)


@pytest.mark.parametrize("name", ["fine-tune", "logistic-regression"])
def test_pretraining_is_classification_among_all_training_classes(name):
    method = made(name, METHODS[name].config_type(**VECTORS, classes=5, intertask_norm=False))
    assert isinstance(method, Pretrained)
    assert method.head is not None
    support, labels, query = tasks()
    classes = torch.tensor([[4, 0, 2], [1, 4, 3]])
    asked = torch.tensor([[0, 1, 2, 0, 1], [2, 2, 0, 1, 1]])[:, : query.shape[1]]
    with torch.no_grad():
        loss, came = method.train().learn(support, labels, query, asked, WAY, None, classes)
    weight, bias = (p.detach().numpy() for p in method.head.parameters())
    losses = []
    for x, ys in ((support, labels), (query, asked)):
        for task, samples in enumerate(embedded(method, x)):
            for sample, y in zip(samples, ys[task].tolist(), strict=True):
                p = softmax(np.array([weight[c] @ sample + bias[c] for c in range(5)]))
                losses.append(-np.log(p[int(classes[task, y])]))
    np.testing.assert_allclose(loss.item(), np.mean(losses), rtol=1e-6)
    for task, samples in enumerate(embedded(method, query)):
        for q, p in zip(samples, came[task].exp().numpy(), strict=True):
            scores = np.array([weight[c] @ q + bias[c] for c in classes[task].tolist()])
            np.testing.assert_allclose(p, softmax(scores), rtol=1e-6)
    with pytest.raises(ConfigError, match=r"'classes' must be at least 7.* is 5"):
        method.learn(support, labels, query, asked, WAY, None, classes + 2)
    with pytest.raises(ConfigError, match="whose classes have no end"):
        method.learn(support, labels, query, asked, WAY)
