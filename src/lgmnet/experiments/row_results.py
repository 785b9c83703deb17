"""Result files of the rows of tables: one JSON file for each row and each seed of its training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lgmnet.config import from_json
from lgmnet.errors import ConfigError, FileFormatError
from lgmnet.experiments.results import RunOptions, read_result, write_result
from lgmnet.experiments.tables import Column, Entry, Table

Row = Mapping[str, Any]
"""Content of a result file."""
SHARED = ("data", "split", "query", "episodes", "task_seed")
"""Fields that must agree in all rows of a table."""


def row_file(options: RunOptions, table: Table, entry: Entry, seed: int) -> Path:
    """Return the path of the result file of a row and a seed of its training."""
    return options.results / (table.results or table.name) / f"{entry.slug}-seed{seed}.json"


def describe_scoring(table: Table, options: RunOptions) -> dict[str, Any]:
    """Describe the tasks that all rows of a table are scored on."""
    about = {"data": table.data, "split": table.split, "query": table.query}
    return about | {"episodes": options.episodes or table.episodes, "task_seed": options.seed}


def write_row(path: Path, row: Row) -> None:
    """Write the result file of a row."""
    write_result(path, path.parent.name, row)


def read_row(path: Path) -> Row:
    """Read the result file of a row.

    Raises:
        FileFormatError: if it is absent or damaged, belongs to another table or has another
            version.
    """
    return read_result(path, path.parent.name, "tasks")


def read_rows(options: RunOptions, table: Table) -> dict[str, list[Row]]:
    """Read all result files of a table: the rows of each entry, one for each seed.

    Entries without a result file are left out.

    Raises:
        FileFormatError: if there is no file at all, or one is damaged.
        ConfigError: if rows were not scored on the same tasks.
    """
    rows: dict[str, list[Row]] = {}
    for entry in table.entries:
        paths = [row_file(options, table, entry, seed) for seed in entry.seeds]
        if stored := [read_row(path) for path in paths if path.is_file()]:
            rows[entry.name] = stored
    if not rows:
        raise FileFormatError(
            f"There are no result files in '{options.results / (table.results or table.name)}'. "
            f"Run 'lgmnet reproduce {table.command or table.name}' without --from-results to "
            "create them."
        )
    all_rows = [row for stored in rows.values() for row in stored]
    for row in all_rows[1:]:
        check_scoring(options, table, row, {key: all_rows[0][key] for key in SHARED})
    return rows


def check_scoring(options: RunOptions, table: Table, row: Row, about: Mapping[str, Any]) -> None:
    """Check that a stored row was scored on the tasks that ``about`` describes.

    Raises:
        ConfigError: if it was not.
    """
    for key, value in about.items():
        if row[key] != value:
            option = {"task_seed": "--seed"}.get(key, f"--{key}")
            raise ConfigError(
                f"The rows in '{options.results / (table.results or table.name)}' were scored with "
                f"{key} {row[key]}, not {value}, so they cannot share a table. Use "
                f"{option} {row[key]}, or another folder of --results."
            )


def find_task(row: Row, column: Column) -> Mapping[str, Any] | None:
    """Find the scores of a row in one column, or None.

    Result files of tables on a single data set may name it for the whole row only.
    """
    wanted = (column.data, column.way, column.shot)
    for task in row["tasks"]:
        if (task.get("data", row["data"]), task["way"], task["shot"]) == wanted:
            return dict(task)
    return None


def is_current(row: Row, entry: Entry) -> bool:
    """Return True if a row was trained with the present config and steps of its entry."""
    config, train = entry.run.config, entry.trained.run.train
    # A field that was added after the row was run had its default value then.
    has_same_config = from_json(type(config), row["config"]) == config
    return bool(
        has_same_config and row["training"]["steps"] == (train.steps if entry.is_trainable else 0)
    )


def is_finished(path: Path, entry: Entry, table: Table) -> bool:
    """Return True if a result file has the present recipe's scores in all columns of a table."""
    if not path.is_file():
        return False
    row = read_row(path)
    return is_current(row, entry) and all(find_task(row, column) for column in table.columns)
