"""Definition of a table of results: its rows, their training, and the tasks that score them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from lgmnet.episode import EpisodeShape
from lgmnet.errors import require_extra
from lgmnet.evaluation.evaluate import tasks_per_batch
from lgmnet.methods import METHODS
from lgmnet.methods.base import Method
from lgmnet.model.model import load_model
from lgmnet.training.config import Run
from lgmnet.training.state import TrainingCost, read_training_cost

QUERIES_PER_CLASS = 15
"""Query samples per class in the tasks of a table, unless it has a number of its own."""
DEFAULT_EPISODES = 2000
"""Number of tasks per column, unless a table has a number of its own."""


@dataclass(frozen=True)
class Entry:
    """Definition of one row of a table: a method and its training."""

    name: str
    """Name of the row. Tables that share results also share these names."""
    run: Run
    """Training of the method; for an untrained method, only its name and config are used."""
    weights: Entry | None = None
    """Entry whose trained weights this one uses; only the method or its config may differ."""
    start: Entry | None = None
    """Entry whose trained model the training starts from."""
    episodes: int | tuple[int, ...] | None = None
    """Number of tasks, for a method that is slow to score: one number for all columns, or one per
    column. The row is scored on the first tasks of the other rows. None for all tasks."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the training; each is a run of its own."""
    title: str = ""
    """Name as printed, if it differs from ``name``."""
    shipped: str = ""
    """Name of the shipped model whose weights this row uses; empty to train it."""

    @property
    def slug(self) -> str:
        """Name of the row in the names of files."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.name.lower()).split())

    @property
    def is_trainable(self) -> bool:
        """True if the method has parameters to train."""
        return METHODS[self.run.method](self.run.config).is_trainable

    @property
    def trained(self) -> Entry:
        """Entry whose training gives the weights."""
        return self.weights or self

    def with_steps(self, steps: int | None) -> Entry:
        """Return the entry with this number of training steps, or unchanged if it is None.

        The weights of a shipped model stay as they are.
        """
        if self.shipped:
            return self
        weights = self.weights and self.weights.with_steps(steps)
        start = self.start and self.start.with_steps(steps)
        return dataclasses.replace(
            self, run=self.run.for_steps(steps), weights=weights, start=start
        )

    def with_seed(self, seed: int) -> Entry:
        """Return the entry with this seed of its training."""
        train = dataclasses.replace(self.run.train, seed=seed)
        weights = self.weights and self.weights.with_seed(seed)
        start = self.start and self.start.with_seed(seed)
        run = dataclasses.replace(self.run, train=train)
        return dataclasses.replace(self, run=run, weights=weights, start=start)

    @property
    def folder(self) -> str:
        """Name of the folder of its trained model, which is the same for all equal trainings."""
        entry = self.trained
        about = json.dumps(dataclasses.asdict(entry.run), sort_keys=True)
        about += entry.start.folder if entry.start else ""
        digest = hashlib.sha256(about.encode()).hexdigest()[:10]
        return f"{entry.run.method}-seed{entry.run.train.seed}-{digest}"

    @property
    def first_folder(self) -> str:
        """Name of the folder of the training that must be finished before all others."""
        return self.trained.start.first_folder if self.trained.start else self.folder


@dataclass(frozen=True)
class Column:
    """Kind of task that the rows of a table are scored on."""

    data: str
    """Name of the data."""
    split: str
    way: int
    shot: int
    title: str = ""
    """Criterion or set of photos that the tasks are about, where columns differ in it."""

    @property
    def task(self) -> str:
        """Kind of task, such as ``5-way 1-shot``."""
        return f"{self.way}-way {self.shot}-shot"

    @property
    def heading(self) -> str:
        """Heading among columns of the same shot, such as ``blur, 4-way``."""
        return f"{self.title}, {self.way}-way"


@dataclass(frozen=True)
class Mean:
    """Mean over several columns of the same shot."""

    title: str
    headings: tuple[str, ...]
    """Headings of the columns."""


def make_columns(data: str, split: str, *tasks: tuple[int, int]) -> tuple[Column, ...]:
    """Make a column for each way and shot of tasks from one split."""
    return tuple(Column(data, split, way, shot) for way, shot in tasks)


@dataclass(frozen=True)
class Table:
    """Definition of a table: the rows to compare, and the tasks that score them."""

    name: str
    """Name of the page, such as ``table1``."""
    title: str
    """Heading of the page."""
    about: str
    """Introduction of the page."""
    entries: tuple[Entry, ...]
    """Rows."""
    data: str
    """Name of the data to score on, or of what the data of the columns have in common."""
    split: str
    """Split to score on."""
    columns: tuple[Column, ...]
    """Kinds of tasks to score on."""
    means: tuple[Mean, ...] = ()
    """Means over columns that the page has as further columns."""
    audited: tuple[Column, ...] = ()
    """Kinds of tasks that each row is audited on; empty for the first column."""
    query: int = QUERIES_PER_CLASS
    """Query samples per class."""
    episodes: int = DEFAULT_EPISODES
    """Number of tasks per column, unless the user names one."""
    backbone: str = ""
    """Backbone that all rows share the features of; empty for that of each row."""
    command: str = ""
    """Name for `lgmnet reproduce`, if it differs from ``name``."""
    results: str = ""
    """Folder of the result files, if it differs from ``name``; tables may share one."""
    references: tuple[str, ...] = ()
    """Names of the rows that differences are taken to; empty for the first one."""

    @property
    def shapes(self) -> list[EpisodeShape]:
        """Shape of the tasks of each column."""
        return [EpisodeShape(column.way, column.shot, self.query) for column in self.columns]

    @property
    def has_sections(self) -> bool:
        """True if columns differ in their data, so that the page has a section for each shot."""
        return bool(self.columns[0].title)

    def with_steps(self, steps: int | None) -> Table:
        """Return the table with this number of training steps for all entries, if not None."""
        entries = tuple(entry.with_steps(steps) for entry in self.entries)
        return dataclasses.replace(self, entries=entries)

    def count_episodes(self, entry: Entry, episodes: int) -> list[int]:
        """Count the tasks that an entry is scored on, per column; ``episodes`` without a limit.

        A limited entry is scored on whole batches, so that its tasks are the first ones of the
        other entries.
        """
        limits = entry.episodes
        if not isinstance(limits, tuple):
            limits = (limits or episodes,) * len(self.columns)
        batches = [tasks_per_batch(shape) for shape in self.shapes]
        return [
            episodes if limit >= episodes else min(max(limit // batch, 1) * batch, episodes)
            for limit, batch in zip(limits, batches, strict=True)
        ]


def train_entry(
    entry: Entry, models: Path, *, overwrite: bool = False
) -> tuple[Method, TrainingCost]:
    """Return the trained method of an entry and the cost of its training.

    A finished model in the folder ``models`` is loaded; an unfinished training continues. Models
    that the training starts from are trained first, and their cost is not counted, nor is that of
    shipped models. If
    ``overwrite``, the entry's folder may hold files that lgmnet did not write.

    Raises:
        UserError: if the packages for training are not installed, or a file cannot be read.
    """
    method = METHODS[entry.run.method](entry.run.config)
    if not entry.is_trainable:
        return method.eval(), TrainingCost(step=0, images=0, seconds=0.0)
    if entry.shipped:
        method.load_state_dict(load_model(entry.shipped).method.state_dict())
        return method.eval(), TrainingCost(entry.run.train.steps, images=0, seconds=0.0)
    with require_extra("train", "training runs"):
        from lgmnet.training.launch import check_run_folder, launch, open_training_sources
        from lgmnet.training.trainer import STATE_FILE

    folder, run = models / entry.folder, entry.trained.run
    if start := entry.trained.start:
        train_entry(start, models, overwrite=overwrite)
        run = dataclasses.replace(run, start=str(models / start.folder))
    state = folder / STATE_FILE
    is_started = state.is_file()
    if not is_started or read_training_cost(state, run).step < run.train.steps:
        check_run_folder(folder, resume=is_started, overwrite=overwrite)
        sources = open_training_sources(run)
        launch(run, *sources, folder, resume=is_started, overwrite=overwrite)
    method.load_state_dict(load_model(folder).method.state_dict())
    return method.eval(), read_training_cost(state)
