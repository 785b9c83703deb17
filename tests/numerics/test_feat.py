"""FEAT (Ye and others, 2020) against plain NumPy, one task and one point at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lgmnet.methods import FEATConfig, RFSConfig
from lgmnet.methods.feat import FEAT
from lgmnet.nn.embedding import vector_embedding
from lgmnet.nn.matching import HeadConfig, HeadKind
from tests.numerics import reference
from tests.numerics.reference import Array
from tests.numerics.test_rivals import EPISODE, SUPPORT_Y, VECTORS, WAY, answer, embed_episode
from tests.support.arrays import to_arrays
from tests.support.models import build_method


def build(kind: HeadKind = "euclidean", contrast_weight: float = 0.1) -> FEAT:
    """Build a method without dropout, whose layer norm has weights of its own."""
    config = FEATConfig(
        replace(VECTORS, norm="sample"),
        head=HeadConfig(kind, 0.5),
        width=2,
        dropout=0.0,
        contrast_weight=contrast_weight,
    )
    method = build_method("feat", config).double().eval()
    assert isinstance(method, FEAT)
    with torch.no_grad():
        method.attention.norm.weight.copy_(torch.linspace(0.5, 1.5, 5))
        method.attention.norm.bias.copy_(torch.linspace(-0.2, 0.3, 5))
    return method


def adapt_set(w: dict[str, Array], points: Array) -> Array:
    """Compute what comes out of the attention, point by point."""
    adapted = []
    for point in points:
        query = w["query.weight"] @ point
        scores = np.array([query @ (w["key.weight"] @ other) for other in points]) / np.sqrt(2)
        shares = reference.softmax(scores)
        mixed = sum(a * (w["value.weight"] @ p) for a, p in zip(shares, points, strict=True))
        x = point + w["result.weight"] @ mixed + w["result.bias"]
        x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
        adapted.append(x * w["norm.weight"] + w["norm.bias"])
    return np.stack(adapted)


def classify(kind: HeadKind, query: Array, keys: Array) -> Array:
    """Compute the probabilities of one query."""
    if kind == "means":
        similarity = np.array([reference.unit(query) @ reference.unit(key) for key in keys])
    else:
        similarity = -((keys - query) ** 2).sum(1)
    return reference.softmax(0.5 * similarity)


@pytest.mark.parametrize("kind", ["euclidean", "means"])
def test_prototypes_are_adapted_to_each_other(kind: HeadKind) -> None:
    method = build(kind)
    weights = to_arrays(method.attention)
    for support, queries, labels, p in zip(
        *embed_episode(method), SUPPORT_Y, answer(method), strict=True
    ):
        points = np.array([reference.unit(x) if kind == "means" else x for x in support])
        prototypes = np.stack([points[labels == c].mean(0) for c in range(WAY)])
        keys = adapt_set(weights, prototypes)
        expected = [classify(kind, query, keys) for query in queries]
        np.testing.assert_allclose(p, expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["euclidean", "means"])
def test_the_regularizer_classifies_all_samples_by_the_adapted_centres(kind: HeadKind) -> None:
    plain, regularized = build(kind, contrast_weight=0.0), build(kind, contrast_weight=0.3)
    with torch.no_grad():
        difference = regularized.learn(EPISODE)[0] - plain.learn(EPISODE)[0]
    weights, losses = to_arrays(plain.attention), []
    for task, (support, queries) in enumerate(zip(*embed_episode(plain), strict=True)):
        samples = np.concatenate([support, queries])
        labels = np.concatenate([SUPPORT_Y[task], EPISODE.query_y[task].numpy()])
        points = np.array([reference.unit(x) if kind == "means" else x for x in samples])
        centres = [adapt_set(weights, points[labels == c]).mean(0) for c in range(WAY)]
        for sample, label in zip(samples, labels, strict=True):
            losses.append(-np.log(classify(kind, sample, np.stack(centres))[label]))
    np.testing.assert_allclose(difference.item(), 0.3 * np.mean(losses), rtol=1e-6)


def test_dropout_follows_the_generator_in_training() -> None:
    method = build().train()
    method.attention.dropout.p = 0.5

    def loss(seed: int) -> float:
        return method.learn(EPISODE, torch.Generator().manual_seed(seed))[0].item()

    state = torch.get_rng_state()
    assert loss(1) == loss(1) != loss(2)
    assert torch.equal(torch.get_rng_state(), state)


def test_training_may_start_from_the_embedding_of_another_method() -> None:
    method = build()
    other = build_method("rfs", RFSConfig(method.config.embedding), seed=5).double()
    before = method.attention.query.weight.clone()
    method.start_from(other)
    for name, tensor in other.embedding.state_dict().items():
        assert torch.equal(method.embedding.state_dict()[name], tensor)
    assert torch.equal(method.attention.query.weight, before)
    narrow = build_method("rfs", RFSConfig(vector_embedding(3, 4)))
    with pytest.raises(RuntimeError, match="size mismatch"):
        method.start_from(narrow)
