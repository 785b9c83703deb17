"""Synthetic characters: pure functions of a number, and no two drawings are the same."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lgmnet.data.synthetic.characters import (
    NO_STROKE,
    SPLINES,
    STROKE_KINDS,
    SyntheticCharacters,
    draw_ink,
    hash_to_uniforms,
    make_characters,
    mix_bits,
)
from lgmnet.data.task_source import SPLIT_RANGES, TaskSource, shares_classes
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError
from tests.support.random import seeded

ids = st.integers(0, 3 * 2**40 - 1)


def draw(shape: EpisodeShape, seed: int = 0, split: str = "train") -> tuple[Tensor, Tensor]:
    """Draw support and query images, [tasks, way, shot | query, 28, 28]."""
    source: TaskSource = SyntheticCharacters(split)
    source.check(shape)
    out = torch.full((shape.samples, *source.feature_shape), 77, dtype=source.dtype)
    source.draw(shape, seeded(seed), out)
    support, query = out[:, 0].split(
        [shape.tasks * shape.way * n for n in (shape.shot, shape.query)]
    )
    tasks_way = (shape.tasks, shape.way)
    return support.unflatten(0, (*tasks_way, shape.shot)), query.unflatten(0, (*tasks_way, -1))


def test_the_same_seed_draws_the_same_tasks():
    shape = EpisodeShape(way=5, shot=2, query=3, tasks=4)
    first, second, other = draw(shape), draw(shape), draw(shape, seed=1)
    for a, b, c in zip(first, second, other, strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


def test_the_global_generator_is_unused():
    before = torch.get_rng_state()
    draw(EpisodeShape(way=2, shot=1, query=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_no_character_belongs_to_two_splits():
    sources = [SyntheticCharacters(split) for split in SPLIT_RANGES]
    for a, b in combinations(sources, 2):
        assert a.class_names.stop <= b.class_names.start
        assert not shares_classes(a, b)
        assert a.split_hash != b.split_hash
    assert SyntheticCharacters("val").split_hash == SyntheticCharacters("val").split_hash


@pytest.mark.parametrize("split", SPLIT_RANGES)
def test_only_characters_of_the_split_are_drawn(split, monkeypatch):
    drawn: list[int] = []

    def record(ids):
        drawn.extend(ids.tolist())
        return make_characters(ids)

    monkeypatch.setattr("lgmnet.data.synthetic.characters.make_characters", record)
    draw(EpisodeShape(way=20, shot=1, query=1, tasks=8), split=split)
    assert len(set(drawn)) == 160
    assert all(i in SPLIT_RANGES[split] for i in drawn)


def test_an_unknown_split_is_refused():
    with pytest.raises(ConfigError, match="Did you mean 'train'"):
        SyntheticCharacters("trian")


@settings(deadline=None)
@given(seed=ids, more=st.lists(ids, max_size=3))
def test_a_character_is_a_pure_function_of_its_number(seed, more):
    alone = make_characters(torch.tensor([seed]))
    in_batch = make_characters(torch.tensor([*more, seed]))
    assert torch.equal(alone[0][0], in_batch[0][-1])
    torch.testing.assert_close(alone[1][0], in_batch[1][-1])


@settings(deadline=None)
@given(seed=st.integers(-(2**63), 2**63 - 1))
def test_mix_bits_is_the_function_of_splitmix64(seed):
    def wrap(z: int) -> int:
        return z & (1 << 64) - 1

    z = wrap(seed)
    z = wrap((z ^ z >> 30) * 0xBF58476D1CE4E5B9)
    z = wrap((z ^ z >> 27) * 0x94D049BB133111EB)
    z ^= z >> 31
    assert wrap(int(mix_bits(torch.tensor(seed)))) == z


def test_neighbouring_numbers_hash_to_independent_uniforms():
    u = hash_to_uniforms(torch.arange(20_000), 6).double()
    assert u.min() >= 0
    assert u.max() < 1
    assert (u.mean(0) - 0.5).abs().max() < 0.01
    assert (u.var(0) - 1 / 12).abs().max() < 0.003
    correlation = torch.corrcoef(torch.cat([u[1:], u[:-1]], 1).T) - torch.eye(12)
    assert correlation.abs().max() < 0.03


def test_characters_fill_their_box_with_one_to_four_strokes_of_every_kind():
    kinds, knots = make_characters(torch.arange(2000))
    points = (SPLINES[kinds] @ knots).flatten(1, 2)
    assert points.abs().max() < 1 + 1e-4
    torch.testing.assert_close(points.abs().amax((1, 2)), torch.ones(2000))
    assert set((kinds != NO_STROKE).sum(1).tolist()) == {1, 2, 3, 4}
    assert set(kinds.flatten().tolist()) == {*range(len(STROKE_KINDS)), NO_STROKE}


@pytest.mark.parametrize("kind", range(len(STROKE_KINDS)))
def test_a_stroke_passes_through_its_knots(kind):
    count = len(STROKE_KINDS[kind].turns) + 2
    knots = torch.randn(count, 2, generator=seeded())
    points = SPLINES[kind][:, :count] @ knots
    exact = "donot_use_mm_for_euclid_dist"
    assert torch.cdist(knots, points, compute_mode=exact).amin(1).max() < 1e-5
    torch.testing.assert_close(points[-1], knots[0 if STROKE_KINDS[kind].closed else -1])
    # No gaps: the steps of the pen are far shorter than the stroke.
    assert points.diff(dim=0).norm(dim=1).max() < 0.15 * knots.diff(dim=0).norm(dim=1).sum()


def test_ink_is_even_along_a_line_at_every_speed_of_the_pen():
    time = torch.linspace(0, 1, 61)[:, None] ** torch.tensor([1.0, 1.5, 0.7])
    x = 4 + 20 * time.T
    points = torch.stack([x, torch.full_like(x, 14)], -1)[:, None]
    image = draw_ink(points, torch.full((3,), 0.5)).float()
    assert image[:, 14, 6:22].min() > 254  # the core
    assert image[:, 13, 6:22].std(1).max() < 3  # the edge
    assert 20 < image[:, 13, 6:22].mean() < 80
    assert image[:, :12].max() == image[:, 17:].max() == 0


def test_no_two_drawings_are_the_same():
    support, query = draw(EpisodeShape(way=5, shot=3, query=4, tasks=10))
    images = torch.cat([support, query], 2).flatten(0, 2).flatten(1)
    assert len(images.unique(dim=0)) == len(images)


def test_drawings_of_a_class_resemble_each_other_but_not_too_much():
    """The nearest neighbour of the pixels has a 5-way 1-shot accuracy of 0.44 on Omniglot."""
    support, query = draw(EpisodeShape(way=5, shot=1, query=1, tasks=400))
    distance = torch.cdist(query.flatten(2).float() / 255, support.flatten(2).float() / 255)
    right = distance.argmin(2) == torch.arange(5)
    assert 0.45 < right.float().mean() < 0.75
    same = distance.diagonal(dim1=1, dim2=2).mean()
    assert same < 0.9 * distance[:, ~torch.eye(5, dtype=torch.bool)].mean()


def test_ink_statistics_are_close_to_omniglot():
    """Omniglot at 28x28 has a mean ink of 0.084, an edge of 0.0008 and sides of 15 to 16."""
    support, _ = draw(EpisodeShape(way=1000, shot=1, query=1))
    images = support.flatten(0, 2).float() / 255
    mean_ink = images.mean((1, 2))
    assert 0.065 < mean_ink.mean() < 0.1
    assert mean_ink.min() > 0.005
    assert mean_ink.max() < 0.3
    assert (images.amax((1, 2)) > 0.9).all()

    edge = torch.cat([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], 1)
    assert edge.mean() < 0.003
    assert (edge.amax(1) > 0.5).float().mean() < 0.06

    for axis in (1, 2):
        has_ink = images.amax(axis) > 0.3
        assert 13 < has_ink.sum(1).float().mean() < 18
        centre = (has_ink * torch.arange(28.0)).sum(1) / has_ink.sum(1)
        assert abs(centre.mean() - 13.5) < 0.5


@settings(deadline=None)
@given(
    shape=st.builds(
        EpisodeShape,
        way=st.integers(2, 7),
        shot=st.integers(1, 4),
        query=st.integers(1, 5),
        tasks=st.integers(1, 4),
    )
)
def test_tasks_of_any_shape_are_drawn(shape):
    for images in draw(shape):
        assert ((images == 255).sum((-2, -1)) > 0).all()
        assert (images[..., 0, 0] == 0).all()  # The buffer is filled with 77.


def test_support_comes_before_query_in_the_same_order_of_classes(monkeypatch):
    """Without variation of the handwriting, all drawings of a class are equal."""
    monkeypatch.setattr(
        "lgmnet.data.synthetic.characters.vary_handwriting", lambda knots, _: 8 * knots + 13.5
    )
    monkeypatch.setattr(
        "lgmnet.data.synthetic.characters.draw_ink",
        lambda points, pens: draw_ink(points, 0 * pens + 0.5),
    )
    support, query = draw(EpisodeShape(way=3, shot=2, query=4, tasks=2))
    assert (support == support[:, :, :1]).all()
    assert (query == support[:, :, :1]).all()
    assert len(support[:, :, 0].flatten(0, 1).unique(dim=0)) == 6
