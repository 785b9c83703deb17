"""The matching head (eq. 5 and 6 of LGM-Net) against plain NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from lgmnet.nn.matching import match_support, matching_log_p
from tests.numerics import reference
from tests.support.arrays import assert_equal
from tests.support.random import noise


@given(
    shots=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    queries=st.integers(1, 3),
    tasks=st.integers(1, 3),
    scale=st.floats(0.1, 30),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_matching_equals_a_loop(shots, queries, tasks, scale, seed, data):
    """Even and uneven shots, in an order of its own for each task."""
    labels = [label for label, shot in enumerate(shots) for _ in range(shot)]
    support_y = torch.tensor([data.draw(st.permutations(labels)) for _ in range(tasks)])
    query, support = (noise(tasks, n, 5, seed=seed + n) for n in (queries, len(labels)))
    log_p = matching_log_p(query, support, support_y, len(shots), scale)
    expected = [
        [
            reference.matching(q, support[task].numpy(), support_y[task].numpy(), len(shots), scale)
            for q in query[task].numpy()
        ]
        for task in range(tasks)
    ]
    assert_equal(log_p.exp(), np.array(expected))


def test_at_even_shots_it_is_the_formula_of_the_paper():
    """``p = sum a * y`` with the attention over all support samples, not divided by the shot."""
    query, support = noise(1, 1, 5)[0, 0].numpy(), noise(6, 5, seed=1).numpy()
    labels = np.array([0, 1, 2, 2, 1, 0])
    cosines = np.array([reference.unit(query) @ reference.unit(key) for key in support])
    one_hot = np.eye(3)[labels]
    log_p = matching_log_p(
        torch.from_numpy(query)[None, None],
        torch.from_numpy(support)[None],
        torch.from_numpy(labels)[None],
        3,
    )
    assert_equal(log_p[0, 0].exp(), reference.softmax(cosines) @ one_hot)


def test_a_match_has_similarity_and_attention_of_the_same_scores():
    """Uneven shots: the attention of a class sums to its probability."""
    scale, labels = 7.0, np.array([0, 1, 2, 2, 1, 2])
    query, support = noise(1, 4, 5), noise(1, 6, 5, seed=1)
    match = match_support(query, support, torch.from_numpy(labels)[None], 3, scale)
    for i, q in enumerate(query[0].numpy()):
        keys = support[0].numpy()
        p = reference.matching(q, keys, labels, 3, scale)
        assert_equal(match.log_p[0, i].exp(), p)
        scores = scale * np.array([reference.unit(q) @ reference.unit(key) for key in keys])
        weights = np.exp(scores) / np.array([(labels == label).sum() for label in labels])
        assert_equal(match.attention[0, i], weights / weights.sum())
        by_class = [weights[labels == label].sum() for label in range(3)]
        assert match.similarity[0, i].item() == pytest.approx(math.log(max(by_class)) / scale)


def test_the_head_of_the_paper_cannot_be_certain():
    """Without temperature a 5-way probability is at most e / (e + 4 / e) = 0.65."""
    query = noise(1, 1, 3)
    support = torch.cat([query, *[-query] * 4], 1)
    p = matching_log_p(query, support, torch.arange(5)[None], 5).exp()
    assert p[0, 0, 0].item() == pytest.approx(math.e / (math.e + 4 / math.e))
    assert p.max() < 0.65


@pytest.mark.parametrize("scale", [1e3, 1e6, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_large_scale_overflows_neither_answer_nor_gradient(scale, dtype):
    labels = torch.tensor([[0, 0, 1, 2, 2, 2]])
    query = noise(1, 4, 5).to(dtype).requires_grad_()
    support = noise(1, 6, 5, seed=1).to(dtype).requires_grad_()
    temperature = torch.tensor(scale, dtype=dtype, requires_grad=True)
    log_p = matching_log_p(query, support, labels, 3, temperature)
    assert log_p.isfinite().all()
    nearest = (F.normalize(query, dim=-1) @ F.normalize(support, dim=-1).mT).argmax(-1)
    assert torch.equal(log_p.argmax(-1), labels[0][nearest])
    F.nll_loss(log_p[0], torch.tensor([0, 1, 2, 0])).backward()
    for tensor in (query, support, temperature):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


def test_an_embedding_of_zeros_gets_equal_probabilities_and_finite_gradients():
    query = torch.zeros(1, 1, 4, dtype=torch.float64, requires_grad=True)
    log_p = matching_log_p(query, noise(1, 3, 4), torch.tensor([[0, 1, 1]]), 2, 10.0)
    assert_equal(log_p.exp(), np.full((1, 1, 2), 0.5))
    log_p[0, 0, 0].backward()
    assert query.grad is not None
    assert query.grad.isfinite().all()


@pytest.mark.parametrize("autocast", [False, True])
def test_embeddings_of_16_bits_are_compared_in_32_bits(autocast):
    query, support = noise(1, 4, 64).bfloat16(), noise(1, 6, 64, seed=1).bfloat16()
    labels = torch.tensor([[0, 0, 1, 1, 2, 2]])
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        log_p = matching_log_p(query, support, labels, 3, torch.tensor(10.0))
    assert log_p.dtype == torch.float32
    expected = matching_log_p(query.double(), support.double(), labels, 3, 10.0)
    torch.testing.assert_close(log_p.double(), expected, rtol=1e-5, atol=1e-5)
