"""Copies of a task source whose samples say nothing about their classes.

Everything that the source does around its samples stays: its own ``draw``, the objects that it
wraps, functions with closures. Only the stored samples are replaced, and the package's generators
of synthetic samples, on which a source may build. So whatever tells the classes of a copy apart was
added by the source itself.
"""

import copy
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from types import CellType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lgmnet.data.task_source import InfiniteSource, TaskSource
from lgmnet.episode import EpisodeShape
from lgmnet.evaluation.audit.noise import draw_noise

FOREIGN_PACKAGES = {"builtins", "torch", "numpy"}
"""Packages whose objects hold no data sets in their attributes."""


@dataclass(frozen=True)
class OnePicture:
    """Replacement of all samples by one picture of noise."""

    seed: int

    def store(self, samples: Tensor) -> Tensor:
        """Make new samples in place of stored ones, [samples, *feature]."""
        return self._draw(samples).contiguous()

    def generate(self, out: Tensor, generator: torch.Generator) -> None:
        """Fill a buffer with new samples."""
        out.copy_(self._draw(out))

    def _draw(self, samples: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        return draw_noise(1, samples.shape[1:], samples.dtype, generator).expand_as(samples)


@dataclass(frozen=True)
class ShuffledPictures:
    """Deal of all samples among the classes at random; generated samples become noise."""

    seed: int

    def store(self, samples: Tensor) -> Tensor:
        """Make new samples in place of stored ones, [samples, *feature]."""
        generator = torch.Generator().manual_seed(self.seed)
        return samples[torch.randperm(len(samples), generator=generator)]

    def generate(self, out: Tensor, generator: torch.Generator) -> None:
        """Fill a buffer with new samples."""
        out.copy_(draw_noise(len(out), out.shape[1:], out.dtype, generator))


Replacement = OnePicture | ShuffledPictures


def replace_samples(
    source: TaskSource, shape: EpisodeShape, replacement: Replacement
) -> TaskSource:
    """Copy a source with other samples; objects that hold none are shared with the copy.

    Args:
        source: Any source of tasks.
        shape: Shape of the tasks that are drawn; it tells stored samples from other tensors, such
            as one pattern for each class.
        replacement: Maker of the new samples.
    """
    banks = find_banks(source, tuple(source.feature_shape), len(source.class_names), shape)
    replacements: dict[int, Any] = {}
    for bank in banks:
        tensors = [to_tensor(part).flatten(0, -len(source.feature_shape) - 1) for part in bank]
        new = replacement.store(torch.cat(tensors)).split([len(tensor) for tensor in tensors])
        for part, samples in zip(bank, new, strict=True):
            values = samples.reshape(part.shape)
            replacements[id(part)] = values if isinstance(part, Tensor) else values.numpy()
    copied: TaskSource = Copier(replacements, replacement).copy(source)
    return copied


def to_tensor(values: Tensor | np.ndarray) -> Tensor:
    """Return an array or a tensor as a tensor."""
    return values if isinstance(values, Tensor) else torch.from_numpy(np.ascontiguousarray(values))


def find_banks(
    source: TaskSource, feature: tuple[int, ...], n_classes: int, shape: EpisodeShape
) -> list[list[Tensor | np.ndarray]]:
    """Find the stored samples of a source: tensors of one owner that are enough for its classes.

    A source of unlimited classes stores none. A tensor with fewer rows than the classes need, such
    as one pattern for each class, holds no samples.
    """
    if isinstance(source.class_names, range) and n_classes > 2**32:
        return []
    banks: list[list[Tensor | np.ndarray]] = []
    seen: set[int] = set()

    def visit(value: Any) -> None:
        if id(value) in seen:
            return
        seen.add(id(value))
        children = list(find_children(value))
        parts = [part for part in children if is_bank(part, feature) and id(part) not in seen]
        rows = sum(part.size if isinstance(part, np.ndarray) else part.numel() for part in parts)
        if rows >= n_classes * shape.per_class * int(np.prod(feature)):
            seen.update(id(part) for part in parts)
            banks.append(parts)
        for child in children:
            visit(child)

    visit(source)
    return banks


def is_bank(value: Any, feature: tuple[int, ...]) -> bool:
    """Return True for an array of samples."""
    if not isinstance(value, (Tensor, np.ndarray)):
        return False
    return value.ndim > len(feature) and tuple(value.shape[-len(feature) :]) == feature


def has_attributes(value: Any) -> bool:
    """Return True for an object of which a copy may need other attributes."""
    if isinstance(value, (type, nn.Module, torch.Generator)) or not hasattr(value, "__dict__"):
        return False
    return type(value).__module__.split(".")[0] not in FOREIGN_PACKAGES


def find_children(value: Any) -> Iterator[Any]:
    """Yield what an object holds: attributes, items, and the variables of a closure."""
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, (list, tuple)):
        yield from (item for item in value if not isinstance(item, (str, int, float)))
    elif isinstance(value, MethodType):
        yield from (value.__self__, value.__func__)
    elif isinstance(value, FunctionType):
        yield from (cell.cell_contents for cell in value.__closure__ or () if is_filled(cell))
        yield from value.__defaults__ or ()
    elif isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif has_attributes(value):
        yield from vars(value).values()


