"""Labelled samples in one block of memory, from which tasks are gathered."""

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
    """Data set of labelled samples, sorted by class in one block of memory.

    Args:
        images: All samples, sorted by class: uint8 images or float embeddings.
        counts: Number of samples of each class, in the order of ``images``.
        class_names: Name of each class.
        name: Name of the data.
        split: Name of the split.
        groups: Name of the group of each class, such as its alphabet; None without groups.

    Raises:
        DataError: if the counts do not match the images, or a class has no image.
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
        self.min_count, self.max_count = min(counts), max(counts)
        numbers = {name: i for i, name in enumerate(dict.fromkeys(groups or ()))}
        self.groups = None if groups is None else torch.tensor([numbers[name] for name in groups])
        self.same_group_fraction = 0.0

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def check(self, shape: EpisodeShape) -> None:
        """Check that there are enough classes and images (see `TaskSource`)."""
        split = f"the split '{self.split}' of '{self.name}'"
        if shape.way > self.classes:
            raise EpisodeError(f"way is {shape.way}, but {split} has {self.classes} classes.")
        if shape.per_class > self.min_count:
            too_small = (self.counts < shape.per_class).nonzero().flatten().tolist()
            names = ", ".join(f"'{self.class_names[i]}' ({int(self.counts[i])})" for i in too_small)
            raise EpisodeError(
                f"shot + query is {shape.shot} + {shape.query} = {shape.per_class}, but these "
                f"classes of {split} have fewer images: {names}."
            )

    def with_same_group_fraction(self, fraction: float) -> ClassDataset:
        """Return a copy that draws a fraction of its tasks from as few groups as possible.

        Classes of the same group, such as an alphabet, are harder to tell apart. The copy shares
        the images.

        Raises:
            DataError: if the data set has no groups.
        """
        if self.groups is None:
            raise DataError(f"The classes of '{self.name}' are in no groups to draw tasks from.")
        dataset = copy.copy(self)
        dataset.same_group_fraction = fraction
        return dataset

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> Tensor:
        """Draw new tasks into ``out`` (see `TaskSource`)."""
        classes = draw_distinct(shape.tasks, self.classes, shape.way, generator)
        if self.same_group_fraction and self.groups is not None:
            same_group = draw_same_group(shape.tasks, self.groups, shape.way, generator)
            is_chosen = torch.rand(shape.tasks, 1, generator=generator) < self.same_group_fraction
            classes = torch.where(is_chosen, same_group, classes)
        classes = classes.flatten()
        keys = torch.rand(len(classes), self.max_count, generator=generator)
        if self.min_count < self.max_count:
            # Keys beyond the images of a smaller class sort last, so that they are never chosen.
            keys.masked_fill_(torch.arange(self.max_count) >= self.counts[classes, None], 2.0)
        chosen = smallest_k(keys, shape.per_class) + self.starts.index_select(0, classes)[:, None]
        support, query = chosen[:, : shape.shot], chosen[:, shape.shot :]
        index = torch.cat([support.flatten(), query.flatten()])
        torch.index_select(self.images, 0, index, out=out)
        return classes.view(shape.tasks, shape.way)


def concat_datasets(
    datasets: Sequence[ClassDataset], name: str, split: str, groups: int | None = None
) -> ClassDataset:
    """Join the classes of several data sets whose samples have the same shape.

    If ``groups`` is not None, the classes of each data set are dealt into that number of groups.
    """
    numbered = [(data.name, i) for data in datasets for i in range(data.classes)]
    return ClassDataset(
        torch.cat([data.images for data in datasets]),
        [count for data in datasets for count in data.counts.tolist()],
        [class_name for data in datasets for class_name in data.class_names],
        name=name,
        split=split,
        groups=[f"{data} {i % groups}" for data, i in numbered] if groups is not None else None,
    )


def draw_distinct(rows: int, n: int, k: int, generator: torch.Generator) -> Int[Tensor, "rows k"]:
    """Draw ``k`` distinct numbers out of ``0..n-1`` in random order for each row.

    If ``k`` is small compared to ``n``, rows are drawn with replacement and those with a repeat are
    drawn again. Every selection stays equally likely, and this costs far less than sorting ``n``
    keys per row.
    """
    if k * k > n:
        return smallest_k(torch.rand(rows, n, generator=generator), k)
    numbers = torch.randint(n, (rows, k), generator=generator)
    while repeated := find_repeats(numbers):
        numbers[repeated] = torch.randint(n, (len(repeated), k), generator=generator)
    return numbers


def smallest_k(keys: Float[Tensor, "rows n"], k: int) -> Int[Tensor, "rows k"]:
    """Return the indices of the ``k`` smallest keys of each row, in ascending order of the keys.

    The first of two equal keys comes first. Keys must be multiples of 2^-24, such as numbers of
    `torch.rand` with or without an integer added.
    """
    n = keys.shape[1]
    if n < 16 * k:
        return keys.sort(dim=1, stable=True).indices[:, :k]
    # For few of many keys, topk takes a fifth of the time of sorting. The index breaks ties.
    integer_keys = (keys * 2**24).long() * n + torch.arange(n)
    return integer_keys.topk(k, 1, largest=False).indices


def draw_same_group(
    rows: int, groups: Int[Tensor, " classes"], k: int, generator: torch.Generator
) -> Int[Tensor, "rows k"]:
    """Draw ``k`` distinct classes for each row, from one random group after the other."""
    order = torch.rand(rows, int(groups.max()) + 1, generator=generator).argsort(1)
    within = torch.rand(rows, len(groups), generator=generator)
    return smallest_k(order[:, groups] + within, k)


def find_repeats(numbers: Int[Tensor, "rows k"]) -> list[int]:
    """Return the indices of the rows that contain a number more than once."""
    # Batches are small: for one row, a set takes a twentieth of the time of sorting a tensor.
    return [i for i, row in enumerate(numbers.tolist()) if len(set(row)) < len(row)]
