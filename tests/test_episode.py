"""Checks on batches of tasks, and their messages."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lgmnet.episode import Episode, EpisodeShape, check_every_class_shown, check_samples
from lgmnet.errors import EpisodeError, UserError

small = st.integers(1, 4)


def build_episode(way: int = 3, shot: int = 2, query: int = 1, tasks: int = 2) -> Episode:
    return Episode(
        support_x=torch.zeros(tasks, way * shot, 4),
        support_y=torch.arange(way).repeat(shot).repeat(tasks, 1),
        query_x=torch.zeros(tasks, way * query, 4),
        query_y=torch.arange(way).repeat(query).repeat(tasks, 1),
        way=way,
    )


def replace_value(x: Tensor, at: tuple[int, ...], value: float) -> Tensor:
    x = x.clone()
    x[at] = value
    return x


@given(
    way=st.integers(2, 5),
    extra_shots=st.lists(small, max_size=3),
    query=small,
    tasks=small,
    feature=st.lists(small, min_size=1, max_size=3),
    integer=st.sampled_from([torch.int64, torch.int32]),
    data=st.data(),
)
def test_tasks_of_any_shape_are_accepted(way, extra_shots, query, tasks, feature, integer, data):
    """Uneven shots in any order, classes without queries, vectors and images."""
    labels = [*range(way), *(shot % way for shot in extra_shots)]
    support_y = torch.tensor([data.draw(st.permutations(labels)) for _ in range(tasks)])
    episode = Episode(
        support_x=torch.randn(tasks, len(labels), *feature),
        support_y=support_y.to(integer),
        query_x=torch.randn(tasks, query, *feature),
        query_y=torch.randint(way, (tasks, query), dtype=integer),
        way=way,
    )
    assert episode.tasks == tasks


@given(way=st.integers(2, 9), shot=small, query=small, tasks=small)
def test_a_shape_counts_its_samples(way, shot, query, tasks):
    shape = EpisodeShape(way, shot, query, tasks)
    episode = build_episode(way, shot, query, tasks)
    assert shape.samples == episode.support_y.numel() + episode.query_y.numel()
    assert shape.per_class * way * tasks == shape.samples


@pytest.mark.parametrize(("name", "least"), [("way", 2), ("shot", 1), ("query", 1), ("tasks", 1)])
@pytest.mark.parametrize("below", [1, 2, 7])
def test_too_small_a_shape_is_refused(name, least, below):
    sizes = {"way": 2, "shot": 1, "query": 1, "tasks": 1}
    EpisodeShape(**sizes)
    with pytest.raises(
        EpisodeError, match=f"'{name}' must be at least {least}, but is {least - below}"
    ):
        EpisodeShape(**sizes | {name: least - below})


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("value", ["5", 5.0, None])
def test_a_shape_of_no_whole_numbers_is_refused(value):
    with pytest.raises(EpisodeError, match=f"'way' must be a whole number, but is {value!r}"):
        EpisodeShape(value, 1, 1)


def test_an_episode_error_is_a_user_error_and_a_value_error():
    assert issubclass(EpisodeError, UserError)
    assert issubclass(EpisodeError, ValueError)


@pytest.mark.parametrize("part", ["support", "query"])
@pytest.mark.parametrize("wrong", [-1, -7, 3, 12])
def test_an_error_names_a_label_out_of_range(part, wrong):
    good = build_episode()
    labels = replace_value(getattr(good, f"{part}_y"), (1, 2), wrong)
    change: dict[str, Any] = {f"{part}_y": labels}
    with pytest.raises(
        EpisodeError, match=f"{part}_y holds the label {wrong}; labels of 3 classes are 0..2"
    ):
        replace(good, **change)


@pytest.mark.parametrize("way", [-3, 0, 1])
def test_a_task_needs_two_classes(way):
    with pytest.raises(EpisodeError, match=f"'way' must be at least 2, but is {way}"):
        replace(build_episode(), way=way)


@given(way=st.integers(2, 5), tasks=small, data=st.data())
def test_an_error_names_the_class_without_support(way, tasks, data):
    task = data.draw(st.integers(0, tasks - 1))
    absent = data.draw(st.integers(0, way - 1))
    labels = torch.arange(way).repeat(tasks, 1)
    check_every_class_shown(labels, way)
    labels[task, absent] = (absent + 1) % way
    with pytest.raises(EpisodeError, match=f"class {absent} of task {task} has no support sample"):
        check_every_class_shown(labels, way)


def test_labels_with_a_gap_are_refused():
    """With labels 0, 2, 4 instead of 0, 1, 2, some libraries compute prototypes of NaN."""
    good = build_episode()
    with pytest.raises(EpisodeError, match="the label 4"):
        replace(good, support_y=2 * good.support_y)
    with pytest.raises(EpisodeError, match="class 1 of task 0"):
        replace(good, support_y=2 * good.support_y, way=5)


@pytest.mark.parametrize("part", ["support", "query"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_an_error_names_the_sample_that_is_not_finite(part, value):
    good = build_episode()
    change: dict[str, Any] = {
        f"{part}_x": replace_value(getattr(good, f"{part}_x"), (1, 2, 3), value)
    }
    with pytest.raises(EpisodeError, match=f"{part}_x of task 1, sample 2 holds NaN or infinity"):
        replace(good, **change)


def test_infinities_that_cancel_in_the_sum_are_refused():
    x = torch.zeros(1, 2, 3)
    x[0, 0, 0], x[0, 1, 0] = float("inf"), -float("inf")
    with pytest.raises(EpisodeError, match="task 0, sample 0"):
        check_samples("support", x, torch.tensor([[0, 1]]), 2)


def test_finite_values_whose_sum_overflows_are_accepted():
    x = torch.full((1, 2, 3), 3e38)
    assert x.sum().isinf()
    check_samples("support", x, torch.tensor([[0, 1]]), 2)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ((2, 3), (2, 3)),  # no feature axis
        ((2, 3, 4), (6,)),  # labels without the tasks axis
        ((2, 3, 4), (2, 3, 1)),
        ((2, 3, 4), (2, 5)),  # more labels than samples
        ((2, 3, 4), (1, 3)),  # fewer tasks
        ((0, 3, 4), (0, 3)),
        ((2, 0, 4), (2, 0)),
        ((2, 3, 0), (2, 3)),
    ],
    ids=str,
)
def test_an_error_names_shapes_that_disagree(x, y):
    with pytest.raises(EpisodeError) as caught:
        check_samples("query", torch.zeros(x), torch.zeros(y, dtype=torch.long), 2)
    assert f"they are {x} and {y}" in str(caught.value)
    assert "query_x must be [tasks, samples, *feature]" in str(caught.value)


def test_types_of_numbers_are_checked():
    x, y = torch.zeros(1, 2, 3), torch.tensor([[0, 1]])
    check_samples("support", x.double(), y, 2)
    with pytest.raises(EpisodeError, match=r"_x must be floating point, but is torch\.uint8"):
        check_samples("support", x.to(torch.uint8), y, 2)
    with pytest.raises(EpisodeError, match=r"_y must be integers, but is torch\.float32"):
        check_samples("support", x, y.float(), 2)


@pytest.mark.usefixtures("unchecked")
def test_support_and_query_must_have_the_same_tasks():
    with pytest.raises(EpisodeError, match="support has 2 tasks, query has 5"):
        replace(
            build_episode(),
            query_x=torch.zeros(5, 3, 4),
            query_y=torch.arange(3).repeat(5, 1),
        )


@pytest.mark.usefixtures("unchecked")
def test_support_and_query_samples_must_have_the_same_shape():
    with pytest.raises(EpisodeError, match=r"support sample has shape \(4,\), .* \(4, 1\)"):
        replace(build_episode(), query_x=torch.zeros(2, 3, 4, 1))


def test_an_episode_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        build_episode().way = 7  # type: ignore[misc]


def test_a_clone_is_equal_and_owns_its_memory():
    episode = build_episode()
    clone = episode.clone()
    for name in ("support_x", "support_y", "query_x", "query_y"):
        original, copied = getattr(episode, name), getattr(clone, name)
        assert torch.equal(original, copied)
        assert original.data_ptr() != copied.data_ptr()
    assert clone.way == episode.way


def test_samples_can_be_replaced_by_their_embeddings():
    episode = replace(build_episode(), classes=torch.tensor([[4, 0, 2], [1, 4, 3]]))
    support, query = torch.randn(2, 6, 8), torch.randn(2, 3, 8)
    embedded = episode.with_samples(support, query)
    assert embedded.support_x is support
    assert embedded.query_x is query
    for name in ("support_y", "query_y", "way", "classes"):
        assert getattr(embedded, name) is getattr(episode, name)
    assert episode.support_x.shape == (2, 6, 4), "the episode itself is unchanged"
