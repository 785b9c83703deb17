"""Tasks of vectors: what is drawn is of its shape, never twice, and can be told apart."""

from __future__ import annotations

import pytest
import torch

from lgmnet.data.sampler import Sampler
from lgmnet.data.synthetic.vectors import FEATURES, Clouds
from lgmnet.data.task_source import TaskSource
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError

SHAPE = EpisodeShape(way=4, shot=5, query=6, tasks=40)


def drawn(seed: int) -> torch.Tensor:
    out = torch.empty(SHAPE.samples, FEATURES)
    Clouds("train").draw(SHAPE, torch.Generator().manual_seed(seed), out)
    return out


def test_a_seed_says_all():
    assert isinstance(Clouds(), TaskSource)
    assert drawn(0).isfinite().all()
    assert torch.equal(drawn(0), drawn(0))
    assert not torch.equal(drawn(0), drawn(1))


def test_tasks_have_few_features_or_many_and_the_rest_are_zero():
    support = drawn(0)[: 40 * 4 * 5].view(40, 20, FEATURES)
    used = (support != 0).any(1)
    many = used.sum(1)
    assert (many == used.int().cumsum(1).argmax(1) + 1).all(), "those that there are come first"
    assert many.min() < 8 < 30 < many.max()


def test_the_nearest_class_mean_does_better_than_chance():
    episode = Sampler(Clouds("val"), torch.Generator().manual_seed(0)).sample(SHAPE)
    means = torch.stack(
        [episode.support_x[:, 5 * c : 5 * c + 5].mean(1) for c in range(SHAPE.way)], 1
    )
    answers = torch.cdist(episode.query_x, means).argmin(-1)
    assert (answers == episode.query_y).float().mean() > 0.4


def test_splits_differ_and_must_be_known():
    assert Clouds("train").split_hash != Clouds("test").split_hash
    with pytest.raises(ConfigError, match=r"no split of clouds 'tset'. Did you mean 'test'"):
        Clouds("tset")
