"""Tasks whose labels are ranges of a random feature."""

from __future__ import annotations

import torch

from lgmnet.episode import Episode
from lgmnet.methods import LGMNet
from lgmnet.nn.feature_tasks import draw_feature_tasks
from tests.contract.cases import CASES
from tests.support.models import build_method
from tests.support.random import noise, seeded

GROUPS = (1, 4)


def draw(tasks: int = 40, n: int = 12, way: int = 3, shot: int = 2, seed: int = 0):
    features = noise(tasks, n, sum(GROUPS))
    return features, draw_feature_tasks(features, features, GROUPS, way, shot, seeded(seed))


def test_classes_are_ranges_of_a_direction_in_one_group():
    """Of each task, a linear map of one group alone sorts all samples by their labels."""
    features, episode = draw()
    n_single = 0
    for task in range(len(features)):
        x = torch.cat([episode.support_x, episode.query_x], 1)[task]
        y = torch.cat([episode.support_y, episode.query_y], 1)[task]
        by_feature = [bool(x[y == 0][:, f].max() < x[y == 1][:, f].min()) for f in range(5)]
        n_single += any(by_feature)
        assert sorted(y.tolist()) == [0] * 4 + [1] * 4 + [2] * 4
    # Half of the tasks, and half of those in the group of one feature by the sign of a direction.
    assert 0.45 < n_single / len(features) < 0.8


def test_support_and_queries_are_all_samples_each_once():
    features, episode = draw()
    together = torch.cat([episode.support_x, episode.query_x], 1)
    for before, after in zip(features, together, strict=True):
        assert sorted(before[:, 0].tolist()) == sorted(after[:, 0].tolist())
    assert episode.support_x.shape[1] == 3 * 2
    assert episode.query_x.shape[1] == 3 * 2


def test_the_generator_decides():
    _, first = draw(seed=1)
    _, second = draw(seed=1)
    _, third = draw(seed=2)
    assert torch.equal(first.support_x, second.support_x)
    assert not torch.equal(first.support_x, third.support_x)


def test_every_class_has_a_query_however_few_samples_there_are():
    _, episode = draw(n=7, way=3, shot=5)
    assert episode.support_x.shape[1] == episode.query_x.shape[1] == 3


def test_the_sorting_passes_no_gradient():
    features = noise(2, 12, 5).requires_grad_()
    samples = noise(2, 12, 5).requires_grad_()
    episode = draw_feature_tasks(samples, features, GROUPS, 3, 2, seeded())
    (episode.support_x.sum() + episode.query_x.sum()).backward()
    assert features.grad is None
    assert samples.grad is not None


def test_the_gains_learn_from_these_tasks_and_the_embedding_does_not():
    method = build_method(*CASES["lgm-net, gains from labels, feature tasks"])
    assert isinstance(method, LGMNet)
    support_y = torch.arange(3).repeat_interleave(2).expand(2, -1)
    episode = Episode(
        support_x=method.embedding(noise(12, 1, 8, 8).float()).unflatten(0, (2, 6)),
        support_y=support_y,
        query_x=method.embedding(noise(12, 1, 8, 8, seed=1).float()).unflatten(0, (2, 6)),
        query_y=support_y,
        way=3,
    )
    loss = method.compute_feature_tasks_loss(episode, seeded())
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    assert all(p.grad is None for p in method.embedding.parameters())
    assert method.label_context is not None
    gain = method.label_context.group_gain.weight.grad
    assert gain is not None
    assert gain.any()
    assert method.compute_feature_tasks_loss(episode, None) == 0
