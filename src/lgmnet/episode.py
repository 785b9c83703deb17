"""Batches of few-shot tasks, and all checks on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lgmnet.errors import EpisodeError


@dataclass(frozen=True)
class EpisodeShape:
    """Size of the tasks of one batch.

    Raises:
        EpisodeError: if a number is too small for a task, or no whole number.

    >>> EpisodeShape(way=5, shot=1, query=15).samples
    80
    """

    way: int
    """Classes of a task, at least 2."""
    shot: int
    """Support samples of a class, at least 1."""
    query: int
    """Query samples of a class, at least 1."""
    tasks: int = 1
    """Tasks of a batch, at least 1."""

    def __post_init__(self) -> None:
        for name, least in (("way", 2), ("shot", 1), ("query", 1), ("tasks", 1)):
            value = getattr(self, name)
            if not isinstance(value, Integral):
                raise EpisodeError(f"'{name}' must be a whole number, but is {value!r:.100}.")
            if value < least:
                raise EpisodeError(f"'{name}' must be at least {least}, but is {value}.")

    @property
    def per_class(self) -> int:
        """Samples that each class needs, since support and query never overlap."""
        return self.shot + self.query

    @property
    def samples(self) -> int:
        """Number of samples of the whole batch."""
        return self.tasks * self.way * self.per_class


@dataclass(frozen=True)
class Episode:
    """Batch of few-shot tasks, checked once, when it is made.

    Labels are ``0..way-1`` in the order in which the classes were drawn. Every class of every task
    has at least one support sample; shots may be uneven.

    Raises:
        EpisodeError: if the tensors do not make such a batch; names the wrong number.

    >>> import torch
    >>> support_y, query_y = torch.tensor([[0, 1]]), torch.tensor([[1]])
    >>> episode = Episode(torch.rand(1, 2, 4), support_y, torch.rand(1, 1, 4), query_y, way=2)
    >>> episode.support_x.shape
    torch.Size([1, 2, 4])
    """

    support_x: Float[Tensor, "tasks support *feature"]
    support_y: Int[Tensor, "tasks support"]
    query_x: Float[Tensor, "tasks query *feature"]
    query_y: Int[Tensor, "tasks query"]
    way: int
    classes: Int[Tensor, "tasks way"] | None = None
    """Numbers of the classes in their source, for classification among all training classes; None
    if the source does not number them."""

    def __post_init__(self) -> None:
        check_samples("support", self.support_x, self.support_y, self.way)
        check_samples("query", self.query_x, self.query_y, self.way)
        check_every_class_shown(self.support_y, self.way)
        if self.support_x.shape[0] != self.query_x.shape[0]:
            raise EpisodeError(
                f"support has {self.support_x.shape[0]} tasks, query has {self.query_x.shape[0]}; "
                "both must have the same."
            )
        if self.support_x.shape[2:] != self.query_x.shape[2:]:
            raise EpisodeError(
                f"a support sample has shape {tuple(self.support_x.shape[2:])}, a query sample "
                f"{tuple(self.query_x.shape[2:])}; both must be alike."
            )

    @classmethod
    def unchecked(cls, **fields: Any) -> Episode:
        """Make a batch without checks, for samplers, whose batches are correct by construction."""
        episode = object.__new__(cls)
        for name, value in fields.items():
            object.__setattr__(episode, name, value)
        return episode

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return self.support_x.shape[0]

    def clone(self) -> Episode:
        """Copy the batch into memory of its own; a sampler's batch lives until its next draw."""
        return self._map(Tensor.clone)

    def with_samples(self, support_x: Tensor, query_x: Tensor) -> Episode:
        """Copy the batch with other samples in the same order, such as their embeddings."""
        return Episode.unchecked(**{**vars(self), "support_x": support_x, "query_x": query_x})

    def to(self, device: torch.device | str) -> Episode:
        """Move the batch to a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def _map(self, change: Callable[[Tensor], Tensor]) -> Episode:
        """Copy the batch with every tensor changed."""
        tensors = {n: change(v) for n, v in vars(self).items() if isinstance(v, Tensor)}
        return Episode.unchecked(**{**vars(self), **tensors})


def check_samples(part: str, x: Tensor, y: Tensor, way: int) -> None:
    """Check one part (support or query) of a batch.

    Raises:
        EpisodeError: if shapes disagree, a label is outside ``0..way-1`` or a value is not finite.
    """
    if way < 2:
        raise EpisodeError(f"'way' must be at least 2, but is {way}.")
    if x.ndim < 3 or y.ndim != 2 or x.shape[:2] != y.shape or 0 in x.shape:
        raise EpisodeError(
            f"{part}_x must be [tasks, samples, *feature] and {part}_y [tasks, samples], none of "
            f"them empty, but they are {tuple(x.shape)} and {tuple(y.shape)}."
        )
    if not x.is_floating_point():
        raise EpisodeError(f"{part}_x must be floating point, but is {x.dtype}.")
    if y.is_floating_point():
        raise EpisodeError(f"{part}_y must be integers, but is {y.dtype}.")
    low, high = (int(v) for v in y.aminmax())
    if low < 0 or high >= way:
        wrong = low if low < 0 else high
        raise EpisodeError(
            f"{part}_y holds the label {wrong}; labels of {way} classes are 0..{way - 1}."
        )
    # A sum costs far less than isfinite on every element; only a bad sum is examined.
    if not bool(torch.isfinite(x.sum())) and not bool(torch.isfinite(x).all()):
        task, sample = (~torch.isfinite(x)).flatten(2).any(2).nonzero()[0].tolist()
        raise EpisodeError(f"{part}_x of task {task}, sample {sample} holds NaN or infinity.")


def check_every_class_shown(support_y: Int[Tensor, "tasks support"], way: int) -> None:
    """Check that every task has support samples of each of its classes.

    Raises:
        EpisodeError: if one has none; names the first such task and class.
    """
    shown = torch.zeros(support_y.shape[0], way, dtype=torch.bool, device=support_y.device)
    shown.scatter_(1, support_y.long(), value=True)
    if not bool(shown.all()):
        task, label = (~shown).nonzero()[0].tolist()
        raise EpisodeError(f"class {label} of task {task} has no support sample; each needs one.")
