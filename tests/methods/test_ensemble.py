"""One answer from many draws: against a loop over tasks and draws."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lgmnet.errors import ConfigError
from lgmnet.methods import LGMClassifier, LGMNet, LGMNetConfig
from lgmnet.methods.ensemble import Ensemble

CONFIG = LGMNetConfig(
    feature_shape=(3,),
    target="linear",
    embedding_widths=(8, 8),
    encoder_width=8,
    context=4,
    target_widths=(8, 6),
)
WAY, TASKS, DRAWS, SEED = 3, 2, 5, 7
SUPPORT_Y = torch.tensor([[0, 1, 2, 2], [2, 1, 0, 0]])


def lgm_net(config: LGMNetConfig = CONFIG) -> LGMNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LGMNet(config).double().eval()


def samples(n: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(TASKS, n, 3, generator=generator, dtype=torch.float64)


SUPPORT_X, QUERY_X = samples(4, 1), samples(6, 2)


def ensemble(method: LGMNet, draws: int = DRAWS, seed: int = SEED) -> Ensemble:
    generator = torch.Generator().manual_seed(seed)
    return Ensemble(method, SUPPORT_X, SUPPORT_Y, WAY, draws, generator)


def each_by_hand(method: LGMNet) -> Tensor:
    """Probabilities [tasks, draws, query, way] of one draw after the other, for one task at a time.

    Row ``task * DRAWS + draw`` of the noise belongs to that draw of that task.
    """
    generator = torch.Generator().manual_seed(SEED)
    noise = torch.randn(TASKS * DRAWS, CONFIG.context, generator=generator).double()
    probabilities = torch.empty(TASKS, DRAWS, QUERY_X.shape[1], WAY, dtype=torch.float64)
    for task in range(TASKS):
        embedded = method.embedding(SUPPORT_X[task])[None]
        context = method.encoder(embedded)
        for draw in range(DRAWS):
            deviation = (0.5 * context.log_variance).exp() * noise[task * DRAWS + draw]
            weights = method.generate(context.mean + deviation)
            classifier = LGMClassifier(
                method.embedding,
                method.target,
                weights,
                method.target(weights, embedded),
                SUPPORT_Y[task : task + 1],
                WAY,
                method.log_scale.exp(),
            )
            probabilities[task, draw] = classifier(QUERY_X[task : task + 1])[0].exp().detach()
    return probabilities


def test_mean_and_spread_are_those_of_the_draws():
    method = lgm_net()
    drawn, each = ensemble(method), each_by_hand(method)
    torch.testing.assert_close(drawn(QUERY_X).exp().detach(), each.mean(1))
    expected = ((each - each.mean(1, keepdim=True)) ** 2).mean(1).sqrt()
    torch.testing.assert_close(drawn.spread(QUERY_X).detach(), expected)
    assert expected.max() > 0.01


def test_one_draw_is_the_method_with_that_generator():
    method = lgm_net()
    one = ensemble(method, draws=1)
    generator = torch.Generator().manual_seed(SEED)
    alone = method.adapt(SUPPORT_X, SUPPORT_Y, WAY, generator=generator)
    torch.testing.assert_close(one(QUERY_X), alone(QUERY_X))
    assert one.spread(QUERY_X).abs().max() < 1e-12


def test_the_seed_decides_the_draws():
    method = lgm_net()
    first, again, other = (ensemble(method, seed=seed)(QUERY_X) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_answers_are_log_probabilities():
    total = ensemble(lgm_net())(QUERY_X).exp().sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total))


def test_draws_of_a_method_without_chance_agree():
    method = lgm_net(replace(CONFIG, random_context=False))
    drawn = ensemble(method)
    torch.testing.assert_close(drawn(QUERY_X), method.adapt(SUPPORT_X, SUPPORT_Y, WAY)(QUERY_X))
    assert drawn.spread(QUERY_X).max() < 1e-12


@pytest.mark.parametrize("draws", [0, -2])
def test_there_is_no_ensemble_of_nothing(draws):
    with pytest.raises(ConfigError, match=f"'draws' must be at least 1, but is {draws}"):
        ensemble(lgm_net(), draws=draws)
