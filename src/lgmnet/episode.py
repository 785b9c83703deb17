"""A batch of few-shot tasks, and every check on one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lgmnet.errors import EpisodeError


@dataclass(frozen=True)
class EpisodeShape:
    """How large the tasks of one batch are.

    Raises:
        EpisodeError: if a number is too small to make a task.
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
            if value < least:
                raise EpisodeError(f"'{name}' must be at least {least}, but is {value}.")

    @property
    def per_class(self) -> int:
        """Samples that each class of a task must have: support and query never overlap."""
        return self.shot + self.query

    @property
    def samples(self) -> int:
        """Samples of the whole batch."""
        return self.tasks * self.way * self.per_class


@dataclass(frozen=True)
class Episode:
    """A batch of tasks, checked once, at birth.

    Labels are ``0..way-1`` in the order in which the classes were drawn. Every class of every task
    has at least one support sample; shots may be uneven.

    Raises:
        EpisodeError: with the number at fault, if the tensors do not make such a batch.
    """

    support_x: Float[Tensor, "tasks support *feature"]
    support_y: Int[Tensor, "tasks support"]
    query_x: Float[Tensor, "tasks query *feature"]
    query_y: Int[Tensor, "tasks query"]
    way: int
    classes: Int[Tensor, "tasks way"] | None = None
    """Numbers of the classes in their source, for pretraining; None where there is no end of
    them."""

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
        """A batch that is right by the way it was made; for samplers, where checks cost most."""
        episode = object.__new__(cls)
        for name, value in fields.items():
            object.__setattr__(episode, name, value)
        return episode

    @property
    def tasks(self) -> int:
        """Tasks in this batch."""
        return self.support_x.shape[0]

    def clone(self) -> Episode:
        """A copy that owns its memory (a sampler's episode lives until its next draw)."""
        return replace(
            self,
            support_x=self.support_x.clone(),
            support_y=self.support_y.clone(),
            query_x=self.query_x.clone(),
            query_y=self.query_y.clone(),
        )


def check_samples(part: str, x: Tensor, y: Tensor, way: int) -> None:
    """Check one part (support or query) of a batch of tasks.

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
    # A sum costs far less than isfinite on every element; only a bad sum is looked into.
    if not bool(torch.isfinite(x.sum())) and not bool(torch.isfinite(x).all()):
        task, sample = (~torch.isfinite(x)).flatten(2).any(2).nonzero()[0].tolist()
        raise EpisodeError(f"{part}_x of task {task}, sample {sample} holds NaN or infinity.")


def check_every_class_shown(support_y: Int[Tensor, "tasks support"], way: int) -> None:
    """Check that every task shows every one of its classes.

    Raises:
        EpisodeError: naming the first task and class without a support sample.
    """
    shown = torch.zeros(support_y.shape[0], way, dtype=torch.bool, device=support_y.device)
    shown.scatter_(1, support_y.long(), value=True)
    if not bool(shown.all()):
        task, label = (~shown).nonzero()[0].tolist()
        raise EpisodeError(f"class {label} of task {task} has no support sample; each needs one.")
