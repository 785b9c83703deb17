"""Ridge regression as a head (Bertinetto and others, 2019) against plain NumPy, task by task."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lgmnet.methods import RidgeRegressionConfig
from lgmnet.nn.embedding import vector_embedding
from lgmnet.nn.matching import HeadConfig
from lgmnet.nn.ridge import INITIAL_STRENGTH, ridge_regression
from tests.numerics import reference
from tests.numerics.reference import Array
from tests.support.models import build_method
from tests.support.random import noise

LABELS = np.array([[2, 0, 1, 0, 2, 2], [0, 1, 2, 2, 1, 0]])
WAY = 3


def solve(x: Array, labels: Array, strength: float) -> Array:
    """Minimize the weighted squared errors of one task by its normal equations."""
    shots = np.bincount(labels, minlength=WAY)
    gram, target = strength * np.eye(x.shape[1]), np.zeros((x.shape[1], WAY))
    for row, label in zip(x, labels, strict=True):
        unit, weight = reference.unit(row), len(labels) / WAY / shots[label]
        gram += weight * np.outer(unit, unit)
        target[:, label] += weight * unit
    return cast(Array, np.linalg.inv(gram) @ target)


@pytest.mark.parametrize("features", [4, 9], ids=["primal", "dual"])
def test_it_solves_the_weighted_normal_equations(features: int) -> None:
    """One task has uneven and one has even shots; with 9 features the dual form is used."""
    x, strength = noise(2, 6, features), 0.7
    log_strength = torch.tensor(strength, dtype=torch.float64).log()
    weights = ridge_regression(x, torch.from_numpy(LABELS), WAY, log_strength)
    for task in range(2):
        expected = solve(x[task].numpy(), LABELS[task], strength)
        np.testing.assert_allclose(weights[task].numpy(), expected.T, rtol=1e-9)


def test_at_even_shots_it_is_equation_5_of_the_paper() -> None:
    x = noise(1, 6, 9)
    weights = ridge_regression(x, torch.from_numpy(LABELS[1:]), WAY, torch.tensor(0.0))
    unit = np.array([reference.unit(row) for row in x[0].numpy()])
    one_hot = np.eye(WAY)[LABELS[1]]
    expected = unit.T @ np.linalg.inv(unit @ unit.T + np.eye(6)) @ one_hot
    np.testing.assert_allclose(weights[0].numpy(), expected.T, rtol=1e-9)


@pytest.mark.parametrize("features", [4, 9], ids=["primal", "dual"])
def test_gradients_flow_through_the_solution(features: int) -> None:
    x = noise(2, 6, features).requires_grad_()
    log_strength = torch.tensor(-0.3, dtype=torch.float64, requires_grad=True)
    labels = torch.from_numpy(LABELS)
    solve = lambda x, s: ridge_regression(x, labels, WAY, s)  # noqa: E731
    assert torch.autograd.gradcheck(solve, (x, log_strength))


def test_a_class_with_more_samples_does_not_pull_harder() -> None:
    """Showing each sample of one class twice changes nothing."""
    x, labels = noise(1, 6, 9), torch.tensor([[0, 0, 1, 1, 2, 2]])
    log_strength = torch.zeros((), dtype=torch.float64)
    once = ridge_regression(x, labels, WAY, log_strength)
    repeated = torch.cat([x, x[:, :2]], 1), torch.cat([labels, labels[:, :2]], 1)
    # The mean number of samples of a class is larger by a third, and with it every weight.
    twice = ridge_regression(*repeated, WAY, log_strength + np.log(4 / 3))
    torch.testing.assert_close(once, twice)


def test_the_method_answers_by_the_regression() -> None:
    config = RidgeRegressionConfig(vector_embedding(3, 5), head=HeadConfig("ridge", 6.0))
    method = build_method("ridge-regression", config).double().eval()
    support_x, query_x = noise(2, 6, 3), noise(2, 4, 3, seed=1)
    with torch.no_grad():
        p = method.adapt(support_x, torch.from_numpy(LABELS), WAY)(query_x).exp().numpy()
        support, queries = (
            method.embedding(x.flatten(0, 1)).unflatten(0, x.shape[:2]).numpy()
            for x in (support_x, query_x)
        )
    for task in range(2):
        weights = solve(support[task], LABELS[task], INITIAL_STRENGTH)
        for row, query in zip(p[task], queries[task], strict=True):
            expected = reference.softmax(6.0 * reference.unit(query) @ weights)  # eq. (6)
            np.testing.assert_allclose(row, expected, rtol=1e-6)


def test_shares_of_support_samples_are_those_of_the_dual_solution() -> None:
    row = LABELS[0]  # Uneven shots.
    config = RidgeRegressionConfig(vector_embedding(5))
    method = build_method("ridge-regression", config).double()
    support, queries = noise(1, len(row), 5), noise(1, 7, 5, seed=1)
    labels = torch.from_numpy(row)[None]
    classifier = method.adapt(support, labels, WAY)
    analysis = classifier.analyze(queries)
    shares = classifier.share_support(analysis, support, labels)
    assert shares is not None
    x, q = (F.normalize(part[0], dim=-1).numpy() for part in (support, queries))
    shots = np.bincount(row)
    weights = len(row) / WAY / shots[row]
    roots = np.sqrt(weights)[:, None]
    one_hot = np.eye(WAY)[row]
    strength = method.get_parameter("log_strength").exp().item()
    gram = (roots * x) @ (roots * x).T + strength * np.eye(len(x))
    duals = roots * np.linalg.solve(gram, roots * one_hot)
    probabilities = analysis.log_p.detach().exp()[0].numpy()
    for query, answer, got in zip(q, probabilities, shares.detach()[0].numpy(), strict=True):
        for k in range(WAY):
            terms = np.maximum((x @ query) * duals[:, k], 0)[row == k]
            total = terms.sum()
            expected = terms / total if total > 0 else np.full(shots[k], 1 / shots[k])
            np.testing.assert_allclose(got[row == k], answer[k] * expected, atol=1e-10)
    torch.testing.assert_close(shares.sum(2), torch.ones_like(shares.sum(2)))
