"""ClassDataset: classes and samples of a task are distinct, and all are equally likely."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lgmnet.data.class_dataset import ClassDataset, draw_distinct, find_repeats
from lgmnet.data.task_source import TaskSource, check_disjoint, hash_classes, shares_classes
from lgmnet.episode import EpisodeShape
from lgmnet.errors import DataError, EpisodeError
from tests.support.random import seeded


def names(n: int) -> list[str]:
    return [f"class {i}" for i in range(n)]


def make_dataset(
    counts: list[int], name: str = "numbers", groups: list[str] | None = None
) -> ClassDataset:
    """Make a data set whose pixels are the number of the class and the index within the class."""
    images = torch.tensor([(c, i) for c, count in enumerate(counts) for i in range(count)])
    return ClassDataset(
        images.to(torch.uint8).view(-1, 1, 1, 2),
        counts,
        names(len(counts)),
        name=name,
        split="all",
        groups=groups,
    )


def draw(dataset: TaskSource, shape: EpisodeShape, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw support and query, [tasks, way, shot | query, (class, index)]."""
    dataset.check(shape)
    out = torch.full((shape.samples, *dataset.feature_shape), 255, dtype=dataset.dtype)
    dataset.draw(shape, seeded(seed), out)
    support, query = out.flatten(1).split([shape.tasks * shape.way * n for n in sizes(shape)])
    rows = (shape.tasks, shape.way)
    return support.view(*rows, shape.shot, 2).long(), query.view(*rows, shape.query, 2).long()


def sizes(shape: EpisodeShape) -> tuple[int, int]:
    return shape.shot, shape.query


def chi_square_is_plausible(observed: Tensor) -> bool:
    """Return True if chi-square of a uniform draw is within 5 standard deviations."""
    expected = observed.sum() / observed.numel()
    chi_square = ((observed - expected) ** 2 / expected).sum()
    freedom = observed.numel() - 1
    return bool(abs(chi_square - freedom) < 5 * (2 * freedom) ** 0.5)