def is_filled(cell: CellType) -> bool:
    """Return True if the variable of a closure has a value."""
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


class Copier:
    """Copies an object with all that it holds; some parts are replaced.

    Args:
        replacements: New value of each replaced object, by the identity of the old one.
        replacement: Maker of the samples that the package's generators no longer generate.
    """

    def __init__(self, replacements: dict[int, Any], replacement: Replacement) -> None:
        self.copies = dict(replacements)
        self.replacement = replacement

    def copy(self, value: Any) -> Any:
        """Copy one object; numbers, names, tensors and other plain values stay the same object."""
        if id(value) not in self.copies:
            self.copies[id(value)] = self._copy(value)
        return self.copies[id(value)]

    def _copy(self, value: Any) -> Any:
        if type(value) is dict:
            return {key: self.copy(item) for key, item in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self.copy(item) for item in value)
        if isinstance(value, MethodType):
            return MethodType(self.copy(value.__func__), self.copy(value.__self__))
        if isinstance(value, FunctionType):
            return self._copy_function(value)
        if isinstance(value, functools.partial):
            keywords = {key: self.copy(item) for key, item in value.keywords.items()}
            return functools.partial(self.copy(value.func), *map(self.copy, value.args), **keywords)
        if not has_attributes(value):
            return value
        new = copy.copy(value)
        self.copies[id(value)] = new
        for name, item in list(vars(value).items()):
            vars(new)[name] = self.copy(item)
        if isinstance(value, InfiniteSource):
            new.__class__ = without_generator(type(value), self.replacement)
        return new

    def _copy_function(self, function: FunctionType) -> FunctionType:
        if not function.__closure__ and not function.__defaults__:
            return function
        cells = [
            CellType(self.copy(cell.cell_contents)) if is_filled(cell) else cell
            for cell in function.__closure__ or ()
        ]
        defaults = tuple(map(self.copy, function.__defaults__ or ())) or None
        new = FunctionType(
            function.__code__, function.__globals__, function.__name__, defaults, tuple(cells)
        )
        new.__kwdefaults__ = function.__kwdefaults__
        return new


def without_generator(kind: type, replacement: Replacement) -> type:
    """Derive a class whose samples are noise wherever the package's class would generate them.

    The new class stands between ``kind`` and the package's class in the order of inheritance, so
    that ``super().draw`` of a subclass finds the noise.
    """
    base = next(c for c in kind.__mro__ if c.__module__.startswith("lgmnet.data"))

    def draw(self: Any, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> None:
        replacement.generate(out, generator)

    noisy = type(f"Noise{base.__name__}", (base,), {"draw": draw})
    return noisy if kind is base else type(kind.__name__, (kind, noisy), {})
