"""Definition of a table of results: its rows, and the tasks that score them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from lgmnet.episode import EpisodeShape
from lgmnet.evaluation.evaluate import tasks_per_batch
from lgmnet.methods import METHODS
from lgmnet.training.config import Run

QUERIES_PER_CLASS = 15
"""Query samples per class in the tasks of every table."""


@dataclass(frozen=True)
class Entry:
    """Definition of one row of a table: a method and its training."""

    name: str
    """Name of the row, as printed."""
    run: Run
    """Training of the method; for an untrained method, only its name and config are used."""
    weights: Entry | None = None
    """Entry whose trained weights this one uses; only the method or its config may differ."""
    episodes: int | tuple[int, ...] | None = None
    """Number of tasks, for a method that is slow to score: one number for all columns, or one per
    column. The row is scored on the first tasks of the other rows. None for all tasks."""

    @property
    def folder(self) -> str:
        """Name of the folder of its trained model."""
        name = self.weights.name if self.weights else self.name
        return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")

    @property
    def is_trainable(self) -> bool:
        """True if the method has parameters to train."""
        return METHODS[self.run.method](self.run.config).is_trainable

    def with_steps(self, steps: int | None) -> Entry:
        """Return the entry with this number of training steps, or unchanged if it is None."""
        weights = self.weights and self.weights.with_steps(steps)
        return dataclasses.replace(self, run=self.run.for_steps(steps), weights=weights)


@dataclass(frozen=True)
class Table:
    """Definition of a table: the rows to compare, and the tasks that score them."""

    name: str
    """Name of the result file and page, such as ``table1``."""
    title: str
    """Heading of the page."""
    about: str
    """Introduction of the page."""
    entries: tuple[Entry, ...]
    """Rows; differences are taken to the first one."""
    data: str
    """Name of the data to score on."""
    split: str
    """Split to score on."""
    tasks: tuple[tuple[int, int], ...]
    """Way and shot of each column."""
    command: str = ""
    """Name for `lgmnet reproduce`, if it differs from ``name``."""

    @property
    def shapes(self) -> list[EpisodeShape]:
        """Shape of the tasks of each column."""
        return [EpisodeShape(way, shot, QUERIES_PER_CLASS) for way, shot in self.tasks]

    def with_steps(self, steps: int | None) -> Table:
        """Return the table with this number of training steps for all entries, if not None."""
        entries = tuple(entry.with_steps(steps) for entry in self.entries)
        return dataclasses.replace(self, entries=entries)

    def count_episodes(self, entry: Entry, episodes: int) -> list[int]:
        """Count the tasks that an entry is scored on, per column.

        Args:
            entry: Entry of this table.
            episodes: Number of tasks for entries without a limit. A limited entry is scored on
                whole batches, so that its tasks are the first ones of the other entries.
        """
        limits = entry.episodes
        if not isinstance(limits, tuple):
            limits = (limits or episodes,) * len(self.tasks)
        counts = []
        for shape, limit in zip(self.shapes, limits, strict=True):
            batch = tasks_per_batch(shape)
            whole_batches = max(limit // batch, 1) * batch
            counts.append(episodes if limit >= episodes else min(whole_batches, episodes))
        return counts
