"""Tasks by criterion over a pool: samples that are rendered once, with a table of their factors."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lgmnet.data.synthetic.criteria import (
    FactorTable,
    check_criterion,
    split_criteria,
    usable_criteria,
)
from lgmnet.data.task_source import hash_classes
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError


class CriterionPool:
    """Samples and the table of their factors, from which tasks by criterion are drawn.

    Because the samples stay the same, features of them need to be computed only once (see
    `with_samples`).

    Args:
        samples: One sample for each row of the table: uint8 images or float features.
        table: Table of the samples.
        class_names: Names of the classes that the samples show.
        name: Name of the data.
        split: Name of the split.
        criterion: Criterion of all tasks, or None to draw it for each task among those that have
            enough values.
        weights: Weights with which the criteria are drawn; those that are not in it are never
            drawn. None for equal weights.
        min_rendered_shot: Least support samples of a class of tasks by a rendered factor, such as
            blur; with fewer, criteria are contents, such as the class. A drawn criterion that the
            support cannot tell is noise in training.

    Raises:
        ConfigError: if there is no such criterion, or a weight is not positive.
        DataError: if a criterion is held out from the split.
    """

    def __init__(
        self,
        samples: UInt8[Tensor, "rows channels height width"] | Float[Tensor, "rows *feature"],
        table: FactorTable,
        class_names: Sequence[str],
        *,
        name: str,
        split: str,
        criterion: str | None = None,
        weights: Mapping[str, float] | None = None,
        min_rendered_shot: int = 1,
    ) -> None:
        self.table = table
        self.class_names = tuple(class_names)
        self.split = split
        self.name = name + (f":{criterion}" if criterion else "")
        if criterion is not None:
            check_criterion(table.factors, criterion, split)
        allowed = split_criteria(table.factors, split)
        self.criteria = (criterion,) if criterion else allowed
        self.split_hash = hash_classes([*self.class_names, *self.criteria])
        self.weights = dict.fromkeys(self.criteria, 1.0)
        self.min_rendered_shot = min_rendered_shot
        self._usable: dict[EpisodeShape, tuple[str, ...]] = {}
        if weights is not None:
            self._set_weights(weights)
        self._set_samples(samples)

    def _set_samples(self, samples: Tensor) -> None:
        self.samples = samples
        self.dtype = samples.dtype
        self.feature_shape = tuple(samples.shape[1:])

    def _set_weights(self, weights: Mapping[str, float]) -> None:
        for name, weight in weights.items():
            check_criterion(self.table.factors, name, self.split)
            if not weight > 0:
                raise ConfigError(f"The weight of '{name}' must be positive, but is {weight}.")
        self.weights = {name: float(weight) for name, weight in weights.items()}
        self.criteria = tuple(weights)

    def with_weights(self, weights: Mapping[str, float]) -> CriterionPool:
        """Return a copy that draws its criteria with other weights; the samples are shared.

        Raises:
            ConfigError: if there is no such criterion, or a weight is not positive.
            DataError: if a criterion is held out from the split.
        """
        pool = copy.copy(self)
        pool._usable = {}
        pool._set_weights(weights)
        return pool

    def with_criterion(self, criterion: str) -> CriterionPool:
        """Return a copy whose tasks all have one criterion; the samples are shared.

        Raises:
            ConfigError: if there is no such criterion.
            DataError: if it is held out from the split.
        """
        pool = self.with_weights({criterion: 1.0})
        pool.name = f"{self.name.partition(':')[0]}:{criterion}"
        pool.split_hash = hash_classes([*self.class_names, criterion])
        return pool

    def with_samples(self, samples: Float[Tensor, "rows *feature"]) -> CriterionPool:
        """Return a copy with other samples for the same rows, such as features of the images."""
        pool = copy.copy(self)
        pool._set_samples(samples)
        return pool

    def check(self, shape: EpisodeShape) -> None:
        """Check that there are enough values and images (see `TaskSource`)."""
        self._usable_criteria(shape)

    def _usable_criteria(self, shape: EpisodeShape) -> tuple[str, ...]:
        if shape not in self._usable:  # Asked at every step of a training.
            allowed = self.criteria
            if shape.shot < self.min_rendered_shot:
                contents = {factor.name for factor in self.table.factors if factor.is_content}
                allowed = tuple(name for name in allowed if name in contents) or allowed
            criteria = usable_criteria(allowed, lambda name: self.table.index(name).check(shape))
            self._usable[shape] = criteria
        return self._usable[shape]

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> None:
        """Draw new tasks into ``out`` (see `TaskSource`)."""
        usable = self._usable_criteria(shape)
        weights = torch.tensor([self.weights[name] for name in usable])
        criterion = torch.multinomial(weights, shape.tasks, replacement=True, generator=generator)
        rows = torch.empty(shape.tasks, shape.way, shape.per_class, dtype=torch.long)
        for i in criterion.unique().tolist():
            chosen = (criterion == i).nonzero().flatten()
            part = EpisodeShape(shape.way, shape.shot, shape.query, len(chosen))
            rows[chosen] = self.table.index(usable[i]).draw(part, generator)[1]
        support, query = rows[:, :, : shape.shot], rows[:, :, shape.shot :]
        order = torch.cat([support.flatten(), query.flatten()])
        torch.index_select(self.samples, 0, order, out=out)