@given(
    counts=st.lists(st.integers(3, 9), min_size=2, max_size=12),
    shot=st.integers(1, 2),
    tasks=st.integers(1, 4),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_classes_and_samples_of_a_task_are_distinct_at_uneven_counts(
    counts, shot, tasks, seed, data
):
    way = data.draw(st.integers(2, len(counts)))
    query = data.draw(st.integers(1, min(counts) - shot))
    support, queries = draw(make_dataset(counts), EpisodeShape(way, shot, query, tasks), seed)
    both = torch.cat([support, queries], 2)
    classes, indices = both.unbind(-1)
    assert (classes == classes[..., :1]).all()  # support and query of a row have one class
    assert not len(find_repeats(classes[..., 0]))
    assert not len(find_repeats(indices.flatten(0, 1)))  # so support and query are disjoint
    assert (indices < torch.tensor(counts)[classes]).all()


def test_every_class_and_every_image_is_equally_likely_at_uneven_counts():
    counts = [3, 4, 8, 5]
    support, query = draw(make_dataset(counts), EpisodeShape(way=2, shot=1, query=2, tasks=3000))
    both = torch.cat([support, query], 2).flatten(0, 1)
    assert chi_square_is_plausible(both[:, 0, 0].bincount())
    for label, count in enumerate(counts):
        for part in (both[:, :1], both[:, 1:]):
            indices = part[part[..., 0] == label][:, 1]
            assert chi_square_is_plausible(indices.bincount(minlength=count))


def test_a_task_can_use_all_images_of_a_class():
    support, query = draw(make_dataset([4, 4]), EpisodeShape(way=2, shot=1, query=3, tasks=5))
    indices = torch.cat([support, query], 2)[..., 1]
    assert torch.equal(indices.sort(-1).values, torch.arange(4).expand_as(indices))


@pytest.mark.parametrize(("n", "k"), [(6, 2), (4, 2), (5, 3), (3, 3)], ids=str)
def test_every_ordered_selection_is_equally_likely(n, k):
    """The first two cases draw again on a repeat, the last two sort keys."""
    numbers = draw_distinct(20_000, n, k, seeded())
    code = (numbers * n ** torch.arange(k)).sum(1)
    expected = [sum(v * n**i for i, v in enumerate(row)) for row in permutations(range(n), k)]
    observed = code.bincount(minlength=n**k)
    assert observed[expected].sum() == 20_000
    assert chi_square_is_plausible(observed[expected])


@given(n=st.integers(1, 400), rows=st.integers(1, 5), seed=st.integers(0, 2**32), data=st.data())
def test_drawn_numbers_are_distinct_and_in_range(n, rows, seed, data):
    k = data.draw(st.integers(1, min(n, 30)))
    numbers = draw_distinct(rows, n, k, seeded(seed))
    assert numbers.shape == (rows, k)
    assert all(len(set(row)) == k and set(row) <= set(range(n)) for row in numbers.tolist())


def draw_groups(dataset: ClassDataset, fraction: float, tasks: int = 400) -> list[set[str]]:
    """Draw 3-way tasks, a fraction of them within groups, and return the groups of each task."""
    support, _ = draw(
        dataset.with_same_group_fraction(fraction),
        EpisodeShape(way=3, shot=1, query=1, tasks=tasks),
    )
    assert not len(find_repeats(support[..., 0, 0]))
    return [{"aaaabbbbcd"[label] for label in task} for task in support[..., 0, 0].tolist()]


def test_classes_of_the_same_group_come_from_as_few_groups_as_possible():
    dataset = make_dataset([3] * 10, groups=list("aaaabbbbcd"))
    tasks = draw_groups(dataset, 1.0)
    # Groups are used up one after the other: a or b fills a task, c and d need another group.
    assert {len(groups) for groups in tasks} == {1, 2, 3}
    assert all(groups & {"c", "d"} for groups in tasks if len(groups) > 1)
    assert {"a"} in tasks
    assert {"b"} in tasks


def test_a_fraction_of_the_tasks_is_drawn_from_the_same_group():
    dataset = make_dataset([3] * 10, groups=list("aaaabbbbcd"))
    none, half, full = (
        sum(len(groups) == 1 for groups in draw_groups(dataset, fraction))
        for fraction in (0.0, 0.5, 1.0)
    )
    assert none < 0.15 * 400
    assert abs(half - (none + full) / 2) < 0.1 * 400
    assert dataset.same_group_fraction == 0, "the original data set does not change"


def test_classes_within_a_group_are_equally_likely():
    dataset = make_dataset([3] * 8, groups=list("aaaabbbb")).with_same_group_fraction(1.0)
    support, _ = draw(dataset, EpisodeShape(way=3, shot=1, query=1, tasks=4000))
    assert chi_square_is_plausible(support[..., 0, 0].flatten().bincount())


def test_a_data_set_without_groups_cannot_draw_from_the_same_group():
    with pytest.raises(DataError, match="'numbers' are in no groups"):
        make_dataset([3, 3]).with_same_group_fraction(0.5)


def test_repeats_are_found_in_every_position():
    rows = torch.tensor([[1, 2, 3], [2, 0, 2], [0, 1, 2], [5, 5, 1]])
    assert find_repeats(rows) == [1, 3]


def test_the_error_for_too_large_a_task_names_the_available_numbers():
    dataset = make_dataset([7, 5, 6])
    dataset.check(EpisodeShape(way=3, shot=1, query=4))
    with pytest.raises(EpisodeError, match="way is 4, but the split 'all' of 'numbers' has 3"):
        dataset.check(EpisodeShape(way=4, shot=1, query=1))
    with pytest.raises(EpisodeError, match=r"2 \+ 4 = 6, but .* fewer images: 'class 1' \(5\)"):
        dataset.check(EpisodeShape(way=2, shot=2, query=4))


def test_counts_must_match_the_images():
    images = torch.zeros(5, 1, 1, 2, dtype=torch.uint8)
    with pytest.raises(DataError, match="2 counts that add up to 6 do not describe 5 images"):
        ClassDataset(images, [3, 3], names(2), name="n", split="s")
    with pytest.raises(DataError, match="3 class names and 2 counts"):
        ClassDataset(images, [2, 3], names(3), name="n", split="s")
    with pytest.raises(DataError, match="'class 1' has no image"):
        ClassDataset(images, [5, 0], names(2), name="n", split="s")


def test_attributes_of_a_data_set():
    dataset = make_dataset([3, 4, 8])
    assert isinstance(dataset, TaskSource)
    assert torch.equal(dataset.labels, dataset.images[:, 0, 0, 0].long())
    assert (dataset.classes, dataset.min_count, dataset.max_count) == (3, 3, 8)
    assert dataset.feature_shape == (1, 1, 2)


def test_the_hash_depends_on_the_set_of_classes_alone():
    assert hash_classes(["a", "b"]) == hash_classes(["b", "a"]) != hash_classes(["a", "c"])
    assert hash_classes(["ab"]) != hash_classes(["a", "b"])
    assert make_dataset([3, 4]).split_hash == hash_classes(["class 0", "class 1"])


def test_a_class_in_two_splits_is_named():
    check_disjoint({"train": ["a", "b", "b"], "val": ["c"], "test": []})
    with pytest.raises(DataError, match="'b' is in the split 'train' and in 'test'"):
        check_disjoint({"train": ["a", "b"], "val": ["c"], "test": ["d", "b"]})


def test_classes_are_shared_by_name_even_across_data():
    assert shares_classes(make_dataset([3, 3]), make_dataset([4, 4, 4]))
    assert shares_classes(make_dataset([3, 3]), make_dataset([3, 3], name="other data"))
    other = ClassDataset(torch.zeros(2, 3), [1, 1], ["x", "y"], name="numbers", split="rest")
    assert not shares_classes(make_dataset([3, 3]), other)
