"""Sampler: its generator is its whole state, buffers are reused, and labels are in order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.sampler import Sampler, fill_from_bytes
from lgmnet.episode import Episode, EpisodeShape
from lgmnet.errors import EpisodeError

COUNTS = [6, 9, 7, 8]
SHAPE = EpisodeShape(way=3, shot=2, query=3, tasks=4)


def make_dataset(dtype: torch.dtype = torch.uint8) -> ClassDataset:
    """Make a data set whose pixels are the number of the class and the index within the class."""
    images = torch.tensor([(c, i) for c, count in enumerate(COUNTS) for i in range(count)])
    return ClassDataset(
        images.to(dtype).view(-1, 1, 1, 2), COUNTS, list("abcd"), name="letters", split="all"
    )


def make_sampler(seed: int = 0, dtype: torch.dtype = torch.uint8) -> Sampler:
    return Sampler(make_dataset(dtype), torch.Generator().manual_seed(seed))


def equal_episodes(a: Episode, b: Episode) -> bool:
    fields = ("support_x", "support_y", "query_x", "query_y")
    return all(torch.equal(getattr(a, field), getattr(b, field)) for field in fields)


def test_the_generator_is_the_whole_state():
    sampler = make_sampler()
    sampler.sample(SHAPE)
    state = sampler.generator.get_state()
    expected = [sampler.sample(SHAPE).clone() for _ in range(3)]
    other = make_sampler(seed=5)
    other.sample(EpisodeShape(way=2, shot=1, query=1))
    other.generator.set_state(state)
    assert all(equal_episodes(episode, other.sample(SHAPE)) for episode in expected)
    assert not equal_episodes(expected[0], expected[1])


def test_the_global_generator_is_neither_read_nor_advanced():
    before = torch.get_rng_state()
    episode = make_sampler().sample(SHAPE).clone()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)
    assert equal_episodes(episode, make_sampler().sample(SHAPE))


@given(
    way=st.integers(2, 4),
    shot=st.integers(1, 3),
    query=st.integers(1, 3),
    tasks=st.integers(1, 4),
    seed=st.integers(0, 2**32),
)
def test_a_label_is_one_class_in_support_and_query(way, shot, query, tasks, seed):
    episode = make_sampler(seed, torch.float32).sample(EpisodeShape(way, shot, query, tasks))
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
        assert len({*support, *queries}) == way * (shot + query)  # all samples are distinct


def test_labels_follow_the_order_of_drawing():
    """Samples are sorted by class, but classes are in random order."""
    sampler = make_sampler(dtype=torch.float32)
    orders = set()
    for _ in range(40):
        episode = sampler.sample(SHAPE)
        assert episode.support_y.tolist() == [[0, 0, 1, 1, 2, 2]] * 4
        assert episode.query_y.tolist() == [[0, 0, 0, 1, 1, 1, 2, 2, 2]] * 4
        orders |= {tuple(row) for row in episode.support_x[:, ::2, 0, 0, 0].tolist()}
    assert len(orders) == 24  # all orders of 3 of 4 classes


def test_bytes_become_values_between_0_and_1_and_embeddings_stay():
    images, embeddings = (
        make_sampler().sample(SHAPE),
        make_sampler(dtype=torch.float32).sample(SHAPE),
    )
    torch.testing.assert_close(images.support_x * 255, embeddings.support_x)
    torch.testing.assert_close(images.query_x * 255, embeddings.query_x)
    assert embeddings.query_x.max() > 1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_buffers_are_reused_and_a_clone_owns_its_memory(dtype):
    sampler = make_sampler(dtype=dtype)
    first = sampler.sample(SHAPE)
    clone, contents = first.clone(), first.support_x.clone()
    second = sampler.sample(SHAPE)
    smaller = sampler.sample(EpisodeShape(way=2, shot=1, query=1))
    pointers = {episode.support_x.data_ptr() for episode in (first, second, smaller)}
    assert len(pointers) == 1
    assert clone.support_x.data_ptr() not in pointers
    assert torch.equal(clone.support_x, contents)
    assert not torch.equal(first.support_x, contents)


def test_a_larger_shape_after_a_smaller_one_is_complete():
    sampler = make_sampler()
    sampler.sample(EpisodeShape(way=2, shot=1, query=1))
    state = sampler.generator.get_state()
    episode = sampler.sample(SHAPE).clone()
    new_sampler = make_sampler()
    new_sampler.generator.set_state(state)
    assert equal_episodes(episode, new_sampler.sample(SHAPE))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (EpisodeShape(way=5, shot=1, query=1), "way is 5, .* has 4 classes"),
        (EpisodeShape(way=2, shot=3, query=4), r"fewer images: 'a' \(6\)"),
    ],
    ids=str,
)
def test_the_error_for_too_large_a_task_names_the_available_numbers(shape, message):
    with pytest.raises(EpisodeError, match=message):
        make_sampler().sample(shape)


@pytest.mark.parametrize("shape", [(0, 3), (1, 50), (16, 64), (40, 1), (7, 2, 2)])
def test_bytes_are_scaled_to_the_bits_that_pytorch_computes(shape):
    raw = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    values = torch.full(shape, -1.0)
    fill_from_bytes(values, raw)
    assert torch.equal(values, raw.float().mul(1 / 255))
