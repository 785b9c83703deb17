"""Tasks by criterion over drawings: Omniglot characters, rendered as the tasks are drawn."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from lgmnet.data.class_dataset import draw_distinct, smallest_k
from lgmnet.data.datasets.omniglot import ARRAY_NAMES, assign_splits
from lgmnet.data.images.archives import find_archive, read_arrays
from lgmnet.data.synthetic.criteria import (
    Factor,
    FactorTable,
    check_criterion,
    check_way,
    draw_factor_values,
    draw_n_varied,
    split_criteria,
    usable_criteria,
)
from lgmnet.data.synthetic.drawing_factors import (
    DRAWING_SIDE,
    FIELD_STEP,
    RENDERED_FACTORS,
    render_drawings,
    signed_distance,
)
from lgmnet.data.task_source import STANDARD_SPLITS, hash_classes
from lgmnet.episode import EpisodeShape
from lgmnet.errors import EpisodeError, unknown_name_error

BITS_ARCHIVE = Path("omniglot") / "omniglot105_bits.npz"
BITS_SIDE = 105
BITS_ARRAY_NAMES = ("bits", *(name for name in ARRAY_NAMES if name != "images"))
FIELD_SIDE = (BITS_SIDE + FIELD_STEP - 1) // FIELD_STEP
CONTENT_FACTORS = ("character", "alphabet")
DRAWING_CRITERIA = (*CONTENT_FACTORS, *(factor.name for factor in RENDERED_FACTORS))
DRAWING_SPLITS = tuple(f"{scheme}/{s}" for scheme in ("vinyals", "lake") for s in STANDARD_SPLITS)
FIELD_BATCH_SIZE = 128


class CriterionDrawings:
    """Tasks over Omniglot characters whose classes are values of a criterion.

    The criterion is the character, its alphabet, or a factor of `RENDERED_FACTORS`. Two or three
    other factors vary in all images of a task; in half of the tasks by character or alphabet, none
    does. Every image is rendered anew. Classes are characters that belong to the split, and the
    held-out factors vary in the test splits only. In the scheme ``lake``, the alphabets of the
    splits differ too.

    Args:
        split: One of `DRAWING_SPLITS`.
        criterion: Criterion of all tasks, or None to draw it for each task among those that have
            enough values.

    Raises:
        ConfigError: if there is no such split or criterion.
        DataError: if the criterion is held out from the split, or the data cannot be found or read.
    """

    feature_shape: tuple[int, ...] = (1, DRAWING_SIDE, DRAWING_SIDE)
    dtype = torch.uint8

    def __init__(self, split: str = "lake/train", criterion: str | None = None) -> None:
        if split not in DRAWING_SPLITS:
            raise unknown_name_error("split of criteria-drawings", split, DRAWING_SPLITS)
        scheme, part = split.split("/")
        self.split = split
        self.name = "criteria-drawings" + (f":{criterion}" if criterion else "")
        self.has_held_out = part == "test"
        named = [Factor(name, (), is_content=True) for name in CONTENT_FACTORS]
        if criterion is not None:  # Before the data is read.
            check_criterion((*named, *RENDERED_FACTORS), criterion, part)
        (path,) = find_archive("Omniglot at 105x105", [BITS_ARCHIVE])
        tables = read_arrays(path, BITS_ARRAY_NAMES)
        members = assign_splits(tables, scheme)[part]
        self.class_names = tuple(f"{name}@0" for name in tables["class_name"].astype(str)[members])
        alphabets = [str(name) for name in tables["class_alphabet"][members]]
        alphabet_names = tuple(dict.fromkeys(alphabets))
        drawings = np.flatnonzero(np.isin(tables["label"], members))
        character = np.searchsorted(members, tables["label"][drawings])
        alphabet = np.array([alphabet_names.index(name) for name in alphabets])[character]
        self.fields = DrawingFields(torch.from_numpy(tables["bits"][drawings]))
        self.factors = (
            Factor("character", self.class_names, is_content=True),
            Factor("alphabet", alphabet_names, is_content=True),
            *RENDERED_FACTORS,
        )
        values = torch.full((len(drawings), len(self.factors)), -1, dtype=torch.int16)
        values[:, 0], values[:, 1] = torch.from_numpy(character), torch.from_numpy(alphabet)
        rows = torch.arange(len(drawings))
        self.table = FactorTable(self.factors, values, rows, torch.zeros_like(rows))
        self.criteria = (criterion,) if criterion else split_criteria(self.factors, part)
        self.split_hash = hash_classes([*self.class_names, *self.criteria])

    def with_criterion(self, criterion: str) -> CriterionDrawings:
        """Return a copy whose tasks all have one criterion; the drawings are shared.

        Raises:
            ConfigError: if there is no such criterion.
            DataError: if it is held out from the split.
        """
        check_criterion(self.factors, criterion, self.split.split("/")[1])
        source = copy.copy(self)
        source.name = f"{self.name.partition(':')[0]}:{criterion}"
        source.criteria = (criterion,)
        source.split_hash = hash_classes([*self.class_names, criterion])
        return source

    def check_one(self, criterion: str, shape: EpisodeShape) -> None:
        """Check that tasks of this shape can be drawn by one criterion."""
        factor = self.factors[self.table.column(criterion)]
        if factor.is_content:
            return self.table.index(criterion).check(shape)
        check_way(factor, shape.way)
        if (needed := shape.way * shape.per_class) > len(self.fields):
            raise EpisodeError(
                f"A task needs way * (shot + query) = {needed} drawings, but the split "
                f"'{self.split}' of '{self.name}' has {len(self.fields)}."
            )
        return None

    def usable_criteria(self, shape: EpisodeShape) -> tuple[str, ...]:
        """Return the criteria by which tasks of this shape can be drawn.

        Raises:
            EpisodeError: if there is none.
        """
        return usable_criteria(self.criteria, lambda c: self.check_one(c, shape))

    def check(self, shape: EpisodeShape) -> None:
        """Check that there are enough values and drawings (see `TaskSource`)."""
        self.usable_criteria(shape)

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> None:
        """Draw new tasks into ``out`` (see `TaskSource`)."""
        table = self.draw_table(shape, generator)
        fields = self.fields[table.images]
        out.copy_(render_drawings(fields, self.factors, table.values, generator))

    def draw_table(self, shape: EpisodeShape, generator: torch.Generator) -> FactorTable:
        """Draw the drawings of tasks and their values of each factor, in the order of an episode.

        The rows are first the support samples of all tasks, [tasks, way, shot], then all queries,
        [tasks, way, query]. The groups are the columns of the criteria.
        """
        usable = torch.tensor([self.table.column(c) for c in self.usable_criteria(shape)])
        criterion = usable[torch.randint(len(usable), (shape.tasks,), generator=generator)]
        images = draw_distinct(
            shape.tasks, len(self.fields), shape.way * shape.per_class, generator
        ).view(shape.tasks, shape.way, shape.per_class)
        n_varied = draw_n_varied(shape.tasks, generator)
        for column in range(len(CONTENT_FACTORS)):
            chosen = (criterion == column).nonzero().flatten()
            if len(chosen):
                part = EpisodeShape(shape.way, shape.shot, shape.query, len(chosen))
                index = self.table.index(self.factors[column].name)
                images[chosen] = index.draw(part, generator)[1]
                n_varied[chosen] *= torch.randint(2, (len(chosen),), generator=generator)
        per_task = shape.way * shape.per_class
        values = draw_factor_values(
            self.factors,
            n_varied,
            per_task,
            generator,
            criterion=criterion,
            held_out=self.has_held_out,
        ).view(shape.tasks, shape.way, shape.per_class, -1)
        for column in usable[usable >= len(CONTENT_FACTORS)].tolist():
            chosen = (criterion == column).nonzero().flatten()
            keys = torch.rand(len(chosen), len(self.factors[column].values), generator=generator)
            values[chosen, :, :, column] = smallest_k(keys, shape.way)[:, :, None].short()
        for column in range(len(CONTENT_FACTORS)):
            values[..., column] = self.table.values[images, column]

        def order(rows: Tensor) -> Tensor:
            support, query = rows[:, :, : shape.shot], rows[:, :, shape.shot :]
            return torch.cat([support.flatten(0, 2), query.flatten(0, 2)])

        groups = criterion[:, None, None].expand_as(images)
        return FactorTable(self.factors, order(values), order(images), order(groups))


DRAWING_SOURCES: dict[str, Callable[[str], CriterionDrawings]] = {
    "criteria-drawings": CriterionDrawings,
    **{f"criteria-drawings:{c}": partial(CriterionDrawings, criterion=c) for c in DRAWING_CRITERIA},
}
"""Function that opens a split of the drawings, for all criteria and for each."""


class DrawingFields:
    """Distance fields of drawings, computed when they are first asked for.

    Args:
        bits: Drawings of 105x105 pixels, one bit for each.
    """

    def __init__(self, bits: UInt8[Tensor, "drawings bytes"]) -> None:
        self.bits = bits
        self.fields = torch.empty(len(bits), 1, FIELD_SIDE, FIELD_SIDE, dtype=torch.uint8)
        self.is_computed = torch.zeros(len(bits), dtype=torch.bool)

    def __len__(self) -> int:
        return len(self.bits)

    def __getitem__(self, drawings: Int[Tensor, " n"]) -> UInt8[Tensor, "n 1 height width"]:
        missing = drawings[~self.is_computed[drawings]].unique()
        for rows in missing.split(FIELD_BATCH_SIZE):
            pixels = np.unpackbits(self.bits[rows].numpy(), axis=1)[:, : BITS_SIDE**2]
            ink = torch.from_numpy(pixels.reshape(-1, BITS_SIDE, BITS_SIDE)).bool()
            self.fields[rows] = signed_distance(ink)
        self.is_computed[missing] = True
        return self.fields[drawings]
