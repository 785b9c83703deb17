"""Tables of results: train the rows, score them on the same tasks, and write results and page."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError, unknown_name_error
from lgmnet.evaluation.audit import audit
from lgmnet.evaluation.compare import measure_timings
from lgmnet.evaluation.evaluate import evaluate
from lgmnet.experiments.results import RunOptions, check_experiment_file, collect_provenance
from lgmnet.experiments.row_results import (
    check_scoring,
    describe_scoring,
    is_finished,
    read_row,
    read_rows,
    row_file,
    write_row,
)
from lgmnet.experiments.sectioned_page import format_sectioned_page
from lgmnet.experiments.table_definitions import TABLES
from lgmnet.experiments.table_page import format_page
from lgmnet.experiments.table_sources import open_column, open_test_photos, open_trained
from lgmnet.experiments.tables import Entry, Table, train_entry
from lgmnet.io import check_writable, make_folder, write_text
from lgmnet.methods.base import Method
from lgmnet.progress import track_progress

STORED_SCORES = ("way", "shot", "protocol", "accuracy", "ci95")
"""Fields of a `Score` in the result file."""
AUDIT_EPISODES = 200
"""Number of tasks of each check of the audit that measures an accuracy."""


def run_table(name: str, options: RunOptions) -> list[Path]:
    """Train and score the rows of a table, write their result files and the pages; return these.

    A table may have a part, with its own page, per data set.

    Raises:
        ConfigError: if there is no such row or seed, stored rows were scored on other tasks, or
            rows are chosen but not run.
        UserError: if a file cannot be read or written.
    """
    if options.rows and options.from_results:
        raise ConfigError("--from-results draws all stored rows; leave out --only.")
    tables = [table.with_steps(options.steps) for table in TABLES[name]()]
    known = list(dict.fromkeys(entry.name for table in tables for entry in table.entries))
    for row in options.rows:
        if row not in known:
            raise unknown_name_error(f"row of {name}", row, known)
    seeds = sorted({seed for table in tables for entry in table.entries for seed in entry.seeds})
    for seed in options.train_seeds:
        if seed not in seeds:
            listed = ", ".join(map(str, seeds))
            raise ConfigError(
                f"{name} has no training seed {seed}; the seeds of its rows are {listed}."
            )
    pages = [options.pages / f"{table.name}.md" for table in tables]
    for path in pages:
        check_experiment_file(path, overwrite=options.overwrite)
    if not options.from_results:
        check_writable(options.results / "rows.json")
    for table, page in zip(tables, pages, strict=True):
        if not options.from_results:
            run_rows(table, options)
        write_text(page, draw_page(table, options))
    return pages


def draw_page(table: Table, options: RunOptions) -> str:
    """Draw the page of a table from its result files.

    Raises:
        UserError: if there are none, or they do not belong together.
    """
    format_rows = format_sectioned_page if table.has_sections else format_page
    return format_rows(read_rows(options, table), table)


def run_rows(table: Table, options: RunOptions) -> None:
    """Train and score the rows of a table that are not finished, and store each one at once.

    All rows are run with their first seed before any is run with its second. Several processes may
    work on the same table at the same time: a row that another one is working on is left to it.
    """
    about = describe_scoring(table, options)
    entries = [entry for entry in table.entries if not options.rows or entry.name in options.rows]
    runs = [(entry, seed) for entry in entries for seed in entry.seeds]
    if options.train_seeds:
        runs = [run for run in runs if run[1] in options.train_seeds]
    runs.sort(key=lambda run: run[1])
    for entry, seed in runs:  # Refuse other tasks now, not after hours of training.
        path = row_file(options, table, entry, seed)
        make_folder(path.parent)
        check_experiment_file(path, overwrite=options.overwrite)
        if path.is_file():
            check_scoring(options, table, read_row(path), about)
    with track_progress("rows", len(runs)) as progress:
        for number, (unseeded, seed) in enumerate(runs, 1):
            entry, path = unseeded.with_seed(seed), row_file(options, table, unseeded, seed)
            # One folder per training set, so that tables share the models that they have in common.
            models = options.models / "tables" / entry.run.data
            row_name = f"{table.name}, {number} of {len(runs)}: {entry.name}, seed {seed}"
            with try_lock(models / f".{entry.first_folder}.lock") as has_lock:
                if not has_lock:
                    progress.print(f"{row_name} is run by another process")
                elif is_finished(path, entry, table):
                    progress.print(f"{row_name} is finished")
                else:
                    progress.print(row_name)
                    method, cost = train_entry(entry, models, overwrite=options.overwrite)
                    row = about | {"row": entry.name, "seed": seed}
                    row |= score_entry(table, entry, method, options)
                    row["training"] = dataclasses.asdict(cost)
                    row["training"]["steps"] = row["training"].pop("step")
                    write_row(path, row | collect_provenance())
            progress.advance()


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Lock a file if no other process has locked it, and yield whether that succeeded."""
    make_folder(path.parent)
    lock = FileLock(path, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def score_entry(table: Table, entry: Entry, method: Method, options: RunOptions) -> dict[str, Any]:
    """Score the trained method of an entry on the tasks of its table, and audit it.

    Returns:
        Part of the result file, with the number of correct answers in each episode.
    """
    counts, seed = table.count_episodes(entry, options.episodes or table.episodes), options.seed
    tasks: list[dict[str, Any]] = []
    for column, shape, count in zip(table.columns, table.shapes, counts, strict=True):
        source = open_column(table, column, entry.run.backbone)
        score = evaluate(method, source, shape, episodes=count, seed=seed)
        right = [round(accuracy * shape.way * shape.query) for accuracy in score.scores]
        scores = {name: getattr(score, name) for name in STORED_SCORES} | {"right": right}
        is_timed = (shape.way, shape.shot) not in [(task["way"], task["shot"]) for task in tasks]
        if is_timed:  # What an image shows makes no difference.
            timings = measure_timings(method, source, shape)
            scores |= dict(zip(("adapt_ms", "query_ms"), timings, strict=True))
        tasks.append(scores | {"data": column.data, "split": source.split})
    failed, not_checked = audit_entry(table, entry, method, min(AUDIT_EPISODES, *counts), seed)
    return {
        "method": entry.run.method,
        "config": dataclasses.asdict(entry.run.config),
        "train": dataclasses.asdict(entry.trained.run.train),
        "parameters": sum(p.numel() for p in method.parameters() if p.requires_grad),
        "split_hash": open_column(table, table.columns[0], entry.run.backbone).split_hash,
        "tasks": tasks,
        "audit": failed,
        "not_checked": not_checked,
    }


def audit_entry(
    table: Table, entry: Entry, method: Method, episodes: int, seed: int
) -> tuple[list[str], list[str]]:
    """Audit the trained method of an entry on all kinds of tasks that its table names for it.

    Returns:
        Names of the checks that failed, and of those that could not be made, on any of the tasks.
    """
    failed: dict[str, None] = {}
    not_checked: dict[str, None] = {}
    for column in table.audited or table.columns[:1]:
        checks = audit(
            method,
            open_column(table, column, entry.run.backbone),
            trained_on=open_trained(entry),
            unknown_training=backbone_notes(entry),
            photos=open_test_photos(entry, column),
            shape=EpisodeShape(column.way, column.shot, table.query),
            episodes=episodes,
            seed=seed,
        )
        failed |= dict.fromkeys(checks.names("failed"))
        not_checked |= dict.fromkeys(checks.names("not checked"))
    return [*failed], [*not_checked]


def backbone_notes(entry: Entry) -> list[str]:
    """Name the training data of an entry that the audit cannot compare."""
    if not entry.run.backbone:
        return []
    return [f"the frozen network '{entry.run.backbone}' was trained on data that is not compared"]
