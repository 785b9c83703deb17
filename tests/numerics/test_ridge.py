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
from lgmnet.nn.ridge import (
    EVIDENCE,
    INITIAL_STRENGTH,
    LEAVE_ONE_OUT_SCALE,
    LOG_PRIOR,
    MIXTURES,
    NATURAL_STRENGTH,
    mix_ridge_regressions,
    ridge_regression,
)
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
    analysis, embedded = classifier.analyze(queries), classifier.analyze(support).embedding
    assert embedded is not None
    shares = classifier.share_support(analysis, embedded, labels)
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


def leave_one_out(kernel: Array, labels: Array, strength: float) -> Array:
    """Predict each sample by a weighted ridge regression on all others, one after the other."""
    n = len(labels)
    weights = np.sqrt(n / WAY / np.bincount(labels)[labels])
    y, predictions = np.eye(WAY)[labels], np.zeros((n, WAY))
    for i in range(n):
        others = np.delete(np.arange(n), i)
        roots = weights[others]
        gram = roots[:, None] * kernel[np.ix_(others, others)] * roots
        duals = np.linalg.solve(gram + strength * np.eye(n - 1), roots[:, None] * y[others])
        predictions[i] = kernel[i, others] * roots @ duals
    return predictions


def test_two_kinds_of_features_are_mixed_by_their_leave_one_out_errors() -> None:
    labels = np.array([0, 1, 2, 0, 1, 0])  # One class has a single sample.
    halves = [F.normalize(noise(1, 6, 9, seed=seed), dim=-1) for seed in (1, 2)]
    strength = 0.4
    got = mix_ridge_regressions(
        (halves[0], halves[1]),
        torch.from_numpy(labels)[None],
        WAY,
        torch.tensor(strength, dtype=torch.float64).log(),
    )
    kernels = [half[0].numpy() @ half[0].numpy().T for half in halves]
    y, shots = np.eye(WAY)[labels], np.bincount(labels)[labels]
    roots = np.sqrt(6 / WAY / shots)[:, None]
    log_weights, duals = [], []
    for part, prior in zip(MIXTURES, LOG_PRIOR, strict=True):
        kernel = (1 - part) * kernels[0] + part * kernels[1]
        mixed = (1 - part) * strength + part * NATURAL_STRENGTH
        scores = LEAVE_ONE_OUT_SCALE * leave_one_out(kernel, labels, mixed)
        log_p = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        loss = -(log_p * y).sum(1)[shots > 1].mean()
        log_weights.append(prior - EVIDENCE * loss)
        gram = roots * kernel * roots.T + mixed * np.eye(6)
        duals.append(roots * np.linalg.solve(gram, roots * y))
    weights = np.exp(np.array(log_weights) - max(log_weights))
    weights /= weights.sum()
    for share, dual in zip(([1.0, 0.5, 0.0], [0.0, 0.5, 1.0]), got, strict=True):
        expected = sum(w * s * d for w, s, d in zip(weights, share, duals, strict=True))
        np.testing.assert_allclose(dual[0].numpy(), expected, atol=1e-10)


def test_with_one_shot_the_prior_decides_the_mixture() -> None:
    half = F.normalize(noise(1, 3, 9), dim=-1)
    first, second = mix_ridge_regressions(
        (half, half), torch.arange(3)[None], 3, torch.tensor(NATURAL_STRENGTH).double().log()
    )
    prior = torch.tensor(LOG_PRIOR).softmax(0)
    part = float((prior * torch.tensor(MIXTURES)).sum())
    torch.testing.assert_close(second / (first + second), torch.full_like(first, part))
