"""Tasks by criterion: the same images, labelled by whichever factor a task chooses.

A factor is something in which images differ, such as their size or their blur. A task chooses one
factor as its criterion; its classes are values of the criterion, and everything else varies at
random. So only the labels of the support set tell what decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lgmnet.data.class_dataset import smallest_k
from lgmnet.data.sampler import make_labels
from lgmnet.episode import Episode, EpisodeShape
from lgmnet.errors import DataError, EpisodeError, unknown_name_error

NOT_VARIED = -1
"""Value of a factor that was left as it is; the image looks neutral in it."""
N_OTHER_FACTORS = (2, 3)
"""Smallest and largest number of factors that vary beside the criterion."""


@dataclass(frozen=True)
class Factor:
    """Something in which images differ, such as their size."""

    name: str
    values: tuple[str, ...]
    """Names of the values."""
    is_content: bool = False
    """True if the value is given with the image, such as its class; False if it is rendered."""
    is_held_out: bool = False
    """True if the factor varies in test splits only, be it as the criterion or beside it."""
    aspect: str = "things"
    """A person's word for this difference of images, such as texture."""


@dataclass(frozen=True, eq=False)
class FactorTable:
    """Table of images and of their values of each factor.

    Raises:
        DataError: if the columns do not fit each other or the factors.
    """

    factors: tuple[Factor, ...]
    """Columns of the table."""
    values: Int[Tensor, "rows factors"]
    """Value of each factor in each row, int16; `NOT_VARIED` where it was left as it is."""
    images: Int[Tensor, " rows"]
    """Number of the underlying image of each row; several rows may show the same one."""
    groups: Int[Tensor, " rows"]
    """Number of the data set of each row; the images of a task are from one data set."""
    _indices: dict[str, CriterionIndex] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        rows, limits = len(self.values), torch.tensor([len(f.values) for f in self.factors])
        if self.images.shape != (rows,) or self.groups.shape != (rows,):
            raise DataError(
                f"A table of {rows} rows needs as many images and groups, but has "
                f"{len(self.images)} and {len(self.groups)}."
            )
        if self.values.shape[1:] != limits.shape or bool((self.values >= limits).any()):
            raise DataError(
                f"The values do not fit the factors {', '.join(f.name for f in self.factors)}: "
                "there must be one column for each factor, with numbers of its values."
            )

    def __len__(self) -> int:
        return len(self.values)

    def column(self, factor: str) -> int:
        """Return the number of the column of a factor.

        Raises:
            ConfigError: if there is no such factor.
        """
        return factor_column(self.factors, factor)

    def criteria(self) -> tuple[str, ...]:
        """Return the names of the factors that take at least two values in this table."""
        low = torch.where(self.values < 0, torch.iinfo(self.values.dtype).max, self.values).amin(0)
        is_varied = (self.values.amax(0) > low).tolist()
        return tuple(f.name for f, varied in zip(self.factors, is_varied, strict=True) if varied)

    def index(self, criterion: str) -> CriterionIndex:
        """Return the index of the rows by their value of a criterion; it is built once.

        Raises:
            ConfigError: if there is no such factor.
        """
        if criterion not in self._indices:
            self._indices[criterion] = CriterionIndex(self, criterion)
        return self._indices[criterion]


def join_tables(tables: Sequence[FactorTable]) -> FactorTable:
    """Join the rows of several tables, whose images and groups are numbered together already.

    The factors are all that occur in a table; a row is not varied in those that its table lacks.

    Raises:
        DataError: if two tables have different factors of the same name.
    """
    factors = {factor.name: factor for table in tables for factor in table.factors}
    names, values = [*factors], []
    for table in tables:
        for factor in table.factors:
            if factor != factors[factor.name]:
                raise DataError(f"Two tables to join have different factors '{factor.name}'.")
        part = torch.full((len(table), len(names)), NOT_VARIED, dtype=torch.int16)
        part[:, [names.index(factor.name) for factor in table.factors]] = table.values
        values.append(part)
    return FactorTable(
        tuple(factors.values()),
        torch.cat(values),
        torch.cat([table.images for table in tables]),
        torch.cat([table.groups for table in tables]),
    )


@dataclass(frozen=True)
class CriterionTasks:
    """Tasks as rows of a table: support and query samples are sorted by label."""

    values: Int[Tensor, "tasks way"]
    """Value of the criterion that each label stands for."""
    support_rows: Int[Tensor, "tasks support"]
    query_rows: Int[Tensor, "tasks query"]
    support_y: Int[Tensor, "tasks support"]
    query_y: Int[Tensor, "tasks query"]

    def episode(self, samples: Float[Tensor, "rows *feature"]) -> Episode:
        """Gather the samples of the tasks; ``samples`` has one for each row of the table."""
        wide = torch.promote_types(samples.dtype, torch.float32)
        return Episode(
            support_x=samples[self.support_rows].to(wide),
            support_y=self.support_y,
            query_x=samples[self.query_rows].to(wide),
            query_y=self.query_y,
            way=self.values.shape[1],
        )


