"""Tables of results: train what is not trained, score all on the same tasks, draw the page."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lgmnet.data.source import TaskSource
from lgmnet.episode import EpisodeShape
from lgmnet.errors import FileFormatError
from lgmnet.evaluation.audit import audit
from lgmnet.evaluation.compare import compare
from lgmnet.hub import load_model
from lgmnet.methods import METHODS
from lgmnet.methods.base import Method
from lgmnet.training.config import Run
from lgmnet.training.state import spent

VERSION = 1
"""Of the result files."""
QUERY, EPISODES = 15, 2000
AUDITED = 200
"""Episodes of those checks of the audit that measure an accuracy."""
Open = Callable[[str, str], TaskSource]


@dataclass(frozen=True)
class Entry:
    """One line of a table."""

    name: str
    """As it is printed."""
    run: Run
    """How it is trained; where nothing is learned, only its method and config are read."""
    weights_of: str | None = None
    """Another entry whose training it shares; only the config differs."""

    @property
    def folder(self) -> str:
        """Name of the folder of its model."""
        name = self.weights_of or self.name
        return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")

    @property
    def learns(self) -> bool:
        """Whether there is anything to train."""
        method = METHODS[self.run.method](self.run.config)
        return any(p.requires_grad for p in method.parameters())


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


def trained(
    entry: Entry, folder: Path, train: Callable[[Run, Path, bool], object]
) -> tuple[Method, dict[str, Any]]:
    """An entry's method, trained if it is not yet, and what its training has cost.

    Args:
        entry: Which.
        folder: Where the models of the table lie.
        train: Trains a run into a folder; told whether one is there to be resumed.
    """
    method = METHODS[entry.run.method](entry.run.config)
    if not entry.learns:
        return method.eval(), {"steps": 0, "images": 0, "seconds": 0.0}
    from lgmnet.training.trainer import STATE

    place = folder / entry.folder
    state = place / STATE
    if not state.is_file() or spent(state).step < entry.run.train.steps:
        train(entry.run, place, state.is_file())
    model = load_model(place)
    method.load_state_dict(model.method.state_dict())
    cost = spent(state)
    return method.eval(), {"steps": cost.step, "images": cost.images, "seconds": cost.seconds}


def measure(
    table: Table,
    methods: Mapping[str, tuple[Method, dict[str, Any]]],
    open_split: Open,
    *,
    episodes: int = EPISODES,
    seed: int = 0,
    progress: Callable[[str, int], object] = lambda name, done: None,
) -> dict[str, Any]:
    """Score the methods of a table on the same tasks, and audit each of them.

    Args:
        table: Which.
        methods: For each entry its method, and what its training has cost.
        open_split: Opens a split of the named data.
        episodes: Tasks of each column.
        seed: Of the tasks.
        progress: Told an entry's name and the number of episodes just done.

    Returns:
        The result, ready to be written as JSON.
    """
    source = open_split(table.data, table.split)
    only = {name: method for name, (method, _) in methods.items()}
    rows: dict[str, dict[str, Any]] = {
        entry.name: {
            "name": entry.name,
            "method": entry.run.method,
            "config": dataclasses.asdict(entry.run.config),
            "training": {
                **methods[entry.name][1],
                "data": entry.run.data,
                "split": entry.run.split,
                "seed": entry.run.train.seed,
            },
            "tasks": [],
        }
        for entry in table.entries
    }
    for way, shot in table.tasks:
        shape = EpisodeShape(way, shot, QUERY)
        found = compare(only, source, shape, episodes=episodes, seed=seed, progress=progress)
        for line in found:
            rows[line.name]["parameters"] = line.parameters
            rows[line.name]["tasks"].append(
                {
                    "way": way,
                    "shot": shot,
                    "protocol": line.score.protocol,
                    "accuracy": line.score.accuracy,
                    "ci95": line.score.ci95,
                    "difference": line.difference,
                    "difference_ci95": line.difference_ci95,
                    "adapt_ms": line.adapt_ms,
                    "query_ms": line.query_ms,
                }
            )
    way, shot = table.tasks[0]
    for entry in table.entries:
        checks = audit(
            only[entry.name],
            source,
            trained_on=[open_split(entry.run.data, entry.run.split)] if entry.learns else [],
            shape=EpisodeShape(way, shot, 5),
            episodes=AUDITED,
            seed=seed,
        ).checks
        rows[entry.name]["audit"] = [check.name for check in checks if not check.passed]
    return {
        "results": table.name,
        "version": VERSION,
        "title": table.title,
        "about": table.about,
        "data": source.name,
        "split": source.split,
        "split_hash": source.split_hash,
        "query": QUERY,
        "episodes": episodes,
        "seed": seed,
        "rows": list(rows.values()),
    }


def read_result(path: Path, name: str) -> dict[str, Any]:
    """A result that `reproduce` wrote.

    Raises:
        FileFormatError: if there is none, it is damaged, of something else or of another version.
    """
    if not path.is_file():
        raise FileFormatError(
            f"There is no result file '{path}'; without --from-results, 'lgmnet reproduce {name}' "
            "makes it."
        )
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        kind, version = result["results"], result["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise FileFormatError(f"'{path}' is not a result file: {error!r}.") from error
    if kind != name or version != VERSION:
        raise FileFormatError(
            f"'{path}' holds {kind} of version {version}; this lgmnet draws {name} of version "
            f"{VERSION}. Run 'lgmnet reproduce {name}' again, or use the lgmnet that made it."
        )
    return dict(result)


def page(result: Mapping[str, Any]) -> str:
    """A table's page, as Markdown, from its result."""
    rows = result["rows"]
    tasks = [f"{task['way']}-way {task['shot']}-shot" for task in rows[0]["tasks"]]
    lines = [
        f"# {result['title']}",
        "",
        result["about"],
        "",
        f"| method | {' | '.join(tasks)} | protocol |",
        "|---|" + "---|" * (len(tasks) + 1),
    ]
    for row in rows:
        cells = [f"{task['accuracy']:.2f} ± {task['ci95']:.2f}" for task in row["tasks"]]
        lines.append(f"| {row['name']} | {' | '.join(cells)} | {row['tasks'][0]['protocol']} |")
    lines += [
        "",
        f"Accuracy in %, mean and 95 % interval over the same {result['episodes']:,} episodes for "
        f"all, {result['query']} queries a class, seed {result['seed']}; {result['data']}, split "
        f"`{result['split']}` (classes `{result['split_hash']}`).",
        "",
        f"## Paired differences to {rows[0]['name']}",
        "",
        "Percent points, mean and 95 % interval, over the same episodes; bold if zero is outside.",
        "",
        f"| method | {' | '.join(tasks)} |",
        "|---|" + "---|" * len(tasks),
    ]
    for row in rows[1:]:
        cells = [difference(task) for task in row["tasks"]]
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    first = tasks[0]
    lines += [
        "",
        "## What each has cost",
        "",
        f"| method | parameters | training images | training, minutes | adapt, ms ({first}) "
        f"| a query, ms ({first}) | audit |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        training, task = row["training"], row["tasks"][0]
        verdict = "nothing found" if not row["audit"] else "failed: " + ", ".join(row["audit"])
        lines.append(
            f"| {row['name']} | {row['parameters']:,} | {training['images']:,} "
            f"| {training['seconds'] / 60:.1f} | {task['adapt_ms']:.1f} | {task['query_ms']:.1f} "
            f"| {verdict} |"
        )
    lines += [
        "",
        f"Measured with {result['machine']}; lgmnet {result['lgmnet']}, "
        f"commit `{result['commit']}`. Drawn by `lgmnet reproduce {result['results']} "
        "--from-results`.",
    ]
    return "\n".join(lines) + "\n"


def difference(task: Mapping[str, Any]) -> str:
    """A paired difference, bold where its interval is clear of zero."""
    words = f"{task['difference']:+.2f} ± {task['difference_ci95']:.2f}"
    return f"**{words}**" if abs(task["difference"]) > task["difference_ci95"] else words
