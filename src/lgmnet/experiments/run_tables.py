"""Tables of results: train the rows, score them on the same tasks, and write result and page."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock

from lgmnet.errors import ConfigError, unknown_name_error
from lgmnet.evaluation.audit import audit
from lgmnet.evaluation.compare import measure_timings
from lgmnet.evaluation.evaluate import evaluate
from lgmnet.experiments.results import RunOptions, collect_provenance, read_result, write_result
from lgmnet.experiments.table_definitions import TABLES
from lgmnet.experiments.table_page import format_page
from lgmnet.experiments.tables import QUERIES_PER_CLASS, Entry, Table, train_entry
from lgmnet.io import check_writable, write_text
from lgmnet.methods.base import Method
from lgmnet.model.sources import open_model_source
from lgmnet.progress import track_progress

STORED_SCORES = ("way", "shot", "protocol", "accuracy", "ci95")
"""Fields of a `Score` in the result file."""
AUDIT_EPISODES = 200
"""Number of tasks of each check of the audit that measures an accuracy."""


def run_table(name: str, options: RunOptions) -> list[Path]:
    """Train and score the rows of a table, write its result files and pages, and return the pages.

    A table may have a part, with its own files, per data set.

    Raises:
        ConfigError: if there is no such row, stored rows were scored on other tasks, or rows are
            chosen but not run.
        UserError: if a file cannot be read or written.
    """
    if options.rows and options.from_results:
        raise ConfigError("--from-results draws all stored rows; leave out --only.")
    tables = [table.with_steps(options.steps) for table in TABLES[name]()]
    known = list(dict.fromkeys(entry.name for table in tables for entry in table.entries))
    for row in options.rows:
        if row not in known:
            raise unknown_name_error(f"row of {name}", row, known)
    files = [options.results / f"{table.name}.json" for table in tables]
    pages = [options.pages / f"{table.name}.md" for table in tables]
    for path in pages if options.from_results else [*pages, *files]:
        check_writable(path)
    for table, file, page in zip(tables, files, pages, strict=True):
        if not options.from_results:
            run_rows(table, file, options)
        write_text(page, format_page(read_result(file, table.name, "rows"), table))
    return pages


def run_rows(table: Table, file: Path, options: RunOptions) -> None:
    """Train and score the rows of a table, and store each one as soon as it is finished.

    Several processes may run different rows at the same time: each adds its row to those that the
    file holds by then.
    """
    about = {"data": table.data, "split": table.split, "query": QUERIES_PER_CLASS}
    about |= {"episodes": options.episodes, "seed": options.seed}
    if options.rows:
        read_rows(file, table.name, about)  # Refuse other tasks now, not after hours of training.
    entries = [entry for entry in table.entries if not options.rows or entry.name in options.rows]
    with track_progress("rows", len(entries)) as progress:
        for number, entry in enumerate(entries, 1):
            progress.print(f"{table.name}, {number} of {len(entries)}: {entry.name}")
            # One folder per data set, so that tables share the models that they have in common.
            method, cost = train_entry(entry, options.models / "tables" / entry.run.data)
            row = score_entry(table, entry, method, options)
            row["training"] = {"steps": cost.step, "images": cost.images, "seconds": cost.seconds}
            row |= collect_provenance()
            with FileLock(file.with_name(f".{file.name}.lock")):
                starts_over = number == 1 and not options.rows
                stored = [] if starts_over else read_rows(file, table.name, about)
                by_name = {other["name"]: other for other in [*stored, row]}
                rows = [by_name[e.name] for e in table.entries if e.name in by_name]
                write_result(file, table.name, about | {"rows": rows})
            progress.advance()


def score_entry(table: Table, entry: Entry, method: Method, options: RunOptions) -> dict[str, Any]:
    """Score the trained method of an entry on the tasks of its table, and audit it.

    Returns:
        Row of the result file, with the number of correct answers in each episode.
    """
    open_source = partial(open_model_source, backbone=entry.run.backbone)
    source = open_source(table.data, table.split)
    counts, seed = table.count_episodes(entry, options.episodes), options.seed
    tasks = []
    for shape, count in zip(table.shapes, counts, strict=True):
        score = evaluate(method, source, shape, episodes=count, seed=seed)
        adapt_ms, query_ms = measure_timings(method, source, shape)
        right = [round(accuracy * shape.way * shape.query) for accuracy in score.scores]
        scores = {name: getattr(score, name) for name in STORED_SCORES}
        tasks.append(scores | {"adapt_ms": adapt_ms, "query_ms": query_ms, "right": right})
    checks = audit(
        method,
        source,
        trained_on=[open_source(entry.run.data, entry.run.split)] if entry.is_trainable else [],
        unknown_training=backbone_notes(entry),
        shape=table.shapes[0],
        episodes=min(AUDIT_EPISODES, counts[0]),
        seed=seed,
    )
    return {
        "name": entry.name,
        "method": entry.run.method,
        "config": dataclasses.asdict(entry.run.config),
        "parameters": sum(p.numel() for p in method.parameters() if p.requires_grad),
        "split_hash": source.split_hash,
        "tasks": tasks,
        "audit": checks.names("failed"),
        "not_checked": checks.names("not checked"),
    }


def backbone_notes(entry: Entry) -> list[str]:
    """Name the training data of an entry that the audit cannot compare."""
    if not entry.run.backbone:
        return []
    return [f"the frozen network '{entry.run.backbone}' was trained on data that is not compared"]


def read_rows(file: Path, name: str, about: dict[str, Any]) -> list[dict[str, Any]]:
    """Read the rows that the result file of a table holds so far; none if there is no file.

    Raises:
        ConfigError: if the stored rows were scored on other tasks than ``about`` describes.
    """
    if not file.is_file():
        return []
    stored = read_result(file, name, "rows")
    for key, value in about.items():
        if stored[key] != value:
            raise ConfigError(
                f"The rows in '{file}' were scored with {key} {stored[key]}, not {value}, so they "
                f"cannot share a table. Use {key} {stored[key]}, or run all rows."
            )
    return list(stored["rows"])
