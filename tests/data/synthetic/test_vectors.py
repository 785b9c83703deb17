"""Synthetic tasks of vectors: reproducible, of varying size, and separable."""

from __future__ import annotations

import pytest
import torch

from lgmnet.data.sampler import Sampler
from lgmnet.data.synthetic.vectors import MAX_FEATURES, SyntheticVectors
from lgmnet.data.task_source import TaskSource
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError

SHAPE = EpisodeShape(way=4, shot=5, query=6, tasks=40)


def draw_samples(seed: int) -> torch.Tensor:
    out = torch.empty(SHAPE.samples, MAX_FEATURES)
    SyntheticVectors("train").draw(SHAPE, torch.Generator().manual_seed(seed), out)
    return out


def test_the_seed_determines_the_tasks():
    assert isinstance(SyntheticVectors(), TaskSource)
    assert draw_samples(0).isfinite().all()
    assert torch.equal(draw_samples(0), draw_samples(0))
    assert not torch.equal(draw_samples(0), draw_samples(1))


def test_tasks_have_few_or_many_features_and_the_rest_are_zero():
    support = draw_samples(0)[: 40 * 4 * 5].view(40, 20, MAX_FEATURES)
    is_used = (support != 0).any(1)
    n_used = is_used.sum(1)
    assert (n_used == is_used.int().cumsum(1).argmax(1) + 1).all(), "used features come first"
    assert n_used.min() < 8 < 30 < n_used.max()


def test_the_nearest_class_mean_is_better_than_chance():
    episode = Sampler(SyntheticVectors("val"), torch.Generator().manual_seed(0)).sample(SHAPE)
    means = torch.stack(
        [episode.support_x[:, 5 * c : 5 * c + 5].mean(1) for c in range(SHAPE.way)], 1
    )
    predictions = torch.cdist(episode.query_x, means).argmin(-1)
    assert (predictions == episode.query_y).float().mean() > 0.4


def test_splits_differ_and_unknown_ones_are_refused():
    assert SyntheticVectors("train").split_hash != SyntheticVectors("test").split_hash
    with pytest.raises(ConfigError, match=r"no split of clouds 'tset'. Did you mean 'test'"):
        SyntheticVectors("tset")
