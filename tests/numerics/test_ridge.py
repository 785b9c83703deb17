"""Ridge regression as a head (Bertinetto and others, 2019) against plain NumPy, task by task."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch

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
