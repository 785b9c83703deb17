"""Interface of the data that tasks are drawn from."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from lgmnet.episode import EpisodeShape
from lgmnet.errors import DataError, unknown_name_error

STANDARD_SPLITS = ("train", "val", "test")


@runtime_checkable
class TaskSource(Protocol):
    """Data that tasks can be drawn from, such as stored images or synthetic characters."""

    name: str
    """Name of the data, such as ``omniglot``."""
    split: str
    """Name of the split, such as ``vinyals/test``."""
    split_hash: str
    """Hash of the classes of the split (see `hash_classes`)."""
    feature_shape: tuple[int, ...]
    """Shape of one sample."""
    dtype: torch.dtype
    """uint8 for images (0..255; `Sampler` scales them to 0..1), float16 for features that are kept
    so (`Sampler` widens them), float32 for everything else."""

    @property
    def class_names(self) -> Sequence[str] | range:
        """Names of the classes, or the range of their numbers if they are unlimited."""

    def check(self, shape: EpisodeShape) -> None:
        """Check that tasks of this shape can be drawn.

        Raises:
            EpisodeError: if there are too few classes or samples; it names both numbers.
        """

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> Tensor | None:
        """Draw new tasks.

        The classes of one task are distinct, and so are the samples of one class.

        Args:
            shape: Shape of the tasks.
            generator: CPU generator of every draw.
            out: Buffer [samples, *feature] for the samples: first the support samples of all tasks,
                [tasks, way, shot], then all queries, [tasks, way, query].

        Returns:
            Indices of the classes, [tasks, way], or None if the source does not number them.
        """


SPLIT_RANGES = {split: range(i << 40, (i + 1) << 40) for i, split in enumerate(STANDARD_SPLITS)}
"""Class numbers of each split of unlimited data: disjoint ranges of 2^40 numbers."""


class InfiniteSource:
    """Base class of synthetic data with unlimited classes.

    Args:
        split: ``train``, ``val`` or ``test``.

    Raises:
        ConfigError: if there is no such split.
    """

    name: str

    def __init__(self, split: str = "train") -> None:
        if split not in SPLIT_RANGES:
            raise unknown_name_error(f"split of {self.name}", split, SPLIT_RANGES)
        self.split = split
        self.class_names = SPLIT_RANGES[split]
        self.split_hash = hash_classes([f"{self.name} {self.class_names}"])

    def check(self, shape: EpisodeShape) -> None:
        """Accept every shape: classes and samples are unlimited."""


def check_source(source: object) -> None:
    """Check that tasks can be drawn from an object.

    Raises:
        DataError: if it is the name of data, or anything else.
    """
    if not isinstance(source, TaskSource):
        raise DataError(
            f"Expected a source of tasks, but got {source!r:.100}. Open one, for example with "
            "lgmnet.data.registry.open_source('digits', 'test')."
        )


def hash_classes(names: Iterable[str]) -> str:
    """Return a short hash of a set of class names; it does not depend on their order."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:12]


def check_disjoint(splits: dict[str, Iterable[str]]) -> None:
    """Check that no class belongs to two splits; ``splits`` has the class names of each split.

    Raises:
        DataError: naming the first class that belongs to two splits.
    """
    split_of: dict[str, str] = {}
    for split, names in splits.items():
        for name in set(names):
            if name in split_of:
                raise DataError(
                    f"The class '{name}' is in the split '{split_of[name]}' and in '{split}'; "
                    "a class must be in one only."
                )
            split_of[name] = split


def check_feature_shape(source: TaskSource, expected: tuple[int, ...], remedy: str = "") -> None:
    """Check that samples have the shape that a method takes.

    Args:
        source: The samples.
        expected: Shape that the method takes.
        remedy: Sentence that says what to do if they have not.

    Raises:
        DataError: naming both shapes.
    """
    shape = tuple(source.feature_shape)
    if shape != tuple(expected):
        raise DataError(
            f"'{source.name}' has samples of shape {shape}, but the method takes {tuple(expected)} "
            f"(its field 'feature_shape'). {remedy}".rstrip()
        )


def shares_classes(a: TaskSource, b: TaskSource) -> bool:
    """Return True if two splits have a class in common, even splits of different data.

    Classes are compared by name. Unlimited classes are compared by number, and only within the same
    data.
    """
    ranges = [names for names in (a.class_names, b.class_names) if isinstance(names, range)]
    if not ranges:
        return not set(a.class_names).isdisjoint(b.class_names)
    overlap = max(r.start for r in ranges) < min(r.stop for r in ranges)
    return len(ranges) == 2 and a.name == b.name and overlap
