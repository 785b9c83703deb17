"""Tables of results: train what is not trained, score all on the same tasks, draw the page."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lgmnet.data.task_source import TaskSource
from lgmnet.episode import EpisodeShape
from lgmnet.evaluation.audit import audit
from lgmnet.evaluation.compare import measure_timings
from lgmnet.evaluation.evaluate import evaluate, mean_and_ci95, tasks_per_batch
from lgmnet.experiments.results import VERSION
from lgmnet.methods import METHODS
from lgmnet.methods.base import Method
from lgmnet.model.model import load_model
from lgmnet.training.config import Run
from lgmnet.training.state import read_training_cost

QUERY, EPISODES = 15, 2000
AUDITED = 200
"""Episodes of those checks of the audit that measure an accuracy."""
OLD = "† Trained by an earlier recipe than the one that stands here now; to be run again."
Open = Callable[[str, str], TaskSource]


@dataclass(frozen=True)
class Entry:
    """One line of a table."""

    name: str
    """As it is printed."""
    run: Run
    """How it is trained; where nothing is learned, only its method and config are read."""
    weights: Entry | None = None
    """The entry whose trained weights it has; only the method or its config differs."""
    episodes: int | tuple[int, ...] | None = None
    """Where a task is dear: score on the first so many of the others' tasks, in every column or in
    each its own; None for all."""

    @property
    def folder(self) -> str:
        """Name of the folder of its model."""
        name = self.weights.name if self.weights else self.name
        return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")

    @property
    def is_trainable(self) -> bool:
        """Whether there is anything to train."""
        return METHODS[self.run.method](self.run.config).is_trainable


@dataclass(frozen=True)
class Table:
    """What a table compares, and on which tasks."""

    name: str
    """Such as ``table1``."""
    title: str
    about: str
    """A few sentences below the title."""
    entries: tuple[Entry, ...]
    """All differences are to the first."""
    data: str
    split: str
    """The split to score on."""
    tasks: tuple[tuple[int, int], ...]
    """Way and shot of each column."""
    command: str = ""
    """What `lgmnet reproduce` knows it by, if not by its name."""


def trained(
    entry: Entry, folder: Path, train: Callable[[Run, Path, bool], object]
) -> tuple[Method, dict[str, Any]]:
    """An entry's method, trained if it is not yet, and what its training has cost.

    Args:
        entry: Which.
        folder: Where the models of the table lie.
        train: Trains a run into a folder; told whether one is there to be resumed.

    Raises:
        ConfigError: if the folder holds a model of another run.
    """
    method = METHODS[entry.run.method](entry.run.config)
    if not entry.is_trainable:
        return method.eval(), {"steps": 0, "images": 0, "seconds": 0.0}
    from lgmnet.training.trainer import STATE_FILE

    place, run = folder / entry.folder, (entry.weights or entry).run
    state = place / STATE_FILE
    if not state.is_file() or read_training_cost(state, run).step < run.train.steps:
        train(run, place, state.is_file())
    model = load_model(place)
    method.load_state_dict(model.method.state_dict())
    cost = read_training_cost(state)
    return method.eval(), {"steps": cost.step, "images": cost.images, "seconds": cost.seconds}


def measured(
    table: Table,
    entry: Entry,
    method: Method,
    open_split: Open,
    *,
    episodes: int = EPISODES,
    seed: int = 0,
    progress: Callable[[int], object] = lambda done: None,
) -> dict[str, Any]:
    """Score an entry on the tasks of its table, and audit it.

    Args:
        table: Which; all its entries are scored on the same tasks.
        entry: Which of them.
        method: Its method, trained.
        open_split: Opens a split of the named data.
        episodes: Tasks of each column.
        seed: Of the tasks.
        progress: Told the number of episodes just done.

    Returns:
        The row of the result, with the number of right answers in each episode.
    """
    source = open_split(table.data, table.split)
    tasks = []
    for column, (way, shot) in enumerate(table.tasks):
        shape = EpisodeShape(way, shot, QUERY)
        some = episodes_of(entry, column, shape, episodes)
        score = evaluate(method, source, shape, episodes=some, seed=seed, progress=progress)
        adapt_ms, query_ms = measure_timings(method, source, shape)
        tasks.append(
            {
                "way": way,
                "shot": shot,
                "protocol": score.protocol,
                "accuracy": score.accuracy,
                "ci95": score.ci95,
                "adapt_ms": adapt_ms,
                "query_ms": query_ms,
                "right": [round(part * way * QUERY) for part in score.scores],
            }
        )
    way, shot = table.tasks[0]
    checks = audit(
        method,
        source,
        trained_on=[open_split(entry.run.data, entry.run.split)] if entry.is_trainable else [],
        shape=EpisodeShape(way, shot, 5),
        episodes=min(AUDITED, episodes_of(entry, 0, EpisodeShape(way, shot, QUERY), episodes)),
        seed=seed,
    ).checks
    return {
        "name": entry.name,
        "method": entry.run.method,
        "config": dataclasses.asdict(entry.run.config),
        "parameters": sum(p.numel() for p in method.parameters() if p.requires_grad),
        "split_hash": source.split_hash,
        "tasks": tasks,
        "audit": [check.name for check in checks if not check.passed],
    }


def episodes_of(entry: Entry, column: int, shape: EpisodeShape, episodes: int) -> int:
    """How many tasks of a column an entry is scored on: all, or whole batches of the first."""
    wanted = entry.episodes
    if isinstance(wanted, tuple):
        wanted = wanted[column]
    if wanted is None or wanted >= episodes:
        return episodes
    batch = tasks_per_batch(shape)
    return min(max(wanted // batch, 1) * batch, episodes)


def tasks_of(table: Table, entry: Entry, episodes: int) -> int:
    """How many tasks an entry is scored on in all columns together."""
    shapes = [EpisodeShape(way, shot, QUERY) for way, shot in table.tasks]
    return sum(episodes_of(entry, i, shape, episodes) for i, shape in enumerate(shapes))


def empty_result(table: Table, *, episodes: int, seed: int) -> dict[str, Any]:
    """The result of a table before its first row."""
    return {
        "results": table.name,
        "version": VERSION,
        "data": table.data,
        "split": table.split,
        "query": QUERY,
        "episodes": episodes,
        "seed": seed,
        "rows": [],
    }


def with_row(result: dict[str, Any], row: dict[str, Any], order: Sequence[str]) -> dict[str, Any]:
    """The result with a further row, in place of an older one of its name.

    Args:
        result: So far.
        row: To be put into it.
        order: Names of all rows, in the order of the table; rows of other names are left out.
    """
    rows = {old["name"]: old for old in result["rows"]} | {row["name"]: row}
    return {**result, "rows": [rows[name] for name in order if name in rows]}


def of_today(row: Mapping[str, Any], entry: Entry) -> bool:
    """Whether a row was trained with the config and for the steps that its entry has by now."""
    config = entry.run.config
    same: bool = row["config"] == json.loads(json.dumps(dataclasses.asdict(config)))
    steps = (entry.weights or entry).run.train.steps if entry.is_trainable else 0
    return same and row["training"]["steps"] == steps


def page(result: Mapping[str, Any], table: Table) -> str:
    """A table's page, as Markdown, from its result.

    Args:
        result: The rows that there are.
        table: What they should be; rows of an earlier recipe are marked.
    """
    entries = {entry.name: entry for entry in table.entries}
    rows = [
        row if of_today(row, entries[row["name"]]) else row | {"name": f"{row['name']} †"}
        for row in result["rows"]
        if row["name"] in entries
    ]
    first = rows[0]
    tasks = [f"{task['way']}-way {task['shot']}-shot" for task in first["tasks"]]
    lines = [
        f"# {table.title}",
        "",
        table.about,
        "",
        *markdown(
            ["method", *tasks, "protocol"],
            [
                [
                    row["name"],
                    *(accuracy(task, result["episodes"]) for task in row["tasks"]),
                    row["tasks"][0]["protocol"],
                ]
                for row in rows
            ],
        ),
        "",
        f"Accuracy in %, mean and 95 % interval over the same {result['episodes']:,} episodes for "
        "all (or the first of them, where that is said), "
        f"{result['query']} queries a class, seed {result['seed']}; {result['data']}, split "
        f"`{result['split']}` (classes `{first['split_hash']}`).",
        *(["", OLD] if any(row["name"].endswith("†") for row in rows) else []),
        "",
        *(verdict(rows, i, task) for i, task in enumerate(tasks)),
        "",
        f"## Paired differences to {first['name']}",
        "",
        "Percent points, mean and 95 % interval, over the same episodes; bold if zero is outside.",
        "",
        *markdown(
            ["method", *tasks],
            [[row["name"], *map(difference, row["tasks"], first["tasks"])] for row in rows[1:]],
        ),
        "",
        "## What each has cost",
        "",
        *markdown(
            [
                "method",
                "parameters",
                "training images",
                "training, minutes",
                f"adapt, ms ({tasks[0]})",
                f"a query, ms ({tasks[0]})",
                "audit",
                "commit",
            ],
            [
                [
                    row["name"],
                    f"{row['parameters']:,}",
                    f"{row['training']['images']:,}",
                    f"{row['training']['seconds'] / 60:.1f}",
                    f"{row['tasks'][0]['adapt_ms']:.1f}",
                    f"{row['tasks'][0]['query_ms']:.1f}",
                    "failed: " + ", ".join(row["audit"]) if row["audit"] else "nothing found",
                    f"`{row['commit']}`",
                ]
                for row in rows
            ],
        ),
        "",
        f"Measured with {'; '.join(dict.fromkeys(row['machine'] for row in rows))}. Drawn by "
        f"`lgmnet reproduce {table.command or table.name} --from-results`.",
    ]
    return "\n".join(lines) + "\n"


def verdict(rows: Sequence[Mapping[str, Any]], column: int, task: str) -> str:
    """Whom the first row is ahead of at a task, whom it is level with and whom behind."""
    first, *others = rows
    found: dict[str, list[str]] = {"ahead of": [], "level with": [], "behind": []}
    for row in others:
        mean, ci95 = apart(row["tasks"][column], first["tasks"][column])
        where = "level with" if abs(mean) <= ci95 else "ahead of" if mean < 0 else "behind"
        found[where].append(row["name"])
    said = [
        f"{where} {'all others' if len(names) == len(others) > 1 else '; '.join(names)}"
        for where, names in found.items()
        if names
    ]
    return f"- At {task}, {first['name']} is {', and '.join(said)}." if said else ""


def markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    marks = ["---", *["---:"] * (len(titles) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (titles, marks, *rows)]


def accuracy(task: Mapping[str, Any], episodes: int) -> str:
    """A score with its interval, and its number of tasks if that is not everyone's."""
    words = f"{task['accuracy']:.2f} ± {task['ci95']:.2f}"
    some = len(task["right"])
    return words if some == episodes else f"{words} (first {some})"


def difference(task: Mapping[str, Any], first: Mapping[str, Any]) -> str:
    """The paired difference of two scores on the same episodes, bold where clear of zero."""
    mean, ci95 = apart(task, first)
    words = f"{mean:+.2f} ± {ci95:.2f}"
    return f"**{words}**" if abs(mean) > ci95 else words


def apart(task: Mapping[str, Any], first: Mapping[str, Any]) -> tuple[float, float]:
    """The paired difference of two scores on the same episodes, and its interval, in points."""
    right = torch.tensor(task["right"], dtype=torch.float64)
    more = right - torch.tensor(first["right"][: len(right)])
    return mean_and_ci95(100 * more / (task["way"] * QUERY))
