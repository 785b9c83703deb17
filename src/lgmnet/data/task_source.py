"""Where tasks come from: the one interface that a sampler needs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from lgmnet.episode import EpisodeShape
from lgmnet.errors import DataError, unknown_name


@runtime_checkable
class TaskSource(Protocol):
    """What tasks can be drawn from: stored images, or characters invented on the spot."""

    name: str
    """Name of the data, such as ``omniglot``."""
    split: str
    """Name of the split, such as ``vinyals/test``."""
    split_hash: str
    """Hash of the classes of the split (see `hash_classes`)."""
    feature_shape: tuple[int, ...]
    """Shape of one sample."""
    dtype: torch.dtype
    """uint8 for images (0..255, handed on as 0..1), float32 for anything else."""

    @property
    def class_names(self) -> Sequence[str] | range:
        """The classes; where there is no end of them, their numbers."""

    def check(self, shape: EpisodeShape) -> None:
        """Check that tasks of this shape can be drawn.

        Raises:
            EpisodeError: saying how much there is.
        """

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> Tensor | None:
        """Fill ``out`` [samples, *feature] with the samples of fresh tasks.

        First the support samples of all tasks, [tasks, way, shot], then all queries,
        [tasks, way, query]. Classes of one task are distinct, samples of one class are distinct.
        Returns the numbers of the classes [tasks, way], or None where there is no end of them.
        """


SPLIT_RANGES = {
    split: range(i << 40, (i + 1) << 40) for i, split in enumerate(("train", "val", "test"))
}
"""The splits of data without end: 2^40 classes each, the numbers of one apart from another's."""


class InfiniteSource:
    """Data without end: what its splits are, whatever is drawn from them.

    Args:
        split: ``train``, ``val`` or ``test``.

    Raises:
        ConfigError: if there is no such split.
    """

    name: str

    def __init__(self, split: str = "train") -> None:
        if split not in SPLIT_RANGES:
            raise unknown_name(f"split of {self.name}", split, SPLIT_RANGES)
        self.split = split
        self.class_names = SPLIT_RANGES[split]
        self.split_hash = hash_classes([f"{self.name} {self.class_names}"])

    def check(self, shape: EpisodeShape) -> None:
        """Nothing to check: there is no end of classes, nor of samples of one."""


def hash_classes(names: Iterable[str]) -> str:
    """A short name for a set of classes; two splits with the same hash hold the same classes."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:12]


def check_disjoint(splits: dict[str, Iterable[str]]) -> None:
    """Prove that no class belongs to two splits.

    Args:
        splits: The classes of each split, by the name of the split.

    Raises:
        DataError: naming the first class that belongs to two.
    """
    owner: dict[str, str] = {}
    for split, names in splits.items():
        for name in set(names):
            if name in owner:
                raise DataError(
                    f"The class '{name}' is in the split '{owner[name]}' and in '{split}'; "
                    "a class must be in one only."
                )
            owner[name] = split


def check_feature_shape(source: TaskSource, expected: tuple[int, ...]) -> None:
    """Check that samples have the shape that a method takes.

    Raises:
        DataError: saying both.
    """
    if tuple(source.feature_shape) != tuple(expected):
        raise DataError(
            f"'{source.name}' has samples of shape {tuple(source.feature_shape)}, but the method "
            f"takes {tuple(expected)} (its field 'feature_shape')."
        )


def shares_classes(a: TaskSource, b: TaskSource) -> bool:
    """Whether two splits have a class in common, be they of the same data or not.

    Classes without end are numbered, each data's its own; all others are known by their names.
    """
    ours, theirs = a.class_names, b.class_names
    if isinstance(ours, range) or isinstance(theirs, range):
        if not (isinstance(ours, range) and isinstance(theirs, range)) or a.name != b.name:
            return False
        return max(ours.start, theirs.start) < min(ours.stop, theirs.stop)
    return not set(ours).isdisjoint(theirs)
