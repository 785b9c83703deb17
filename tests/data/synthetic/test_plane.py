"""Tasks in the plane: unlimited, unbiased, and with correct regions."""

from __future__ import annotations

import math

import pytest
import torch

from lgmnet.data.sampler import Sampler
from lgmnet.data.synthetic.plane import PLANES, Circles, Lines, Plane, Spirals
from lgmnet.data.task_source import TaskSource, shares_classes
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError
from tests.support.random import seeded


@pytest.fixture(params=PLANES)
def family(request) -> Plane:
    return PLANES[request.param]("test")


def test_a_family_is_a_source_of_tasks(family):
    assert isinstance(family, TaskSource)
    e = Sampler(family, seeded()).sample(EpisodeShape(way=3, shot=2, query=4, tasks=5))
    assert e.support_x.shape == (5, 6, 2)
    assert e.query_x.shape == (5, 12, 2)
    repeated = Sampler(family, seeded()).sample(EpisodeShape(way=3, shot=2, query=4, tasks=5))
    assert torch.equal(e.query_x, repeated.query_x)
    other = Sampler(family, seeded(1)).sample(EpisodeShape(way=3, shot=2, query=4, tasks=5))
    assert not torch.equal(e.query_x, other.query_x)


def test_splits_share_no_task_and_unknown_ones_are_refused(family):
    cls = type(family)
    assert not shares_classes(cls("train"), cls("test"))
    assert cls("train").split_hash != cls("test").split_hash
    with pytest.raises(ConfigError, match=f"split of {cls.name} 'tset'"):
        cls("tset")


@pytest.mark.parametrize("way", [2, 3, 5])
def test_points_lie_in_the_regions_of_their_classes(family, way):
    tasks = family.draw_tasks(200, way, seeded())
    points = family.draw_points(tasks, 20, seeded(1))
    assert points.isfinite().all()
    assert points.abs().max() < 5
    true = torch.cat(
        [family.true_classes(tasks[i : i + 1], points[i].flatten(0, 1)) for i in range(200)]
    )
    labels = torch.arange(way).repeat_interleave(20)
    # Blobs overlap; the curves of the other families hardly do.
    assert (true == labels).double().mean() > (0.85 if family.name == "blobs" else 0.97)


def test_support_and_query_have_the_same_classes(family):
    """The support sample nearest to a query is of its class far more often than by chance."""
    e = Sampler(family, seeded()).sample(EpisodeShape(way=3, shot=30, query=10, tasks=40))
    nearest = torch.cdist(e.query_x, e.support_x).argmin(-1)
    assert (e.support_y.gather(1, nearest) == e.query_y).double().mean() > 0.8


def test_a_label_says_nothing_about_the_position(family):
    """Over many tasks, all classes have the same mean position and distance from the origin."""
    points = family.draw_points(family.draw_tasks(4000, 3, seeded()), 5, seeded(1))
    for feature in (points[..., 0], points.norm(dim=-1)):
        by_class = feature.mean(2).double()
        error = by_class.std() / math.sqrt(4000)
        assert (by_class.mean(0) - by_class.mean()).abs().max() < 4 * error


def test_distances_to_known_curves():
    lines = Lines().compute_distances(
        torch.tensor([[[0.0, 1.0], [0.0, -1.0]]]), torch.tensor([[9.0, 0.8]])
    )
    torch.testing.assert_close(lines, torch.tensor([[[0.2, 1.8]]]))
    rings = torch.tensor([[[1.0, 0.0, 1.0], [1.0, 0.0, 2.0]]])
    rings = Circles().compute_distances(rings, torch.tensor([[1.0, 1.7]]))
    torch.testing.assert_close(rings, torch.tensor([[[0.7, 0.3]]]))
    spirals, turn = Spirals(), 2.0
    half = (spirals.inner + spirals.outer) / 2
    at = half * torch.tensor([[math.cos(turn / 2), math.sin(turn / 2)]])
    arms = torch.tensor([[[0.0, 0.0, turn, 0.0], [0.0, 0.0, turn, math.pi]]])
    expected = torch.tensor([[[0.0, math.pi]]])
    torch.testing.assert_close(spirals.compute_distances(arms, at), expected, atol=1e-5, rtol=0)
