"""A store of labelled images, all in one block of memory, from which tasks are gathered."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from lgmnet.data.task_source import hash_classes
from lgmnet.episode import EpisodeShape
from lgmnet.errors import DataError, EpisodeError


class ClassDataset:
    """Samples of labelled classes, class after class in one block.

    Args:
        images: All samples, those of one class side by side: uint8 images, or float embeddings.
        counts: Images of each class, in the order of ``images``.
        class_names: A name for each class.
        name: Name of the data.
        split: Name of the split.
        groups: What the classes belong to, such as alphabets: a name for each class.

    Raises:
        DataError: if the counts do not add up, or a class has no image.
    """

    def __init__(
        self,
        images: UInt8[Tensor, "images channels height width"] | Float[Tensor, "images *feature"],
        counts: Sequence[int],
        class_names: Sequence[str],
        *,
        name: str,
        split: str,
        groups: Sequence[str] | None = None,
    ) -> None:
        if len(counts) != len(class_names) or sum(counts) != len(images):
            raise DataError(
                f"{len(class_names)} class names and {len(counts)} counts that add up to "
                f"{sum(counts)} do not describe {len(images)} images."
            )
        if not counts:
            raise DataError(f"The split '{split}' of '{name}' has no classes.")
        for class_name, count in zip(class_names, counts, strict=True):
            if count < 1:
                raise DataError(f"The class '{class_name}' has no image; each needs at least one.")
        self.images = images
        self.dtype = images.dtype
        self.class_names = tuple(class_names)
        self.name = name
        self.split = split
        self.split_hash = hash_classes(class_names)
        self.feature_shape = tuple(images.shape[1:])
        self.counts = torch.tensor(counts)
        self.labels = torch.arange(len(counts)).repeat_interleave(self.counts)
        self.starts = self.counts.cumsum(0) - self.counts
        self.fewest, self.most = min(counts), max(counts)
        self.groups = None if groups is None else numbered(groups)
        self.same_group_fraction = 0.0

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    def check(self, shape: EpisodeShape) -> None:
        """Check that there are classes and images enough (see `TaskSource`)."""
        where = f"the split '{self.split}' of '{self.name}'"
        if shape.way > self.classes:
            raise EpisodeError(f"way is {shape.way}, but {where} has {self.classes} classes.")
        if shape.per_class > self.fewest:
            small = (self.counts < shape.per_class).nonzero().flatten().tolist()
            named = ", ".join(f"'{self.class_names[i]}' ({int(self.counts[i])})" for i in small)
            raise EpisodeError(
                f"shot + query is {shape.shot} + {shape.query} = {shape.per_class}, but these "
                f"classes of {where} have fewer images: {named}."
            )

    def with_same_group_fraction(self, part: float) -> ClassDataset:
        """This store, drawing part of its tasks from as few groups as hold their classes.

        Classes of one alphabet are harder to tell apart than classes of any.

        Raises:
            DataError: if the classes are in no groups.
        """
        if self.groups is None:
            raise DataError(f"The classes of '{self.name}' are in no groups to draw tasks from.")
        store = copy.copy(self)
        store.same_group_fraction = part
        return store

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> Tensor:
        """Gather fresh tasks into ``out`` (see `TaskSource`)."""
        classes = draw_distinct(shape.tasks, self.classes, shape.way, generator)
        if self.same_group_fraction and self.groups is not None:
            alike = draw_same_group(shape.tasks, self.groups, shape.way, generator)
            chosen = torch.rand(shape.tasks, 1, generator=generator) < self.same_group_fraction
            classes = torch.where(chosen, alike, classes)
        classes = classes.flatten()
        # Uneven classes: keys beyond a class's own images sort last and are never taken.
        keys = torch.rand(len(classes), self.most, generator=generator)
        if self.fewest < self.most:
            keys.masked_fill_(torch.arange(self.most) >= self.counts[classes, None], 2.0)
        picks = smallest_k(keys, shape.per_class) + self.starts.index_select(0, classes)[:, None]
        support, query = picks[:, : shape.shot], picks[:, shape.shot :]
        index = torch.cat([support.flatten(), query.flatten()])
        torch.index_select(self.images, 0, index, out=out)
        return classes.view(shape.tasks, shape.way)


def concat_datasets(
    stores: Sequence[ClassDataset], name: str, split: str, groups: int | None = None
) -> ClassDataset:
    """The classes of several stores, whose samples are of one shape, in one.

    Args:
        stores: Whose classes to take.
        name: Of the data that they make together.
        split: Of its split.
        groups: Where set, the classes of each store are dealt into so many groups.
    """
    of_store = None
    if groups is not None:
        of_store = [f"{store.name} {i % groups}" for store in stores for i in range(store.classes)]
    return ClassDataset(
        torch.cat([store.images for store in stores]),
        [count for store in stores for count in store.counts.tolist()],
        [class_name for store in stores for class_name in store.class_names],
        name=name,
        split=split,
        groups=of_store,
    )


def draw_distinct(rows: int, n: int, k: int, generator: torch.Generator) -> Int[Tensor, "rows k"]:
    """``k`` distinct numbers of ``0..n-1`` in random order for each row, all rows at once.

    Where few of many are wanted, rows are drawn freely and the few with a repeat drawn again, which
    leaves every selection equally likely and costs far less than sorting ``n`` keys a row.
    """
    if k * k > n:
        return smallest_k(torch.rand(rows, n, generator=generator), k)
    drawn = torch.randint(n, (rows, k), generator=generator)
    while len(again := repeats(drawn)):
        drawn[again] = torch.randint(n, (len(again), k), generator=generator)
    return drawn


def smallest_k(keys: Float[Tensor, "rows n"], k: int) -> Int[Tensor, "rows k"]:
    """Where the ``k`` smallest numbers of each row are, in order; of equal ones the first first.

    Args:
        keys: Multiples of 2^-24, such as what `torch.rand` draws, and whole numbers beside it.
        k: How many.
    """
    n = keys.shape[1]
    if n < 16 * k:
        return keys.sort(dim=1, stable=True).indices[:, :k]
    # Few of many: picked in a fifth of the time that sorting takes. The place breaks ties.
    whole = (keys * 2**24).long() * n + torch.arange(n)
    return whole.topk(k, 1, largest=False).indices


def draw_same_group(
    rows: int, groups: Int[Tensor, " classes"], k: int, generator: torch.Generator
) -> Int[Tensor, "rows k"]:
    """``k`` distinct classes for each row: all of one random group, then of the next, as needed."""
    order = torch.rand(rows, int(groups.max()) + 1, generator=generator).argsort(1)
    within = torch.rand(rows, len(groups), generator=generator)
    return smallest_k(order[:, groups] + within, k)


def numbered(names: Sequence[str]) -> Int[Tensor, " names"]:
    """A number for each name, the same for the same."""
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return torch.tensor([numbers[name] for name in names])


def repeats(drawn: Int[Tensor, "rows k"]) -> Int[Tensor, " repeating"]:
    """The numbers of the rows in which some number occurs twice."""
    ordered = drawn.sort(1).values
    return (ordered[:, 1:] == ordered[:, :-1]).any(1).nonzero().flatten()
