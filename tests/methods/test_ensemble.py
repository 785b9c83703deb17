"""Ensembles of drawn classifiers against a loop over tasks and draws."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
import torch
from torch import Tensor

from lgmnet.errors import ConfigError
from lgmnet.methods import LGMClassifier, LGMNet, LGMNetConfig
from lgmnet.methods.ensemble import Ensemble
from lgmnet.nn.embedding import vector_embedding
from tests.support.configs import lgm_net_config
from tests.support.models import build_method
from tests.support.random import noise, seeded

CONTEXT_LENGTH = 4
CONFIG = lgm_net_config(vector_embedding(3, 8, 8), context=CONTEXT_LENGTH, target_widths=(8, 6))
WAY, TASKS, DRAWS, SEED = 3, 2, 5, 7
SUPPORT_X, QUERY_X = noise(TASKS, 4, 3, seed=1), noise(TASKS, 6, 3, seed=2)
SUPPORT_Y = torch.tensor([[0, 1, 2, 2], [2, 1, 0, 0]])


def build_lgm_net(config: LGMNetConfig = CONFIG) -> LGMNet:
    return cast(LGMNet, build_method("lgm-net", config).double().eval())


def build_ensemble(method: LGMNet, draws: int = DRAWS, seed: int = SEED) -> Ensemble:
    return Ensemble(method, SUPPORT_X, SUPPORT_Y, WAY, draws, seeded(seed))


def draw_one_by_one(method: LGMNet) -> Tensor:
    """Compute probabilities [tasks, draws, query, way], one draw and one task at a time.

    Row ``task * DRAWS + draw`` of the noise belongs to that draw of that task.
    """
    epsilon = torch.randn(TASKS * DRAWS, CONTEXT_LENGTH, generator=seeded(SEED)).double()
    probabilities = torch.empty(TASKS, DRAWS, QUERY_X.shape[1], WAY, dtype=torch.float64)
    for task in range(TASKS):
        embedded = method.embedding(SUPPORT_X[task])[None]
        context = method.encoder(embedded)
        for draw in range(DRAWS):
            deviation = (0.5 * context.log_variance).exp() * epsilon[task * DRAWS + draw]
            weights = method.generate(context.mean + deviation)
            classifier = LGMClassifier(
                method.embedding,
                method.target,
                weights,
                method.target(weights, embedded),
                SUPPORT_Y[task : task + 1],
                WAY,
                method.log_scale.exp(),
                method.config,
            )
            probabilities[task, draw] = classifier(QUERY_X[task : task + 1])[0].exp().detach()
    return probabilities


def test_mean_and_spread_are_those_of_the_draws():
    method = build_lgm_net()
    ensemble, p = build_ensemble(method), draw_one_by_one(method)
    torch.testing.assert_close(ensemble(QUERY_X).exp().detach(), p.mean(1))
    spread = ((p - p.mean(1, keepdim=True)) ** 2).mean(1).sqrt()
    torch.testing.assert_close(ensemble.spread(QUERY_X).detach(), spread)
    assert spread.max() > 0.01


def test_one_draw_is_the_method_with_that_generator():
    method = build_lgm_net()
    ensemble = build_ensemble(method, draws=1)
    classifier = method.adapt(SUPPORT_X, SUPPORT_Y, WAY, generator=seeded(SEED))
    torch.testing.assert_close(ensemble(QUERY_X), classifier(QUERY_X))
    assert ensemble.spread(QUERY_X).abs().max() < 1e-12


def test_the_seed_decides_the_draws():
    method = build_lgm_net()
    first, again, other = (build_ensemble(method, seed=seed)(QUERY_X) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_answers_are_log_probabilities():
    total = build_ensemble(build_lgm_net())(QUERY_X).exp().sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total))


def test_draws_of_a_method_without_randomness_agree():
    assert CONFIG.context
    method = build_lgm_net(replace(CONFIG, context=replace(CONFIG.context, sampled=False)))
    ensemble = build_ensemble(method)
    classifier = method.adapt(SUPPORT_X, SUPPORT_Y, WAY)
    torch.testing.assert_close(ensemble(QUERY_X), classifier(QUERY_X))
    assert ensemble.spread(QUERY_X).max() < 1e-12


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("draws", "words"),
    [
        (0, "at least 1, but is 0"),
        (-2, "at least 1, but is -2"),
        (2.5, "a whole number, but is 2.5"),
        ("3", "a whole number, but is '3'"),
        (None, "a whole number, but is None"),
    ],
)
def test_an_ensemble_needs_at_least_one_draw(draws, words):
    with pytest.raises(ConfigError, match=f"'draws' must be {words}"):
        build_ensemble(build_lgm_net(), draws=draws)