def draw_criterion_tasks(
    table: FactorTable,
    criterion: str,
    way: int,
    shot: int,
    query: int,
    tasks: int,
    generator: torch.Generator,
) -> CriterionTasks:
    """Draw tasks from a table whose classes are values of one criterion.

    The values are drawn at random for each task, in random order, and each has the same number of
    samples. No two samples of a task show the same underlying image. If the criterion is a factor
    of the content, such as the class, about half of the tasks have images in which nothing varies
    besides, and the others images in which other factors vary.

    Args:
        table: Table of the images.
        criterion: Name of a factor.
        way: Values of a task.
        shot: Support samples of a value.
        query: Query samples of a value.
        tasks: Number of tasks.
        generator: CPU generator of every draw.

    Raises:
        ConfigError: if there is no such factor.
        EpisodeError: if the criterion has too few values, or the values too few images.
    """
    shape = EpisodeShape(way, shot, query, tasks)
    values, rows = table.index(criterion).draw(shape, generator)
    return CriterionTasks(
        values=values,
        support_rows=rows[:, :, :shot].flatten(1),
        query_rows=rows[:, :, shot:].flatten(1),
        support_y=make_labels(tasks, way, shot),
        query_y=make_labels(tasks, way, query),
    )


class CriterionIndex:
    """Rows of a table by data set, by value of a criterion and by underlying image.

    A cell is a value of the criterion in one data set; a pair is a cell and an image in it. Rows
    in which nothing was rendered count as a data set of their own, so that a task does not mix
    images as they are with changed ones.

    Raises:
        ConfigError: if there is no such factor.
    """

    def __init__(self, table: FactorTable, criterion: str) -> None:
        self.factor = table.factors[table.column(criterion)]
        self.n_values = len(self.factor.values)
        self.n_images = int(table.images.max()) + 1
        rendered = [i for i, factor in enumerate(table.factors) if not factor.is_content]
        is_rendered = (table.values[:, rendered] >= 0).any(1)
        # No image is left out that could be drawn: the criterion itself is one of the rendered.
        groups = 2 * table.groups.long() + is_rendered
        values = table.values[:, table.column(criterion)].long()
        rows = (values >= 0).nonzero().flatten()
        cells = groups[rows] * self.n_values + values[rows]
        keys = cells * self.n_images + table.images[rows]
        order = keys.argsort(stable=True)
        self.rows = rows[order]
        pairs, self.row_counts = keys[order].unique_consecutive(return_counts=True)
        self.row_starts = self.row_counts.cumsum(0) - self.row_counts
        self.images = pairs % self.n_images
        n_cells = (int(groups.max()) + 1) * self.n_values
        self.counts = torch.bincount(pairs // self.n_images, minlength=n_cells)
        self.starts = self.counts.cumsum(0) - self.counts
        # Images that have one value each, such as their class, are never used up by another value.
        group_images = pairs // self.n_images // self.n_values * self.n_images + self.images
        self.has_one_value = len(group_images.unique()) == len(pairs)
        self._usable: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def images_needed(self, shape: EpisodeShape) -> int:
        """Return the number of images that a value needs so that tasks can always be drawn."""
        return shape.per_class if self.has_one_value else shape.way * shape.per_class

    def usable(self, shape: EpisodeShape) -> Bool[Tensor, "groups values"]:
        """Return which values of which data set have enough images for tasks of this shape."""
        return self.counts.view(-1, self.n_values) >= self.images_needed(shape)

    def check(self, shape: EpisodeShape) -> None:
        """Check that tasks of this shape can be drawn.

        Raises:
            EpisodeError: if the criterion has too few values, or the values too few images.
        """
        name, counts = self.factor.name, self.counts.view(-1, self.n_values)
        check_way(self.factor, shape.way, int((counts > 0).sum(1).max()))
        usable = self.usable(shape).sum(1)
        if shape.way > int(usable.max()):
            needed = self.images_needed(shape)
            raise EpisodeError(
                f"way is {shape.way}, but only {int(usable.max())} values of the criterion "
                f"'{name}' have the {needed} images that shot + query = {shape.shot} + "
                f"{shape.query} needs; the largest have {int(counts.max())}."
            )

    def draw(
        self, shape: EpisodeShape, generator: torch.Generator
    ) -> tuple[Int[Tensor, "tasks way"], Int[Tensor, "tasks way per_class"]]:
        """Draw the values and the rows of tasks.

        Raises:
            EpisodeError: if the criterion has too few values, or the values too few images.
        """
        key = (shape.way, shape.per_class)
        if key not in self._usable:  # The same at every step of a training.
            self.check(shape)
            usable = self.usable(shape)
            self._usable[key] = usable, (usable.sum(1) >= shape.way).nonzero().flatten()
        usable, groups = self._usable[key]
        group = groups[torch.randint(len(groups), (shape.tasks,), generator=generator)]
        keys = torch.rand(shape.tasks, self.n_values, generator=generator)
        values = smallest_k(keys + 2 * ~usable[group], shape.way)
        cells = group[:, None] * self.n_values + values
        is_used = torch.zeros(shape.tasks, self.n_images, dtype=torch.bool)
        rows = []
        for cell in cells.unbind(1):  # One value after the other, so that no image is used twice.
            counts = self.counts[cell, None]
            slots = torch.arange(int(counts.max()))
            pairs = (self.starts[cell, None] + slots).clamp(max=len(self.images) - 1)
            is_free = (slots < counts) & ~is_used.gather(1, self.images[pairs])
            keys = torch.rand(pairs.shape, generator=generator) + 2 * ~is_free
            chosen = pairs.gather(1, smallest_k(keys, shape.per_class))
            is_used.scatter_(1, self.images[chosen], value=True)
            offset = torch.rand(chosen.shape, generator=generator) * self.row_counts[chosen]
            rows.append(self.rows[self.row_starts[chosen] + offset.long()])
        return values, torch.stack(rows, 1)


def draw_factor_values(
    factors: Sequence[Factor],
    n_varied: Int[Tensor, " sets"],
    per_set: int,
    generator: torch.Generator,
    *,
    criterion: Int[Tensor, " sets"] | None = None,
    held_out: bool = False,
) -> Int[Tensor, "sets per_set factors"]:
    """Draw which rendered factors vary in each set of images, and the value of each image.

    Args:
        factors: Factors of the columns.
        n_varied: Number of factors that vary in each set.
        per_set: Number of images of a set.
        generator: CPU generator of every draw.
        criterion: Column in each set that does not vary here, because a caller fills it; or None.
        held_out: If True, held-out factors vary too.

    Returns:
        Number of each value, int16; `NOT_VARIED` in columns that do not vary.
    """
    may_vary = torch.tensor([not f.is_content and (held_out or not f.is_held_out) for f in factors])
    keys = torch.rand(len(n_varied), len(factors), generator=generator) + 2 * ~may_vary
    if criterion is not None:
        keys.scatter_(1, criterion[:, None], 4.0)
    rank = keys.argsort(1).argsort(1)
    is_varied = (rank < n_varied[:, None]) & (keys < 1)
    n_values = torch.tensor([len(factor.values) for factor in factors])
    uniform = torch.rand(len(n_varied), per_set, len(factors), generator=generator)
    values = (uniform * n_values).short()
    return values.masked_fill_(~is_varied[:, None], NOT_VARIED)


def draw_n_varied(n: int, generator: torch.Generator, extra: int = 0) -> Int[Tensor, " n"]:
    """Draw the numbers of factors that vary, `N_OTHER_FACTORS` and ``extra`` more."""
    low, high = N_OTHER_FACTORS
    return torch.randint(low + extra, high + extra + 1, (n,), generator=generator)


def split_criteria(factors: Iterable[Factor], split: str) -> tuple[str, ...]:
    """Return the names of the factors that can be the criterion in a split.

    Held-out factors can be the criterion in the split ``test`` only.
    """
    return tuple(f.name for f in factors if split == "test" or not f.is_held_out)


def check_criterion(factors: Sequence[Factor], criterion: str, split: str) -> None:
    """Check that a factor can be the criterion in a split.

    Raises:
        ConfigError: if there is no such factor.
        DataError: if the factor is held out from the split.
    """
    factor_column(factors, criterion)
    allowed = split_criteria(factors, split)
    if criterion not in allowed:
        raise DataError(
            f"The criterion '{criterion}' is kept for testing, so the split '{split}' does not "
            f"have it; use the split 'test', or one of {', '.join(allowed)}."
        )


def usable_criteria(criteria: Sequence[str], check: Callable[[str], None]) -> tuple[str, ...]:
    """Return the criteria that pass a check.

    Raises:
        EpisodeError: the error of the first, if there is none.
    """
    usable, errors = [], []
    for criterion in criteria:
        try:
            check(criterion)
            usable.append(criterion)
        except EpisodeError as error:
            errors.append(error)
    if not usable:
        raise errors[0]
    return tuple(usable)


def check_way(factor: Factor, way: int, n_values: int | None = None) -> None:
    """Check that a criterion has enough values for a task.

    ``n_values`` is the number of values that occur; None for all values of the factor.

    Raises:
        EpisodeError: if it has fewer; it names both numbers.
    """
    n = len(factor.values) if n_values is None else n_values
    if way > n:
        raise EpisodeError(f"way is {way}, but the criterion '{factor.name}' has {n} values.")


def factor_column(factors: Sequence[Factor], name: str) -> int:
    """Return the number of the column of a factor.

    Raises:
        ConfigError: if there is no such factor.
    """
    names = [factor.name for factor in factors]
    if name not in names:
        raise unknown_name_error("criterion", name, names)
    return names.index(name)
