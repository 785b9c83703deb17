"""The sampler: the generator is its whole state, its buffers are reused, its labels in order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.sampler import Sampler
from lgmnet.episode import Episode, EpisodeShape
from lgmnet.errors import EpisodeError

COUNTS = [6, 9, 7, 8]
SHAPE = EpisodeShape(way=3, shot=2, query=3, tasks=4)


def store(dtype: torch.dtype = torch.uint8) -> ClassDataset:
    """A store whose images say what they are: pixel 0 the class, pixel 1 the place in the class."""
    images = torch.tensor([(c, i) for c, count in enumerate(COUNTS) for i in range(count)])
    return ClassDataset(
        images.to(dtype).view(-1, 1, 1, 2), COUNTS, list("abcd"), name="letters", split="all"
    )


def sampler(seed: int = 0, dtype: torch.dtype = torch.uint8) -> Sampler:
    return Sampler(store(dtype), torch.Generator().manual_seed(seed))


def same(one: Episode, other: Episode) -> bool:
    parts = ("support_x", "support_y", "query_x", "query_y")
    return all(torch.equal(getattr(one, part), getattr(other, part)) for part in parts)


def test_the_generator_is_the_whole_state():
    drawing = sampler()
    drawing.sample(SHAPE)
    state = drawing.generator.get_state()
    expected = [drawing.sample(SHAPE).clone() for _ in range(3)]
    other = sampler(seed=5)
    other.sample(EpisodeShape(way=2, shot=1, query=1))
    other.generator.set_state(state)
    assert all(same(episode, other.sample(SHAPE)) for episode in expected)
    assert not same(expected[0], expected[1])


def test_the_global_generator_is_neither_read_nor_moved():
    before = torch.get_rng_state()
    one = sampler().sample(SHAPE).clone()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)
    assert same(one, sampler().sample(SHAPE))


@given(
    way=st.integers(2, 4),
    shot=st.integers(1, 3),
    query=st.integers(1, 3),
    tasks=st.integers(1, 4),
    seed=st.integers(0, 2**32),
)
def test_a_label_is_one_class_in_support_and_query(way, shot, query, tasks, seed):
    episode = sampler(seed, torch.float32).sample(EpisodeShape(way, shot, query, tasks))
    for task in range(tasks):
        support = [tuple(v) for v in episode.support_x[task].flatten(1).tolist()]
        queries = [tuple(v) for v in episode.query_x[task].flatten(1).tolist()]
        labels = (episode.support_y[task].tolist(), episode.query_y[task].tolist())
        pairs = {
            (y, x[0])
            for xs, ys in zip((support, queries), labels, strict=True)
            for x, y in zip(xs, ys, strict=True)
        }
        assert len(pairs) == len({c for _, c in pairs}) == way
        assert len({*support, *queries}) == way * (shot + query)  # distinct: none seen twice


def test_labels_follow_the_order_of_drawing():
    """Class-major, and neither sorted by class number nor always in the same order."""
    drawing = sampler(dtype=torch.float32)
    orders = set()
    for _ in range(40):
        episode = drawing.sample(SHAPE)
        assert episode.support_y.tolist() == [[0, 0, 1, 1, 2, 2]] * 4
        assert episode.query_y.tolist() == [[0, 0, 0, 1, 1, 1, 2, 2, 2]] * 4
        orders |= {tuple(row) for row in episode.support_x[:, ::2, 0, 0, 0].tolist()}
    assert len(orders) == 24  # all orders of 3 of 4 classes


def test_bytes_become_values_between_0_and_1_and_embeddings_stay():
    images, embeddings = sampler().sample(SHAPE), sampler(dtype=torch.float32).sample(SHAPE)
    torch.testing.assert_close(images.support_x * 255, embeddings.support_x)
    torch.testing.assert_close(images.query_x * 255, embeddings.query_x)
    assert embeddings.query_x.max() > 1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_buffers_are_reused_and_a_clone_owns_its_memory(dtype):
    drawing = sampler(dtype=dtype)
    first = drawing.sample(SHAPE)
    kept, contents = first.clone(), first.support_x.clone()
    second = drawing.sample(SHAPE)
    smaller = drawing.sample(EpisodeShape(way=2, shot=1, query=1))
    pointers = {episode.support_x.data_ptr() for episode in (first, second, smaller)}
    assert len(pointers) == 1
    assert kept.support_x.data_ptr() not in pointers
    assert torch.equal(kept.support_x, contents)
    assert not torch.equal(first.support_x, contents)


def test_a_larger_shape_after_a_smaller_one_is_whole():
    drawing = sampler()
    drawing.sample(EpisodeShape(way=2, shot=1, query=1))
    state = drawing.generator.get_state()
    after = drawing.sample(SHAPE).clone()
    fresh = sampler()
    fresh.generator.set_state(state)
    assert same(after, fresh.sample(SHAPE))


@pytest.mark.parametrize(
    ("shape", "there_is"),
    [
        (EpisodeShape(way=5, shot=1, query=1), "way is 5, .* has 4 classes"),
        (EpisodeShape(way=2, shot=3, query=4), r"fewer images: 'a' \(6\)"),
    ],
    ids=str,
)
def test_too_large_a_task_says_how_much_there_is(shape, there_is):
    with pytest.raises(EpisodeError, match=there_is):
        sampler().sample(shape)
